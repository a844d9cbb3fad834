"""The loop that trains everything."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from actrec.console import progress
from actrec.errors import UserError
from actrec.metrics.classification import summarise
from actrec.models.recogniser import Recogniser
from actrec.training.checkpoint import save_tensors
from actrec.training.device import peak_memory_mb
from actrec.training.loss import Loss
from actrec.training.predict import predict, to_device
from actrec.training.randomness import derive, epoch_order
from actrec.training.schedule import best_epoch, epochs_without_gain, lr_factor
from actrec.training.scores import scores_of
from actrec.training.sources import Batches, Source

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """The section `train` of params.yaml, field by field, but for what sources and devices are told."""

    lr: float
    backbone_lr_factor: float
    epochs: int
    batch_size: int
    accumulate: int
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    freeze: Mapping[str, Any]
    clip_norm: float
    label_smoothing: float
    class_weights: str
    select_on: str
    early_stopping: Mapping[str, Any]

    @property
    def lower_is_better(self) -> bool:
        """Whether the selected metric is a loss."""
        return self.select_on.endswith(".loss")

    @property
    def total_epochs(self) -> int:
        """Epochs of both phases."""
        return self.freeze["epochs"] + self.epochs


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of epochs with its own rate: `frozen` while backbones that will thaw stand still, then `main`."""

    name: str
    first_epoch: int
    epochs: int
    lr: float


@dataclass
class State:
    """Where training stands. Everything that the rest of the run depends on, and nothing else, is in here."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: {"data": 0.0, "compute": 0.0})
    history: list[Row] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What training ends with: a row an epoch, and the model's state after the best and the last one."""

    history: list[Row]
    best: dict[str, torch.Tensor]
    last: dict[str, torch.Tensor]
    best_epoch: int


