import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import ABOUT, BACKBONE, CLASSES, EAR, HEAD, MBT, SOUND_SPEC, make_inputs, make_manifest, make_model

from actrec.errors import UserError
from actrec.models.recogniser import build
from actrec.params import load
from actrec.params.weights import FileWeights
from actrec.training.checkpoint import load_model, save_model, save_tensors
from pipeline.model import checkpoint_of, fresh_model

HEADS = {"action": {"kind": "mlp", "hidden": 5, "dropout": 0.1, "loss_weight": 1.0}, "other": HEAD}


def logits(model):
    clips = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8))
    with torch.inference_mode():
        return model({"rgb": clips, "present": {"rgb": torch.ones(2, dtype=torch.bool)}})["action"]


@pytest.fixture
def saved(tmp_path):
    """Return a checkpoint of a model with statistics of batch norm that are not those of a fresh one."""
    model = make_model(seed=3)
    logits(model.train())
    save_model(tmp_path / "best.pt", ABOUT, model.state_dict())
    return tmp_path / "best.pt", model


def test_a_round_trip_gives_the_same_model(saved):
    path, model = saved
    loaded, about = load_model(path)
    assert about == ABOUT
    assert not any(module.training for module in loaded.modules())
    assert torch.equal(logits(loaded), logits(model.eval()))


def test_a_frozen_backbone_is_loaded_frozen_and_its_weights_are_not_looked_up(tmp_path):
    """`checkpoint_of` is what the stage `train` says of its model."""
    file = tmp_path / "gone.pt"
    save_tensors(file, make_model(seed=9).backbones["rgb"].state_dict())
    weights = {"kind": "file", "path": str(file), "sha256": digest(file)}
    params = load(Path(__file__).parents[2] / "recipes/demo.yaml")
    backbone = params.model.backbones.rgb.model_copy(
        update={**BACKBONE, "frozen": True, "weights": FileWeights.model_validate(weights)}
    )
    backbones = params.model.backbones.model_copy(update={"rgb": backbone})
    params = params.model_copy(update={"model": params.model.model_copy(update={"backbones": backbones})})
    inputs = make_inputs(tmp_path, make_manifest())
    model = fresh_model(params, inputs)
    about = checkpoint_of(params, model, inputs)
    assert about.weights_sha256 == {"rgb": digest(file)}
    save_model(tmp_path / "best.pt", about, model.state_dict())
    file.unlink()
    loaded, found = load_model(tmp_path / "best.pt")
    assert found == about and loaded.frozen == {"rgb"}
    assert torch.equal(logits(loaded), logits(model.eval()))


def test_a_model_that_sees_and_hears_and_finds_several_classes(tmp_path):
    about = replace(
        ABOUT,
        model={"backbones": {"rgb": BACKBONE, "audio": EAR}, "neck": MBT, "heads": {"action": HEAD}},
        multi_label=("action",),
        sound_spec=SOUND_SPEC,
        layout="",
        parents=(),
        weights_sha256={"rgb": "", "audio": ""},
    )
    model = about.rebuild(build_for(about, seed=3).state_dict())
    save_model(tmp_path / "best.pt", about, model.state_dict())
    loaded, found = load_model(tmp_path / "best.pt")
    assert found == about and found.sound_spec == SOUND_SPEC and loaded.multi_label == {"action"}
    tokens = {"rgb": torch.randn(2, 2, 16), "audio": torch.randn(2, 3, 512)}
    present = {"rgb": torch.tensor([True, True]), "audio": torch.tensor([True, False])}
    with torch.inference_mode():
        assert torch.equal(loaded.decide(tokens, present)["action"], model.decide(tokens, present)["action"])


