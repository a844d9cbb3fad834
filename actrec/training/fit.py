"""The loop that trains everything."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from actrec.console import progress, say
from actrec.errors import UserError
from actrec.metric_names import val_column
from actrec.metrics.summary import summarise
from actrec.models.recogniser import Recogniser
from actrec.outputs import output_and_metric
from actrec.training.checkpoint import Checkpoint, save_model
from actrec.training.device import (
    compile_in_place,
    peak_memory_mb,
    refuse_to_compile,
    refuse_wrong_gradients,
    seed_step,
    synchronise_batch_norm,
)
from actrec.training.labels import NO_LABEL, in_class_order
from actrec.training.loss import Loss
from actrec.training.mixup import Mix, draw_mix
from actrec.training.optimizer import make_optimizer
from actrec.training.predict import predict_together, to_device
from actrec.training.randomness import balanced_order, derive, epoch_order, generator
from actrec.training.ranks import Ranks, own_rows
from actrec.training.schedule import best_epoch, epochs_without_gain, lr_factor
from actrec.training.scores import scores_of
from actrec.training.settings import Phase, Settings, Steps
from actrec.training.sources import Batches, Source
from actrec.training.state import State, load_state, save_state

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What training ends with: a row an epoch, and the model's state after the best and the last one."""

    history: list[Row]
    best: dict[str, torch.Tensor]
    last: dict[str, torch.Tensor]
    best_epoch: int

    def save(self, best: Path, last: Path, about: Checkpoint) -> None:
        """Write the models of the best and of the last epoch."""
        save_model(best, replace(about, epoch=self.best_epoch), self.best)
        save_model(last, replace(about, epoch=len(self.history)), self.last)