class Run:
    """One training run, which can be killed at any moment and started again with the same arguments.

    Args:
        model: Fresh, on the CPU.
        train: What it learns from.
        val: What chooses the best epoch.
        settings: See there.
        fabric: Device and precision.
        heads: The section `model.heads`.
        classes: The class names of each head.
        seed: Of everything random.
        checkpoint: Where the state is kept; what is there is taken up. The caller sees to it that the path is another
            one for other settings, code or data.
        save_every_s: Besides the end of each epoch.
    """

    def __init__(
        self,
        model: Recogniser,
        train: Source,
        val: Source,
        *,
        settings: Settings,
        fabric: Fabric,
        heads: Mapping[str, Any],
        classes: Mapping[str, Sequence[str]],
        seed: int,
        checkpoint: Path,
        save_every_s: float = 300.0,
    ) -> None:
        self.settings, self.seed, self.fabric = settings, seed, fabric
        self._train, self._val, self._classes = train, val, classes
        self._train_batches, self._val_batches = Batches(train), Batches(val)
        self._always_frozen = model.frozen
        self._core = model
        self._model: Any = fabric.setup_module(model)
        self._loss = fabric.to_device(
            Loss(
                heads,
                labels=train.labels,
                num_classes={head: len(names) for head, names in classes.items()},
                class_weights=settings.class_weights,
                label_smoothing=settings.label_smoothing,
            )
        )
        self._checkpoint, self._save_every_s = checkpoint, save_every_s
        self.state = State()
        self._optimizer: Any = None

    def fit(self, log: Callable[[Row], None]) -> Fitted:
        """Train to the end, from wherever an earlier run with the same arguments stopped.

        Args:
            log: Called with each finished epoch's row of the history.

        Raises:
            UserError: if the loss stops being a number.
        """
        self._take_up()
        while self.state.epoch < self.settings.total_epochs and not self._should_stop():
            self._train_epoch()
            log(self._finish_epoch())
        last = self._core.state_dict()
        return Fitted(self.state.history, {**last, **self.state.best}, last, self._best() + 1)

    # --- an epoch -------------------------------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        epoch, phase = self.state.epoch, self._phase()
        if self._optimizer is None or (epoch == phase.first_epoch and self.state.step == 0):
            self._enter(phase)
        self._model.train()
        order = epoch_order(len(self._train), seed=self.seed, epoch=epoch)
        steps = math.ceil(len(order) / self.settings.batch_size)
        batches = self._train_batches.training(
            order, batch_size=self.settings.batch_size, epoch=epoch, first=self.state.step
        )
        title, saved = f"epoch {epoch + 1}/{self.settings.total_epochs}", time.monotonic()
        ready = time.perf_counter()
        for batch in progress(batches, steps - self.state.step, title, "steps"):
            arrived = time.perf_counter()
            self._step(to_device(batch, self.fabric.device), phase, steps)
            done = time.perf_counter()
            self.state.seconds["data"] += arrived - ready
            self.state.seconds["compute"] += done - arrived
            if time.monotonic() - saved > self._save_every_s and self._is_between_updates(steps):
                self._save()
                saved = time.monotonic()
            ready = time.perf_counter()

    def _step(self, batch: dict[str, Any], phase: Phase, steps: int) -> None:
        state, accumulate = self.state, self.settings.accumulate
        torch.manual_seed(derive(self.seed, "step", state.epoch, state.step))
        lr = self._set_lr(phase, steps)
        loss = self._loss(self._model(batch), batch["labels"])
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError(
                f"the loss is {value} at epoch {state.epoch + 1}, step {state.step + 1} of {steps}, lr {lr:.3g}. "
                f"Try a smaller train.lr (now {self.settings.lr:g}), a train.clip_norm such as 1.0 "
                f"(now {self.settings.clip_norm:g}), or train.precision: fp32"
            )
        # The last group of an epoch may be smaller; its mean is over what it has.
        group = min(accumulate, steps - state.step // accumulate * accumulate)
        self.fabric.backward(loss / group)
        state.step += 1
        state.loss_sum += value
        if self._is_between_updates(steps):
            if self.settings.clip_norm:
                self.fabric.clip_gradients(
                    self._model, self._optimizer, max_norm=self.settings.clip_norm, error_if_nonfinite=False
                )
            self._optimizer.step()
            self._optimizer.zero_grad()

    def _is_between_updates(self, steps: int) -> bool:
        return self.state.step % self.settings.accumulate == 0 or self.state.step == steps

    def _finish_epoch(self) -> Row:
        state = self.state
        started = time.perf_counter()
        scores = self._validate()
        row: Row = {
            "epoch": state.epoch + 1,
            "phase": self._phase().name,
            "lr": self._optimizer.param_groups[0]["lr"],
            "train_loss": state.loss_sum / max(state.step, 1),
            **scores,
            "data_s": round(state.seconds["data"], 4),
            "compute_s": round(state.seconds["compute"], 4),
            "epoch_s": round(sum(state.seconds.values()) + time.perf_counter() - started, 4),
            "peak_memory_mb": round(peak_memory_mb(self.fabric.device), 1),
        }
        state.history.append(row)
        row["is_best"] = self._best() == state.epoch
        if row["is_best"]:
            state.best = {name: value.detach().cpu().clone() for name, value in self._learned().items()}
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        state.seconds = {"data": 0.0, "compute": 0.0}
        self._save()
        return row

    def _validate(self) -> dict[str, float]:
        probs = predict(self._model, self._val_batches, device=self.fabric.device, batch_size=self.settings.batch_size)
        return {
            f"val_{scores.head}_{name}": value
            for scores in scores_of("val", self._val, probs, self._classes)
            for name, value in summarise(scores).items()
            if not name.startswith("num_")
        }

    # --- what the epoch depends on --------------------------------------------------------------------------------

    def _phase(self) -> Phase:
        settings, warm = self.settings, self.settings.freeze["epochs"]
        if self.state.epoch < warm:
            return Phase("frozen", 0, warm, settings.freeze["lr"])
        return Phase("main", warm, settings.epochs, settings.lr)

    def _enter(self, phase: Phase) -> None:
        """Freeze or thaw backbones, and begin with a fresh optimizer for what then learns."""
        self._core.freeze(*(self._core.backbones if phase.name == "frozen" else self._always_frozen))
        backbones = [p for p in self._core.backbones.parameters() if p.requires_grad]
        rest = [p for part in (self._core.neck, self._core.heads) for p in part.parameters()]
        groups = [{"params": rest, "factor": 1.0}]
        if backbones:
            groups.append({"params": backbones, "factor": self.settings.backbone_lr_factor})
        self._optimizer = self.fabric.setup_optimizers(_optimizer(self.settings.optimizer, groups))

    def _set_lr(self, phase: Phase, steps: int) -> float:
        factor = lr_factor(
            self.settings.schedule,
            progress=self.state.epoch - phase.first_epoch + self.state.step / steps,
            step=1 / steps,
            epochs=phase.epochs,
            scores=self._selected()[phase.first_epoch :],
            lower_is_better=self.settings.lower_is_better,
        )
        for group in self._optimizer.param_groups:
            group["lr"] = phase.lr * factor * group["factor"]
        return phase.lr * factor

    def _selected(self) -> list[float]:
        head, metric = self.settings.select_on.split(".")
        return [row[f"val_{head}_{metric}"] for row in self.state.history]

    def _best(self) -> int:
        return best_epoch(self._selected(), lower_is_better=self.settings.lower_is_better)

    def _should_stop(self) -> bool:
        patience = self.settings.early_stopping["patience_epochs"]
        main = self._selected()[self.settings.freeze["epochs"] :]
        waited = epochs_without_gain(
            main, min_delta=self.settings.early_stopping["min_delta"], lower_is_better=self.settings.lower_is_better
        )
        return bool(patience) and waited >= patience

    # --- being killed ---------------------------------------------------------------------------------------------

    def _save(self) -> None:
        state = self.state
        save_tensors(
            self._checkpoint,
            {
                "model": self._learned(),
                "optimizer": self._optimizer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "state": {name: getattr(state, name) for name in State.__dataclass_fields__},
            },
        )

    def _learned(self) -> dict[str, torch.Tensor]:
        """Return what training changes: a backbone that stays frozen is left out, it can be hundreds of megabytes."""
        fixed = tuple(f"backbones.{modality}." for modality in self._always_frozen)
        return {name: value for name, value in self._core.state_dict().items() if not name.startswith(fixed)}

    def _take_up(self) -> None:
        if not self._checkpoint.is_file():
            return
        saved = torch.load(self._checkpoint, map_location=self.fabric.device, weights_only=True)
        self.state = State(**saved["state"])
        self._core.load_state_dict({**self._core.state_dict(), **saved["model"]})
        if self.state.epoch < self.settings.total_epochs:
            self._enter(self._phase())
            # At the first step of a phase `_train_epoch` begins with a fresh optimizer, as the undisturbed run does.
            if self.state.epoch != self._phase().first_epoch or self.state.step:
                self._optimizer.load_state_dict(saved["optimizer"])
                self.fabric.strategy.precision.load_state_dict(saved["precision"])


def _optimizer(spec: Mapping[str, Any], groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    # The rate is set before each step; 1.0 here only satisfies the constructor.
    match spec:
        case {"kind": "sgd", "momentum": momentum, "nesterov": nesterov, "weight_decay": decay}:
            return torch.optim.SGD(groups, lr=1.0, momentum=momentum, nesterov=nesterov, weight_decay=decay)
        case {"kind": "adam", "weight_decay": decay}:
            return torch.optim.Adam(groups, lr=1.0, weight_decay=decay)
        case {"kind": "adamw", "weight_decay": decay}:
            return torch.optim.AdamW(groups, lr=1.0, weight_decay=decay)
        case _:
            raise ValueError(f"unknown optimizer {spec}")
