"""Every recipe that ships, from clips to metrics, without DVC."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, Checkout, RunStages, fill_folders, fill_pictures, fill_wildlife
from public_layouts import fill_jrdb, fill_ma52, fill_ntu, fill_poses
from ruamel.yaml import YAML

METRICS = ("top1", "top5", "mean_per_class_acc", "f1_macro", "f1_weighted", "map_macro", "loss")
# Not the r3d_18 of the recipes: its checkpoints are three times as large, and nothing else would be tested.
NETWORK = {"kind": "mc3_18", "weights": {"kind": "none"}, "input_px": 16, "crop_frac": 1.0}
VIDEOMAE = {
    "kind": "videomae",
    "weights": {"kind": "none", "width": 16, "layers": 1, "attention_heads": 2, "patch_px": 8, "tubelet_frames": 2},
    "input_px": 16,
    "crop_frac": 1.0,
    "token_grid": [2, 1, 1],
}
HOG = {"kind": "hog", "orientations": 9, "cell_px": 8, "block_cells": 2, "weights": {"kind": "none"}, "frozen": True}
RESNET = {"kind": "resnet", "depth": 18, "weights": {"kind": "none"}}
MBT = {
    **{"kind": "mbt", "width": 8, "layers": 2, "attention_heads": 2},
    **{"bottleneck_tokens": 2, "fusion_layer": 0, "dropout": 0.1},
}
MELS = {"sample_rate_hz": 8000, "f_max_hz": 4000, "n_fft": 256, "hop_samples": 128, "n_mels": 32, "duration_s": 0.5}


def fused(*, frozen: bool) -> dict[str, Any]:
    """Return a small model of pictures and sound, in place of those of the wildlife recipes."""
    backbones = {"rgb": {**VIDEOMAE, "frozen": frozen}, "audio": {**RESNET, "frozen": frozen}}
    return {
        "mels": MELS,
        "model": {"backbones": backbones, "neck": MBT},
        "train": {"epochs": 1, "batch_size": 8},
        "evaluate": {"attention_clips": 2},
    }


STREAMS = {
    "rgb": {"blocks": [1, 1, 1, 1], "width": 8, "input_frames": 2, "input_px": 32},
    "pose": {"blocks": [1, 1, 1], "width": 8, "input_frames": 8, "input_px": 8},
}
OWN = {"weights": {"kind": "none"}, "frozen": False, "token_grid": None}
X_STREAMS = {
    "rgb": {
        **{"kind": "x_shift", "blocks": [1, 1, 1, 1], "widths": [8, 8, 16, 16]},
        **{"input_frames": 4, "input_px": 32, "crop_frac": 1.0, **OWN},
    },
    "pose": {
        **{"kind": "x_shift", "blocks": [1, 1, 1], "widths": [8, 8, 16], "heatmaps": {"of": "both", "sigma_px": 0.6}},
        **{"input_frames": 8, "input_px": 8, **OWN},
    },
}


def streams(backbones: dict[str, Any]) -> dict[str, Any]:
    """Return small streams in place of those of the recipes for pictures and skeletons."""
    return {
        "frames": {"clip_frames": 8, "size_px": 32},
        "model": {"backbones": backbones},
        "train": {"epochs": 1, "batch_size": 8, "validation": {"from_epoch": 1}},
        "evaluate": {"views": {"clips": 2}},
    }


def pictures() -> dict[str, Any]:
    """Return a small network that nobody has trained, in place of those of the recipes for images."""
    return {
        "frames": {"clip_frames": 1, "size_px": 72},
        "compute": {"compile": False},
        "model": {
            "backbones": {"rgb": {**RESNET, "temporal": "mean", "frozen": False, "input_px": 64, "crop_frac": 0.875}}
        },
        "train": {"epochs": 1, "batch_size": 8, "precision": "fp32", "freeze": {"epochs": 1}},
    }


def pairs(*, frozen: bool) -> dict[str, Any]:
    """Return a small network over crops of people, in place of those of the recipes for two."""
    return {
        "frames": {"clip_frames": 2, "size_px": 32},
        "model": {
            "backbones": {"rgb": {**RESNET, "temporal": "mean", "frozen": frozen, "input_px": 32, "crop_frac": 1.0}}
        },
        "train": {"epochs": 1, "batch_size": 8},
    }


CHANGES: dict[str, dict[str, Any]] = {
    "demo": {},
    "folder": {
        "data": {"reader": {"group_regex": r"(subject\d+)_"}},
        "model": {"backbones": {"rgb": {**NETWORK, "frozen": False}}},
        "train": {"epochs": 1, "freeze": {"epochs": 1}},
    },
    "folder-scratch": {
        "data": {"reader": {"group_regex": r"(subject\d+)_"}},
        "model": {"backbones": {"rgb": {"width": 4, "input_px": 32}}},
        "train": {"epochs": 1},
    },
    "linear-probe": {"model": {"backbones": {"rgb": {**NETWORK, "frozen": True}}}},
    "sound": {
        "data": {"reader": {"group_regex": r"(subject\d+)_"}},
        "mels": MELS,
        "model": {"backbones": {"rgb": None, "audio": {**RESNET, "frozen": False}}},
        "train": {"epochs": 1},
    },
    "wildlife": fused(frozen=False),
    "wildlife-frozen": fused(frozen=True),
    "ntu60-rgbpose": streams(STREAMS),
    "ma52-rgbpose": streams(STREAMS),
    "ntu60-xshift": streams(X_STREAMS),
    "rgbpose-demo": streams(STREAMS),
    "pose-only": {
        "model": {"backbones": {"rgb": None, "pose": {"blocks": [1, 1, 1], "width": 8, "input_px": 8}}},
        "train": {"epochs": 1},
    },
    "images": pictures(),
    "images-demo": pictures(),
    "images-hog": {
        "frames": {"clip_frames": 1, "size_px": 32},
        "features": {"views": 2},
        "model": {
            "backbones": {"rgb": {**HOG, "input_px": 32, "crop_frac": 1.0}},
            "heads": {"class": {"c": [0.001, 0.1]}},
        },
    },
    "cars": pictures(),
    "cars-448": pictures(),
    "cars-as-published": pictures(),
    # So few pairs lack a class that the recipe has a weight for.
    "relation-demo": {**pairs(frozen=False), "train": {"epochs": 1, "batch_size": 8, "class_weights": "balanced"}},
    "relation-resnet18": pairs(frozen=False),
    "relation-resnet18-frozen": pairs(frozen=True),
    "relation-resnet34": pairs(frozen=False),
    "relation-resnet50": pairs(frozen=False),
    "wildlife-demo": {**fused(frozen=False), "demo": {"subjects": 6}},  # two of each species
}


def test_all_recipes_are_here() -> None:
    assert set(CHANGES) == {path.stem for path in (ROOT / "recipes").glob("*.yaml")}


def test_the_list_marks_the_active_recipe(reproduced: Checkout) -> None:
    assert "* linear-probe " not in reproduced("actrec", "recipe", "--list").text
    reproduced("actrec", "recipe", "linear-probe")
    assert "* linear-probe " in reproduced("actrec", "recipe", "--list").text


@pytest.mark.parametrize("recipe", sorted(CHANGES.keys() - {"demo"}))  # which other tests here run
def test_a_recipe_runs(recipe: str, reproduced: Checkout, run_stages: RunStages) -> None:
    make_active(recipe, reproduced)
    run_stages(reproduced.folder, store=reproduced.home / "store")
    check_outs(recipe, reproduced)


def make_active(recipe: str, reproduced: Checkout) -> None:
    """Activate a recipe, with its data set in place and small settings, and remove what another has made."""
    raw = reproduced.folder / "data/raw"
    match recipe:
        case "folder" | "folder-scratch":
            fill_folders(raw / "clips", raw / "demo/clips")
        case "sound":
            fill_folders(raw / "sounds", raw / "demo/clips")
        case "wildlife" | "wildlife-frozen":
            fill_wildlife(raw / "wildlife", raw / "demo")
        case "ntu60-rgbpose" | "ntu60-xshift":
            fill_ntu(raw / "ntu60", raw / "demo")
        case "ma52-rgbpose":
            fill_ma52(raw / "ma52", raw / "demo")
        case "pose-only":
            fill_poses(raw / "poses", raw / "demo")
        case "images" | "images-hog":
            fill_pictures(raw / "images", {"": 4})
        case "cars" | "cars-448" | "cars-as-published":
            fill_pictures(raw / "cars", {"train": 3, "test": 1})
        case _ if recipe.startswith("relation-resnet"):
            fill_jrdb(raw / "jrdb", scenes=8)
    reproduced("actrec", "recipe", recipe)
    assert reproduced.bytes_of("params.yaml")["params.yaml"] == (ROOT / "recipes" / f"{recipe}.yaml").read_bytes()

    reproduced.set_params(recipe, **CHANGES[recipe])
    reproduced("rm", "-r", "data/interim", "data/processed", "models", "results")


def check_outs(recipe: str, reproduced: Checkout) -> None:
    """All that dvc.yaml declares is there, and the metrics may be."""
    assert not [out for out in declared_outs(reproduced.folder) if not (reproduced.folder / out).exists()]
    metrics = json.loads((reproduced.folder / "results/metrics.json").read_text(encoding="utf-8"))
    settings = YAML(typ="safe", pure=True).load(reproduced.folder / "params.yaml")
    asked, coarse = settings["evaluate"], settings["data"]["coarse"]
    if coarse:
        levels = {name.rpartition("/")[2] for name in metrics[asked["splits"][-1]] if "+" in name}
        assert levels == {f"{coarse['of']}+{coarse['head']}"}
    plots = reproduced.folder / "results/plots"
    assert ("contributions" in metrics, (plots / "contributions.png").exists()) == (asked["contributions"],) * 2
    assert (plots / "attention.png").exists() == bool(asked["attention_clips"])
    assert any(plots.glob("grad_cam*.png")) == bool(asked["grad_cam"])
    assert metrics.keys() & {"train", "val", "test"} == set(asked["splits"])
    check_submission((reproduced.folder / "results/submission.csv").read_text(encoding="utf-8"), metrics, asked)
    counts = {"wildlife-demo": 24, "rgbpose-demo": 32, "images-demo": 32, "relation-demo": None}
    check_metrics(metrics, clips=counts.get(recipe, 24 if recipe.startswith("relation") else 16))


def declared_outs(folder: Path) -> list[str]:
    """Return every path that dvc.yaml says the pipeline makes."""
    yaml = YAML(typ="safe", pure=True)
    pipeline, params = yaml.load(folder / "dvc.yaml"), yaml.load(folder / "params.yaml")
    listed = [out for stage in pipeline["stages"].values() for out in [*stage["outs"], *stage.get("metrics", [])]]
    names = [out if isinstance(out, str) else next(iter(out)) for out in listed]
    return [name.replace("${data.name}", params["data"]["name"]) for name in names]


def check_submission(table: str, metrics: dict[str, Any], asked: dict[str, Any]) -> None:
    """A row a clip of the last split, with the classes of both heads, each once; nothing where nothing is asked for."""
    rows, wanted = list(csv.DictReader(table.splitlines())), asked["submission"]
    if wanted is None:
        assert not rows
        return
    for column, head in (("action", wanted["fine"]), ("body", wanted["coarse"])):
        scores = metrics[asked["splits"][-1]][f"{wanted['output']}/{head}"]
        assert len(rows) == scores["num_clips"]
        for row in rows:
            said = {int(number) for place in range(1, 6) if (number := row[f"{column}_pred_{place}"])}
            assert len(said) == min(scores["num_classes"], 5) and max(said) < scores["num_classes"]


def check_metrics(metrics: dict[str, Any], *, clips: int | None) -> None:
    """The keys that other tools may rely on, and what must be true of any result."""
    splits = set(metrics) - {"contributions", "clips", "training", "features"}
    assert splits in ({"val", "test"}, {"val"}) and {"clips", "training"} <= set(metrics)
    assert metrics["clips"] == {"used": clips or metrics["clips"]["used"], "quarantined": 0}
    assert {"seconds", "peak_memory_mb"} <= metrics["training"].keys()
    all_scores = [scores for split in splits for scores in metrics[split].values()]
    assert all(0 <= scores["f1_mean"] <= 1 for scores in all_scores if "f1_mean" in scores)
    for scores in (scores for scores in all_scores if "f1_mean" not in scores):
        assert set(METRICS) <= scores.keys()
        for name in ("top1", "mean_per_class_acc"):
            assert 0 <= scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"] <= 1
    for head, parts in metrics.get("contributions", {}).items():
        assert set(parts) == {"rgb", "audio"} and all(set(part) == {"drop_one", "shapley"} for part in parts.values())
        # They share what is above one class for all clips: 1 of those that have clips is right then, or none.
        scores, gained = metrics["test"][head], sum(part["shapley"] for part in parts.values())
        blind = [0, *(1 / count for count in range(1, scores["num_classes"] + 1))]
        assert any(scores["mean_per_class_acc"] == pytest.approx(gained + each) for each in blind)
