"""The recipe for pictures without a network, stage by stage, on stripes that HOG tells apart at once."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from skops.io import load

from actrec import paths
from actrec.data.quarantine import Quarantined, dump
from actrec.export import export_svm
from actrec.predict import predict_to_csv
from pipeline import evaluate, features, frames, ingest, mels, skeletons, train

REPO = Path(__file__).resolve().parents[2]
STAGES = (ingest, skeletons, frames, mels, features, train, evaluate)
PER_CLASS = 10


def stripes(kind, number):
    """Return a picture (24, 28, 3) of stripes in two colours, upright, lying or slanting; uint8."""
    rng = np.random.default_rng([number, len(kind)])
    y, x = np.mgrid[:24, :28] + rng.uniform(0, 6)
    along = {"upright": x, "lying": y, "slant": (x + y) / 2**0.5}[kind]
    dark, bright = rng.integers(0, 90, 3), rng.integers(140, 256, 3)
    picture = np.where((along % 8 < 4)[..., None], bright, dark) + rng.normal(0, 6, (24, 28, 3))
    return picture.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a folder in which all stages have run."""
    folder = tmp_path_factory.mktemp("project")
    for kind in ("upright", "lying", "slant"):
        for number in range(PER_CLASS):
            path = folder / f"data/raw/images/{kind}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(stripes(kind, number)).save(path)
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((REPO / "recipes/images-hog.yaml").read_text(encoding="utf-8"))
    params["frames"]["size_px"] = params["model"]["backbones"]["rgb"]["input_px"] = 24
    params["features"]["batch_size"] = 8
    # A slanting stripe's mirror image slants the other way.
    params["features"]["augment"]["rgb"]["flip_prob"] = 0.0
    params["compute"] |= {"device": "cpu", "threads": 1}
    params["evaluate"]["bootstrap_samples"] = 20
    yaml.dump(params, folder / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ACTREC_CACHE", str(folder / "cache"))
        patch.setenv("ACTREC_WORKERS", "1")
        for stage in STAGES:
            stage.main(paths.PARAMS)
    return folder


@pytest.fixture
def here(project, monkeypatch):
    """Be in that folder."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("ACTREC_CACHE", str(project / "cache"))
    monkeypatch.setenv("ACTREC_WORKERS", "1")
    return project


def test_stripes_are_told_apart(here):
    metrics = json.loads((here / "results/metrics.json").read_text())
    assert metrics["clips"] == {"used": 3 * PER_CLASS, "quarantined": 0}
    assert metrics["val"]["class"]["top1"] == metrics["test"]["class"]["top1"] == 1.0
    assert metrics["test"]["class"]["loss"] < 0.5
    costs = metrics["training"]
    assert costs["epochs"] == 5 and "clips_per_s" not in costs and costs["peak_memory_mb"] > 0 and "seconds" in costs


def test_a_clip_that_lost_no_more_than_its_sound_is_not_counted_as_lost(here):
    used = "lying/0.png"
    lists = [paths.quarantine("images", stage) for stage in ("ingest", "frames", "mels")]
    before = [path.read_text() for path in lists]
    try:
        for path, *bad in zip(lists, ("gone.png", used), ("bad.png",), ("bad.png", used), strict=False):
            path.write_text(dump([Quarantined(i, "x", "not_media", i, "") for i in bad]))
        evaluate.main(paths.PARAMS)
    finally:
        for path, text in zip(lists, before, strict=True):
            path.write_text(text)
    metrics = json.loads((here / "results/metrics.json").read_text())
    assert metrics["clips"] == {"used": 3 * PER_CLASS, "quarantined": 2}


def test_the_usual_files_are_there(here):
    rows = list(csv.DictReader((here / "results/history.csv").read_text(encoding="utf-8").splitlines()))
    assert [float(row["c"]) for row in rows] == [0.000001, 0.00001, 0.0001, 0.001, 0.01]
    assert [row["is_best"] for row in rows].count("True") == 1
    assert {"training_curves.png", "test_class_confusion.png"} <= {p.name for p in (here / "results/plots").iterdir()}
    assert (here / "models/best.pt").is_file() and (here / "models/last.pt").is_file()


def test_training_again_ends_with_the_same_model(here):
    before = [(here / name).read_bytes() for name in ("models/best.pt", "models/last.pt")]
    train.main(paths.PARAMS)
    assert [(here / name).read_bytes() for name in ("models/best.pt", "models/last.pt")] == before


def test_pictures_are_predicted(here, tmp_path):
    for kind in ("lying", "upright"):
        Image.fromarray(stripes(kind, 100)).save(tmp_path / f"{kind}.png")
    text, num_bad = predict_to_csv(tmp_path, checkpoint=here / "models/best.pt", window_s=None)
    assert num_bad == 0
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(Path(row["path"]).stem, row["predicted"]) for row in rows] == [("lying", "lying"), ("upright", "upright")]


def test_scikit_learn_goes_on_with_the_svm(here, tmp_path):
    export_svm(here / "models/best.pt", tmp_path / "svm.skops")
    pipeline = load(tmp_path / "svm.skops")["class"]
    assert pipeline.n_features_in_ == 2 * 2 * 4 * 9 and list(pipeline.classes_) == ["lying", "slant", "upright"]
