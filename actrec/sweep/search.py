"""Points of a space, each chosen by what the ones before have given: Optuna's TPE, with a study that outlives us."""

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actrec.errors import UserError
from actrec.sweep.plan import Choice, Dimension, Range, Sample, value_label

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_DIGITS = 4
_SMALL_SPACE = 1000  # points: to check so many takes a second
# The number of a point, at the trial that says what it gave after it had failed.
_RETRIED = "retried_point"


class Search:
    """A study of a sampled sweep, in a file that `optuna-dashboard` opens as well.

    The sampler is seeded anew for each point, by the sweep's seed and the point's number: an interrupted search goes on
    with the points that it would have had.

    Args:
        path: The study's journal.
        sample: What is searched.

    Raises:
        UserError: if Optuna is not installed.
    """

    def __init__(self, path: Path, sample: Sample) -> None:
        self._sample = sample
        self._study = _study(path)

    def propose(self, number: int) -> Choice:
        """Return point `number`, counted from 0: the one that was begun, else a new one."""
        import optuna

        begun = self._begun()
        if number < len(begun):
            chosen = begun[number].params
        else:
            seed = int(np.random.SeedSequence([self._sample.seed, number]).generate_state(1)[0])
            self._study.sampler = optuna.samplers.TPESampler(seed=seed)
            chosen = self._study.ask({name: _space(dim) for name, dim in self._sample.space.items()}).params
        return choice_of({name: _value(dim, chosen[name]) for name, dim in self._sample.space.items()})

    def tell(self, number: int, value: float | None) -> None:
        """Say what point `number` gave; None: it failed. Once it has a value, that stays."""
        from optuna.trial import TrialState, create_trial

        trial = self._begun()[number]
        if trial.state == TrialState.RUNNING:
            self._study.tell(trial.number, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)
        elif trial.state == TrialState.FAIL and value is not None and number not in self._retried():
            # What has ended stays as it is in a study: another trial of the same point has the value.
            same = {"params": trial.params, "distributions": trial.distributions}
            self._study.add_trial(create_trial(**same, value=value, user_attrs={_RETRIED: number}))

    def _begun(self) -> "list[FrozenTrial]":
        """Return the trial that each point began with, in the order of points."""
        return [trial for trial in self._study.get_trials(deepcopy=False) if _RETRIED not in trial.user_attrs]

    def _retried(self) -> set[int]:
        trials = self._study.get_trials(deepcopy=False)
        return {trial.user_attrs[_RETRIED] for trial in trials if _RETRIED in trial.user_attrs}


def choice_of(changes: Mapping[str, Any]) -> Choice:
    """Return a point under a name made of its values."""
    return Choice(
        "-".join(f"{name.rpartition('.')[2]}{value_label(value)}" for name, value in changes.items()), changes
    )


def points_to_check(sample: Sample) -> list[Choice]:
    """Return what is checked before the first run: all points if they are few and of choices alone, else the corners.

    Those are the ends of each dimension and each of its choices, the other dimensions at their first value.
    """
    ends = {name: [dim.low, dim.high] if isinstance(dim, Range) else list(dim) for name, dim in sample.space.items()}
    ranges = any(isinstance(dim, Range) for dim in sample.space.values())
    if not ranges and math.prod(map(len, ends.values())) <= _SMALL_SPACE:
        return [choice_of(dict(zip(ends, values, strict=True))) for values in itertools.product(*ends.values())]
    first = {name: values[0] for name, values in ends.items()}
    return [choice_of({**first, name: value}) for name, values in ends.items() for value in values]


def _study(path: Path) -> "Study":
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError("sample needs Optuna: pip install 'actrec[optuna]', or give a grid") from None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))
    return optuna.create_study(storage=storage, study_name=path.parent.name, direction="maximize", load_if_exists=True)


def _space(dimension: Dimension) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match dimension:
        case Range(low=int(low), high=int(high), log=log):
            return IntDistribution(low, high, log=log)
        case Range(low=low, high=high, log=log):
            return FloatDistribution(float(low), float(high), log=log)
        case _:
            # As text: a choice may be a whole section.
            return CategoricalDistribution([json.dumps(value) for value in dimension])


def _value(dimension: Dimension, chosen: Any) -> Any:
    match dimension:
        case Range(low=low, high=high) if isinstance(chosen, float):
            return min(max(float(f"{chosen:.{_DIGITS}g}"), low), high)
        case Range():
            return chosen
        case _:
            return json.loads(chosen)
