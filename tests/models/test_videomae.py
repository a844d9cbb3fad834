import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel
from transformers.models.videomae import VideoMAEImageProcessor

from actrec.errors import UserError
from actrec.models.videomae import VideoMae
from actrec.training.checkpoint import save_tensors

FRAMES, SIZE = 4, 32
TINY = {"kind": "none", "width": 24, "layers": 2, "attention_heads": 3, "patch_px": 16, "tubelet_frames": 2}
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_clips(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def write_checkpoint(folder, kind=VideoMAEForVideoClassification, **settings):
    """Write a tiny model with random biases, which a fresh one has not, and its preprocessing."""
    config = VideoMAEConfig(
        image_size=SIZE,
        num_frames=FRAMES,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=3,
        decoder_hidden_size=12,
        decoder_num_attention_heads=2,
        decoder_num_hidden_layers=1,
        decoder_intermediate_size=16,
        **settings,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind(config)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    processor = VideoMAEImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, image_mean=MEAN, image_std=STD
    )
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("published"))


@pytest.fixture
def copy(published, tmp_path):
    """Return a folder like the published one, to be spoilt."""
    return Path(shutil.copytree(published, tmp_path / "copy"))


def from_folder(folder, *, clip_frames=FRAMES, input_px=SIZE, token_grid=None, digest=None):
    file = next(folder / name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).exists())
    weights = {"kind": "folder", "path": str(folder), "sha256": digest or sha256(file)}
    return VideoMae(weights=weights, clip_frames=clip_frames, input_px=input_px, token_grid=token_grid).eval()


def edit(path, **changes):
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


# --- size -------------------------------------------------------------------------------------------------------------


def test_the_base_size_has_the_parameters_of_a_vit_b_over_tubelets():
    width, layers, mlp = 768, 12, 4 * 768
    projection = 3 * 2 * 16 * 16 * width + width
    attention = 4 * width**2 + 3 * width  # no bias for keys
    feed_forward = 2 * width * mlp + mlp + width
    norms = 2 * 2 * width
    by_hand = projection + layers * (attention + feed_forward + norms)
    assert by_hand == 86_225_664
    base = {**TINY, "width": width, "layers": layers, "attention_heads": 12}
    with torch.device("meta"):
        network = VideoMae(weights=base, clip_frames=16, input_px=224, token_grid=None).eval()
        clips = torch.zeros((2, 16, 224, 224, 3), dtype=torch.uint8)
    assert count(network) == by_hand
    assert network.width == 768 and network.grid == (8, 14, 14)
    with torch.device("meta"):
        tokens = network(clips)
    assert tokens.shape == (2, 1568, 768)


@pytest.mark.parametrize(
    ("setting", "grid", "heads"),
    [
        ({"patch_px": 8}, (2, 4, 4), 3),
        ({"tubelet_frames": 1}, (4, 2, 2), 3),
        ({"tubelet_frames": 4}, (1, 2, 2), 3),
        ({"attention_heads": 4}, (2, 2, 2), 4),
    ],
    ids=str,
)
def test_random_weights_are_of_the_size_that_is_asked_for(setting, grid, heads):
    with torch.device("meta"):
        network = VideoMae(weights={**TINY, **setting}, clip_frames=FRAMES, input_px=SIZE, token_grid=None).eval()
        attentions = network.attentions(torch.zeros((1, FRAMES, SIZE, SIZE, 3), dtype=torch.uint8))
    tokens = math.prod(grid)
    assert network.grid == grid
    assert [tuple(layer.shape) for layer in attentions] == [(1, heads, tokens, tokens)] * 2


def test_random_weights_come_from_the_seed_and_have_no_name():
    def make():
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return VideoMae(weights=TINY, clip_frames=FRAMES, input_px=SIZE, token_grid=None).eval()

    first, second = make(), make()
    clips = make_clips(2, FRAMES, SIZE, SIZE)
    assert torch.equal(first(clips), second(clips))
    assert first.weights_sha256 == ""
    assert first.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert first.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


