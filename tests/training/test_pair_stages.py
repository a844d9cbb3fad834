"""Pairs of people through all stages: each baseline on pictures in which both crops and geometry tell the classes."""

import csv
import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from fake_tensorboard import Writer, install
from PIL import Image
from ruamel.yaml import YAML

from actrec import paths
from pipeline import evaluate, features, frames, ingest, mels, skeletons, train

REPO = Path(__file__).resolve().parents[2]
STAGES = (ingest, skeletons, mels, frames, features, train, evaluate)
NUM_PICTURES = 14
WIDTH_PX, HEIGHT_PX = 160, 64
NEAR = ((4, 8, 24, 48), (30, 8, 24, 48))
APART = ((70, 8, 24, 48), (130, 8, 24, 48))
NO_AUGMENT = {"rgb": {"min_area_frac": 0.9, "flip_prob": 0.5, "color_jitter": 0.0, "randaugment": None}}
HOG = {
    **{"kind": "hog", "orientations": 9, "cell_px": 8, "block_cells": 2},
    **{"weights": {"kind": "none"}, "frozen": True, "input_px": 32, "crop_frac": 1.0},
}
RESNET = {
    **{"kind": "resnet", "depth": 18, "temporal": "mean", "weights": {"kind": "none"}},
    **{"frozen": True, "input_px": 32, "crop_frac": 1.0},
}
GEOMETRY = {"kind": "spatial", "weights": {"kind": "none"}, "frozen": True}
RELATION = {"kind": "relation", "visual_dim": 64, "hidden": [64, 32], "fusion": "add", "dropout": 0.0}
CONCAT = {"kind": "concat"}
LINEAR = {"relation": {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0}}
SVM = {"relation": {"kind": "svm", "c": [0.0001, 0.01]}}
WEIGHTS = {"apart": 1.0, "near": 1.4}
TERMS = {"form": "variance", "weight": 0.1, "accuracy_weight": 0.05}
# Backbones, neck, heads, whether features are cached, and changes of `train`.
MODELS = {
    "geometry": ({"geometry": GEOMETRY}, RELATION, LINEAR, False, {"tensorboard": True}),
    "frozen crops": ({"rgb": RESNET}, RELATION, LINEAR, True, {}),
    "crops and geometry": (
        {"rgb": RESNET, "geometry": GEOMETRY},
        RELATION,
        LINEAR,
        False,
        {"sampler": "balanced", "soft_recall": TERMS, "class_weights": WEIGHTS},
    ),
    "frozen crops and geometry": ({"rgb": RESNET, "geometry": GEOMETRY}, RELATION, LINEAR, True, {}),
    "hog": ({"rgb": HOG}, CONCAT, SVM, True, {"class_weights": WEIGHTS}),
    "hog and geometry": ({"rgb": HOG, "geometry": GEOMETRY}, CONCAT, SVM, True, {}),
}


def draw(number):
    """Return a picture with two people in upright stripes near each other, and two in lying ones apart."""
    rng = np.random.default_rng(number)
    picture = rng.integers(90, 110, (HEIGHT_PX, WIDTH_PX, 3))
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX] + rng.uniform(0, 6)
    for boxes, along in ((NEAR, x), (APART, y)):
        dark, bright = rng.integers(0, 80, 3), rng.integers(150, 256, 3)
        for left, top, width, height in boxes:
            part = np.s_[top : top + height, left : left + width]
            picture[part] = np.where((along[part] % 8 < 4)[..., None], bright, dark)
    return picture.astype(np.uint8)


