"""Every recipe that ships, from clips to metrics, stage by stage and by hand: without DVC, `python -m` is enough."""

import json
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, STAGES, Checkout, fill_folders
from ruamel.yaml import YAML

METRICS = ("top1", "top5", "mean_per_class_acc", "f1_macro", "f1_weighted", "loss")
# Not the r3d_18 of the recipes: its checkpoints are three times as large, and nothing else would be tested.
NETWORK = {"kind": "mc3_18", "weights": {"kind": "none"}, "input_px": 16}
CHANGES: dict[str, dict[str, Any]] = {
    "demo": {},
    "folder": {
        "data": {"reader": {"group_regex": r"(subject\d+)_"}},
        "model": {"backbones": {"rgb": {**NETWORK, "frozen": False}}},
        "train": {"epochs": 1, "freeze": {"epochs": 1}},
    },
    "linear-probe": {"model": {"backbones": {"rgb": {**NETWORK, "frozen": True}}}},
}


def test_all_recipes_are_here() -> None:
    assert set(CHANGES) == {path.stem for path in (ROOT / "recipes").glob("*.yaml")}


@pytest.mark.parametrize("recipe", sorted(CHANGES.keys() - {"demo"}))  # the demo is what the other tests here run
def test_a_recipe_runs_by_hand(recipe: str, reproduced: Checkout) -> None:
    if recipe == "folder":
        fill_folders(reproduced.folder / "data/raw/clips", reproduced.folder / "data/raw/demo/clips")
    assert f"* {recipe} " not in reproduced("actrec", "recipe", "--list").text
    reproduced("actrec", "recipe", recipe)
    assert f"* {recipe} " in reproduced("actrec", "recipe", "--list").text
    assert reproduced.bytes_of("params.yaml")["params.yaml"] == (ROOT / "recipes" / f"{recipe}.yaml").read_bytes()

    reproduced.set_params(recipe, **CHANGES[recipe])
    reproduced("rm", "-r", "data/interim", "data/processed", "models", "results")
    for stage in STAGES:
        reproduced("python", "-m", f"pipeline.{stage}")
    assert not [out for out in declared_outs(reproduced.folder) if not (reproduced.folder / out).exists()]
    check_metrics(json.loads((reproduced.folder / "results/metrics.json").read_text(encoding="utf-8")))


def declared_outs(folder: Path) -> list[str]:
    """Return every path that dvc.yaml says the pipeline makes."""
    yaml = YAML(typ="safe", pure=True)
    pipeline, params = yaml.load(folder / "dvc.yaml"), yaml.load(folder / "params.yaml")
    listed = [out for stage in pipeline["stages"].values() for out in [*stage["outs"], *stage.get("metrics", [])]]
    names = [out if isinstance(out, str) else next(iter(out)) for out in listed]
    return [name.replace("${data.name}", params["data"]["name"]) for name in names]


def check_metrics(metrics: dict[str, Any]) -> None:
    """The keys that other tools may rely on, and what must be true of any result."""
    assert set(metrics) == {"val", "test", "clips", "training"}
    assert metrics["clips"] == {"used": 16, "quarantined": 0}
    assert {"seconds", "peak_memory_mb"} <= metrics["training"].keys()
    for split in ("val", "test"):
        scores = metrics[split]["action"]
        assert set(METRICS) <= scores.keys()
        for name in ("top1", "mean_per_class_acc"):
            assert 0 <= scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"] <= 1
