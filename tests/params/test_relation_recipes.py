"""The recipes for two people are the guide's: its table of widths, batch sizes and rates, and what they share."""

from pathlib import Path

import pytest

from actrec.params import load
from actrec.params.load import plain
from actrec.sweep.plan import grid_choices, load_sweep, runs_of

REPO = Path(__file__).resolve().parents[2]
# depth, frozen, visual_dim, batch size, lr
TABLE = {
    "relation-resnet18": (18, False, 256, 16, 1e-4),
    "relation-resnet18-frozen": (18, True, 256, 24, 1e-3),
    "relation-resnet34": (34, False, 256, 12, 5e-5),
    "relation-resnet50": (50, False, 512, 8, 5e-5),
}
WEIGHTS = {"walking": 1.0, "standing": 1.4, "sitting": 6.1}


def read(name):
    return plain(load(REPO / f"recipes/{name}.yaml"))


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_the_guide(name):
    recipe = read(name)
    rgb, neck, train = recipe["model"]["backbones"]["rgb"], recipe["model"]["neck"], recipe["train"]
    found = (rgb["depth"], rgb["frozen"], neck["visual_dim"], train["batch_size"], train["lr"])
    assert found == TABLE[name]
    assert recipe["features"]["enabled"] == rgb["frozen"]
    assert rgb["weights"] == {"kind": "torchvision", "name": "IMAGENET1K_V1"}


@pytest.mark.parametrize("name", TABLE)
def test_what_all_have_in_common(name):
    recipe = read(name)
    train, neck, frames = recipe["train"], recipe["model"]["neck"], recipe["frames"]
    assert (neck["hidden"], neck["fusion"]) == ([512, 256, 128], "concat")
    assert recipe["model"]["heads"]["relation"]["dropout"] == 0.15
    assert (frames["region"], frames["pad_frac"], frames["size_px"]) == ("boxes", 0.2, 112)
    assert train["optimizer"] == {"kind": "adam", "weight_decay": 1e-5}
    assert train["clip_norm"] == 1 and train["early_stopping"]["patience_epochs"] == 15
    assert train["soft_recall"] == {"form": "variance", "weight": 0.1, "accuracy_weight": 0.05}
    assert train["class_weights"] == WEIGHTS and train["select_on"] == "relation.mean_per_class_acc"
    if not recipe["features"]["enabled"]:
        assert train["backbone_lr_factor"] == 0.1
    assert set(recipe["data"]["reader"]["classes"].values()) == set(WEIGHTS)


def test_class_weights_are_those_of_the_published_counts():
    # Source: the labels of JRDB-Social.
    counts = {"walking": 681_872, "standing": 489_553, "sitting": 112_207}
    shares = {name: counts["walking"] / count for name, count in counts.items()}
    assert shares == pytest.approx(WEIGHTS, abs=0.03)


def test_the_sweep_compares_what_pictures_add():
    file = REPO / "sweeps/relation-demo.yaml"
    sweep, base = load_sweep(file), read("relation-demo")
    about = {"base": base, "file": file, "first": 0}
    runs = [run for choice in grid_choices(sweep.grid or {}) for run in runs_of(choice, sweep, **about)]
    assert {(run.label, run.params["seed"]) for run in runs} == {
        (label, seed) for label in ("geometry", "pictures", "both", "hog-svm", "frozen") for seed in (0, 1, 2)
    }
    shown = {run.label: set(run.params["model"]["backbones"]) for run in runs}
    assert shown["geometry"] == {"geometry"} and shown["pictures"] == shown["hog-svm"] == {"rgb"}
    assert shown["both"] == shown["frozen"] == {"rgb", "geometry"}
    (both,) = (run.params for run in runs if run.label == "both" and run.params["seed"] == base["seed"])
    assert both == base
