"""Promises that no other test is about: what README.md tells a user to write is an experiment, and its counts hold."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from actrec.params.load import checked, load
from actrec.sweep.plan import grid_choices
from actrec.sweep.sweep import planned

REPO = Path(__file__).resolve().parents[2]
README = (REPO / "README.md").read_text(encoding="utf-8")
yaml = YAML(typ="safe", pure=True)
FOLDER = yaml.load((REPO / "recipes/folder.yaml").read_text(encoding="utf-8"))
HEAD = {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0}


def block_after(words: str) -> dict[str, Any]:
    """Return the first ```yaml block that comes after these words of README.md."""
    _, found, rest = README.partition(words)
    assert found, words
    match = re.search(r"^```yaml\n(.*?)^```$", rest, flags=re.MULTILINE | re.DOTALL)
    assert match
    return yaml.load(match[1])


def test_from_scratch_nothing_is_fetched() -> None:
    assert "actrec recipe folder-scratch" in README
    params = load(REPO / "recipes/folder-scratch.yaml")
    rgb = params.model.backbones.rgb
    assert rgb and (rgb.kind, rgb.weights.kind, rgb.frozen) == ("small3d", "none", False)
    assert params.data == load(REPO / "recipes/folder.yaml").data


def test_the_table_s_section_fits_the_recipe() -> None:
    """As it says: the section replaced, heads of the same names, and select_on one of them."""
    data = block_after("A table instead of folders")["data"]
    heads = dict.fromkeys(data["reader"]["heads"], HEAD)
    params = {**deepcopy(FOLDER), "data": data}
    params["model"]["heads"], params["train"]["select_on"] = heads, "species.mean_per_class_acc"
    assert checked(params, "README.md").data.heads == ("species", "behaviour", "actions")


def test_the_sweep_has_nine_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    plan = planned("optimiser-demo")
    runs = [run for n, choice in enumerate(grid_choices(plan.sweep.grid or {})) for run in plan.runs(choice, n)]
    assert len(runs) == 9
    assert "these are nine experiments" in README


def test_the_sweep_that_is_shown_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    file = tmp_path / "own.yaml"
    yaml.dump(block_after("A file in `sweeps/` says what varies"), file)
    assert planned(str(file)).num_runs == 2 * 2 * 3


def test_the_pairs_that_are_shown_are_an_experiment() -> None:
    params = yaml.load((REPO / "recipes/relation-demo.yaml").read_text(encoding="utf-8"))
    params["data"]["reader"] |= block_after("Your own pairs are rows of a table")
    params["demo"]["enabled"], params["train"]["class_weights"] = False, "balanced"
    assert checked(params, "README.md").data.shows_pairs


def test_the_sweeps_that_are_named_are_there() -> None:
    named = re.search(r"Shipped for `images`: ([^.]*)\.", README)
    assert named
    names = re.findall(r"`([\w-]+)`", named[1])
    assert len(names) == 5
    files = {path.stem: yaml.load(path.read_text(encoding="utf-8")) for path in (REPO / "sweeps").glob("*.yaml")}
    assert {name: files[name]["recipe"] for name in names} == dict.fromkeys(names, "images")


def test_the_weights_of_the_table_are_published() -> None:
    """Its rows of torchvision's networks, against torchvision's own lists."""
    from torchvision.models import get_model_weights

    def published(network: str) -> set[str]:
        return {weights.name for weights in get_model_weights(network)}

    rows = re.findall(r"^\| (`.+) \| `KINETICS400_V1` \|", README, flags=re.MULTILINE)
    videos = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(videos) == 6
    assert {name: "KINETICS400_V1" in published(name) for name in videos} == dict.fromkeys(videos, True)
    assert "`IMAGENET1K_V1`, from depth 50 also `_V2`" in README
    depths = (18, 34, 50, 101, 152)
    assert {d: "IMAGENET1K_V1" in published(f"resnet{d}") for d in depths} == dict.fromkeys(depths, True)
    assert [d for d in depths if "IMAGENET1K_V2" in published(f"resnet{d}")] == [50, 101, 152]
