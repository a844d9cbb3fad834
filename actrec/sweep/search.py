"""Points of a space, each chosen by what the ones before have given: Optuna's TPE, with a study that outlives us."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actrec.errors import UserError
from actrec.sweep.plan import Choice, Dimension, Range, Sample, value_label

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

_DIGITS = 4


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

        trials = self._study.get_trials(deepcopy=False)
        if number < len(trials):
            chosen = trials[number].params
        else:
            seed = int(np.random.SeedSequence([self._sample.seed, number]).generate_state(1)[0])
            self._study.sampler = optuna.samplers.TPESampler(seed=seed)
            chosen = self._study.ask({name: _space(dim) for name, dim in self._sample.space.items()}).params
        return choice_of({name: _value(dim, chosen[name]) for name, dim in self._sample.space.items()})

    def tell(self, number: int, value: float | None) -> None:
        """Say what point `number` gave; None: it failed. A second time changes nothing."""
        from optuna.trial import TrialState

        if self._study.get_trials(deepcopy=False)[number].state == TrialState.RUNNING:
            self._study.tell(number, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)


def choice_of(changes: Mapping[str, Any]) -> Choice:
    """Return a point under a name made of its values."""
    return Choice(
        "-".join(f"{name.rpartition('.')[2]}{value_label(value)}" for name, value in changes.items()), changes
    )


def corners(sample: Sample) -> list[Choice]:
    """Return the ends of each dimension and each of its choices, the other dimensions at their first value."""
    ends = {name: [dim.low, dim.high] if isinstance(dim, Range) else list(dim) for name, dim in sample.space.items()}
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
