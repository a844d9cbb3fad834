"""Checkpoints made here under the names of mmaction2 and pyskl."""

import hashlib

import pytest
import torch

from actrec.errors import UserError
from actrec.models.pose_conv3d import PoseConv3d
from actrec.models.rgbpose_conv3d import RgbPoseConv3d
from actrec.models.slow_only import SlowOnly

NONE = {"kind": "none"}


@pytest.fixture(autouse=True)
def seeded():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def saved(folder, state):
    """Return the weights setting for a checkpoint as training code writes it."""
    path = folder / "published.pth"
    torch.save({"meta": {"epoch": 18, "config": "model = dict()"}, "state_dict": state}, path)
    return {"kind": "file", "path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def slow_only(weights=NONE, **settings):
    return SlowOnly(**{"blocks": (1, 2, 1, 1), "width": 4, "token_grid": None, "weights": weights, **settings})


def pose_conv3d(weights=NONE, **settings):
    sizes = {"channels": 17, "blocks": (1, 2, 1), "width": 4, "temporal_stride": 1, "token_grid": None}
    return PoseConv3d(**{**sizes, "weights": weights, **settings})


def rgbpose(weights=NONE, *, kernel=7, interaction=False):
    plain = {"interaction": interaction, "rgb_drop": 0.0, "pose_drop": 0.0}
    return RgbPoseConv3d(slow_only(), pose_conv3d(), kernel=kernel, weights=weights, **plain)


def filled(network):
    """Give every parameter and statistic another value, as those of a trained network."""
    return {name: torch.rand_like(value.float()).to(value.dtype) for name, value in network.state_dict().items()}


def shapes(network):
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def same(network, state):
    own = network.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], value) for name, value in state.items())


@pytest.mark.parametrize("build", [slow_only, pose_conv3d])
def test_the_two_alone(tmp_path, build):
    state = filled(build().network)
    head = {"cls_head.fc_cls.weight": torch.zeros(60, 8), "cls_head.fc_cls.bias": torch.zeros(60)}
    weights = saved(tmp_path, {**{f"backbone.{name}": value for name, value in state.items()}, **head})
    network = build(weights)
    assert same(network.network, state)
    assert network.weights_sha256 == weights["sha256"]


def test_names_and_shapes_of_slow_only():
    with torch.device("meta"):
        found = shapes(slow_only(blocks=(3, 4, 6, 3), width=64).network)
    assert found["conv1.conv.weight"] == (64, 3, 1, 7, 7)
    assert found["conv1.bn.running_mean"] == (64,)
    assert found["layer1.0.conv1.conv.weight"] == (64, 64, 1, 1, 1)
    assert found["layer1.0.downsample.bn.num_batches_tracked"] == ()
    assert found["layer2.3.conv2.conv.weight"] == (128, 128, 1, 3, 3)
    assert found["layer3.0.conv1.conv.weight"] == (256, 512, 3, 1, 1)
    assert found["layer4.0.downsample.conv.weight"] == (2048, 1024, 1, 1, 1)
    assert found["layer4.2.conv3.bn.weight"] == (2048,)
    # Per block three convolutions with norms of five entries, and a shortcut a stage; and the stem.
    assert len(found) == 6 * (1 + 3 * (3 + 4 + 6 + 3) + 4)


def test_names_and_shapes_of_pose_conv3d():
    with torch.device("meta"):
        found = shapes(pose_conv3d(blocks=(4, 6, 3), width=32).network)
    assert found["conv1.conv.weight"] == (32, 17, 1, 7, 7)
    assert found["layer2.5.conv1.conv.weight"] == (64, 256, 3, 1, 1)
    assert found["layer3.2.conv3.conv.weight"] == (512, 128, 1, 1, 1)
    assert len(found) == 6 * (1 + 3 * (4 + 6 + 3) + 3)


def published_rgbpose(state):
    """Return the parameters of a joint network under their published names."""
    places = {
        "to_rgb.0": "rgb_path.layer2_lateral",
        "to_rgb.1": "rgb_path.layer3_lateral",
        "to_pose.0": "pose_path.layer1_lateral",
        "to_pose.1": "pose_path.layer2_lateral",
        "rgb.network": "rgb_path",
        "pose.network": "pose_path",
    }
    renamed = {}
    for name, value in state.items():
        place = next(place for place in places if name.startswith(place + "."))
        renamed[f"backbone.{places[place]}{name.removeprefix(place)}"] = value
    return renamed


HEADS = {"cls_head.fc_rgb.weight": torch.zeros(60, 32), "cls_head.fc_pose.bias": torch.zeros(60)}


def test_the_joint_network(tmp_path):
    state = filled(rgbpose())
    weights = saved(tmp_path, {**published_rgbpose(state), **HEADS})
    network = rgbpose(weights)
    assert same(network, state)
    assert [part.weights_sha256 for part in network.parts.values()] == [weights["sha256"]] * 2


