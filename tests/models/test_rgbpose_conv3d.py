import copy

import numpy as np
import pytest
import torch
from torch import nn

from actrec.errors import UserError
from actrec.models.pose_conv3d import PoseConv3d
from actrec.models.rgbpose_conv3d import FeatureInteraction, RgbPoseConv3d
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


def streams(*, tiny=True):
    rgb = {"blocks": (1, 1, 2, 1), "width": 8} if tiny else {"blocks": (3, 4, 6, 3), "width": 64}
    pose = {"blocks": (1, 2, 1), "width": 8} if tiny else {"blocks": (4, 6, 3), "width": 32}
    return (
        SlowOnly(**rgb, token_grid=None, weights=NONE),
        PoseConv3d(channels=17, **pose, temporal_stride=1, token_grid=None, weights=NONE),
    )


def join(rgb, pose, **settings):
    plain = {"kernel": 5, "interaction": False, "rgb_drop": 0.0, "pose_drop": 0.0, "weights": NONE}
    return RgbPoseConv3d(rgb, pose, **{**plain, **settings})


def trained(network):
    """Let every parameter and statistic be of some size, as after training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network


def make_batch(frames=2, size=32, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "rgb": torch.from_numpy(rng.integers(0, 256, (2, frames, size, size, 3), dtype=np.uint8)),
        "pose": torch.from_numpy(rng.random((2, 17, 4 * frames, size // 4, size // 4), dtype=np.float32)),
    }


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "rgb", "pose"), [(5, 33_190_976, 2_475_552), (7, 33_354_816, 2_639_392)])
def test_parameters_by_hand(kernel, rgb, pose):
    """The streams alone, what their third and fourth (second and third) stages read more, and the exchange."""
    with torch.device("meta"):
        network = join(*streams(tiny=False), kernel=kernel)
    read_more_rgb = 128 * (3 * 256 + 1024) + 256 * (3 * 512 + 2048)
    read_more_pose = 32 * (3 * 64 + 256) + 64 * (3 * 128 + 512)
    exchange = kernel * (128 * 128 + 256 * 256), kernel * (512 * 32 + 1024 * 64) + 2 * (32 + 64)
    assert count(network.rgb) + count(network.to_rgb) == 31_634_496 + read_more_rgb + exchange[0] == rgb
    assert count(network.pose) + count(network.to_pose) == 1_994_080 + read_more_pose + exchange[1] == pose
    assert count(network) == rgb + pose
    if kernel == 5:
        assert round(count(network) / 1e6, 2) == 35.67


def test_parameters_of_the_interaction_by_hand():
    with torch.device("meta"):
        network = join(*streams(tiny=False), interaction=True)

    def by_hand(rgb, pose):
        there = (rgb * pose + pose) + (4 * pose * pose + pose)
        back = (pose * rgb + rgb) + (4 * pose * pose + pose)
        return there + back + 2 * 4 * (pose * pose + pose)

    assert [count(part) for part in network.interactions] == [by_hand(512, 128), by_hand(1024, 256)]
    assert [round(count(part) / 1e6, 2) for part in network.interactions] == [0.40, 1.58]


@pytest.mark.parametrize("interaction", [False, True])
def test_shapes_are_the_published_ones(interaction):
    seen = {}
    with torch.device("meta"):
        network = join(*streams(tiny=False), interaction=interaction).eval()
        parts = {"rgb": network.rgb.network, "pose": network.pose.network}
        parts |= {"to_rgb": network.to_rgb, "to_pose": network.to_pose}
        for part, layers in parts.items():
            for name, layer in layers.named_children():
                layer.register_forward_hook(
                    lambda _, inputs, maps, name=f"{part}.{name}": seen.update(
                        {name: (tuple(inputs[0].shape[1:]), tuple(maps.shape[1:]))}
                    )
                )
        clips = torch.zeros((2, 8, 224, 224, 3), dtype=torch.uint8)
        tokens = network({"rgb": clips, "pose": torch.zeros(2, 17, 32, 56, 56)})
    assert seen["rgb.maxpool"][1] == (64, 8, 56, 56)
    assert seen["pose.maxpool"][1] == (32, 32, 56, 56)
    assert seen["rgb.layer2"][1] == (512, 8, 28, 28)
    assert seen["pose.layer1"][1] == (128, 32, 28, 28)
    assert seen["to_rgb.0"] == ((128, 32, 28, 28), (128, 8, 28, 28))
    assert seen["to_pose.0"] == ((512, 8, 28, 28), (32, 32, 28, 28))
    assert seen["rgb.layer3"] == ((640, 8, 28, 28), (1024, 8, 14, 14))
    assert seen["pose.layer2"] == ((160, 32, 28, 28), (256, 32, 14, 14))
    assert seen["to_rgb.1"] == ((256, 32, 14, 14), (256, 8, 14, 14))
    assert seen["to_pose.1"] == ((1024, 8, 14, 14), (64, 32, 14, 14))
    assert seen["rgb.layer4"] == ((1280, 8, 14, 14), (2048, 8, 7, 7))
    assert seen["pose.layer3"] == ((320, 32, 14, 14), (512, 32, 7, 7))
    assert {name: part.shape for name, part in tokens.items()} == {"rgb": (2, 49, 2048), "pose": (2, 49, 512)}
    assert {name: part.width for name, part in network.parts.items()} == {"rgb": 2048, "pose": 512}


# --- the exchange -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interaction", [False, True])
@pytest.mark.parametrize("kernel", [5, 7])
def test_untrained_the_tokens_are_those_of_the_two_alone(kernel, interaction):
    rgb, pose = (trained(stream) for stream in streams())
    alone = {"rgb": copy.deepcopy(rgb).eval(), "pose": copy.deepcopy(pose).eval()}
    network = join(rgb, pose, kernel=kernel, interaction=interaction).eval()
    batch = make_batch()
    with torch.inference_mode():
        tokens = network(batch)
        for name, stream in alone.items():
            expected = stream(batch[name])
            assert torch.allclose(tokens[name], expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_what_the_two_had_learned_is_carried_over():
    rgb, pose = (trained(stream) for stream in streams())
    before = {"rgb": copy.deepcopy(rgb.state_dict()), "pose": copy.deepcopy(pose.state_dict())}
    network = join(rgb, pose)
    wider = {
        "rgb": {"network.layer3.0.conv1.conv.weight": 32, "network.layer4.0.conv1.conv.weight": 64},
        "pose": {"network.layer2.0.conv1.conv.weight": 8, "network.layer3.0.conv1.conv.weight": 16},
    }
    for stream, own in before.items():
        for name, more in dict(wider[stream]).items():
            wider[stream][name.replace("conv1", "downsample")] = more
        for name, value in network.parts[stream].state_dict().items():
            more = wider[stream].get(name, 0)
            kept = value.shape[1] - more if more else None
            assert torch.equal(value[:, :kept] if more else value, own[name])
            assert not more or (value.shape[1] == own[name].shape[1] + more and not value[:, kept:].any())


def test_both_read_what_the_other_has_before_it_is_given_anything():
    network = trained(join(*streams())).eval()
    ends, reads = {}, {}
    for name, stream in network.parts.items():
        for stage, layer in stream.network.named_children():
            layer.register_forward_hook(lambda _, __, maps, key=(name, stage): ends.update({key: maps.clone()}))
            layer.register_forward_pre_hook(lambda _, maps, key=(name, stage): reads.update({key: maps[0].clone()}))
    for level in (0, 1):
        for name, lateral in (("to_rgb", network.to_rgb[level]), ("to_pose", network.to_pose[level])):
            lateral.register_forward_hook(lambda _, __, maps, key=(name, level): ends.update({key: maps.clone()}))
            lateral.register_forward_pre_hook(lambda _, maps, key=(name, level): reads.update({key: maps[0].clone()}))
    with torch.inference_mode():
        network(make_batch())
    for level, (rgb, pose) in enumerate([("layer2", "layer1"), ("layer3", "layer2")]):
        assert torch.equal(reads["to_rgb", level], ends["pose", pose])
        assert torch.equal(reads["to_pose", level], ends["rgb", rgb])
        wider_rgb = torch.cat([ends["rgb", rgb], ends["to_rgb", level]], dim=1)
        wider_pose = torch.cat([ends["pose", pose], ends["to_pose", level]], dim=1)
        assert torch.equal(reads["rgb", f"layer{level + 3}"], wider_rgb)
        assert torch.equal(reads["pose", f"layer{level + 2}"], wider_pose)
        assert ends["to_rgb", level].any() and ends["to_pose", level].any()
        assert float(ends["to_pose", level].min()) >= 0 > float(ends["to_rgb", level].min())  # ReLU there alone


def test_one_step_of_training_lets_each_stream_see_the_other():
    network = trained(join(*streams())).train()
    batch = make_batch()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    sum(tokens.square().mean() for tokens in network(batch).values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    optimizer.step()
    other = make_batch(seed=1)
    network.eval()
    with torch.inference_mode():
        tokens = network(batch)
        assert not torch.allclose(network({**batch, "pose": other["pose"]})["rgb"], tokens["rgb"], rtol=1e-4)
        assert not torch.allclose(network({**batch, "rgb": other["rgb"]})["pose"], tokens["pose"], rtol=1e-4)


def widened(network):
    """Let the stages look at what they are given."""
    for stage in (*network.rgb.network[-2:], *network.pose.network[-2:]):
        for layer in (stage[0].conv1, stage[0].downsample):
            nn.init.kaiming_normal_(layer[0].weight)
    return network


@pytest.mark.parametrize(("seen", "other"), [("rgb", "pose"), ("pose", "rgb")])
def test_what_a_stream_gets_wrong_teaches_the_other(seen, other):
    network = widened(trained(join(*streams())))
    network(make_batch())[seen].square().mean().backward()
    assert network.parts[other].network[0][0].weight.grad.any()


@pytest.mark.parametrize("dropped", ["rgb", "pose"])
def test_a_drop_takes_what_is_given_in_training_alone(dropped):
    network = widened(trained(join(*streams(), **{f"{dropped}_drop": 1.0})))
    batch, other = make_batch(), make_batch(seed=1)
    given = {"rgb": "pose", "pose": "rgb"}
    for stream, seen in given.items():
        changed = {**batch, seen: other[seen]}
        for mode in (True, False):
            network.train(mode)
            with torch.no_grad():
                same = torch.equal(network(batch)[stream], network(changed)[stream])
            assert same is (mode and stream == dropped)
    network.train()
    sum(tokens.sum() for tokens in network(batch).values()).backward()
    laterals = {"rgb": network.to_rgb, "pose": network.to_pose}
    assert all(p.grad is not None and not p.grad.any() for p in laterals[dropped].parameters())
    assert all(p.grad is not None for p in network.parameters())
    assert any(p.grad.any() for p in laterals[given[dropped]].parameters())


def test_a_drop_falls_as_often_as_asked():
    network = join(*streams(), rgb_drop=0.3).train()
    assert sum(network._kept(0.3) for _ in range(2000)) / 2000 == pytest.approx(0.7, abs=0.03)


def test_without_drops_nothing_is_drawn():
    network = join(*streams()).train()
    before = torch.get_rng_state()
    network(make_batch())
    assert torch.equal(torch.get_rng_state(), before)


def test_heatmaps_of_another_number_or_size_are_refused():
    network, batch = join(*streams()), make_batch()
    with pytest.raises(UserError, match=r"got 2 x 32 x 32 pictures and 6 x 8 x 8 heat-maps .* Set the numbers"):
        network({**batch, "pose": batch["pose"][:, :, :6]})
    with pytest.raises(UserError, match=r"got 2 x 32 x 32 pictures and 8 x 16 x 16 heat-maps"):
        network({**batch, "pose": torch.zeros(2, 17, 8, 16, 16)})


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd, got 4"):
        join(*streams(), kernel=4)


def test_sizes_that_are_no_multiples_meet_too():
    network = join(*streams())
    tokens = network(make_batch(frames=1, size=40))
    assert {name: part.shape[1] for name, part in tokens.items()} == {"rgb": 4, "pose": 4}


# --- PCAN's interaction -----------------------------------------------------------------------------------------------


def by_hand(part, rgb, pose):
    """As the paper's code has it, with the attention written out."""

    def attention(asks, queries, values):
        q, k, v = (
            nn.functional.linear(source, weight, bias).unflatten(2, (8, -1)).transpose(1, 2)
            for source, weight, bias in zip(
                (queries, values, values), asks.in_proj_weight.chunk(3), asks.in_proj_bias.chunk(3), strict=True
            )
        )
        weights = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(dim=3)
        return asks.out_proj((weights @ v).transpose(1, 2).flatten(2))

    steps = rgb.shape[2]
    pool = nn.AdaptiveMaxPool3d((steps, 1, 1))
    of_rgb, of_pose = (pool(maps).flatten(2).transpose(1, 2) for maps in (part.of_rgb(rgb), part.of_pose(pose)))
    of_rgb = attention(part.rgb_asks, of_rgb, of_pose)
    of_pose = attention(part.pose_asks, of_pose, of_rgb)
    gates = (to(of.transpose(1, 2)[..., None, None]) for to, of in ((part.to_rgb, of_rgb), (part.to_pose, of_pose)))
    return [maps + gate * maps for maps, gate in zip((rgb, pose), gates, strict=True)]