# --- against transformers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"use_mean_pooling": False}, {"qv_bias": False}])
def test_tokens_are_those_of_transformers(tmp_path, settings):
    folder = write_checkpoint(tmp_path / "model", **settings)
    clips = make_clips(2, FRAMES, SIZE, SIZE)
    reference = VideoMAEModel.from_pretrained(folder).eval()
    pixels = VideoMAEImageProcessor.from_pretrained(folder)([list(clip) for clip in clips.numpy()], return_tensors="pt")
    ours = from_folder(folder)
    with torch.inference_mode():
        expected = reference(**pixels).last_hidden_state
        found = ours(clips)
    assert found.shape == (2, 8, 24) and expected.abs().max() > 0.1
    assert torch.allclose(found, expected, atol=1e-5)
    assert ours.weights_sha256 == sha256(folder / "model.safetensors")
    assert ours.mean.flatten().tolist() == pytest.approx(MEAN)
    assert ours.network.config._attn_implementation == "sdpa"


def test_pretraining_leaves_its_decoder_and_normalises_tokens(tmp_path):
    folder = write_checkpoint(tmp_path / "model", VideoMAEForPreTraining, use_mean_pooling=False)
    clips = make_clips(1, FRAMES, SIZE, SIZE)
    reference = VideoMAEModel.from_pretrained(folder).eval()
    ours = from_folder(folder)
    with torch.inference_mode():
        pixels = ours.to_model_layout(clips).transpose(1, 2)
        assert torch.allclose(ours(clips), reference(pixels).last_hidden_state, atol=1e-5)
        assert torch.equal(
            ours(clips),
            ours.network.layernorm(ours.network.encoder(ours.network.embeddings(pixels, None)).last_hidden_state),
        )


def test_a_bare_encoder_and_a_torch_file_are_as_good(copy, published):
    clips = make_clips(1, FRAMES, SIZE, SIZE)
    expected = from_folder(published)(clips)
    model = VideoMAEForVideoClassification.from_pretrained(published)
    (copy / "model.safetensors").unlink()
    torch.save(model.videomae.state_dict(), copy / "pytorch_model.bin")
    ours = from_folder(copy)
    assert torch.equal(ours(clips), expected)
    assert ours.weights_sha256 == sha256(copy / "pytorch_model.bin")


def test_channels_last_gives_the_same_tokens(published):
    clips = make_clips(1, FRAMES, SIZE, SIZE)
    plain, other = from_folder(published), from_folder(published)
    other.use_channels_last()
    assert torch.allclose(plain(clips), other(clips), atol=1e-5)


# --- a checkpoint of ours -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{}, {"qv_bias": False, "use_mean_pooling": False, "layer_norm_eps": 0.1, "hidden_act": "relu"}],
    ids=str,
)
def test_bare_weights_rebuild_the_same_network_without_its_folder(tmp_path, settings):
    folder = write_checkpoint(tmp_path / "model", **settings)
    original = from_folder(folder, token_grid=[1, 2, 1])
    save_tensors(tmp_path / "best.pt", {"weights": original.bare_weights, "state": dict(original.state_dict())})
    shutil.rmtree(folder)
    content = torch.load(tmp_path / "best.pt", weights_only=True)
    again = VideoMae(weights=content["weights"], clip_frames=FRAMES, input_px=SIZE, token_grid=[1, 2, 1]).eval()
    again.load_state_dict(content["state"])
    clips = make_clips(2, FRAMES, SIZE, SIZE)
    assert torch.equal(again(clips), original(clips))
    assert again.bare_weights == original.bare_weights
    assert again.weights_sha256 == ""


# --- pooling ----------------------------------------------------------------------------------------------------------


