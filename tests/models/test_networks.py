import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import get_model

from actrec.errors import UserError
from actrec.models.backbone import RgbBackbone
from actrec.models.build_backbone import build_backbone
from actrec.models.resnet_frames import ResNetFrames, temporal_shift
from actrec.models.small3d import Small3d
from actrec.models.video_net import VideoNet

NONE = {"kind": "none"}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_clips(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "published", "width"),
    [
        (18, 11_689_512, 512),
        (34, 21_797_672, 512),
        (50, 25_557_032, 2048),
        (101, 44_549_160, 2048),
        (152, 60_192_808, 2048),
    ],
)
def test_resnets_have_the_published_parameters_but_for_the_classifier(depth, published, width):
    with torch.device("meta"):
        network = ResNetFrames(depth=depth, temporal="mean", clip_frames=4, input_px=112, weights=NONE)
    assert network.width == width
    assert count(network) == published - (width * 1000 + 1000)


@pytest.mark.parametrize(
    ("kind", "published", "width"),
    [
        ("r3d_18", 33_371_472, 512),
        ("mc3_18", 11_695_440, 512),
        ("r2plus1d_18", 31_505_325, 512),
        ("s3d", 8_320_048, 1024),
        ("mvit_v2_s", 34_537_744, 768),
        ("swin3d_t", 28_158_070, 768),
    ],
)
def test_video_networks_have_the_published_parameters_but_for_the_classifier(kind, published, width):
    with torch.device("meta"):
        network = VideoNet(kind=kind, clip_frames=16, input_px=224, weights=NONE)
    assert network.width == width
    assert count(network) == published - (width * 400 + 400)


def test_small3d_by_hand():
    # Weights 3*w*75, w*2w*27, 2w*4w*27, 4w*4w*27, and twice the channels for each batch norm.
    width = 4
    convolutions = 3 * width * 75 + 27 * width**2 * (2 + 8 + 16)
    assert count(Small3d(width=width)) == convolutions + 2 * width * (1 + 2 + 4 + 4)


@pytest.mark.parametrize(
    ("spec", "shape", "tokens"),
    [
        ({"kind": "small3d", "width": 4}, (4, 16, 16), (2, 16)),
        ({"kind": "small3d", "width": 4}, (5, 16, 24), (3, 16)),
        ({"kind": "small3d", "width": 4}, (1, 16, 16), (1, 16)),
        ({"kind": "resnet", "depth": 18, "temporal": "mean", "input_px": 32}, (3, 32, 32), (3, 512)),
        ({"kind": "resnet", "depth": 50, "temporal": "shift", "input_px": 32}, (2, 32, 32), (2, 2048)),
        ({"kind": "r3d_18", "input_px": 16}, (4, 16, 16), (1, 512)),
        ({"kind": "mc3_18", "input_px": 16}, (4, 16, 16), (1, 512)),
        ({"kind": "r2plus1d_18", "input_px": 16}, (4, 16, 16), (1, 512)),
        ({"kind": "s3d", "input_px": 17}, (5, 17, 17), (1, 1024)),
        ({"kind": "mvit_v2_s", "input_px": 224}, (16, 224, 224), (1, 768)),
        ({"kind": "swin3d_t", "input_px": 32}, (2, 32, 32), (1, 768)),
    ],
)
def test_tokens(spec, shape, tokens):
    """On the meta device: shapes without numbers."""
    with torch.device("meta"):
        network = build_backbone("rgb", {**spec, "weights": NONE}, clip_frames=shape[0]).eval()
        clips = torch.zeros((2, *shape, 3), dtype=torch.uint8)
    found = network(clips)
    assert found.shape == (2, *tokens) and network.width == tokens[1]


def test_networks_that_cannot_take_such_clips_say_so():
    for frames, size_px in ((8, 224), (16, 112)):
        with pytest.raises(UserError, match=rf"mvit_v2_s takes 16 frames of 224 px, got {frames} of {size_px}"):
            VideoNet(kind="mvit_v2_s", clip_frames=frames, input_px=size_px, weights=NONE)
    for frames, size_px in ((4, 112), (16, 16)):
        with pytest.raises(UserError, match=rf"s3d takes at least 5 frames of 17 px, got {frames} of {size_px}"):
            VideoNet(kind="s3d", clip_frames=frames, input_px=size_px, weights=NONE)


def test_the_limits_of_s3d_are_where_torchvision_fails():
    with torch.device("meta"):
        network = VideoNet(kind="s3d", clip_frames=5, input_px=17, weights=NONE)
        for shape in ((4, 17, 17), (5, 16, 16)):
            with pytest.raises(RuntimeError, match="too small"):
                network(torch.zeros((1, *shape, 3), dtype=torch.uint8))


def test_an_unknown_network_is_a_bug():
    with pytest.raises(ValueError, match="x4d"):
        build_backbone("rgb", {"kind": "x4d", "input_px": 16, "weights": NONE}, clip_frames=4)


# --- pixels -----------------------------------------------------------------------------------------------------------