def test_a_model_that_only_hears(tmp_path):
    about = replace(
        ABOUT,
        model={"backbones": {"audio": EAR}, "neck": {"kind": "mean"}, "heads": {"action": HEAD}},
        clip_spec=None,
        sound_spec=SOUND_SPEC,
        layout="",
        parents=(),
        weights_sha256={"audio": ""},
    )
    model = build_for(about, seed=3).eval()
    save_model(tmp_path / "best.pt", about, model.state_dict())
    loaded, found = load_model(tmp_path / "best.pt")
    assert found == about and found.clip_spec is None
    mels = {"audio": torch.randn(2, 40, 70), "present": {"audio": torch.ones(2, dtype=torch.bool)}}
    with torch.inference_mode():
        assert torch.equal(loaded(mels)["action"], model(mels)["action"])


def build_for(about, *, seed):
    options = {"multi_label": about.multi_label, "clip_frames": 4, "channels_last": True, "seed": seed}
    return build(about.model, classes=about.classes, **options)


def test_several_heads(tmp_path):
    about = replace(ABOUT, model={**ABOUT.model, "heads": HEADS}, classes={"action": CLASSES, "other": ("x", "y")})
    options = {"multi_label": (), "clip_frames": 4, "channels_last": True, "seed": 5}
    model = build(about.model, classes=about.classes, **options).eval()
    save_model(tmp_path / "best.pt", about, model.state_dict())
    assert torch.equal(logits(load_model(tmp_path / "best.pt")[0]), logits(model))


def test_the_same_model_gives_the_same_bytes_also_in_another_process(saved, tmp_path):
    path, _ = saved
    again = tmp_path / "again.pt"
    loaded, about = load_model(path)
    save_model(again, about, loaded.state_dict())
    assert again.read_bytes() == path.read_bytes()
    script = """
import sys
from pathlib import Path
from actrec.training.checkpoint import load_model, save_model
model, about = load_model(Path(sys.argv[1]))
save_model(Path(sys.argv[2]), about, dict(reversed(list(reversed(model.state_dict().items())))))
"""
    subprocess.run([sys.executable, "-c", script, path, tmp_path / "other process.pt"], check=True)
    assert digest(tmp_path / "other process.pt") == digest(path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_saved_of_a_view_is_the_view_alone(tmp_path):
    large = torch.arange(1e6)
    save_model(tmp_path / "best.pt", ABOUT, {"part": large[:10]})
    assert (tmp_path / "best.pt").stat().st_size < 10_000


def test_one_of_an_earlier_version_is_refused_by_its_number(saved):
    """What it says of its backbones lacks a setting that this version asks for."""
    path, _ = saved
    content = torch.load(path, weights_only=True)
    del content["about"]["model"]["backbones"]["rgb"]["crop_frac"]
    save_tensors(path, {**content, "format": 3})
    with pytest.raises(
        UserError, match=r"best\.pt: not a .* \(format 3, this version reads 4\)\. Train one: dvc repro"
    ):
        load_model(path)


def test_it_opens_without_running_code(saved):
    content = torch.load(saved[0], weights_only=True)
    assert sorted(content) == ["about", "format", "state_dict"]


def test_there_is_none(tmp_path):
    with pytest.raises(UserError, match=r"best\.pt: no checkpoint here\. Train one: dvc repro"):
        load_model(tmp_path / "best.pt")


@pytest.mark.parametrize(
    "damage", ["text", "cut", "foreign", "format", "no weights", "other weights", "other spec", "list"]
)
def test_what_is_not_ours_is_refused(saved, damage):
    path, model = saved
    content = torch.load(path, weights_only=True)
    match damage:
        case "text":
            path.write_text("hello")
        case "cut":
            path.write_bytes(path.read_bytes()[:-3000])
        case "foreign":
            save_tensors(path, model.state_dict())
        case "format":
            save_tensors(path, {**content, "format": 99})
        case "no weights":
            save_tensors(path, {key: value for key, value in content.items() if key != "state_dict"})
        case "other weights":
            save_tensors(path, {**content, "state_dict": make_model(width=8).state_dict()})
        case "other spec":
            content["about"]["model"]["backbones"]["rgb"]["kind"] = "newer"
            save_tensors(path, content)
        case "list":
            torch.save([1, 2], path)
    with pytest.raises(UserError, match=r"best\.pt: not a checkpoint of this version of actrec"):
        load_model(path)
