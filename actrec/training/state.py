"""Where a run stands: all that the rest of it depends on, and its file, from which a killed run goes on."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from actrec.errors import UserError
from actrec.training.checkpoint import save_tensors


@dataclass
class State:
    """Where training stands, besides model and optimizer.

    `step` counts the batches of the current epoch, `loss_sum` is over their clips, `penalty_sums` likewise by name,
    `best` the model's state after the best epoch so far. Of several processes all have the same state but for
    `seconds`, and the first one's is saved.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    penalty_sums: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"data": 0.0, "compute": 0.0})
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)


def save_state(path: Path, state: State, **parts: dict[str, Any]) -> None:
    """Write the state with the state dicts of what else learns, whole or not at all."""
    save_tensors(path, {**parts, "state": {f.name: getattr(state, f.name) for f in fields(State)}})


def load_state(path: Path) -> tuple[State, dict[str, Any]]:
    """Return what `save_state` wrote, on the CPU.

    Raises:
        UserError: if the disk has damaged it; a kill cannot.
    """
    try:
        parts = torch.load(path, map_location="cpu", weights_only=True)
        return State(**parts.pop("state")), parts
    except Exception as error:
        raise UserError(
            f"{path}: the interrupted run's state is damaged ({' '.join(str(error).split())[:100]}). "
            "Remove the file to train from the beginning."
        ) from None
