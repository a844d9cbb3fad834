"""What `actrec sweep` does: the runs of a sweep file, one after the other, each as an experiment of DVC."""

import json
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actrec import paths
from actrec.compare.experiment import Measured, heads_of, metric_of, points
from actrec.compare.picture import comparison_png
from actrec.compare.revisions import experiments_of_head
from actrec.compare.table import Table, experiments_csv, table_of
from actrec.console import say
from actrec.errors import UserError, did_you_mean
from actrec.params.load import load, plain
from actrec.recipes import head_comment
from actrec.store.alone import alone
from actrec.store.files import write_atomic
from actrec.sweep import dvc, records, workspace
from actrec.sweep.overrides import overrides
from actrec.sweep.plan import (
    Choice,
    Run,
    Sweep,
    check_different,
    check_target,
    check_valid,
    grid_choices,
    load_sweep,
    runs_of,
)
from actrec.sweep.records import DONE, FAILED, Record
from actrec.sweep.search import Search, points_to_check

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_BUSY = "another sweep is at work in this folder: wait for it, or stop it by Ctrl-C"


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep file that has been checked, with the settings that its runs start from.

    `base` is the content of a params file, `settings` what stands in it; `folder` is where everything is written.
    """

    file: Path
    sweep: Sweep
    base: bytes
    settings: Mapping[str, Any]
    folder: Path

    @property
    def seeds(self) -> int:
        """How many runs a point has."""
        return len(self.sweep.seeds or [None])

    @property
    def num_runs(self) -> int:
        """How many runs there will be."""
        return self.seeds * (self.sweep.sample.runs if self.sweep.sample else len(grid_choices(self.sweep.grid or {})))

    def runs(self, choice: Choice, number: int) -> list[Run]:
        """Return the runs of point `number`."""
        shared = {"base": self.settings, "file": self.file, "digits": max(2, len(str(self.num_runs - 1)))}
        return runs_of(choice, self.sweep, first=number * self.seeds, **shared)


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep that has come to its end: its table, and what to say of runs that failed, "" if none has."""

    table: Table
    failures: str


