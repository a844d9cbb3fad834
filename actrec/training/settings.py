"""How a model is fitted, and what follows from it for an epoch and for a step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actrec.outputs import output_and_metric


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of epochs with its own rate: `frozen` while backbones that will thaw stand still, then `main`."""

    name: str
    first_epoch: int
    epochs: int
    lr: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The section `train` of params.yaml, field by field, but for what sources, devices and TensorBoard are told."""

    lr: float
    backbone_lr_factor: float
    epochs: int
    batch_size: int
    accumulate: int
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    freeze: Mapping[str, Any]
    clip_norm: float
    mixup_alpha: float
    label_smoothing: float
    class_weights: str | Mapping[str, float]
    sampler: str
    soft_recall: Mapping[str, Any] | None
    select_on: str
    early_stopping: Mapping[str, Any]
    validation: Mapping[str, Any]

    @property
    def lower_is_better(self) -> bool:
        """Whether the selected metric is a loss."""
        return output_and_metric(self.select_on)[1] == "loss"

    @property
    def total_epochs(self) -> int:
        """Epochs of both phases."""
        return self.freeze["epochs"] + self.epochs

    def is_validated(self, epoch: int) -> bool:
        """Tell whether an epoch, counted from 0, ends with a validation; the last one always does."""
        late = epoch + 1 - self.validation["from_epoch"]
        return epoch + 1 == self.total_epochs or (late >= 0 and late % self.validation["every_epochs"] == 0)

    def phase(self, epoch: int) -> Phase:
        """Return the phase that an epoch, counted from 0, belongs to."""
        warm = self.freeze["epochs"]
        return (
            Phase("frozen", 0, warm, self.freeze["lr"]) if epoch < warm else Phase("main", warm, self.epochs, self.lr)
        )


@dataclass(frozen=True, slots=True)
class Steps:
    """How the clips of an epoch are shared out: `batch_size` a step, `accumulate` steps an update.

    The last step of an epoch may have fewer clips, and its last update fewer steps.
    """

    num_clips: int
    batch_size: int
    accumulate: int

    def __len__(self) -> int:
        return math.ceil(self.num_clips / self.batch_size)

    def clips_in(self, step: int) -> int:
        """Return the number of clips in a step, counted from 0."""
        return self._clips_between(step, step + 1)

    def share(self, step: int) -> float:
        """Return the step's share in its update: so that each clip counts alike, as if they were one large batch."""
        first = step - step % self.accumulate
        return self.clips_in(step) / self._clips_between(first, first + self.accumulate)

    def is_update(self, done: int) -> bool:
        """Tell whether an update is due after so many steps."""
        return done % self.accumulate == 0 or done == len(self)

    def _clips_between(self, first: int, end: int) -> int:
        return min(end * self.batch_size, self.num_clips) - first * self.batch_size
