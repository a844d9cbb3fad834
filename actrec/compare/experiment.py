"""An experiment as it is compared: its settings, and what evaluate measured."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

SPLITS = ("val", "test")
SEED = "seed"
COSTS = ("minutes", "peak_memory_mb", "clips_per_s")
DATASET = "data.name"
# Of many settings that differ these are shown before all others.
_SECTIONS = ("recipe", "seed", "model", "train", "data", "frames")
# What a head is compared by, where nothing else is asked for: the first that it has.
_METRICS = ("top1", "map_macro")


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment.

    Args:
        name: What it is called.
        params: The settings by dotted names, see `flat`.
        metrics: What stands in its metrics.json; empty if it has none.
        note: Why it has none.
        label: A shorter name, for pictures.
    """

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric: the mean over experiments, and from where to where it goes.

    `low` and `high` are, of one experiment, the ends of its 95 % interval (bootstrap over clips) and None if it has
    none; of several, the lowest and the highest value.
    """

    value: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Point:
    """What is shown as one: an experiment, or several that differ in their seed alone."""

    name: str
    label: str
    params: Mapping[str, Any]
    experiments: tuple[Experiment, ...]

    @property
    def note(self) -> str:
        """Why experiments of it have no metrics."""
        return "; ".join(dict.fromkeys(each.note for each in self.experiments if each.note))

    def measured(self, split: str, head: str, metric: str) -> Measured | None:
        """Return a metric; None if no experiment has it."""
        found = [m for each in self.experiments if (m := _values(each, split, head)) and metric in m]
        if not found:
            return None
        values = [own[metric] for own in found]
        if len(values) > 1:
            return Measured(fmean(values), min(values), max(values), len(values))
        return Measured(values[0], found[0].get(f"{metric}_low"), found[0].get(f"{metric}_high"), 1)

    def cost(self, name: str) -> float | None:
        """Return one of COSTS, the mean over the experiments; None if none has it."""
        found = [value for each in self.experiments if (value := cost_of(each.metrics, name)) is not None]
        return fmean(found) if found else None


def flat(settings: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Return settings by dotted names; an empty section stands for itself."""
    return dict(_flat(settings, name))


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def points(experiments: Sequence[Experiment], *, pooled: bool) -> list[Point]:
    """Return what is shown, in the order of the first experiment of each.

    Args:
        experiments: All of them.
        pooled: Those that differ in nothing but `seed` are one. A copy (the workspace that still holds an experiment)
            counts once.
    """
    if not pooled:
        return [Point(each.name, each.label or each.name, each.params, (each,)) for each in experiments]
    groups: dict[str, list[Experiment]] = {}
    for each in experiments:
        settings = {name: value for name, value in each.params.items() if name != SEED}
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(each)
    return [_pooled(_without_copies(group)) for group in groups.values()]


def _without_copies(group: Sequence[Experiment]) -> list[Experiment]:
    # Of two that are the same the later stays: the workspace is listed first, and the other one has a name.
    same = {json.dumps([each.params.get(SEED), each.metrics or each.name], sort_keys=True): each for each in group}
    return list(same.values())


def _pooled(group: Sequence[Experiment]) -> Point:
    first, more = group[0], f" +{len(group) - 1}" if len(group) > 1 else ""
    name = first.label or f"{first.name}{more}"
    return Point(name, name, first.params, tuple(group))


def differing(shown: Sequence[Point]) -> list[str]:
    """Return the settings in which points differ, what says most first; not the seed, if it is pooled over."""
    pooled = any(len(point.experiments) > 1 for point in shown)
    names = dict.fromkeys(name for point in shown for name in point.params if name != SEED or not pooled)
    found = [
        name for name in names if len({json.dumps(point.params.get(name, ...), default=str) for point in shown}) > 1
    ]
    ranks = {section: rank for rank, section in enumerate(_SECTIONS)}
    # Scores on other data are another question: that is said first of all.
    return sorted(found, key=lambda name: (name != DATASET, ranks.get(name.partition(".")[0], len(ranks))))


def heads_of(experiments: Sequence[Experiment]) -> list[str]:
    """Return the heads that any of the experiments has metrics of and that have a metric to be compared by."""
    found = {
        head: values
        for each in experiments
        for split in SPLITS
        for head, values in each.metrics.get(split, {}).items()
        if isinstance(values, Mapping)
    }
    return [head for head, values in found.items() if any(metric in values for metric in _METRICS)]


def metric_of(experiments: Sequence[Experiment], head: str) -> str:
    """Return what a head is compared by: top1, or map_macro where clips may have several classes."""
    own = [values for each in experiments for split in SPLITS if (values := _values(each, split, head))]
    return next(metric for metric in _METRICS if any(metric in values for values in own))


def cost_of(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return one of COSTS out of metrics.json; None if it is not there."""
    training = metrics.get("training", {})
    if name == "minutes" and name not in training and "seconds" in training:
        return training["seconds"] / 60
    return training.get(name)


def _values(experiment: Experiment, split: str, head: str) -> Mapping[str, float]:
    values = experiment.metrics.get(split, {}).get(head, {})
    return values if isinstance(values, Mapping) else {}
