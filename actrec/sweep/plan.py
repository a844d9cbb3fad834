"""A sweep file, and the runs that it asks for: each a complete params file, checked before the first one starts."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from actrec.errors import UserError, did_you_mean
from actrec.metric_names import METRICS
from actrec.outputs import output_and_metric
from actrec.params.load import checked, plain
from actrec.params.section import Count, Name, Positive

CASES, SEED = "cases", "seed"
_LABEL_CHARS = 40
_TARGET = rf"^val\..+\.({'|'.join(metric for metric in METRICS if metric != 'loss')})$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Case(_Part):
    """Settings that change together, under a name."""

    name: Name
    set: Annotated[dict[str, Any], Field(min_length=1)]


class Range(_Part):
    """Numbers from `low` to `high`, whole ones if both ends are; `log`: evenly by their logarithm."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _goes_up(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low above 0, got {self.low:g}")
        return self


def _shape(value: Any) -> str:
    return "choices" if isinstance(value, list) else "range"


Values = Annotated[list[Any], Field(min_length=1)]
Dimension = Annotated[Annotated[Range, Tag("range")] | Annotated[Values, Tag("choices")], Discriminator(_shape)]


class Sample(_Part):
    """`runs` points of a space, which Optuna's TPE chooses by what the ones before have given."""

    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    runs: Positive
    seed: Count = 0


class Sweep(_Part):
    """A sweep file.

    `recipe`: what every run starts from; null: params.yaml as it is. `grid`: settings and their values, all
    combinations of them; under `cases`, named settings that change together. `sample`: instead of a grid. `seeds`: each
    point is run with each of these. `maximise`: val.<head>.<metric>: it sorts the table, and samples follow it.
    """

    recipe: Name | None = None
    grid: Annotated[dict[str, Values], Field(min_length=1)] | None = None
    sample: Sample | None = None
    seeds: Annotated[list[Count], Field(min_length=1)] | None = None
    maximise: Annotated[str, Field(pattern=_TARGET)]

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        if (self.grid is None) == (self.sample is None):
            raise ValueError("give either grid or sample")
        if self.seeds and len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds has one twice: {self.seeds}")
        if self.seeds and SEED in (self.sample.space if self.sample else self.grid or {}):
            raise ValueError("seed is given twice: leave it to seeds")
        return self

    @property
    def target(self) -> tuple[str, str]:
        """The head and the metric that count."""
        return output_and_metric(self.maximise.removeprefix("val."))


@dataclass(frozen=True, slots=True)
class Choice:
    """One point of a sweep: a short name, and the settings that it changes."""

    label: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One experiment: its number from 0, its name for DVC, the label of its point, and all of its settings.

    `wrong` says why they are no valid settings: such a run cannot be made. It is empty if they are.
    """

    number: int
    name: str
    label: str
    changes: Mapping[str, Any]
    params: Mapping[str, Any]
    wrong: str


def load_sweep(path: Path) -> Sweep:
    """Return a checked sweep file.

    Raises:
        UserError: listing everything that is wrong with it, with the nearest known key for an unknown one.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected grid: or sample:, and maximise:, got {type(raw).__name__}")
    try:
        sweep = Sweep.model_validate(raw)
        for case in (sweep.grid or {}).get(CASES, []):
            Case.model_validate(case)
    except ValidationError as error:
        found = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        lines = [_problem(problem["loc"], problem["type"], problem["input"], problem["msg"]) for problem in found]
        raise UserError("\n".join(f"{path}: {line}" for line in lines)) from None
    return sweep


def _problem(loc: tuple[int | str, ...], kind: str, got: Any, message: str) -> str:
    where = ".".join(str(part) for part in loc if part not in ("range", "choices"))
    match kind:
        case "extra_forbidden":
            section = Sample if loc[0] == "sample" and len(loc) == 2 else Range if loc[0] == "sample" else Sweep
            known = sorted(section.model_fields)
            return f"{where} is not a setting of sweeps. {did_you_mean(str(loc[-1]), known)}"
        case "missing":
            return f"{where} is missing; sweeps/optimiser.yaml shows how a sweep is written."
        case "value_error":
            return f"{f'{where}: ' if where else ''}{message.removeprefix('Value error, ')}"
        case "string_pattern_mismatch" if where == "maximise":
            return (
                f"maximise is {got!r}, expected val.<head>.<metric> such as val.action.top1; test must choose nothing"
            )
        case _:
            return f"{where} is {got!r}: {message[0].lower()}{message[1:]}."


