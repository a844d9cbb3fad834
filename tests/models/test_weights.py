import hashlib
import urllib.error
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torchvision.models import ResNet18_Weights, get_model, get_model_weights

from actrec.errors import UserError
from actrec.models.resnet_frames import ResNetFrames
from actrec.models.resnet_mel import ResNetMel
from actrec.models.small3d import Small3d
from actrec.models.video_net import VideoNet
from actrec.models.weights import load_weights, read_tensors
from actrec.training.checkpoint import save_tensors


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def small(seed, width=4):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Small3d(width=width)


def load(network, path, *, digest=None, drop=()):
    weights = {"kind": "file", "path": str(path), "sha256": digest or sha256(path)}
    return load_weights(network, weights, architecture="small3d", drop=drop)


def same(network, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())


@pytest.fixture
def saved(tmp_path):
    source = small(1)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    return tmp_path / "w.pt", source


@pytest.fixture(scope="module")
def resnet():
    """Return torchvision's own, with 1000 classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return get_model("resnet18")


# --- a file -----------------------------------------------------------------------------------------------------------


def test_a_file_fills_the_network_and_is_named_by_its_digest(saved):
    path, source = saved
    network = small(2)
    assert not same(network, source)
    assert load(network, path) == sha256(path)
    assert same(network, source)


def test_a_path_is_read_from_the_folder_that_stages_run_in(saved, monkeypatch):
    path, source = saved
    monkeypatch.chdir(path.parent)
    network = small(2)
    load(network, "w.pt", digest=sha256(path))
    assert same(network, source)


def test_no_weights_are_random_ones_and_have_no_name():
    network = small(2)
    assert load_weights(network, {"kind": "none"}, architecture="small3d", drop=()) == ""
    assert same(network, small(2))


def test_another_file_than_stated_is_refused_with_both_digests(saved):
    path, _ = saved
    network = small(2)
    with pytest.raises(UserError, match=rf"w\.pt: its sha256 is {sha256(path)}, expected {'0' * 64}"):
        load(network, path, digest="0" * 64)
    assert same(network, small(2))


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "gone.pt", tmp_path):
        with pytest.raises(UserError, match=rf"{path}: no such file"):
            load(small(2), path, digest="0" * 64)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "model.", "module.model._orig_mod."]
)
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_what_training_wrappers_leave_behind(tmp_path, prefix, key):
    source = small(1)
    content = {prefix + name: value for name, value in source.state_dict().items()}
    torch.save({key: content, "epoch": 3} if key else content, tmp_path / "w.pt")
    network = small(2)
    load(network, tmp_path / "w.pt")
    assert same(network, source)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
@pytest.mark.parametrize("wrappers", ["_orig_mod", "module", "module._orig_mod", "_orig_mod.module._orig_mod"])
def test_what_wrapped_a_part_of_the_network(tmp_path, at, wrappers):
    """Such as `network.layer4 = torch.compile(network.layer4)` before its state dict was saved."""
    source = small(1)
    names = {name: name.split(".") for name in source.state_dict()}
    wrapped = {name: ".".join([*parts[:at], wrappers, *parts[at:]]) for name, parts in names.items()}
    content = {wrapped[name]: value for name, value in source.state_dict().items()}
    torch.save(content, tmp_path / "w.pt")
    network = small(2)
    load(network, tmp_path / "w.pt")
    assert same(network, source)


def test_names_that_wrappers_really_give(tmp_path):
    source = small(1)
    compiled: torch.nn.Module = torch.compile(source)  # pyright: ignore[reportAssignmentType]
    averaged = torch.nn.DataParallel(compiled)
    torch.save(averaged.state_dict(), tmp_path / "w.pt")
    assert all(name.startswith("module._orig_mod.") for name in averaged.state_dict())
    network = small(2)
    load(network, tmp_path / "w.pt")
    assert same(network, source)


def test_a_wrapped_checkpoint_of_actrec_gives_its_backbone(tmp_path):
    source = small(1)
    state = {f"_orig_mod.backbones.rgb.module.{name}": value for name, value in source.state_dict().items()}
    torch.save({"state_dict": {**state, "_orig_mod.heads.0.1.bias": torch.zeros(2)}}, tmp_path / "w.pt")
    network = small(2)
    load(network, tmp_path / "w.pt")
    assert same(network, source)


def test_a_checkpoint_of_actrec_gives_its_backbone(tmp_path):
    source = small(1)
    state = {f"backbones.rgb.{name}": value for name, value in source.state_dict().items()}
    heads = {"heads.0.1.weight": torch.zeros(2, 16), "heads.0.1.bias": torch.zeros(2)}
    save_tensors(tmp_path / "best.pt", {"format": 1, "about": {"seed": 1}, "state_dict": {**state, **heads}})
    network = small(2)
    load(network, tmp_path / "best.pt")
    assert same(network, source)


def test_a_checkpoint_of_actrec_gives_its_resnet_also_to_the_other_kind(tmp_path):
    none = {"kind": "none"}
    source = ResNetFrames(depth=18, temporal="shift", clip_frames=2, input_px=112, weights=none)
    state = {f"backbones.rgb.{name}": value for name, value in source.state_dict().items()}
    path = tmp_path / "best.pt"
    save_tensors(path, {"format": 1, "about": {}, "state_dict": {**state, "heads.0.1.bias": torch.zeros(2)}})
    weights = {"kind": "file", "path": str(path), "sha256": sha256(path)}
    loaded = ResNetFrames(depth=18, temporal="mean", clip_frames=4, input_px=112, weights=weights)
    assert loaded.weights_sha256 == sha256(path)
    assert same(loaded, source)


def test_another_architecture_is_refused(tmp_path):
    torch.save(small(1, width=8).state_dict(), tmp_path / "wide.pt")
    with pytest.raises(
        UserError, match=r"wide\.pt: weights of another network: \d+ of another shape \(.*\(8, 3, .*\(4, 3, "
    ):
        load(small(2), tmp_path / "wide.pt")
    torch.save({"stem.weight": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(UserError, match=r"missing \(layers.*1 unknown \(stem\.weight.*Check kind and depth"):
        load(small(2), tmp_path / "foreign.pt")


def test_a_part_of_the_weights_is_not_enough(tmp_path):
    torch.save(dict(list(small(1).state_dict().items())[:-3]), tmp_path / "part.pt")
    with pytest.raises(UserError, match="missing"):
        load(small(2), tmp_path / "part.pt")


def test_files_from_before_batch_norm_counted_are_as_good(tmp_path):
    """Published ResNets are such: torch itself has them begin with 0."""
    source = small(1)
    old = {name: value for name, value in source.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(source.state_dict())
    torch.save(old, tmp_path / "w.pt")
    network = small(2)
    load(network, tmp_path / "w.pt")
    assert same(network, source)


class Evil:
    def __reduce__(self):
        return print, ("run by a pickle",)


@pytest.mark.parametrize("content", [Evil(), {"state_dict": {"layers.0.0.weight": Evil()}}])
def test_pickled_objects_are_refused_and_not_run(tmp_path, capsys, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt: not a checkpoint of plain tensors .*Save its state_dict\(\)"):
        read_tensors(tmp_path / "w.pt")
    assert "run by a pickle" not in capsys.readouterr().out


def test_a_whole_pickled_network_is_refused(tmp_path):
    torch.save(small(1), tmp_path / "w.pt")
    with pytest.raises(UserError, match="not a checkpoint of plain tensors"):
        read_tensors(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3), {"state_dict": {"x": 1}}])
def test_other_plain_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match="expected a state dict of tensors"):
        read_tensors(tmp_path / "w.pt")


def test_text_is_refused(tmp_path):
    (tmp_path / "w.pt").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match="not a checkpoint of plain tensors"):
        read_tensors(tmp_path / "w.pt")


# --- torchvision's ----------------------------------------------------------------------------------------------------

PUBLISHED = {"kind": "torchvision", "name": "IMAGENET1K_V1"}
NAME = Path(ResNet18_Weights.IMAGENET1K_V1.url).name


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub/checkpoints"


@pytest.fixture
def offline(monkeypatch):
    """Return the list of what was to be fetched."""
    wanted = []

    def fail(url, path, **options):
        wanted.append((url, path, options["hash_prefix"]))
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    return wanted


def test_what_cannot_be_fetched_is_named_with_its_place(hub, offline):
    with pytest.raises(UserError) as caught:
        ResNetFrames(depth=18, temporal="mean", clip_frames=2, input_px=112, weights=PUBLISHED)
    text = str(caught.value)
    assert "resnet18 IMAGENET1K_V1" in text and "no network" in text
    assert ResNet18_Weights.IMAGENET1K_V1.url in text and str(hub / NAME) in text
    assert "weights: {kind: none}" in text
    # The file's name holds the beginning of its digest, which torch then checks.
    assert offline == [(ResNet18_Weights.IMAGENET1K_V1.url, str(hub / NAME), NAME[-12:-4])]


def test_a_folder_that_cannot_be_made_is_no_bug(hub, offline):
    hub.parent.write_text("a file in the way")
    with pytest.raises(UserError, match="could not be fetched"):
        ResNetFrames(depth=18, temporal="mean", clip_frames=2, input_px=112, weights=PUBLISHED)


def test_a_file_that_lies_there_is_taken(hub, offline, resnet):
    hub.mkdir(parents=True)
    # As published: with the classifier, which is dropped, and without the counts of batch norm.
    content = OrderedDict((k, v) for k, v in resnet.state_dict().items() if not k.endswith("num_batches_tracked"))
    torch.save(content, hub / NAME)
    network = ResNetFrames(depth=18, temporal="shift", clip_frames=2, input_px=112, weights=PUBLISHED)
    assert network.weights_sha256 == sha256(hub / NAME)
    state = resnet.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.network.state_dict().items())
    assert offline == []


def test_of_a_file_that_lies_there_sound_takes_the_mean_over_colours(hub, offline, resnet):
    hub.mkdir(parents=True)
    torch.save(resnet.state_dict(), hub / NAME)
    network = ResNetMel(depth=18, weights=PUBLISHED)
    assert network.weights_sha256 == sha256(hub / NAME) and offline == []
    state = resnet.state_dict()
    state["conv1.weight"] = state["conv1.weight"].mean(dim=1, keepdim=True)
    assert all(torch.equal(value, state[name]) for name, value in network.network.state_dict().items())


@pytest.mark.parametrize(("kind", "source"), [("mc3_18", "torchvision"), ("s3d", "file")])
def test_a_network_of_clips_takes_the_file_but_for_the_classifier(hub, offline, kind, source):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = get_model(kind).state_dict()
    file = hub / Path(get_model_weights(kind)["KINETICS400_V1"].url).name
    hub.mkdir(parents=True)
    torch.save(state, file)
    weights = {
        "torchvision": {"kind": "torchvision", "name": "KINETICS400_V1"},
        "file": {"kind": "file", "path": str(file), "sha256": sha256(file)},
    }
    network = VideoNet(kind=kind, clip_frames=8, input_px=32, weights=weights[source])
    assert network.weights_sha256 == sha256(file) and offline == []
    found = network.network.state_dict()
    assert len(found) == len(state) - 2
    assert all(torch.equal(value, state[name]) for name, value in found.items())


@pytest.mark.parametrize("modality", ["rgb", "audio"])
@pytest.mark.parametrize(
    ("depth", "name", "file"),
    [
        (18, "IMAGENET1K_V1", "resnet18-f37072fd.pth"),
        (50, "IMAGENET1K_V1", "resnet50-0676ba61.pth"),
        (50, "IMAGENET1K_V2", "resnet50-11ad3fa6.pth"),
    ],
)
def test_each_name_is_a_file_of_its_own(hub, offline, modality, depth, name, file):
    settings = {"depth": depth, "weights": {"kind": "torchvision", "name": name}}
    with torch.device("meta"), pytest.raises(UserError, match=f"resnet{depth} {name}"):
        if modality == "rgb":
            ResNetFrames(**settings, temporal="mean", clip_frames=2, input_px=112)
        else:
            ResNetMel(**settings)
    assert [url.rpartition("/")[2] for url, *_ in offline] == [file]


def test_what_is_fetched_is_taken(hub, monkeypatch, resnet):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, path, **_: torch.save(resnet.state_dict(), path))
    network = ResNetFrames(depth=18, temporal="mean", clip_frames=2, input_px=112, weights=PUBLISHED)
    assert network.weights_sha256 == sha256(hub / NAME)


def test_weights_that_torchvision_does_not_have(hub, offline):
    with pytest.raises(UserError, match=r"no weights 'KINETICS400_V1' for resnet18; it has: IMAGENET1K_V1"):
        load_weights(
            get_model_on_meta(), {**PUBLISHED, "name": "KINETICS400_V1"}, architecture="resnet18", drop=("fc.",)
        )
    assert offline == []


def get_model_on_meta():
    with torch.device("meta"):
        return get_model("resnet18")


def test_unknown_kinds_of_weights_are_a_bug():
    with pytest.raises(ValueError, match="huggingface"):
        load_weights(small(1), {"kind": "huggingface"}, architecture="small3d", drop=())
