"""Grad-CAM against heat that is known by hand, and for every backbone there is."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from actrec.explain.class_heat import class_heat, picture_backbone
from actrec.explain.rollout import on_frames
from actrec.models.backbone import Backbone, RgbBackbone
from actrec.models.build_backbone import build_backbone
from actrec.models.conv3d import to_tokens
from actrec.models.hog import Hog
from actrec.models.mbt import Mbt
from actrec.models.pose_conv3d import PoseConv3d
from actrec.models.recogniser import MeanNeck, Recogniser, build
from actrec.models.resnet_mel import ResNetMel
from actrec.models.rgbpose_conv3d import RgbPoseConv3d
from actrec.models.slow_only import SlowOnly
from actrec.models.video_net import VideoNet
from actrec.models.x_shift import PoseGuided, XShiftPose, XShiftRgb

NONE = {"kind": "none"}
HEAD = {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


class Colours(RgbBackbone):
    """A 1x1 convolution over frames, time folded into the batch; its maps are red, green and blue in [0, 1]."""

    def __init__(self) -> None:
        super().__init__(mean=(0.0,) * 3, std=(1.0,) * 3, width=3)
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.conv.weight.data = torch.eye(3)[..., None, None]
        self.frames = 0

    @property
    def cam_layer(self) -> nn.Module:
        return self.conv

    def cam_maps(self, seen: torch.Tensor) -> torch.Tensor:
        return seen.unflatten(0, (-1, self.frames)).transpose(1, 2)

    def tokens(self, clips: torch.Tensor) -> torch.Tensor:
        self.frames = clips.shape[2]
        maps = self.conv(clips.transpose(1, 2).flatten(0, 1))
        return maps.mean(dim=(2, 3)).unflatten(0, (-1, self.frames))


def colour_model(weights: list[list[float]], *, frozen: bool = False) -> Recogniser:
    """Return one whose classes are weighted sums of the mean colours."""
    head = nn.Linear(3, len(weights))
    head.weight.data = torch.tensor(weights)
    model = Recogniser({"rgb": Colours()}, MeanNeck(3), {"action": head}).eval()
    model.freeze(*(["rgb"] if frozen else []))
    return model


def shown(pictures: torch.Tensor, **others: torch.Tensor) -> dict[str, Any]:
    batch = {"rgb": pictures, **others}
    return {**batch, "present": {name: torch.tensor([True]) for name in batch}}


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, *shape, 3), dtype=np.uint8))


def heat_of(model: Recogniser, pictures: torch.Tensor, *classes: int) -> np.ndarray:
    return class_heat(model, shown(pictures), output="action", classes=classes).numpy()


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_heat_is_on_the_pixels_of_the_channel_that_the_class_weighs():
    clip = torch.zeros((1, 2, 4, 6, 3), dtype=torch.uint8)
    clip[0, 0, 1, 2, 0] = 250  # red: class 1
    clip[0, 1, 3, 5, 0] = 125  # half as red, in the other frame
    clip[0, 0, 0, 0, 1] = 255  # green: of no class
    clip[0, 1, 2, 1, 2] = 99  # blue: class 0
    found = heat_of(colour_model([[0.0, 0.0, 0.3], [0.7, 0.0, 0.0]]), clip, 0, 1, 1)
    expected = np.zeros((3, 2, 4, 6))
    expected[0, 1, 2, 1] = expected[1:, 0, 1, 2] = 1
    expected[1:, 1, 3, 5] = 0.5
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-4)


def test_what_speaks_against_a_class_is_not_heat():
    clip = torch.zeros((1, 1, 2, 2, 3), dtype=torch.uint8)
    clip[0, 0, 0, 0] = torch.tensor([100, 50, 0])  # 2 * 100 - 3 * 50 = 50
    clip[0, 0, 0, 1] = torch.tensor([100, 0, 0])  # 200
    clip[0, 0, 1, 0] = torch.tensor([0, 200, 0])  # -600
    model = colour_model([[2.0, -3.0, 0.0], [-1.0, -1.0, 0.0]])
    assert heat_of(model, clip, 0, 1).tolist() == [
        [[[pytest.approx(0.25, abs=1e-4), pytest.approx(1.0, abs=1e-4)], [0.0, 0.0]]],
        [[[0.0, 0.0], [0.0, 0.0]]],
    ]


def test_of_an_image_it_is_what_the_library_itself_gives():
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, image = colour_model([[1.0, 0.5, -0.2], [0.0, 1.0, 0.0]]), noise(1, 8, 8)
    backbone: Any = picture_backbone(model)
    network = nn.Sequential(backbone.conv, nn.AdaptiveAvgPool2d(4), nn.AvgPool2d(4), nn.Flatten(), model.heads[0])
    targets: Any = [ClassifierOutputTarget(0)]
    pixels = backbone.to_model_layout(image)[:, :, 0]
    assert heat_of(model, image, 0)[:, 0] == pytest.approx(GradCAM(network, [backbone.conv])(pixels, targets), abs=1e-5)
    # It is the library that makes heat larger, but for pictures alone: ours is in the same places.
    heat = np.random.default_rng(0).random((7, 7), np.float32)
    own = on_frames(torch.from_numpy(heat)[None, None], clip_frames=1, size_px=56)[0, 0]
    assert own.numpy() == pytest.approx(cv2.resize(heat, (56, 56)), abs=1e-5)


def test_a_bright_square_is_where_the_heat_is_at_most():
    """The head is fitted by least squares, on clips with a square and without."""
    rng = np.random.default_rng(3)
    places = rng.integers(0, 8, (40, 2))

    def clip(number: int, *, has_square: bool) -> torch.Tensor:
        frames = np.random.default_rng(number).integers(40, 90, (1, 2, 40, 40, 3), dtype=np.uint8)
        top, left = places[number] * 4
        if has_square:
            frames[:, :, top : top + 8, left : left + 8] = 230
        return torch.from_numpy(frames)

    backbone = Contrasts().eval()
    truth = np.tile([1.0, 0.0], 40)
    with torch.no_grad():
        seen = [backbone(clip(n, has_square=s)).mean(dim=1) for n in range(40) for s in (True, False)]
    features = torch.cat(seen).numpy()
    weights = np.linalg.lstsq(np.hstack([features, np.ones((80, 1))]), truth, rcond=None)[0]
    head = nn.Linear(features.shape[1], 2)
    head.weight.data = torch.from_numpy(np.stack([-weights[:-1], weights[:-1]])).float()
    head.bias.data = torch.tensor([1 - weights[-1], weights[-1]]).float()
    model = Recogniser({"rgb": backbone}, MeanNeck(features.shape[1]), {"action": head}).eval()
    for number in range(8):
        batch = shown(clip(number, has_square=True))
        assert model(batch)["action"].argmax() == 1
        heat = class_heat(model, batch, output="action", classes=[1])
        pixels = on_frames(heat, clip_frames=2, size_px=40)[0]
        top, left = places[number] * 4
        _, row, column = np.unravel_index(int(pixels.argmax()), pixels.shape)
        assert top <= row < top + 8 and left <= column < left + 8
        assert pixels[:, top + 2 : top + 6, left + 2 : left + 6].mean() > 5 * pixels.mean()


class Contrasts(RgbBackbone):
    """How much brighter, and how much darker, each 4x4 pixels are than a grey of 100."""

    def __init__(self) -> None:
        super().__init__(mean=(100 / 255,) * 3, std=(1.0,) * 3, width=2)
        self.signs = nn.Conv3d(1, 2, 1, bias=False)
        self.signs.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1, 1)
        self.layer = nn.Sequential(nn.AvgPool3d((1, 4, 4)), self.signs, nn.ReLU())

    @property
    def cam_layer(self) -> nn.Module:
        return self.layer

    def tokens(self, clips: torch.Tensor) -> torch.Tensor:
        return to_tokens(self.layer(clips.mean(dim=1, keepdim=True)), None)


# --- the model is left alone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_or_not_heat_is_the_same_and_the_model_stays_as_it_was(frozen):
    model, clip = colour_model([[1.0, 0.5, -0.2]], frozen=frozen), noise(2, 4, 4)
    assert (heat_of(model, clip, 0) == heat_of(colour_model([[1.0, 0.5, -0.2]]), clip, 0)).all()
    learns = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert learns == {"backbones.rgb.conv.weight": not frozen, "heads.0.weight": True, "heads.0.bias": True}
    assert model.frozen == ({"rgb"} if frozen else set())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_it_is_left_alone_after_an_error_too():
    model = colour_model([[1.0, 0.5, -0.2]], frozen=True)
    with pytest.raises(IndexError):
        heat_of(model, noise(2, 4, 4), 5)
    assert model.frozen == {"rgb"} and not model.backbones["rgb"].conv.weight.requires_grad
    assert not any(module._forward_hooks for module in model.modules())


def test_gradients_are_computed_whatever_mode_the_caller_is_in():
    model, clip = colour_model([[1.0, 0.5, -0.2]]), noise(2, 4, 4)
    with torch.inference_mode():
        model(shown(clip))
        found = heat_of(model, clip, 0)
    assert (found == heat_of(model, clip, 0)).all() and found.max() == pytest.approx(1)


def test_nothing_is_printed(capfd):
    heat_of(colour_model([[1.0, 0.5, -0.2]]), noise(2, 4, 4), 0)
    assert capfd.readouterr() == ("", "")


# --- every backbone ---------------------------------------------------------------------------------------------------

MAE = {"kind": "none", "width": 24, "layers": 2, "attention_heads": 3, "patch_px": 16, "tubelet_frames": 2}
THIN = {"blocks": [1, 1, 1, 1], "token_grid": None}


@pytest.mark.parametrize(
    ("spec", "shape", "layer", "grid"),
    [
        ({"kind": "small3d", "width": 4}, (4, 16), "layers.4", (2, 2, 2)),
        ({"kind": "resnet", "depth": 18, "temporal": "mean"}, (1, 128), "network.layer4.1", (1, 4, 4)),
        ({"kind": "resnet", "depth": 18, "temporal": "mean"}, (1, 127), "network.layer3.1", (1, 8, 8)),
        ({"kind": "resnet", "depth": 18, "temporal": "mean"}, (1, 32), "network.layer2.1", (1, 4, 4)),
        ({"kind": "resnet", "depth": 18, "temporal": "mean"}, (1, 16), "network.layer1.1", (1, 4, 4)),
        ({"kind": "resnet", "depth": 18, "temporal": "shift"}, (3, 64), "network.layer3.1", (3, 4, 4)),
        ({"kind": "resnet", "depth": 50, "temporal": "mean"}, (2, 64), "network.layer3.5", (2, 4, 4)),
        ({"kind": "r3d_18"}, (8, 32), "network.layer4.1", (1, 2, 2)),
        ({"kind": "mc3_18"}, (4, 32), "network.layer4.1", (4, 2, 2)),
        ({"kind": "r2plus1d_18"}, (4, 32), "network.layer4.1", (1, 2, 2)),
        ({"kind": "s3d"}, (16, 64), "network.features.15", (2, 2, 2)),
        ({"kind": "swin3d_t"}, (4, 64), "network.norm", (2, 2, 2)),
        ({"kind": "videomae", "weights": MAE, "token_grid": [2, 1, 1]}, (4, 48), "network.encoder.layer.1", (2, 3, 3)),
        ({"kind": "slow_only", "width": 4, **THIN}, (3, 64), "network.layer4.0", (3, 2, 2)),
        ({"kind": "x3d", "shortcut_norm": False, "token_grid": [1, 1]}, (3, 64), "network.layer4.6", (3, 2, 2)),
        ({"kind": "x_shift", "widths": [8, 8, 8, 16], **THIN}, (3, 64), "network.layer4.0", (3, 2, 2)),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, Mapping) else "",
)
def test_every_backbone_of_pictures_draws(spec, shape, layer, grid):
    frames, size = shape
    backbone = {"weights": NONE, "frozen": True, "input_px": size, **spec}
    model = build(
        {"backbones": {"rgb": backbone}, "neck": {"kind": "mean"}, "heads": {"action": HEAD}},
        classes={"action": ("a", "b")},
        multi_label=(),
        clip_frames=frames,
        channels_last=True,
        seed=0,
    ).eval()
    linear: Any = model.heads[0][1]
    linear.weight.data[1] = -linear.weight.data[0]  # so that one of the two has something to show
    own: Any = picture_backbone(model)
    assert own.get_submodule(layer) is own.cam_layer
    found = heat_of(model, noise(frames, size, size), 0, 1)
    assert found.shape == (2, *grid) and found.min() == 0 and found.max() == pytest.approx(1, abs=1e-4)
    assert heat_of(model, noise(frames, size, size), 1)[0] == pytest.approx(found[1], abs=1e-4)


def test_mvit_draws_at_the_norm_before_its_last_attention():
    """Its last block alone, for all sixteen take half a minute."""
    backbone = VideoNet(kind="mvit_v2_s", clip_frames=16, input_px=224, weights=NONE)
    layer, network = backbone.cam_layer, backbone.network
    network.blocks = network.blocks[-1:]
    network.conv_proj = nn.Conv3d(3, 768, (2, 32, 32), (2, 32, 32))
    network.pos_encoding = type(network.pos_encoding)(768, (7, 7), 8, True)
    head = nn.Linear(768, 2)
    head.weight.data[1] = -head.weight.data[0]
    model = Recogniser({"rgb": backbone}, MeanNeck(768), {"action": head}).eval()
    found = heat_of(model, noise(16, 224, 224), 0, 1)
    assert layer is network.blocks[0].norm1
    assert found.shape == (2, 8, 7, 7) and found.max() == pytest.approx(1, abs=1e-4)


def test_the_maps_have_time_height_and_width_where_the_tokens_have_them():
    def maps(kind: str, seen: torch.Tensor, **spec: Any) -> torch.Tensor:
        with torch.device("meta"):
            own = {"kind": kind, "weights": NONE, "input_px": 224, **spec}
            backbone = build_backbone("rgb", own, clip_frames=16)
        return backbone.cam_maps(seen)

    places = torch.arange(8 * 7 * 7).view(1, 8, 7, 7)
    swin = maps("swin3d_t", places[..., None].expand(1, 8, 7, 7, 5))
    mvit = maps("mvit_v2_s", torch.cat([torch.tensor([-1]), places.flatten()])[None, :, None].expand(1, 393, 5))
    assert swin.shape == mvit.shape == (1, 5, 8, 7, 7)
    assert (swin == places[:, None]).all() and (mvit == places[:, None]).all()
    tokens = torch.arange(8 * 14 * 14)[None, :, None].expand(1, -1, 5)
    mae = build_backbone(
        "rgb", {"kind": "videomae", "weights": MAE, "input_px": 224, "token_grid": None}, clip_frames=16
    )
    assert (mae.cam_maps(tokens)[0, 3] == torch.arange(8 * 14 * 14).view(8, 14, 14)).all()
    # Two clips of 16 frames, and each frame's number in its maps.
    frames = torch.arange(32)[:, None, None, None].expand(32, 5, 7, 7)
    resnet = maps("resnet", frames, depth=18, temporal="mean")
    assert resnet.shape == (2, 5, 16, 7, 7)
    assert resnet[1, 2, :, 3, 3].tolist() == list(range(16, 32))


def test_backbones_that_see_no_pictures_say_why_not():
    pose = PoseConv3d(channels=3, blocks=[1, 1, 1], width=8, temporal_stride=1, token_grid=None, weights=NONE)
    shift = XShiftPose(channels=3, blocks=[1, 1, 1], widths=[8, 8, 8], token_grid=None, weights=NONE)
    for backbone in (ResNetMel(depth=18, weights=NONE), pose, shift):
        assert backbone.cam_layer is None and "pictures alone" in Backbone.no_cam and len(backbone.no_cam) > 20
    hog = Hog(orientations=9, cell_px=8, block_cells=2, input_px=32)
    assert hog.cam_layer is None and "hog learns no maps" in hog.no_cam
    with pytest.raises(ValueError, match="no backbone with a cam_layer"):
        class_heat(Recogniser({"pose": pose}, MeanNeck(128), {}), {}, output="action", classes=[0])


# --- several modalities -----------------------------------------------------------------------------------------------


def test_beside_sound_the_heat_is_of_the_whole_model():
    class Ear(Backbone):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch

    neck = Mbt(
        widths={"rgb": 3, "audio": 2},
        width=8,
        layers=2,
        attention_heads=2,
        bottleneck_tokens=2,
        fusion_layer=0,
        dropout=0.1,
    )
    head = nn.Linear(8, 2)
    head.weight.data[1] = -head.weight.data[0]
    model = Recogniser({"rgb": Colours(), "audio": Ear(width=2)}, neck, {"action": head}).eval()
    model.freeze("rgb", "audio")
    clip = noise(2, 4, 4)
    found = [
        class_heat(model, shown(clip, audio=sound), output="action", classes=[0, 1])
        for sound in (torch.zeros(1, 3, 2), torch.randn(1, 3, 2) * 5)
    ]
    assert found[0].shape == (2, 2, 4, 4) and found[0].max() == pytest.approx(1, abs=1e-4)
    assert not torch.equal(*found), "what is heard changes what the pictures count for"


@pytest.mark.parametrize("kind", ["rgbpose_conv3d", "pose_guided"])
def test_of_streams_that_see_each_other_it_is_the_pictures_one(kind):
    if kind == "rgbpose_conv3d":
        rgb: Any = SlowOnly(blocks=[1, 1, 1, 1], width=16, token_grid=None, weights=NONE)
        pose: Any = PoseConv3d(channels=3, blocks=[1, 1, 1], width=8, temporal_stride=1, token_grid=None, weights=NONE)
        settings = {"kernel": 5, "interaction": True, "rgb_drop": 0.0, "pose_drop": 0.0, "weights": NONE}
        joint: Any = RgbPoseConv3d(rgb, pose, **settings)
    else:
        rgb = XShiftRgb(blocks=[1, 1, 1, 1], widths=[8, 8, 8, 16], token_grid=None, weights=NONE)
        pose = XShiftPose(channels=3, blocks=[1, 1, 1], widths=[8, 8, 8], token_grid=None, weights=NONE)
        joint = PoseGuided(rgb, pose)
    heads = {"rgb/action": nn.Linear(rgb.width, 2), "pose/action": nn.Linear(pose.width, 2)}
    heads["rgb/action"].weight.data[1] = -heads["rgb/action"].weight.data[0]
    model = Recogniser({"rgbpose": joint}, None, heads).eval()
    assert picture_backbone(model) is rgb
    batch = shown(noise(2, 64, 64), pose=torch.rand(1, 3, 8, 16, 16))
    found = class_heat(model, batch, output="rgb/action", classes=[0, 1])
    assert found.shape == (2, 2, 2, 2) and found.max() == pytest.approx(1, abs=1e-4)