def test_the_token_grid_averages_blocks_of_tokens(published):
    clips = make_clips(2, FRAMES, SIZE, SIZE)
    whole = from_folder(published)(clips)  # 2 x 2 x 2: number = 4 time + 2 row + column
    over_rows = from_folder(published, token_grid=[2, 1, 2])(clips)
    expected = torch.stack([whole[:, [a, b]].mean(dim=1) for a, b in ((0, 2), (1, 3), (4, 6), (5, 7))], dim=1)
    assert torch.allclose(over_rows, expected, atol=1e-6)
    assert torch.allclose(from_folder(published, token_grid=[1, 1, 1])(clips)[:, 0], whole.mean(dim=1), atol=1e-6)
    assert torch.equal(from_folder(published, token_grid=[2, 2, 2])(clips), whole)


def test_the_guides_grid_has_392_tokens():
    with torch.device("meta"):
        network = VideoMae(weights=TINY, clip_frames=16, input_px=224, token_grid=[8, 7, 7]).eval()
        assert network(torch.zeros((1, 16, 224, 224, 3), dtype=torch.uint8)).shape == (1, 392, 24)


def test_a_grid_that_does_not_divide_is_refused_with_those_that_do():
    with (
        torch.device("meta"),
        pytest.raises(UserError, match=r"1, 2, 4, 8 in time and 1, 2, 7, 14 in height") as caught,
    ):
        VideoMae(weights=TINY, clip_frames=16, input_px=224, token_grid=[8, 7, 5])
    assert "token_grid [8, 7, 5]" in str(caught.value) and "8 x 14 x 14" in str(caught.value)
    with torch.device("meta"), pytest.raises(UserError, match="does not divide"):
        VideoMae(weights=TINY, clip_frames=16, input_px=224, token_grid=[16, 14, 14])


# --- attention --------------------------------------------------------------------------------------------------------


def test_attentions_by_hand_and_the_fused_kernels_afterwards(published):
    ours = from_folder(published)
    clips = make_clips(2, FRAMES, SIZE, SIZE)
    before = ours(clips)
    found = ours.attentions(clips)
    assert [tuple(layer.shape) for layer in found] == [(2, 3, 8, 8)] * 2
    with torch.inference_mode():
        layer = ours.network.encoder.layer[0]
        hidden = layer.layernorm_before(ours.network.embeddings(ours.to_model_layout(clips).transpose(1, 2), None))
        part = layer.attention.attention
        query, key = (part.get_submodule(n)(hidden).view(2, 8, 3, 8).transpose(1, 2) for n in ("query", "key"))
        by_hand = (query @ key.transpose(2, 3) / 8**0.5).softmax(dim=-1)
    assert torch.allclose(found[0], by_hand, atol=1e-6)
    assert not found[0].requires_grad
    assert ours.network.config._attn_implementation == "sdpa"
    assert torch.equal(ours(clips), before)


# --- what cannot be used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clip_frames", "input_px"), [(8, SIZE), (FRAMES, 64)])
def test_other_clips_than_the_checkpoints_are_refused_with_both_settings(published, clip_frames, input_px):
    with pytest.raises(UserError, match=f"takes 4 frames of 32 px, got {clip_frames} of {input_px}") as caught:
        from_folder(published, clip_frames=clip_frames, input_px=input_px)
    assert "frames.clip_frames: 4" in str(caught.value) and "model.backbones.rgb.input_px: 32" in str(caught.value)


@pytest.mark.parametrize(("clip_frames", "input_px"), [(5, 32), (4, 40)])
def test_clips_that_tubelets_do_not_fill_are_refused(clip_frames, input_px):
    with pytest.raises(UserError, match=r"do not fill.*frames\.clip_frames and model\.backbones\.rgb\.input_px"):
        VideoMae(weights=TINY, clip_frames=clip_frames, input_px=input_px, token_grid=None)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match=r"width 24 is not a multiple of attention_heads 5\. Set width: 20"):
        VideoMae(weights={**TINY, "attention_heads": 5}, clip_frames=FRAMES, input_px=SIZE, token_grid=None)


