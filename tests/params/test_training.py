"""What the section `train` may say of devices and of validation."""

import pytest
from pydantic import ValidationError

from actrec.params.training import Train

TRAIN = {
    "devices": 2,
    "lr": 0.1,
    "backbone_lr_factor": 1.0,
    "epochs": 3,
    "batch_size": 2,
    "accumulate": 1,
    "optimizer": {"kind": "adamw", "weight_decay": 0.0},
    "schedule": {"kind": "none", "warmup_epochs": 0, "warmup_from_frac": 0.0},
    "freeze": {"epochs": 0, "lr": 0.1},
    "augment": {},
    "clip_norm": 0.0,
    "mixup_alpha": 0.0,
    "label_smoothing": 0.0,
    "class_weights": "none",
    "sampler": "shuffled",
    "soft_recall": None,
    "precision": "fp32",
    "select_on": "action.top1",
    "validation": {"from_epoch": 2, "every_epochs": 2},
    "early_stopping": {"patience_epochs": 0, "min_delta": 0.0},
    "tensorboard": True,
}


def test_a_clip_a_device_is_enough():
    assert Train.model_validate(TRAIN).devices == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 3}, "devices is 3, but there are only 2 clips in a batch for them to share: set batch_size to 3"),
        ({"devices": 0}, "greater than or equal to 1"),
        ({"validation": {"from_epoch": 0, "every_epochs": 2}}, "greater than or equal to 1"),
        ({"validation": {"from_epoch": 1, "every_epochs": 0}}, "greater than or equal to 1"),
        ({"tensorboard": "yes"}, "valid boolean"),
    ],
)
def test_what_cannot_be(changes, message):
    with pytest.raises(ValidationError, match=message):
        Train.model_validate({**TRAIN, **changes})