def grid_choices(grid: Mapping[str, Sequence[Any]]) -> list[Choice]:
    """Return all combinations of a grid's values, the last setting changing fastest."""
    return [
        Choice("-".join(label for label, _ in parts), {name: value for _, own in parts for name, value in own.items()})
        for parts in itertools.product(*(_dimension(name, values) for name, values in grid.items()))
    ]


def _dimension(name: str, values: Sequence[Any]) -> list[tuple[str, dict[str, Any]]]:
    if name == CASES:
        return [(case["name"], dict(case["set"])) for case in values]
    return [
        (f"{name.rpartition('.')[2]}{value_label(value, number)}", {name: value}) for number, value in enumerate(values)
    ]


def value_label(value: Any, number: int = 0) -> str:
    """Return a value as a part of a name; a section by its kind, else by its number."""
    match value:
        case bool() | None:
            return {True: "on", False: "off", None: "null"}[value]
        case int() | float():
            return f"{value:.4g}"
        case str():
            return value
        case dict() if isinstance(value.get("kind"), str):
            return value["kind"]
        case _:
            return str(number)


def runs_of(
    choice: Choice, sweep: Sweep, *, base: Mapping[str, Any], file: Path, first: int, digits: int = 2
) -> list[Run]:
    """Return the runs of one point, one a seed.

    Args:
        choice: The point.
        sweep: What it is of.
        base: The settings that it changes, as `plain` gives them.
        file: The sweep file; it gives runs their names.
        first: The number of the first of these runs.
        digits: Of the numbers in names.

    Raises:
        UserError: if there is no place for what the point changes.
    """
    found = []
    for number, seed in enumerate(sweep.seeds or [None], start=first):
        changes = {**choice.changes, **({} if seed is None else {SEED: seed})}
        where = f"{file}, run {choice.label}"
        params, wrong = _validated(_changed(base, changes, where), where)
        name = f"{file.stem}-{number:0{digits}d}-{_clean(choice.label)}{'' if seed is None else f'-s{seed}'}"
        found.append(Run(number, name, choice.label, changes, params, wrong))
    return found


def _validated(params: dict[str, Any], where: str) -> tuple[dict[str, Any], str]:
    """Return the settings as `plain` gives them, and ""; else as they are, and what is wrong with them."""
    try:
        return plain(checked(params, where)), ""
    except UserError as error:
        return params, str(error)


def check_valid(runs: Sequence[Run]) -> None:
    """Refuse settings that are not valid, before anything is run.

    Raises:
        UserError: saying what is wrong with the first such run.
    """
    for run in runs:
        if run.wrong:
            raise UserError(run.wrong)


def check_target(sweep: Sweep, base: Mapping[str, Any], file: Path) -> None:
    """Refuse a sweep for a number that evaluate would not write.

    Raises:
        UserError: if there is no such head, or val is not evaluated.
    """
    head, _ = sweep.target
    outputs = checked(dict(base), str(file)).model.outputs
    if head not in outputs:
        raise UserError(f"{file}: maximise names the head '{head}'; the model has {', '.join(outputs)}")
    if "val" not in base["evaluate"]["splits"]:
        raise UserError(f"{file}: maximise is of val, but evaluate.splits is {base['evaluate']['splits']}: add val")


def check_different(runs: Sequence[Run], file: Path) -> None:
    """Refuse the same experiment twice.

    Raises:
        UserError: naming two runs whose settings are equal.
    """
    seen: dict[str, Run] = {}
    for run in runs:
        same = seen.setdefault(json.dumps(run.params, sort_keys=True), run)
        if same is not run:
            raise UserError(f"{file}: the runs {same.name} and {run.name} have the same settings: leave one out")


def _changed(base: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return settings with others in their places; a section takes the place of the whole section."""
    for one, other in itertools.permutations(changes, 2):
        if other.startswith(f"{one}."):
            raise UserError(f"{where}: {one} and {other} are both set: put the second into the first")
    changed = deepcopy(dict(base))
    for name, value in changes.items():
        *parents, last = name.split(".")
        section = changed
        for depth, part in enumerate(parents, start=1):
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                above = ".".join(parents[:depth])
                raise UserError(
                    f"{where}: {name} cannot be set: {above} is {json.dumps(section)}. Set {above} as a whole, as "
                    f"{{{last}: {json.dumps(value)}, …}}"
                )
        section[last] = deepcopy(value)
    return changed


def _clean(label: str) -> str:
    """Return a label that git takes as the end of a ref's name."""
    text = re.sub(r"[^A-Za-z0-9.-]+", "-", label)
    text = re.sub(r"\.{2,}", ".", text)[:_LABEL_CHARS].strip("-.")
    return text.removesuffix(".lock") or "run"
