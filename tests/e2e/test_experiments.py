"""From nothing to metrics, and then only what an edit touches: real `dvc` on the demo, as the README shows it."""

import csv
import io
import json
from pathlib import Path

from checkout import STAGES, Checkout, Done

DECLARED = [
    *("models/best.pt", "models/last.pt", "results/history.csv", "results/metrics.json", "results/run.json"),
    *("results/predictions.csv", "results/per_class.csv", "results/confusion.csv", "results/confused_pairs.csv"),
    *("results/quarantine.csv", "results/confusion/test_action.csv", "results/plots/training_curves.png"),
]


def test_from_nothing_every_stage_runs_once(first_repro: tuple[Checkout, Done]) -> None:
    checkout, done = first_repro
    assert done.ran == STAGES
    assert "16 of them decoded now, 0 set aside" in done.text
    assert "SYNTHETIC" in done.text
    assert set(DECLARED) <= checkout.bytes_of("models", "results").keys()
    assert checkout("git", "status", "--short").text == "", "what the pipeline makes is ignored, or committed"


def test_an_edit_runs_what_it_touches_and_going_back_runs_nothing(reproduced: Checkout) -> None:
    first = reproduced.bytes_of("models", "results")
    assert reproduced.repro().ran == []

    assert reproduced.exp_run("-S", "train.lr=0.001").ran == ["train", "evaluate"]
    assert reproduced.bytes_of("models") != first
    check_comparisons(reproduced)

    reproduced("git", "checkout", "--quiet", "params.yaml")
    back = reproduced.repro()
    assert (back.ran, back.restored) == ([], ["train", "evaluate"])
    assert reproduced.bytes_of("models", "results") == first
    assert reproduced("git", "status", "--short").text == ""

    # That evaluation follows training has been seen, and takes seven seconds each time.
    smaller = reproduced.exp_run("-S", "frames.size_px=20", "train")
    assert smaller.ran == ["frames", "features", "train"]
    assert "16 of them decoded now" in smaller.text

    cached = ("-S", "model.backbones.rgb.frozen=true", "-S", "features.enabled=true", "train")
    assert reproduced.exp_run(*cached).ran == ["features", "train"]
    with_cache = reproduced.bytes_of("models", "data/processed/demo/features.h5")
    without = reproduced.exp_run("-S", "model.backbones.rgb.frozen=false", "-S", "features.enabled=false", "train")
    assert (without.ran, without.restored) == ([], ["features", "train"])
    assert reproduced.bytes_of("models", "data/processed/demo/features.h5") != with_cache
    again = reproduced.exp_run(*cached)
    assert (again.ran, again.restored) == ([], ["features", "train"])
    assert reproduced.bytes_of("models", "data/processed/demo/features.h5") == with_cache


def check_comparisons(checkout: Checkout) -> None:
    """What a user looks at after `dvc exp run -S train.lr=0.001`."""
    params = json.loads(checkout("dvc", "params", "diff", "--json").text)
    assert [(change["old"], change["new"]) for change in params["params.yaml"].values()] == [(0.003, 0.001)]
    assert list(params["params.yaml"]) == ["train.lr"]

    changes = json.loads(checkout("dvc", "metrics", "diff", "--json").text)["results/metrics.json"]
    assert changes["test.action.loss"]["diff"] != 0
    assert not [name for name in changes if name.startswith("clips")]

    shown = checkout("dvc", "exp", "show", "--only-changed").text
    assert "train.lr" in shown and "train.epochs" not in shown
    table = list(csv.DictReader(io.StringIO(checkout("dvc", "exp", "show", "--csv").text)))
    assert [row["train.lr"] for row in table] == ["0.001", "0.003", "0.001"]  # the workspace, HEAD and the experiment
    assert all(float(row["test.action.mean_per_class_acc"]) >= 0 for row in table)

    checkout("dvc", "plots", "show", "--out", "shown")
    page = Path(checkout.folder, "shown/index.html").read_text(encoding="utf-8")
    for part in ("Training loss", "Validation score", "Learning rate", "results/confusion", "training_curves.png"):
        assert part in page
    checkout("rm", "-r", "shown")
