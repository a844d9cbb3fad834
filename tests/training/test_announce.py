"""What is said before the first epoch."""

from copy import deepcopy
from pathlib import Path

import pytest

from actrec.data.manifest import SPLITS, Clip, Manifest
from actrec.media.facts import MediaFacts
from actrec.params import load
from actrec.params.load import plain
from actrec.training.announce import configuration_block, start_text

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
PICTURE = MediaFacts("jpeg", "mjpeg", "yuvj420p", 8, 8, 0, 0.0, 1, 0.0, "", 0, 0)


def params(name):
    return plain(load(RECIPES / f"{name}.yaml"))


def manifest(head="class", **of_split):
    """Return clips of one head; `of_split` has the class of each: train="aab"."""
    clips = [
        Clip(f"{split}{number}", "a.jpg", split, "", {head: name}, None, None, "0" * 64, 1, PICTURE)
        for split in SPLITS
        for number, name in enumerate(of_split.get(split, ""))
    ]
    return Manifest(tuple(clips), (head,))


def block(settings, clips):
    """Return the lines as a dict of what stands on the left to what stands on the right."""
    parts = [line.partition("  ") for line in configuration_block(settings, clips)]
    return {name: text.strip() for name, _, text in parts}


def test_a_run_is_described():
    found = block(params("images"), manifest(train="aab", val="b", test=""))
    assert found == {
        "recipe": "images, seed 0",
        "data": "images, image",
        "model": "rgb resnet18 (IMAGENET1K_V1), mean, class (linear)",
        "lr": "0.01, schedule cosine",
        "optimizer": "sgd, weight decay 0.0001",
        "batch size": "64, shuffled",
        "epochs": "20, after 3 with frozen backbones, or until 8 have brought no gain",
        "class weights": "none",
        "selects on": "class.mean_per_class_acc; of equals the lower loss",
        "device": "auto, 2 threads, fp32",
        "class train": "3 clips: a 2, b 1",
        "class val": "1 clip: a 0, b 1",
        "class test": "0 clips: a 0, b 0",
    }


def test_the_texts_stand_below_each_other():
    lines = configuration_block(params("images"), manifest(train="ab", val="ab", test="ab"))
    # "class weights" is the longest name.
    assert {line[:15].rstrip() for line in lines} >= {"recipe", "class weights", "class test"}
    assert all(line[13:15] == "  " and line[15] != " " for line in lines)


def test_what_is_set_is_told():
    settings = deepcopy(params("images"))
    settings["train"].update(
        accumulate=4,
        backbone_lr_factor=0.1,
        sampler="balanced",
        class_weights={"a": 1.0, "b": 6.1},
        soft_recall={"form": "variance", "weight": 0.1, "accuracy_weight": 0.05},
        early_stopping={"patience_epochs": 0, "min_delta": 0.0},
        freeze={"epochs": 0, "lr": 0.1},
    )
    found = block(settings, manifest(train="ab"))
    assert found["batch size"] == "64 x 4, balanced"
    assert found["lr"] == "0.01, backbones 0.001, schedule cosine"
    assert found["class weights"] == "a 1.0, b 6.1"
    assert found["soft recall"] == "form variance, weight 0.1, accuracy_weight 0.05"
    assert found["epochs"] == "20"


def test_a_head_of_the_data_that_the_model_lacks_is_told():
    clips = Manifest(
        (Clip("a", "a", "train", "", {"class": "x", "side": "left"}, None, None, "0" * 64, 1, PICTURE),),
        ("class", "side"),
    )
    assert block(params("images"), clips)["not learned"] == "side: not in model.heads"
    assert "not learned" not in block(params("images"), manifest(train="ab"))


def test_an_svm_takes_no_steps():
    found = block(params("images-hog"), manifest(train="ab"))
    assert not {"lr", "optimizer", "batch size", "epochs"} & set(found)
    assert found["model"] == "rgb hog (no weights, frozen), mean, class (svm)"
    assert found["selects on"].endswith("; of equals the smaller C")


def test_of_several_modalities_each_backbone_is_named():
    settings = params("wildlife-frozen")
    clips = Manifest(
        tuple(
            Clip(str(i), "a", "train", "", {"species": "x", "behaviour": b}, None, None, "0" * 64, 1, PICTURE)
            for i, b in enumerate(["run|sit", "run", ""])
        ),
        ("species", "behaviour"),
        frozenset({"behaviour"}),
    )
    found = block(settings, clips)
    first, second = found["model"].split(" + ")
    assert first.startswith("rgb videomae (") and second.startswith("audio resnet18 (IMAGENET1K_V1, frozen), mbt, ")
    # A clip of two classes counts for both, one without a label for none.
    assert found["behaviour train"] == "3 clips: run 2, sit 1"
    assert found["species train"] == "3 clips: x 3"


@pytest.mark.parametrize(("count", "named"), [(12, True), (13, False)])
def test_many_classes_are_summed_up(count, named):
    names = [f"c{number}" for number in range(count)]
    found = block(params("images"), manifest(train=[*names, "c0", "c0"], val=names[:2]))
    if named:
        assert found["class train"].startswith("14 clips: c0 3, c1 1, ")
    else:
        assert found["class train"] == "15 clips: 13 classes, 1 to 3 clips each"
        assert found["class val"] == "2 clips: 13 classes, 0 to 1 clips each"


@pytest.mark.parametrize(
    ("goes_on", "devices", "last"),
    [(False, 1, "train: starting on cpu"), (True, 2, "train: going on with an interrupted run on 2 x cpu")],
)
def test_the_start_ends_with_where_it_runs(goes_on, devices, last):
    changed = deepcopy(params("demo"))
    changed["train"]["devices"] = devices
    clips = manifest("action", train="aab", val="ab", test="a")
    text = start_text(changed, clips, goes_on=goes_on, device="cpu")
    assert text.splitlines()[-1] == last
    assert text.splitlines()[:-1] == configuration_block(changed, clips)


@pytest.mark.parametrize(
    ("recipe", "changes", "told"),
    [
        ("images-hog", {"input_px": 128}, ["pictures are enlarged from 64 to 128 px: frames.size_px stores no more"]),
        ("images-hog", {"input_px": 64}, []),
        ("images-hog", {"input_px": 32}, []),
        (
            "images-hog",
            {"input_px": 64, "crop_frac": 0.5},
            ["pictures are enlarged from 32 to 64 px: frames.size_px stores no more, of which the middle is shown"],
        ),
        ("images-hog", {"input_px": 32, "crop_frac": 0.5}, []),
        ("sound", {}, []),
    ],
)
def test_pictures_that_are_enlarged_are_told_of(recipe, changes, told):
    changed = deepcopy(params(recipe))
    if changes:
        changed["model"]["backbones"]["rgb"].update(changes)
    clips = manifest(*changed["model"]["heads"], train="aab", val="ab", test="a")
    lines = start_text(changed, clips, goes_on=False, device="cpu").splitlines()
    assert lines == [*configuration_block(changed, clips), *told, "train: starting on cpu"]