def describe_sweeps(folder: Path = paths.SWEEPS) -> list[str]:
    """Return a line a sweep: its name, and the comment at the head of its file."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError(f"{folder}/: no sweeps here. Run this in the folder that holds dvc.yaml.")
    width = max(len(path.stem) for path in files)
    return [f"{path.stem:{width}}  {head_comment(path)}" for path in files]


def planned(name: str) -> Plan:
    """Return the sweep of that name, every run of it checked; of a large space that is sampled, its corners.

    Args:
        name: One of sweeps/*.yaml, or the path of such a file.

    Raises:
        UserError: if there is none, or anything in it is wrong.
    """
    file = _found(name)
    sweep = load_sweep(file)
    source = paths.RECIPES / f"{sweep.recipe}.yaml" if sweep.recipe else paths.PARAMS
    if not source.is_file():
        known = [path.stem for path in paths.RECIPES.glob("*.yaml")]
        raise UserError(
            f"{file}: no recipe '{sweep.recipe}' in {paths.RECIPES}/. {did_you_mean(sweep.recipe or '', known)}"
        )
    settings = plain(load(source))
    check_target(sweep, settings, file)
    plan = Plan(file, sweep, source.read_bytes(), settings, paths.SWEPT / file.stem)
    choices = points_to_check(sweep.sample) if sweep.sample else grid_choices(sweep.grid or {})
    runs = [run for number, choice in enumerate(choices) for run in plan.runs(choice, number)]
    check_valid(runs)
    if not sweep.sample:
        check_different(runs, file)
    return plan


def dry_run_lines(plan: Plan) -> Iterator[str]:
    """Yield from which settings, and the command of each run; of a sampled sweep, with points unknown, its space."""
    if plan.folder.exists():
        _check_unchanged(plan, _made_with(plan))
    yield f"# from recipe {plan.settings['recipe']}, on {plan.settings['data']['root']}; params.yaml stays as it is"
    if plan.sweep.sample:
        for name, dimension in plan.sweep.sample.space.items():
            yield f"{name}: {dimension if isinstance(dimension, list) else dimension.model_dump()}"
        return
    for number, choice in enumerate(grid_choices(plan.sweep.grid or {})):
        for run in plan.runs(choice, number):
            yield shlex.join(["dvc", *_arguments(plan, run)])


def run_sweep(name: str, *, restart: bool = False, retry: bool = False, command: Sequence[str] = dvc.DVC) -> Swept:
    """Run what is not yet recorded of a sweep; records and table are written after each run as well.

    Args:
        name: See `planned`.
        restart: Forget the recorded runs.
        retry: Run those again that failed.
        command: How DVC is called.

    Raises:
        UserError: if anything is wrong with the sweep, if it is not the one of the recorded runs, or if DVC fails
            before a stage of the pipeline has begun.
    """
    with alone(paths.SWEPT / ".lock", refusing=_BUSY):
        workspace.recover(command)
        plan = planned(name)
        _begin(plan, restart=restart)
        found = _Finished(plan, retry=retry)
        if found.missing():
            with workspace.bench(plan.base, command) as bench:
                _run_all(plan, found, lambda run: _run(plan, run, bench))
        say(f"{plan.file.stem}: {found.summary()}. {plan.folder}/ has table.csv, table.md, table.png and a file a run")
        return Swept(_write_tables(plan, found.records), _failures(plan, name, found.num_failed))


def _failures(plan: Plan, name: str, number: int) -> str:
    if not number:
        return ""
    again = shlex.join(["actrec", "sweep", name, "--retry"])
    return (
        f"{plan.file.stem}: {number} of {plan.num_runs} runs failed; {plan.folder}/table.csv has their messages in the "
        f"column note. Try them again: {again}"
    )


def _begin(plan: Plan, *, restart: bool) -> None:
    """Make sure that recorded runs are of this sweep, or put them aside; remember what the next ones are made with."""
    now = _made_with(plan)
    if not restart:
        _check_unchanged(plan, now)
    if restart and plan.folder.exists():
        old = plan.folder.with_name(f"{plan.folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        plan.folder.rename(old)
        say(f"the recorded runs are now in {old}/")
    records.remember(plan.folder, now)


def _made_with(plan: Plan) -> dict[str, Any]:
    root = Path(plan.settings["data"]["root"])
    # The demo's data are made of its settings, by code: both are looked at.
    data = {} if plan.settings["demo"]["enabled"] else records.data_digest(root)
    sweep = plan.sweep.model_dump(mode="json")
    return records.made_with(sweep, plan.settings, code=records.code_digests(paths.STAGES), data=data)


def _check_unchanged(plan: Plan, now: dict[str, Any]) -> None:
    """Stop if recorded runs are of another sweep, of other settings, other code or other data."""
    before = records.remembered(plan.folder)
    different = list(records.changes(before, now)) if before else _unknown(plan.folder)
    if different:
        lines = [
            f"{plan.file}: runs of it are recorded in {plan.folder}/, and since then this has changed:",
            *(f"  {line}" for line in different),
            f"Put it back, or start anew, where DVC restores what is the same: actrec sweep {plan.file.stem} --restart",
        ]
        raise UserError("\n".join(lines))


def _unknown(folder: Path) -> list[str]:
    return ["sweep.json is gone, which says what they were made with"] if any(folder.glob("[0-9]*.json")) else []


class _Finished:
    """The records of a sweep's runs, in the order of their numbers."""

    def __init__(self, plan: Plan, *, retry: bool) -> None:
        self._plan = plan
        paths = plan.folder.glob("[0-9]*.json")
        read = [record for path in paths if (record := records.load(path))]
        self._by_name = {record.name: record for record in read if not (retry and record.status == FAILED)}

    @property
    def records(self) -> list[Record]:
        return sorted(self._by_name.values(), key=lambda record: record.number)

    def find(self, run: Run) -> Record | None:
        return self._by_name.get(run.name)

    def missing(self) -> int:
        return self._plan.num_runs - len(self._by_name)

    def add(self, record: Record) -> None:
        records.save(records.file_of(self._plan.folder, record.name, self._plan.file.stem), record)
        self._by_name[record.name] = record

    @property
    def num_failed(self) -> int:
        return sum(record.status == FAILED for record in self._by_name.values())

    def summary(self) -> str:
        text = f"{len(self._by_name)} of {self._plan.num_runs} runs finished"
        return f"{text}, {self.num_failed} of them failed" if self.num_failed else text


def _run_all(plan: Plan, found: _Finished, execute: Callable[[Run], Record]) -> None:
    search = Search(plan.folder / "study.log", plan.sweep.sample) if plan.sweep.sample else None
    choices = None if search else grid_choices(plan.sweep.grid or {})
    for number in range(plan.num_runs // plan.seeds):
        choice = search.propose(number) if search else choices[number] if choices else None
        assert choice
        of_point = []
        for run in plan.runs(choice, number):
            record = found.find(run)
            if record is None:
                say(f"{plan.file.stem}: run {run.number + 1} of {plan.num_runs}, {run.name}{_time_left(found)}")
                record = execute(run)
                found.add(record)
                _write_tables(plan, found.records).show(sys.stderr)
            of_point.append(record)
        if search:
            search.tell(number, _value(plan, of_point))


def _time_left(found: _Finished) -> str:
    walls = [record.wall_s for record in found.records]
    return f"; about {sum(walls) / len(walls) * found.missing() / 60:.0f} min left" if walls else ""


def _run(plan: Plan, run: Run, bench: workspace.Bench) -> Record:
    """Run one experiment and return what became of it."""
    about = {"number": run.number, "name": run.name, "label": run.label, "set": run.changes, "params": run.params}
    if run.wrong:
        say(f"{run.wrong}\n{run.name}: it cannot be run; it is recorded as failed, and the sweep goes on")
        return Record(**about, status=FAILED, message=run.wrong)
    bench.prepare(run.params)
    arguments = _arguments(plan, run)
    for ref in experiments_of_head():
        if ref.name == run.name:
            # DVC refuses a name that is taken, by a run that was killed before it was recorded, or before --restart.
            dvc.run_quietly(bench.command, "exp", "remove", ref.ref)
    say(shlex.join(["dvc", *arguments]))
    started = time.monotonic()
    ended = dvc.run(bench.command, *arguments)
    wall_s = round(time.monotonic() - started, 1)
    if ended.status:
        if ended.failed_stage is None:
            raise UserError(f"{run.name}: DVC could not run it. {ended.message}")
        say(f"{run.name}: {ended.failed_stage} failed; it is recorded, and the sweep goes on")
        return Record(**about, status=FAILED, message=f"{ended.failed_stage}: {ended.message}", wall_s=wall_s)
    if workspace.plain_of(paths.PARAMS.read_bytes()) != run.params:
        raise UserError(
            f"{run.name}: DVC has set params.yaml to something else than was asked for by {shlex.join(arguments)}"
        )
    metrics = json.loads(paths.METRICS.read_text(encoding="utf-8"))
    return Record(**about, status=DONE, metrics=metrics, wall_s=wall_s)


def _arguments(plan: Plan, run: Run) -> list[str]:
    settings = [part for text in overrides(plan.settings, run.params) for part in ("-S", text)]
    return ["exp", "run", "--name", run.name, *settings]


def _value(plan: Plan, of_point: Sequence[Record]) -> float | None:
    """Return what a point gave: the mean over its seeds, None if one failed."""
    head, metric = plan.sweep.target
    values = [record.metrics.get("val", {}).get(head, {}).get(metric) for record in of_point]
    return None if None in values else sum(values) / len(values)


def _write_tables(plan: Plan, finished: Sequence[Record]) -> Table:
    """Write table.csv, table.md and table.png, and return the table, the best point first."""
    head, metric = plan.sweep.target
    experiments = [records.as_experiment(record) for record in finished]
    shown = points(experiments, pooled=plan.seeds > 1)
    shown.sort(key=lambda point: -_rank(point.measured("val", head, metric)))
    others = [own for own in heads_of(experiments) if own != head]
    measures = [(head, metric), *((own, metric_of(experiments, own)) for own in others)]
    table = table_of(shown, measures)
    write_atomic(plan.folder / "table.csv", experiments_csv(experiments), sync=False)
    write_atomic(plan.folder / "table.md", table.markdown(), sync=False)
    if shown:
        title = f"Sweep {plan.file.stem}, by {plan.sweep.maximise}"
        write_atomic(plan.folder / "table.png", comparison_png(shown, measures, title=title), sync=False)
    return table


def _rank(found: Measured | None) -> float:
    return float("-inf") if found is None else found.value


def _found(name: str) -> Path:
    path = Path(name)
    if path.suffix != ".yaml":
        path = paths.SWEEPS / f"{name}.yaml"
    if not path.is_file():
        known = [file.stem for file in sorted(paths.SWEEPS.glob("*.yaml"))]
        raise UserError(f"no sweep '{name}' in {paths.SWEEPS}/, and no such file. {did_you_mean(name, known)}")
    if not _NAME.fullmatch(path.stem):
        raise UserError(f"{path}: runs are named after it: letters, digits, - and _ only")
    return path
