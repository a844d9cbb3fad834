"""The recipe for camera traps is the guide's configuration; where it differs, MBT is the published one, and says so."""

import re
from pathlib import Path

from actrec.params import load
from actrec.params.load import plain

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def read(name):
    return plain(load(RECIPES / f"{name}.yaml"))


def test_pictures_are_seen_by_a_published_videomae():
    recipe = read("wildlife")
    rgb = recipe["model"]["backbones"]["rgb"]
    assert (rgb["kind"], rgb["frozen"], rgb["input_px"]) == ("videomae", False, 224)
    assert (rgb["weights"]["kind"], rgb["weights"]["id"]) == ("hub", "MCG-NJU/videomae-base-finetuned-kinetics")
    assert re.fullmatch(r"[0-9a-f]{40}", rgb["weights"]["revision"])
    frames = recipe["frames"]
    assert frames["enabled"] and frames["clip_frames"] == 16 and frames["size_px"] >= rgb["input_px"]
    assert frames["sampling"] == {"kind": "uniform"}


def test_sound_is_heard_by_a_resnet():
    recipe = read("wildlife")
    audio, mels = recipe["model"]["backbones"]["audio"], recipe["mels"]
    assert (audio["kind"], audio["depth"], audio["frozen"]) == ("resnet", 18, False)
    assert audio["weights"] == {"kind": "torchvision", "name": "IMAGENET1K_V1"}
    window = {"sample_rate_hz": 16000, "n_fft": 2048, "hop_samples": 512, "duration_s": 10}
    assert mels["enabled"] and mels | window | {"n_mels": 128, "f_min_hz": 0, "f_max_hz": 8000} == mels


def test_they_meet_in_a_bottleneck():
    model = read("wildlife")["model"]
    sizes = {"width": 512, "layers": 2, "attention_heads": 8, "bottleneck_tokens": 4, "dropout": 0.1}
    assert model["neck"] == {"kind": "mbt", **sizes, "fusion_layer": 0}
    assert set(model["heads"]) == {"species", "behaviour"}
    for head in model["heads"].values():
        assert head == {"kind": "mlp", "hidden": 256, "dropout": 0.1, "loss_weight": 1}


def test_how_it_learns():
    train = read("wildlife")["train"]
    assert train["optimizer"] == {"kind": "adamw", "weight_decay": 1e-5}
    assert (train["lr"], train["backbone_lr_factor"]) == (1e-4, 1)
    assert (train["epochs"], train["batch_size"], train["accumulate"]) == (50, 8, 1)
    assert train["freeze"]["epochs"] == 0 and train["early_stopping"]["patience_epochs"] == 0
    audio = train["augment"]["audio"]
    assert (audio["freq_masks"], audio["freq_mask_bins"]) == (2, 30)
    assert (audio["time_masks"], audio["time_mask_steps"]) == (2, 40)


def test_frozen_it_looks_and_listens_alike():
    whole, frozen = read("wildlife"), read("wildlife-frozen")
    assert frozen["features"]["enabled"]
    for modality, backbone in whole["model"]["backbones"].items():
        assert frozen["model"]["backbones"][modality] == {**backbone, "frozen": True}
    for section in ("frames", "mels"):
        assert frozen[section] == whole[section]
    assert frozen["model"]["neck"] == whole["model"]["neck"]
