"""The recipes for Stanford Cars are the guide's run 7, and what the guide says of 448 px and of six views."""

from pathlib import Path

import pytest

from actrec.params import load
from actrec.params.load import plain

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
RUN_7 = {
    "lr": 0.1,
    "batch_size": 128,
    "accumulate": 1,
    "epochs": 90,
    "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4},
    "schedule": {"kind": "step", "warmup_epochs": 0, "warmup_from_frac": 0, "every_epochs": 30, "factor": 0.1},
    "precision": "fp16",
    "clip_norm": 0,
    "label_smoothing": 0,
    "mixup_alpha": 0,
    "class_weights": "none",
    "backbone_lr_factor": 1,
}


def read(name):
    return plain(load(RECIPES / f"{name}.yaml"))


def same_but(first, second, *names):
    """Tell whether two trees differ in these places alone, each `section.key`, and do so in each."""
    flat = [
        {f"{s}.{key}": value for s, part in tree.items() if isinstance(part, dict) for key, value in part.items()}
        for tree in (first, second)
    ]
    return {name for name in flat[0] if flat[0][name] != flat[1][name]} == set(names)


def test_run_7():
    cars = read("cars")
    assert {name: cars["train"][name] for name in RUN_7} == RUN_7
    assert cars["train"]["freeze"]["epochs"] == 0 and cars["train"]["early_stopping"]["patience_epochs"] == 0
    assert cars["train"]["augment"]["rgb"] == {
        **{"min_area_frac": 0.08, "flip_prob": 0.5, "color_jitter": 0, "randaugment": None}
    }
    rgb = cars["model"]["backbones"]["rgb"]
    assert (rgb["kind"], rgb["depth"], rgb["frozen"], rgb["input_px"]) == ("resnet", 50, False, 224)
    assert rgb["crop_frac"] == 224 / 256
    assert rgb["weights"] == {"kind": "torchvision", "name": "IMAGENET1K_V1"}
    assert cars["compute"]["compile"] and cars["compute"]["channels_last"]
    assert cars["evaluate"]["views"] == {"clips": 1, "flip": False, "scales": [1]}


def test_val_is_taken_out_of_train_and_test_is_looked_at_in_the_end():
    cars = read("cars")
    assert cars["data"]["reader"]["splits"] == {"train": "train", "val": None, "test": "test"}
    assert cars["data"]["split"]["val_frac"] > 0 and cars["evaluate"]["splits"] == ["val", "test"]


def test_as_published_differs_in_what_chooses_the_epoch():
    cars, published = read("cars"), read("cars-as-published")
    assert same_but(cars, published, "data.name", "data.reader", "data.split", "evaluate.splits")
    assert published["data"]["reader"]["splits"] == {"train": "train", "val": "test", "test": None}
    assert published["evaluate"]["splits"] == ["val"]


def test_448_px():
    cars, large = read("cars"), read("cars-448")
    changed = ("train.lr", "train.batch_size", "train.freeze", "evaluate.views", "evaluate.batch_size")
    assert same_but(cars, large, "data.name", "frames.size_px", "model.backbones", *changed)
    assert (large["train"]["lr"], large["train"]["batch_size"]) == (0.05, 64)
    assert large["model"]["backbones"]["rgb"] == {**cars["model"]["backbones"]["rgb"], "input_px": 448}
    views = large["evaluate"]["views"]
    assert views["flip"] and [scale * 224 for scale in views["scales"]] == pytest.approx([224, 256, 288], abs=1e-3)