class Run:
    """One training run, which can be killed at any moment and started again with the same arguments.

    On several devices each process makes the same run, and takes its part of every batch. The first one's clock and
    memory are those in the history, and it alone writes the state.

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
        compiled: Whether training, not validation, runs through torch.compile.

    Raises:
        UserError: if the settings ask for what the classes or the machine cannot do.
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
        compiled: bool = False,
    ) -> None:
        if compiled:
            refuse_to_compile(fabric.device)
        self.settings, self.seed, self.fabric = settings, seed, fabric
        self._labels, self._val, self._classes = train.labels, val, classes
        self._ranks = Ranks(fabric.global_rank, fabric.world_size)
        self._train_batches, self._val_batches = Batches(train), Batches(own_rows(val, self._ranks))
        self._steps = Steps(len(train), settings.batch_size, settings.accumulate)
        self._always_frozen = model.frozen
        refuse_wrong_gradients(model, fabric)
        self._core: Any = fabric.to_device(synchronise_batch_norm(model, fabric))
        self._loss: Any = fabric.to_device(
            Loss(
                heads,
                labels=train.labels,
                num_classes={head: len(names) for head, names in classes.items()},
                class_weights=_weights(settings.class_weights, classes),
                label_smoothing=settings.label_smoothing,
                soft_recall=settings.soft_recall,
                total=self._ranks.total if self._ranks.size > 1 else None,
            )
        )
        self._checkpoint, self._save_every_s, self._compiled = checkpoint, save_every_s, compiled
        self.state = State()
        self._model: Any = None
        self._optimizer: Any = None

    def fit(self, log: Callable[[Row], object]) -> Fitted:
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
        if self.state.epoch < self.settings.total_epochs:
            patience = self.settings.early_stopping["patience_epochs"]
            say(f"stopped early: {self.settings.select_on} has brought no gain for {patience} epochs")
        last = self._core.state_dict()
        return Fitted(_even(self.state.history), {**last, **self.state.best}, last, self._best() + 1)

    # --- an epoch -------------------------------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        state, settings, steps, ranks = self.state, self.settings, self._steps, self._ranks
        if self._is_phase_start():
            self._enter()
        self._model.train()
        batches = self._train_batches.training(
            ranks.order(self._order(), settings.batch_size),
            batch_size=ranks.batch_size(settings.batch_size),
            epoch=state.epoch,
            first=state.step,
        )
        saved = ready = time.perf_counter()
        for batch in progress(
            batches, len(steps) - state.step, f"epoch {state.epoch + 1}/{settings.total_epochs}", "steps"
        ):
            arrived = time.perf_counter()
            self._step(to_device(batch, self.fabric.device))
            done = time.perf_counter()
            state.seconds["data"] += arrived - ready
            state.seconds["compute"] += done - arrived
            if done - saved >= self._save_every_s and steps.is_update(state.step):
                self._save()
                saved = done
            ready = time.perf_counter()

    def _order(self) -> np.ndarray:
        """Return which clips the epoch visits, of all processes."""
        if self.settings.sampler == "shuffled":
            return epoch_order(self._steps.num_clips, seed=self.seed, epoch=self.state.epoch)
        (head,) = self._classes
        return balanced_order(self._labels[head].numpy(), seed=self.seed, epoch=self.state.epoch)

    def _step(self, batch: dict[str, Any]) -> None:
        state, steps, clip_norm = self.state, self._steps, self.settings.clip_norm
        ranks, is_update = self._ranks, steps.is_update(state.step + 1)
        # Of several processes each drops out other things; views and order are the same for any number of them.
        rank = [ranks.rank] if ranks.size > 1 else []
        seed_step(derive(self.seed, "step", state.epoch, state.step, *rank), self.fabric.device)
        self._set_lr()
        with self.fabric.no_backward_sync(self._model, enabled=not is_update):
            loss, values = self._losses(batch)
            if not math.isfinite(values["loss"]):
                raise self._diverged(f"the loss is {values['loss']}", state.step + 1)
            # Fabric's mean over the processes is to be a sum.
            self.fabric.backward(loss * (steps.share(state.step) * ranks.size))
        num_clips = steps.clips_in(state.step)
        state.loss_sum += values.pop("loss") * num_clips
        for name, value in values.items():
            state.penalty_sums[name] = state.penalty_sums.get(name, 0.0) + value * num_clips
        state.step += 1
        if is_update:
            if clip_norm:
                self.fabric.clip_gradients(self._model, self._optimizer, max_norm=clip_norm, error_if_nonfinite=False)
            self._optimizer.step()
            self._optimizer.zero_grad()

    def _losses(self, batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, float]]:
        """Return this process's part of the loss; and the loss of the batch of all, and each penalty in it."""
        num_clips = self._steps.clips_in(self.state.step)
        own_clips = self._ranks.clips_in(num_clips)
        labels = batch["labels"]
        if not own_clips:  # a clip that another process has is there, so that this one can take part
            labels = {head: torch.full_like(values, NO_LABEL) for head, values in labels.items()}
        mix = self._mix(labels)
        logits, penalties = self._model({**(mix.shown(batch) if mix else batch), "labels": labels})

        def by(loss: Callable[..., torch.Tensor]) -> torch.Tensor:
            return mix.loss(loss, logits, labels) if mix else loss(logits, labels)

        judged = by(self._loss)
        if self.settings.soft_recall:
            penalties = {**penalties, "soft_recall": by(self._loss.soft_recall)}
        added = {name: value.float() * (own_clips / num_clips) for name, value in penalties.items()}
        loss = torch.stack([judged, *added.values()]).sum()
        values = self._ranks.total(torch.stack([loss, *added.values()]).detach()).tolist()
        return loss, dict(zip(("loss", *added), values, strict=True))

    def _mix(self, labels: Mapping[str, torch.Tensor]) -> Mix | None:
        """Return how this process's clips of the step are mixed with each other."""
        alpha, state = self.settings.mixup_alpha, self.state
        if not alpha:
            return None
        (num_clips,) = {len(values) for values in labels.values()}
        rng = generator(self.seed, "mixup", state.epoch, state.step)
        return draw_mix(rng, num_clips, alpha=alpha, device=self.fabric.device)

    def _finish_epoch(self) -> Row:
        state, started = self.state, time.perf_counter()
        scores = self._validate() if self.settings.is_validated(state.epoch) else {}
        row: Row = {
            "epoch": state.epoch + 1,
            "phase": self._phase().name,
            "lr": self._optimizer.param_groups[0]["lr"],
            "train_loss": state.loss_sum / self._steps.num_clips,
            **{f"train_{name}": value / self._steps.num_clips for name, value in state.penalty_sums.items()},
            "val_score": scores[val_column(*output_and_metric(self.settings.select_on))] if scores else None,
            **scores,
            "train_clips": self._steps.num_clips,
            "data_s": round(state.seconds["data"], 4),
            "compute_s": round(state.seconds["compute"], 4),
            "epoch_s": round(sum(state.seconds.values()) + time.perf_counter() - started, 4),
            "peak_memory_mb": round(peak_memory_mb(self.fabric.device), 1),
        }
        state.history.append(row)
        row["is_best"] = bool(scores) and self._best() == state.epoch
        if row["is_best"]:
            state.best = {name: value.detach().cpu().clone() for name, value in self._learned().items()}
        state.epoch, state.step, state.loss_sum, state.penalty_sums = state.epoch + 1, 0, 0.0, {}
        state.seconds = {"data": 0.0, "compute": 0.0}
        self._save()
        return row

    def _validate(self) -> dict[str, float]:
        probs = predict_together(
            self._core,
            self._val_batches,
            len(self._val),
            fabric=self.fabric,
            batch_size=self.settings.batch_size,
        )
        if not all(np.isfinite(values).all() for values in probs.values()):
            raise self._diverged("what the model says of the val clips is not a number", len(self._steps))
        return {
            val_column(scores.head, name): value
            for scores in scores_of("val", self._val, probs, self._classes, ratios=self._core.ratios)
            for name, value in summarise(scores).items()
            if not name.startswith("num_")
        }

    def _diverged(self, what: str, step: int) -> UserError:
        lr = self._optimizer.param_groups[0]["lr"]
        return UserError(
            f"{what} at epoch {self.state.epoch + 1}, step {step} of {len(self._steps)}, lr {lr:.3g}. Try a smaller "
            f"train.lr (now {self.settings.lr:g}), a train.clip_norm such as 1.0 (now {self.settings.clip_norm:g}), or "
            "train.precision: fp32"
        )

    # --- what the epoch depends on --------------------------------------------------------------------------------

    def _phase(self) -> Phase:
        return self.settings.phase(self.state.epoch)

    def _is_phase_start(self) -> bool:
        return self.state.step == 0 and self.state.epoch == self._phase().first_epoch

    def _enter(self) -> None:
        """Freeze or thaw backbones, and begin with a fresh optimizer for what then learns.

        Which gradients several processes exchange is settled when Fabric gets the model.
        """
        self._core.freeze(*(self._core.backbones if self._phase().name == "frozen" else self._always_frozen))
        self._model = None  # which takes its hooks off the parameters
        learner = _Learner(self._core)
        if self._compiled:
            compile_in_place(learner)
        self._model = self.fabric.setup_module(learner)
        factor = self.settings.backbone_lr_factor
        self._optimizer = self.fabric.setup_optimizers(
            make_optimizer(self.settings.optimizer, self._core, backbone_lr_factor=factor)
        )

    def _set_lr(self) -> None:
        phase, steps = self._phase(), len(self._steps)
        factor = lr_factor(
            self.settings.schedule,
            progress=self.state.epoch - phase.first_epoch + self.state.step / steps,
            step=1 / steps,
            epochs=phase.epochs,
            scores=self._selected(phase.first_epoch),
            lower_is_better=self.settings.lower_is_better,
        )
        for group in self._optimizer.param_groups:
            group["lr"] = phase.lr * factor * group["factor"]

    def _validated(self, first: int = 0) -> list[Row]:
        return [row for row in self.state.history[first:] if row["val_score"] is not None]

    def _selected(self, first: int = 0) -> list[float]:
        return [row["val_score"] for row in self._validated(first)]

    def _best(self) -> int:
        rows, (output, _) = self._validated(), output_and_metric(self.settings.select_on)
        losses = [row[val_column(output, "loss")] for row in rows]
        return rows[best_epoch(self._selected(), losses, lower_is_better=self.settings.lower_is_better)]["epoch"] - 1

    def _should_stop(self) -> bool:
        patience = self.settings.early_stopping["patience_epochs"]
        waited = epochs_without_gain(
            self._selected(self.settings.freeze["epochs"]),
            min_delta=self.settings.early_stopping["min_delta"],
            lower_is_better=self.settings.lower_is_better,
        )
        return bool(patience) and waited >= patience

    # --- being killed ---------------------------------------------------------------------------------------------

    def _learned(self) -> dict[str, torch.Tensor]:
        """Return what training changes: a backbone that stays frozen is left out, it can be hundreds of megabytes."""
        fixed = tuple(f"backbones.{modality}." for modality in self._always_frozen)
        return {name: value for name, value in self._core.state_dict().items() if not name.startswith(fixed)}

    def _save(self) -> None:
        if self._ranks.rank:
            return
        precision, optimizer = self.fabric.strategy.precision.state_dict(), self._optimizer.state_dict()
        save_state(self._checkpoint, self.state, model=self._learned(), optimizer=optimizer, precision=precision)

    def _take_up(self) -> None:
        if not self.fabric.broadcast(self._checkpoint.is_file()):
            return
        self.state, saved = load_state(self._checkpoint)
        self.fabric.barrier()  # a finished run's first process removes it
        self._core.load_state_dict({**self._core.state_dict(), **saved["model"]})
        self.fabric.strategy.precision.load_state_dict(saved["precision"])
        # At the start of a phase, and at the end of all, the old optimizer has done its work.
        if self.state.epoch < self.settings.total_epochs and not self._is_phase_start():
            self._enter()
            self._optimizer.load_state_dict(saved["optimizer"])


class _Learner(nn.Module):
    """What Fabric calls in training."""

    def __init__(self, core: Recogniser) -> None:
        super().__init__()
        self.core = core

    def forward(self, batch: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        return self.core.learn(batch)


def _weights(chosen: str | Mapping[str, float], classes: Mapping[str, Sequence[str]]) -> str | list[float]:
    if isinstance(chosen, str):
        return chosen
    (names,) = classes.values()
    return in_class_order(chosen, names)


def _even(history: Sequence[Row]) -> list[Row]:
    """Return rows that all have the columns of the last epoch, which is validated; None where nothing is known."""
    return [{name: row.get(name) for name in history[-1]} for row in history]
