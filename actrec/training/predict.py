"""Class probabilities of clips, from a model that is not being trained."""

from typing import Any

import numpy as np
import torch

from actrec.training.sources import Batches


@torch.inference_mode()
def predict(model: Any, batches: Batches, *, device: torch.device, batch_size: int) -> dict[str, np.ndarray]:
    """Return probabilities float32 (clips, classes) a head; several views of a clip are averaged as probabilities.

    Args:
        model: A `Recogniser`, bare or set up by Fabric. It is left in evaluation mode.
        batches: Of the clips, in their order.
        device: Where the model is.
        batch_size: Clips at a time.
    """
    model.eval()
    probs: dict[str, list[np.ndarray]] = {}
    for batch in batches.plain(batch_size=batch_size):
        for head, logits in model(to_device(batch, device)).items():
            views = model.to_probs(head, logits.float()).unflatten(0, (-1, batch["views"]))
            probs.setdefault(head, []).append(views.mean(dim=1).cpu().numpy())
    return {head: np.concatenate(parts) for head, parts in probs.items()}


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the batch with every tensor in it on the device."""
    return {key: _move(value, device) for key, value in batch.items()}


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    return to_device(value, device) if isinstance(value, dict) else value
