import os
import subprocess
import sys

import pytest

from actrec.models.at_hand import lacking_weights, torch_cache

FILE = "resnet18-f37072fd.pth"
TORCHVISION = {"kind": "torchvision", "name": "IMAGENET1K_V1"}
REVISION = "0123456789abcdef0123456789abcdef01234567"
HUB = {"kind": "hub", "id": "owner/model", "revision": REVISION}


def lacking(weights, file):
    """Return what is said of a single network, without where its weights stand."""
    lines = lacking_weights({"rgb": {"weights": weights}}, {"rgb": file} if file else {})
    assert len(lines) <= 1 and all(line.startswith("model.backbones.rgb.weights: ") for line in lines)
    return lines[0].removeprefix("model.backbones.rgb.weights: ") if lines else ""


@pytest.fixture(autouse=True)
def no_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_torchvision_s_file_is_looked_for_where_torch_puts_it(tmp_path):
    place = tmp_path / "torch/hub/checkpoints" / FILE
    said = lacking(TORCHVISION, FILE)
    assert (
        said.startswith(f"{FILE} is not on this machine, and will be fetched")
        and f"put https://download.pytorch.org/models/{FILE} at {place}" in said
    )
    place.parent.mkdir(parents=True)
    place.touch()
    assert lacking(TORCHVISION, FILE) == ""


def test_a_model_of_the_hub_is_looked_for_in_its_cache(tmp_path):
    assert lacking(HUB, "").startswith("owner/model is not on this machine") and "kind: folder" in lacking(HUB, "")
    folder = tmp_path / "hub/models--owner--model/snapshots" / REVISION
    folder.mkdir(parents=True)
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        assert lacking(HUB, "")
        (folder / name).touch()
    assert lacking(HUB, "") == ""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_the_user_names_must_be_there(tmp_path, kind):
    weights = {"kind": kind, "path": str(tmp_path / "mine"), "sha256": "0" * 64}
    assert lacking(weights, "") == f"{tmp_path / 'mine'} is not there, and the model cannot be built without it"
    (tmp_path / "mine").mkdir()
    assert lacking(weights, "") == ""


@pytest.mark.parametrize("weights", [{"kind": "none"}, {"kind": "config", "hidden": 8}])
def test_random_weights_lack_nothing(weights):
    assert lacking(weights, "") == ""


@pytest.mark.parametrize("variables", [{"TORCH_HOME": "~/a"}, {"XDG_CACHE_HOME": "/b"}, {}])
def test_the_folder_is_the_one_that_torch_says(variables, monkeypatch):
    kept = {name: value for name, value in os.environ.items() if name not in ("TORCH_HOME", "XDG_CACHE_HOME")}
    program = [sys.executable, "-c", "import torch.hub; print(torch.hub.get_dir())"]
    done = subprocess.run(program, env={**kept, **variables}, capture_output=True, text=True, check=True)
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(torch_cache()) == done.stdout.strip()