def test_the_interaction_by_hand():
    part = FeatureInteraction(24, 16).eval()
    rgb, pose = torch.randn(2, 24, 3, 5, 5), torch.randn(2, 16, 12, 5, 5)
    with torch.inference_mode():
        for found, given in zip(part(rgb, pose), (rgb, pose), strict=True):
            assert torch.equal(found, given)
        for parameter in part.parameters():
            nn.init.normal_(parameter, std=0.3)
        found = part(rgb, pose)
        for own, expected, given in zip(found, by_hand(part, rgb, pose), (rgb, pose), strict=True):
            assert own.shape == given.shape
            assert torch.allclose(own, expected, atol=1e-4)
            assert not torch.allclose(own, given, atol=0.1)


def test_the_exchange_reads_what_the_interaction_has_not_touched():
    network = trained(join(*streams(), interaction=True)).eval()
    reads, ends = {}, {}
    network.rgb.network[-3].register_forward_hook(lambda _, __, maps: ends.update(rgb=maps.clone()))
    network.to_pose[0].register_forward_pre_hook(lambda _, maps: reads.update(to_pose=maps[0].clone()))
    network.rgb.network[-2].register_forward_pre_hook(lambda _, maps: reads.update(layer3=maps[0].clone()))
    for parameter in network.interactions.parameters():
        nn.init.normal_(parameter, std=0.3)
    with torch.inference_mode():
        network(make_batch())
    assert torch.equal(reads["to_pose"], ends["rgb"])
    assert not torch.allclose(reads["layer3"][:, : ends["rgb"].shape[1]], ends["rgb"], atol=0.01)