def params_of(name):
    backbones, neck, heads, cached, changes = MODELS[name]
    params = YAML(typ="safe", pure=True).load((REPO / "recipes/images-hog.yaml").read_text(encoding="utf-8"))
    columns = [[f"{who}_{part}" for part in ("x", "y", "w", "h")] for who in "ab"]
    people = {"boxes": columns, "corners": False, "ids": None, "persons": None, "wraps": False}
    nothing = dict.fromkeys(("id", "group", "group_regex", "sample", "sample_regex", "start_s", "end_s"))
    table = {"kind": "csv", "file": "pairs.csv", "path": "image", "heads": {"relation": "relation"}, "multi_label": {}}
    params["data"] |= {"name": "pairs", "root": "data/raw/pairs"}
    params["data"]["reader"] = {**table, **nothing, "split": "split", "people": people}
    seen = "rgb" in backbones
    params["frames"] |= {"enabled": seen, "clip_frames": 2, "size_px": 32, "region": "boxes", "pad_frac": 0.2}
    params["frames"]["resize"] = "stretch"
    params["model"] = {"backbones": backbones, "neck": neck, "heads": heads}
    augment = deepcopy(NO_AUGMENT) if seen else {}
    params["features"] |= {"enabled": cached, "views": 2, "augment": augment, "batch_size": 16}
    params["train"] |= {"augment": augment, "select_on": "relation.mean_per_class_acc", "epochs": 30, "lr": 0.003}
    params["train"] |= {"optimizer": {"kind": "adam", "weight_decay": 0.0}, "batch_size": 8, **changes}
    params["compute"] |= {"device": "cpu", "threads": 1}
    params["evaluate"] |= {"bootstrap_samples": 0, "splits": ["test"]}
    return params


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return a function that runs all stages for one of MODELS, once, and returns what they have left and said."""
    folder, results = tmp_path_factory.mktemp("project"), {}
    (folder / "data/raw/pairs").mkdir(parents=True)
    with (folder / "data/raw/pairs/pairs.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "relation", "split", *(f"{who}_{part}" for who in "ab" for part in "xywh")])
        for number in range(NUM_PICTURES):
            Image.fromarray(draw(number)).save(folder / f"data/raw/pairs/{number}.png")
            split = "train" if number < 8 else "val" if number < 11 else "test"
            for relation, boxes in (("near", NEAR), ("apart", APART)):
                table.writerow([f"{number}.png", relation, split, *boxes[0], *boxes[1]])

    def run(name):
        if name not in results:
            YAML(typ="safe", pure=True).dump(params_of(name), folder / "params.yaml")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                patch.setenv("ACTREC_CACHE", str(folder / "cache"))
                patch.setenv("ACTREC_WORKERS", "1")
                install(patch)
                for stage in STAGES:
                    stage.main(paths.PARAMS)
                board = Writer.last
            rows = (folder / "results/history.csv").read_text(encoding="utf-8").splitlines()
            metrics = json.loads((folder / "results/metrics.json").read_text(encoding="utf-8"))
            results[name] = metrics, list(csv.DictReader(rows)), board
        return results[name]

    return run


@pytest.mark.parametrize("name", MODELS)
def test_near_and_apart_are_told_apart(ran, name):
    metrics, *_ = ran(name)
    assert metrics["clips"] == {"used": 2 * NUM_PICTURES, "quarantined": 0}
    assert metrics["test"]["relation"]["mean_per_class_acc"] == 1.0
    assert metrics["test"]["relation"]["num_clips"] == 6


@pytest.mark.parametrize("name", MODELS)
def test_metrics_tell_how_cached_features_are(ran, name):
    metrics, *_ = ran(name)
    if name in ("geometry", "crops and geometry"):
        assert "features" not in metrics
        return
    assert set(metrics["features"]) == {"rgb"}
    found = metrics["features"]["rgb"]
    assert found["units"] == (324 if "hog" in name else 512) and 0 <= found["zero_frac"] < 1


def test_tensorboard_is_written_where_it_is_asked_for(ran):
    _, rows, board = ran("geometry")
    assert board.folder == "results/tensorboard" and not board.is_open
    assert [step for name, _, step in board.scalars if name == "train_loss"] == list(range(1, len(rows) + 1))
    assert ran("crops and geometry")[2] is None


def test_the_terms_are_in_the_history(ran):
    rows = ran("crops and geometry")[1]
    assert len(rows) == 30 and all(float(row["train_soft_recall"]) < 0.1 for row in rows)
    assert all(row["train_clips"] == "16" for row in rows)
    assert "train_soft_recall" not in ran("geometry")[1][0]