@pytest.mark.parametrize("name", ["query", "value"])
def test_lost_biases_are_refused_with_the_versions(copy, name):
    model = VideoMAEForVideoClassification.from_pretrained(copy)
    with torch.no_grad():
        model.videomae.encoder.layer[1].attention.attention.get_submodule(name).bias.zero_()
    model.save_pretrained(copy)
    edit(copy / "config.json", transformers_version="5.0.1")
    with pytest.raises(UserError, match=rf"the {name} biases of layer 1 are all zero.*5\.0\.1 wrote.* is installed"):
        from_folder(copy)


def test_another_file_than_stated_is_refused(published):
    with pytest.raises(UserError, match=rf"expected {'0' * 64}"):
        from_folder(published, digest="0" * 64)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_folder_without_one_of_its_files_is_refused(copy, name):
    digest = sha256(copy / "model.safetensors")
    (copy / name).unlink()
    weights = {"kind": "folder", "path": str(copy), "sha256": digest}
    with pytest.raises(UserError, match=rf"{copy}.*{name}"):
        VideoMae(weights=weights, clip_frames=FRAMES, input_px=SIZE, token_grid=None)


def test_another_architecture_is_refused(copy):
    edit(copy / "config.json", model_type="vivit")
    with pytest.raises(UserError, match="model_type is 'vivit', expected 'videomae'"):
        from_folder(copy)


@pytest.mark.parametrize(("text", "message"), [("{", "not a JSON file"), ("[]", "expected a JSON object, got list")])
def test_files_that_are_no_json_are_refused(copy, text, message):
    (copy / "config.json").write_text(text)
    with pytest.raises(UserError, match=rf"config\.json: {message}"):
        from_folder(copy)


def test_a_configuration_that_says_nonsense_is_refused(copy):
    edit(copy / "config.json", hidden_size="wide")
    with pytest.raises(UserError, match=r"config\.json: not a VideoMAE configuration.*hidden_size"):
        from_folder(copy)


def test_a_configuration_of_another_size_than_the_weights_is_refused(copy):
    edit(copy / "config.json", intermediate_size=48)
    with pytest.raises(UserError, match=r"model\.safetensors: weights of another network: .* of another shape"):
        from_folder(copy)


@pytest.mark.parametrize(
    "changes",
    [{"do_normalize": False}, {"do_rescale": False}, {"rescale_factor": 1 / 127.5}, {"image_mean": None}],
    ids=str,
)
def test_pixels_that_are_scaled_otherwise_are_refused(copy, changes):
    edit(copy / "preprocessor_config.json", **changes)
    with pytest.raises(UserError, match=r"preprocessor_config\.json: pixels are scaled in a way that actrec does not"):
        from_folder(copy)


class Evil:
    def __reduce__(self):
        return print, ("run by a pickle",)


def test_pickled_objects_are_refused_and_not_run(copy, capsys):
    (copy / "model.safetensors").unlink()
    torch.save({"classifier.bias": Evil()}, copy / "pytorch_model.bin")
    with pytest.raises(UserError, match="not a checkpoint of plain tensors"):
        from_folder(copy)
    (copy / "pytorch_model.bin").rename(copy / "model.safetensors")
    with pytest.raises(UserError, match="not a checkpoint of plain tensors"):
        from_folder(copy)
    assert "run by a pickle" not in capsys.readouterr().out


def test_unknown_kinds_of_weights_are_a_bug():
    with pytest.raises(ValueError, match="torchvision"):
        VideoMae(weights={"kind": "torchvision"}, clip_frames=FRAMES, input_px=SIZE, token_grid=None)


# --- the hub ----------------------------------------------------------------------------------------------------------


def test_what_the_hubs_cache_has_is_taken(published, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    shutil.copytree(published, tmp_path / "models--owner--model/snapshots" / REVISION)
    weights = {"kind": "hub", "id": "owner/model", "revision": REVISION}
    network = VideoMae(weights=weights, clip_frames=FRAMES, input_px=SIZE, token_grid=None).eval()
    clips = make_clips(1, FRAMES, SIZE, SIZE)
    assert torch.equal(network(clips), from_folder(published)(clips))
    assert network.weights_sha256 == sha256(published / "model.safetensors")
