"""The optimizer, with a group for what learns at another rate."""

from collections.abc import Mapping
from typing import Any

import torch

from actrec.models.recogniser import Recogniser


def make_optimizer(spec: Mapping[str, Any], model: Recogniser, *, backbone_lr_factor: float) -> torch.optim.Optimizer:
    """Return a fresh optimizer of what is not frozen now; each group's `factor` is what its rate is multiplied with.

    Args:
        spec: The section `train.optimizer`.
        model: Its neck, heads and PCAN are one group, its free backbones another.
        backbone_lr_factor: Of the backbones.
    """
    rest = [p for part in (model.neck, model.heads, model.pcan) if part for p in part.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": rest, "factor": 1.0}]
    if backbones := [p for p in model.backbones.parameters() if p.requires_grad]:
        groups.append({"params": backbones, "factor": backbone_lr_factor})
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
