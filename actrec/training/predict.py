"""Class probabilities of clips, from a model that is not being trained."""

from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from actrec.training.ranks import Ranks
from actrec.training.sources import Batches


@torch.inference_mode()
def predict(model: Any, batches: Batches, *, device: torch.device, batch_size: int) -> dict[str, np.ndarray]:
    """Return probabilities float32 (clips, classes) an output; several views of a clip are averaged as probabilities.

    Args:
        model: A `Recogniser`, bare or set up by Fabric. It is left in evaluation mode.
        batches: Of the clips, in their order.
        device: Where the model is.
        batch_size: Clips at a time.
    """
    model.eval()
    probs: dict[str, list[np.ndarray]] = {}
    for batch in batches.plain(batch_size=batch_size):
        for output, logits in model(to_device(batch, device)).items():
            views = model.to_probs(output, logits.float()).unflatten(0, (-1, batch["views"]))
            probs.setdefault(output, []).append(views.mean(dim=1).cpu().numpy())
    return {output: np.concatenate(parts) for output, parts in probs.items()}


def predict_together(
    model: Any, batches: Batches, num_clips: int, *, fabric: Fabric, batch_size: int
) -> dict[str, np.ndarray]:
    """Return what `predict` does of all clips, of which each process computes those that `own_rows` gives it.

    Args:
        model: A `Recogniser`, bare, on Fabric's device.
        batches: Of the clips of this process.
        num_clips: Of all processes.
        fabric: Device and precision.
        batch_size: Clips at a time, of all processes.
    """
    ranks = Ranks(fabric.global_rank, fabric.world_size)
    ranks.agree_on_buffers(model)
    own = predict(_Runner(model, fabric), batches, device=fabric.device, batch_size=ranks.batch_size(batch_size))
    return {output: ranks.join(values, num_clips, fabric.device) for output, values in own.items()}


class _Runner:
    """A model in Fabric's precision, not as Fabric sets it up: of DDP, all processes would call it equally often."""

    def __init__(self, model: Any, fabric: Fabric) -> None:
        self._model, self._precision = model, fabric.strategy.precision

    def __call__(self, batch: dict[str, Any]) -> Any:
        with self._precision.forward_context():
            logits = self._model(self._precision.convert_input(batch))
        return self._precision.convert_output(logits)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the batch with every tensor in it on the device."""
    return {key: _move(value, device) for key, value in batch.items()}


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    return to_device(value, device) if isinstance(value, dict) else value