class Scaled(RgbBackbone):
    """Scaled pixels as tokens."""

    def tokens(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.flatten(2).transpose(1, 2)


def test_scaling_by_hand():
    backbone = Scaled(mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1), width=1)
    clips = torch.zeros((1, 2, 2, 3, 3), dtype=torch.uint8)
    clips[0, 1, 0, 2] = torch.tensor([255, 51, 153])
    scaled = backbone.to_model_layout(clips)
    assert (scaled.shape, scaled.dtype) == ((1, 3, 2, 2, 3), torch.float32)
    assert scaled[0, :, 1, 0, 2].tolist() == pytest.approx([1.0, -1.0, 3.0], abs=1e-5)
    assert scaled[0, :, 0, 0, 0].tolist() == pytest.approx([-1.0, -2.0, -3.0], abs=1e-5)


KINETICS = ([0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989])


@pytest.mark.parametrize(
    ("kind", "mean", "std"),
    [
        ("r3d_18", *KINETICS),
        ("mc3_18", *KINETICS),
        ("r2plus1d_18", *KINETICS),
        ("s3d", *KINETICS),
        ("mvit_v2_s", [0.45] * 3, [0.225] * 3),
        ("swin3d_t", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ],
)
def test_scaling_is_as_published_with_the_weights(monkeypatch, kind, mean, std):
    """The numbers of torchvision's documentation, page by page."""
    with torch.device("meta"):
        empty = get_model(kind)
    monkeypatch.setattr("torchvision.models.get_model", lambda name: empty)
    network = VideoNet(kind=kind, clip_frames=16, input_px=224, weights=NONE)
    assert network.mean.flatten().tolist() == pytest.approx(mean)
    assert network.std.flatten().tolist() == pytest.approx(std)


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "small3d", "width": 4},
        {"kind": "resnet", "depth": 18, "temporal": "shift", "input_px": 32},
        {"kind": "r3d_18", "input_px": 16},
    ],
)
def test_channels_last_computes_the_same(spec):
    clips = make_clips(2, 4, 32, 32)
    network = build_backbone("rgb", {**spec, "weights": NONE}, clip_frames=4).eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        plain = network(clips)
        network.use_channels_last()
        layout = network.to_model_layout(clips)
        found = network(clips)
    assert layout.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.allclose(found, plain, atol=1e-5 * float(plain.abs().max()))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


# --- networks ---------------------------------------------------------------------------------------------------------


def test_resnet_over_frames_is_torchvision_s_on_each_frame():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ResNetFrames(depth=18, temporal="mean", clip_frames=3, input_px=112, weights=NONE).eval()
    theirs = get_model("resnet18")
    theirs.fc = nn.Identity()
    theirs.load_state_dict(network.network.state_dict())
    clips = make_clips(2, 3, 32, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        found = network(clips)
        for i in range(2):
            for t in range(3):
                frame = ((clips[i, t] / 255 - mean) / std).permute(2, 0, 1)[None]
                assert torch.allclose(found[i, t], theirs.eval()(frame)[0], atol=1e-4)


def test_the_shift_by_hand():
    """Of 8 channels, the first shows the next frame, the second the last one, six their own; ends are empty."""
    frames = torch.arange(1, 7).float()[:, None, None, None] + torch.arange(8)[None, :, None, None] * 10
    shifted = temporal_shift(frames, clip_frames=3)  # two clips of three
    assert shifted[:, 0, 0, 0].tolist() == [2, 3, 0, 5, 6, 0]
    assert shifted[:, 1, 0, 0].tolist() == [0, 11, 12, 0, 14, 15]
    for channel in range(2, 8):
        assert torch.equal(shifted[:, channel], frames[:, channel])


def test_few_channels_are_not_shifted():
    frames = torch.randn(4, 7, 2, 2)
    assert torch.equal(temporal_shift(frames, clip_frames=2), frames)


def test_the_shift_keeps_the_memory_layout():
    frames = torch.randn(4, 16, 3, 3).contiguous(memory_format=torch.channels_last)
    shifted = temporal_shift(frames, clip_frames=4)
    assert shifted.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(shifted, temporal_shift(frames.contiguous(), clip_frames=4))


def test_with_the_shift_frames_see_their_neighbours_and_without_they_do_not():
    clips = make_clips(1, 4, 32, 32)
    other = clips.clone()
    other[0, 2] = 255 - other[0, 2]
    for temporal, changed in (("mean", [False, False, True, False]), ("shift", [True, True, True, True])):
        network = ResNetFrames(depth=18, temporal=temporal, clip_frames=4, input_px=112, weights=NONE).eval()
        with torch.inference_mode():
            differs = (network(clips) - network(other)).abs().amax(dim=2)[0] > 0
        assert differs.tolist() == changed


def test_both_kinds_have_the_same_parameters():
    with torch.device("meta"):
        mean, shift = (
            ResNetFrames(depth=18, temporal=t, clip_frames=4, input_px=112, weights=NONE) for t in ("mean", "shift")
        )
    assert list(mean.state_dict()) == list(shift.state_dict())


def test_the_order_of_frames_matters_to_small3d():
    clips = make_clips(1, 4, 16, 16)
    network = Small3d(width=4).eval()
    with torch.inference_mode():
        assert not torch.allclose(network(clips).mean(dim=1), network(clips.flip(1)).mean(dim=1))
