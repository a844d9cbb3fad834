import hashlib
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from actrec.errors import UserError
from actrec.models.x_shift import PoseAttention, PoseGuided, XShiftPose, XShiftRgb, matching_frames

NONE = {"kind": "none"}
TINY_RGB = {"blocks": (1, 1, 1, 1), "widths": (8, 8, 16, 16)}
TINY_POSE = {"blocks": (1, 1, 1), "widths": (8, 8, 16)}


@pytest.fixture(autouse=True)
def seeded():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def x_shift_rgb(**settings):
    published = {"blocks": (3, 5, 11, 7), "widths": (24, 48, 96, 192), "token_grid": None, "weights": NONE}
    return XShiftRgb(**{**published, **settings})


def x_shift_pose(**settings):
    published = {"channels": 17, "blocks": (5, 11, 7), "widths": (24, 48, 96), "token_grid": None, "weights": NONE}
    return XShiftPose(**{**published, **settings})


def trained(network):
    """Let every parameter and statistic be of some size, as after training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network


def make_batch(*, frames=4, heatmaps=12, size=32, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "rgb": torch.from_numpy(rng.integers(0, 256, (2, frames, size, size, 3), dtype=np.uint8)),
        "pose": torch.from_numpy(rng.random((2, 17, heatmaps, size // 4, size // 4), dtype=np.float32)),
    }


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


# --- sizes ------------------------------------------------------------------------------------------------------------


def by_hand(channels, stages):
    """Parameters of stem, stages (width, inner width, narrow layer, blocks) and conv5; all shortcuts have norms."""
    inputs = stages[0][0]
    found = channels * inputs * 9 + inputs * 5 + 2 * inputs
    for width, inner, narrow, blocks in stages:
        found += inputs * width + 2 * width
        for block in range(blocks):
            found += inputs * inner + 9 * inner + inner * width + 2 * (2 * inner + width)
            found += 0 if block % 2 else 2 * inner * narrow + narrow + inner
            inputs = width
    return found + inputs * inner + 2 * inner


@pytest.mark.parametrize("channels", [17, 28])
def test_parameters_by_hand(channels):
    with torch.device("meta"):
        rgb, pose = x_shift_rgb(), x_shift_pose(channels=channels)
    assert (
        count(rgb) == by_hand(3, [(24, 54, 8, 3), (48, 108, 8, 5), (96, 216, 16, 11), (192, 432, 32, 7)]) == 1_980_150
    )
    assert count(pose) == by_hand(channels, [(24, 54, 8, 5), (48, 108, 8, 11), (96, 216, 16, 7)])
    if channels == 17:
        assert [round(count(part) / 1e6, 2) for part in (rgb, pose)] == [1.98, 0.52]


def test_parameters_of_other_widths_of_pictures_by_hand():
    with torch.device("meta"):
        rgb = x_shift_rgb(blocks=(1, 2, 3, 1), widths=(8, 16, 24, 32)).eval()
        tokens = rgb(torch.zeros((2, 3, 32, 32, 3), dtype=torch.uint8))
    assert count(rgb) == by_hand(3, [(8, 18, 8, 1), (16, 36, 8, 2), (24, 54, 8, 3), (32, 72, 8, 1)])
    assert tokens.shape == (2, 1, 72) and rgb.width == 72


def test_shapes_are_the_published_ones():
    seen = {}
    with torch.device("meta"):
        rgb, pose = x_shift_rgb().eval(), x_shift_pose().eval()
        for part, network in (("rgb", rgb), ("pose", pose)):
            network.network[-1].register_forward_hook(
                lambda _, __, maps, part=part: seen.update({part: tuple(maps.shape[1:])})
            )
        tokens = rgb(torch.zeros((2, 16, 224, 224, 3), dtype=torch.uint8)), pose(torch.zeros(2, 17, 48, 56, 56))
    assert seen == {"rgb": (432, 16, 7, 7), "pose": (216, 48, 7, 7)}
    assert [part.shape for part in tokens] == [(2, 49, 432), (2, 49, 216)]
    assert (rgb.width, pose.width) == (432, 216)


def test_only_the_shift_and_the_stem_see_time():
    for network in (x_shift_rgb(**TINY_RGB), x_shift_pose(**TINY_POSE)):
        kernels = {name: m.kernel_size[0] for name, m in network.network.named_modules() if isinstance(m, nn.Conv3d)}
        assert {name for name, frames in kernels.items() if frames > 1} == {"conv1_t.conv"}
        fractions = {m.shift_fraction for m in network.modules() if hasattr(m, "shift_fraction")}
        assert fractions == {8 if isinstance(network, XShiftRgb) else 4}


def test_the_shift_carries_what_happens_to_the_neighbours():
    network = trained(x_shift_pose(**TINY_POSE)).eval()
    stage = network.network.layer1
    stage[0].se_module = nn.Identity()  # which sees all frames
    maps = torch.rand(1, 8, 5, 8, 8)
    other = maps.clone()
    other[:, :, 2] += 1
    with torch.inference_mode():
        differs = (stage(maps) - stage(other)).abs().amax(dim=(0, 1, 3, 4)) > 0
    assert differs.tolist() == [False, True, True, True, False]


# --- weights ----------------------------------------------------------------------------------------------------------

TINY = {"rgb": partial(x_shift_rgb, **TINY_RGB), "pose": partial(x_shift_pose, **TINY_POSE)}


@pytest.mark.parametrize("modality", TINY)
@pytest.mark.parametrize("is_of_both", [False, True])
def test_a_file_fills_the_stream_that_is_meant(tmp_path, modality, is_of_both):
    states = {of: make().network.state_dict() for of, make in TINY.items()}
    of_both = {f"backbones.{of}.network.{name}": value for of, own in states.items() for name, value in own.items()}
    torch.save(of_both if is_of_both else states[modality], tmp_path / "w.pt")
    digest = hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()
    loaded = TINY[modality](weights={"kind": "file", "path": str(tmp_path / "w.pt"), "sha256": digest})
    assert loaded.weights_sha256 == digest
    assert all(torch.equal(value, states[modality][name]) for name, value in loaded.network.state_dict().items())


# --- attention --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_frames", "of_frames", "expected"),
    [(16, 48, list(range(0, 48, 3))), (4, 4, [0, 1, 2, 3]), (4, 10, [0, 2, 5, 7]), (4, 2, [0, 0, 1, 1]), (1, 9, [0])],
)
def test_frames_that_match_in_time(num_frames, of_frames, expected):
    assert matching_frames(num_frames, of_frames) == expected


def test_the_attention_by_hand():
    part = trained(PoseAttention()).eval()
    assert count(part) == 2 * 49 + 2 + 7
    maps = torch.randn(2, 5, 9, 3, 3)
    with torch.inference_mode():
        pooled = torch.cat([maps.max(dim=1, keepdim=True).values, maps.mean(dim=1, keepdim=True)], dim=1)
        frames = nn.functional.conv2d(pooled.transpose(1, 2).flatten(0, 1), part.where.conv.weight[:, :, 0], padding=3)
        where = part.norm(frames.view(2, 9, 1, 3, 3).transpose(1, 2)).sigmoid()
        padded = nn.functional.pad(where.mean(dim=(3, 4))[:, 0], (3, 3))
        when = (padded.unfold(1, 7, 1) @ part.when.weight[0, 0]).sigmoid()
        expected = where * when.view(2, 1, 9, 1, 1)
        found = part(maps)
    assert found.shape == (2, 1, 9, 3, 3)
    assert torch.allclose(found, expected, atol=1e-6)
    assert 0 < float(found.min()) < float(found.max()) < 1
    assert part.norm.momentum == 0.01


def test_pictures_are_guided_and_heatmaps_are_as_alone():
    rgb, pose = trained(x_shift_rgb(**TINY_RGB)), trained(x_shift_pose(**TINY_POSE))
    network = trained(PoseGuided(rgb, pose)).eval()
    batch = make_batch()
    with torch.inference_mode():
        tokens = network(batch)
        assert torch.equal(tokens["pose"], pose(batch["pose"]))
        maps = rgb.network(rgb.to_model_layout(batch["rgb"]))
        factors = network.attention(pose.network(batch["pose"])[:, :, ::3])
        expected = (maps * (1 + factors)).mean(dim=2).flatten(2).transpose(1, 2)
        assert torch.allclose(tokens["rgb"], expected, rtol=1e-5)
        changed = network({**batch, "pose": make_batch(seed=1)["pose"]})
        assert not torch.allclose(changed["rgb"], tokens["rgb"], rtol=1e-3)
        changed = network({**batch, "rgb": make_batch(seed=1)["rgb"]})
        assert torch.equal(changed["pose"], tokens["pose"])


def test_the_pictures_teach_the_heatmaps_where_to_look():
    network = trained(PoseGuided(x_shift_rgb(**TINY_RGB), x_shift_pose(**TINY_POSE)))
    network(make_batch())["rgb"].square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.pose.network[0][0].weight.grad.any()


def test_heatmaps_of_another_size_are_refused():
    network = PoseGuided(x_shift_rgb(**TINY_RGB), x_shift_pose(**TINY_POSE))
    with pytest.raises(UserError, match=r"got 16 x 16 for 32 x 32\. Set the sizes"):
        network({**make_batch(), "pose": torch.zeros(2, 17, 12, 16, 16)})