def test_names_and_shapes_of_the_joint_network():
    """Those that pyskl's merge_pretrain.ipynb prints and pads."""
    with torch.device("meta"):
        streams = slow_only(blocks=(3, 4, 6, 3), width=64), pose_conv3d(blocks=(4, 6, 3), width=32)
        plain = {"interaction": False, "rgb_drop": 0.0, "pose_drop": 0.0, "weights": NONE}
        network = RgbPoseConv3d(*streams, kernel=7, **plain)
    found = {name: tuple(value.shape) for name, value in published_rgbpose(network.state_dict()).items()}
    expected = {
        "rgb_path.layer3.0.conv1.conv.weight": (256, 640, 3, 1, 1),
        "rgb_path.layer3.0.downsample.conv.weight": (1024, 640, 1, 1, 1),
        "rgb_path.layer4.0.conv1.conv.weight": (512, 1280, 3, 1, 1),
        "rgb_path.layer4.0.downsample.conv.weight": (2048, 1280, 1, 1, 1),
        "pose_path.layer2.0.conv1.conv.weight": (64, 160, 3, 1, 1),
        "pose_path.layer2.0.downsample.conv.weight": (256, 160, 1, 1, 1),
        "pose_path.layer3.0.conv1.conv.weight": (128, 320, 3, 1, 1),
        "pose_path.layer3.0.downsample.conv.weight": (512, 320, 1, 1, 1),
        "rgb_path.layer2_lateral.conv.weight": (128, 128, 7, 1, 1),
        "rgb_path.layer3_lateral.conv.weight": (256, 256, 7, 1, 1),
        "pose_path.layer1_lateral.conv.weight": (512, 32, 7, 1, 1),
        "pose_path.layer2_lateral.conv.weight": (1024, 64, 7, 1, 1),
        "pose_path.layer1_lateral.bn.running_var": (32,),
        "pose_path.layer2_lateral.bn.bias": (64,),
    }
    assert {name: found[f"backbone.{name}"] for name in expected} == expected
    assert len([name for name in found if "_lateral" in name]) == 2 + 2 * 6


def test_another_kernel_is_said_to_be_the_setting(tmp_path):
    weights = saved(tmp_path, published_rgbpose(filled(rgbpose(kernel=7))))
    with pytest.raises(UserError, match=r"kernel of 7 in the checkpoint of weights, 5 in .* Set kernel: 7"):
        rgbpose(weights, kernel=5)


def test_the_interaction_which_no_published_one_has_starts_untrained(tmp_path):
    state = filled(rgbpose())
    network = rgbpose(saved(tmp_path, {**published_rgbpose(state), **HEADS}), interaction=True)
    own = network.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items())
    assert not own["interactions.0.to_rgb.weight"].any() and own["interactions.0.of_rgb.weight"].any()
    partly = {f"backbones.rgbpose.{name}": value for name, value in own.items() if "interactions.1" not in name}
    with pytest.raises(UserError, match=r"missing \(interactions\.1\."):
        rgbpose(saved(tmp_path, partly), interaction=True)


def test_a_checkpoint_of_actrec_of_one_stream_starts_it_in_another_run(tmp_path):
    state = filled(pose_conv3d())
    content = {f"backbones.pose.{name}": value for name, value in state.items()}
    weights = saved(tmp_path, {**content, "heads.0.1.bias": torch.zeros(2)})
    assert same(pose_conv3d(weights), state)


def test_a_checkpoint_of_actrec_gives_the_joint_network(tmp_path):
    state = filled(rgbpose(kernel=5))
    content = {f"backbones.rgbpose.{name}": value for name, value in state.items()}
    weights = saved(tmp_path, {**content, "heads.0.1.bias": torch.zeros(2)})
    assert same(rgbpose(weights, kernel=5), state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("backbone.layer1.0.conv1.bn.bias"), r"1 missing \(layer1\.0\.conv1\.bn\.bias"),
        (lambda s: s.update({"backbone.pool2.weight": torch.ones(1)}), r"1 unknown \(pool2\.weight"),
        (lambda s: s.update({"neck.weight": torch.ones(1)}), r"1 unknown \(neck\.weight"),
        (
            lambda s: s.update({"backbone.conv1.conv.weight": torch.ones(4, 28, 1, 7, 7)}),
            r"1 of another shape \(conv1\.conv\.weight \(4, 28, 1, 7, 7\) for \(4, 17, 1, 7, 7\)",
        ),
        (
            lambda s: s.update({"conv1.conv.weight": torch.ones(4, 17, 1, 7, 7)}),
            r"conv1\.conv\.weight twice, as backbone\.conv1\.conv\.weight and as conv1\.conv\.weight",
        ),
    ],
)
def test_every_parameter_is_used_or_named(tmp_path, change, message):
    state = {f"backbone.{name}": value for name, value in filled(pose_conv3d().network).items()}
    change(state)
    with pytest.raises(UserError, match=message):
        pose_conv3d(saved(tmp_path, state))


def test_counters_of_batches_may_lack(tmp_path):
    state = {f"backbone.{name}": value for name, value in filled(pose_conv3d().network).items()}
    kept = {name: value for name, value in state.items() if "num_batches" not in name}
    assert len(kept) < len(state)
    network = pose_conv3d(saved(tmp_path, kept))
    assert torch.equal(network.network.conv1.conv.weight, kept["backbone.conv1.conv.weight"])


def test_one_network_is_not_taken_for_the_other(tmp_path):
    state = {f"backbone.{name}": value for name, value in filled(slow_only().network).items()}
    with pytest.raises(UserError, match="weights of another network"):
        pose_conv3d(saved(tmp_path, state))
    with pytest.raises(UserError, match="weights of another network"):
        rgbpose(saved(tmp_path, state))
