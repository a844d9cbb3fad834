"""Checkpoints of X3D made here under the names that the public code composes; and what they mean, computed anew."""

import hashlib
import itertools

import pytest
import torch
from torch.nn import functional

from actrec.errors import UserError
from actrec.models.x3d import X3d


@pytest.fixture(autouse=True)
def seeded():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def saved(folder, state, *, under="state_dict"):
    path = folder / "published.pth"
    torch.save({under: state, "epoch": 300} if under else state, path)
    return {"kind": "file", "path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


# Width, inner width, that of squeeze-and-excitation, blocks.
STAGES = [(24, 54, 8, 3), (48, 108, 8, 5), (96, 216, 16, 11), (192, 432, 32, 7)]
PARTS = ("a", "a_bn", "b", "b_bn", "se1", "se2", "c", "c_bn", "shortcut", "shortcut_bn")


def naming(stem, block, first_stage, parts, end):
    """Return {what it is: its published name}; what it is: "stem", "stem_t", …, or (stage, block, part), from 0."""
    names = dict(zip(("stem", "stem_t", "stem_bn"), stem, strict=True))
    for stage, (*_, blocks) in enumerate(STAGES):
        for number in range(blocks):
            prefix = block.format(stage=stage + first_stage, block=number)
            names |= {(stage, number, part): prefix + own for part, own in zip(PARTS, parts, strict=True)}
    return names | dict(zip(("conv5", "conv5_bn", "projection", "classifier"), end, strict=True))


SLOWFAST = naming(
    ("s1.pathway0_stem.conv_xy", "s1.pathway0_stem.conv", "s1.pathway0_stem.bn"),
    "s{stage}.pathway0_res{block}.",
    2,
    (
        *("branch2.a", "branch2.a_bn", "branch2.b", "branch2.b_bn", "branch2.se.fc1", "branch2.se.fc2"),
        *("branch2.c", "branch2.c_bn", "branch1", "branch1_bn"),
    ),
    ("head.conv_5", "head.conv_5_bn", "head.lin_5", "head.projection"),
)
PYTORCHVIDEO = naming(
    ("blocks.0.conv.conv_t", "blocks.0.conv.conv_xy", "blocks.0.norm"),
    "blocks.{stage}.res_blocks.{block}.",
    1,
    (
        *("branch2.conv_a", "branch2.norm_a", "branch2.conv_b", "branch2.norm_b.0"),
        *("branch2.norm_b.1.block.0", "branch2.norm_b.1.block.2"),
        *("branch2.conv_c", "branch2.norm_c", "branch1_conv", "branch1_norm"),
    ),
    ("blocks.5.pool.pre_conv", "blocks.5.pool.pre_norm", "blocks.5.pool.post_conv", "blocks.5.proj"),
)
MMACTION = naming(
    ("backbone.conv1_s.conv", "backbone.conv1_t.conv", "backbone.conv1_t.bn"),
    "backbone.layer{stage}.{block}.",
    1,
    (
        *("conv1.conv", "conv1.bn", "conv2.conv", "conv2.bn", "se_module.fc1", "se_module.fc2"),
        *("conv3.conv", "conv3.bn", "downsample.conv", "downsample.bn"),
    ),
    ("backbone.conv5.conv", "backbone.conv5.bn", "cls_head.fc1", "cls_head.fc2"),
)


def x3d_tensors(*, shortcut_norm):
    """Return {what it is: {"weight": …, …}} of a whole X3D with 400 classes, random."""

    def conv(outputs, inputs, *kernel, bias=False):
        spread = (2 / (inputs * torch.tensor(kernel or (1,)).prod())) ** 0.5
        weight = {"weight": torch.randn(outputs, inputs, *kernel) * spread}
        return {**weight, "bias": torch.randn(outputs) * 0.1} if bias else weight

    def norm(channels):
        return {
            "weight": torch.rand(channels) + 0.5,
            "bias": torch.randn(channels) * 0.1,
            "running_mean": torch.randn(channels) * 0.1,
            "running_var": torch.rand(channels) + 0.5,
            "num_batches_tracked": torch.tensor(7),
        }

    found = {"stem": conv(24, 3, 1, 3, 3), "stem_t": conv(24, 1, 5, 1, 1), "stem_bn": norm(24)}
    inputs = 24
    for stage, (width, inner, narrow, blocks) in enumerate(STAGES):
        for block in range(blocks):
            parts = {"a": conv(inner, inputs, 1, 1, 1), "a_bn": norm(inner)}
            parts |= {"b": conv(inner, 1, 3, 3, 3), "b_bn": norm(inner)}
            if block % 2 == 0:
                parts |= {
                    "se1": conv(narrow, inner, 1, 1, 1, bias=True),
                    "se2": conv(inner, narrow, 1, 1, 1, bias=True),
                }
            parts |= {"c": conv(width, inner, 1, 1, 1), "c_bn": norm(width)}
            if block == 0:
                parts |= {"shortcut": conv(width, inputs, 1, 1, 1)}
                parts |= {"shortcut_bn": norm(width)} if shortcut_norm or inputs != width else {}
            found |= {(stage, block, part): tensors for part, tensors in parts.items()}
            inputs = width
    end = {"conv5": conv(432, 192, 1, 1, 1), "conv5_bn": norm(432), "projection": conv(2048, 432, 1, 1, 1)}
    return {**found, **end, "classifier": conv(400, 2048, bias=True)}


def x3d_reference(tensors, clips):
    """Return the features (B, 2048) before the classifier, computed from the parameters as the paper has it."""

    def conv(maps, what, **settings):
        return functional.conv3d(maps, tensors[what]["weight"], tensors[what].get("bias"), **settings)

    def norm(maps, what):
        own = tensors[what]
        return functional.batch_norm(maps, own["running_mean"], own["running_var"], own["weight"], own["bias"])

    maps = (clips.permute(0, 4, 1, 2, 3) / 255 - 0.45) / 0.225
    maps = conv(maps, "stem", stride=(1, 2, 2), padding=(0, 1, 1))
    maps = norm(conv(maps, "stem_t", padding=(2, 0, 0), groups=24), "stem_bn").relu()
    for stage, (_, inner, _, blocks) in enumerate(STAGES):
        for block in range(blocks):
            stride = (1, 2, 2) if block == 0 else 1
            detour = norm(conv(maps, (stage, block, "a")), (stage, block, "a_bn")).relu()
            detour = conv(detour, (stage, block, "b"), stride=stride, padding=1, groups=inner)
            detour = norm(detour, (stage, block, "b_bn"))
            if block % 2 == 0:
                means = detour.mean(dim=(2, 3, 4), keepdim=True)
                detour = detour * conv(conv(means, (stage, block, "se1")).relu(), (stage, block, "se2")).sigmoid()
            detour = norm(conv(detour * detour.sigmoid(), (stage, block, "c")), (stage, block, "c_bn"))
            if block == 0:
                maps = conv(maps, (stage, block, "shortcut"), stride=stride)
                maps = norm(maps, (stage, 0, "shortcut_bn")) if (stage, 0, "shortcut_bn") in tensors else maps
            maps = (maps + detour).relu()
    pooled = norm(conv(maps, "conv5"), "conv5_bn").relu().mean(dim=(2, 3, 4), keepdim=True)
    return functional.linear(pooled.flatten(1), tensors["projection"]["weight"].flatten(1)).relu()


def published_x3d(tensors, names):
    state = {f"{names[what]}.{leaf}": t for what, own in tensors.items() for leaf, t in own.items()}
    if "cls_head.fc1.weight" in state:  # a linear layer there
        state["cls_head.fc1.weight"] = state["cls_head.fc1.weight"].flatten(1)
    return state


def x3d(weights, *, shortcut_norm):
    return X3d(shortcut_norm=shortcut_norm, token_grid=[1, 1], weights=weights)


@pytest.mark.parametrize(
    ("names", "shortcut_norm", "under"),
    [(PYTORCHVIDEO, False, None), (SLOWFAST, True, "model_state"), (MMACTION, True, "state_dict")],
    ids=["pytorchvideo", "slowfast", "mmaction2"],
)
def test_x3d_computes_what_the_checkpoint_means(tmp_path, names, shortcut_norm, under):
    tensors = x3d_tensors(shortcut_norm=shortcut_norm)
    state = published_x3d(tensors, names)
    assert sum(t.numel() for name, t in state.items() if "running" not in name and "num_b" not in name) == (
        3_794_322 if shortcut_norm else 3_794_274
    )
    weights = saved(tmp_path, state, under=under)
    network = x3d(weights, shortcut_norm=shortcut_norm).eval()
    assert network.weights_sha256 == weights["sha256"]
    clips = torch.randint(0, 256, (2, 3, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = x3d_reference(tensors, clips)
        found = network(clips)
    assert found.shape == (2, 1, 2048) and expected.any()
    assert torch.allclose(found[:, 0], expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


def test_names_of_x3d_written_out():
    expected = {
        SLOWFAST[1, 2, "se2"]: "s3.pathway0_res2.branch2.se.fc2",
        SLOWFAST[0, 0, "shortcut"]: "s2.pathway0_res0.branch1",
        SLOWFAST[3, 6, "c_bn"]: "s5.pathway0_res6.branch2.c_bn",
        PYTORCHVIDEO[1, 2, "se2"]: "blocks.2.res_blocks.2.branch2.norm_b.1.block.2",
        PYTORCHVIDEO[2, 10, "b_bn"]: "blocks.3.res_blocks.10.branch2.norm_b.0",
        PYTORCHVIDEO[3, 0, "shortcut_bn"]: "blocks.4.res_blocks.0.branch1_norm",
        MMACTION[2, 10, "b_bn"]: "backbone.layer3.10.conv2.bn",
        MMACTION[0, 0, "se1"]: "backbone.layer1.0.se_module.fc1",
    }
    assert all(name == written for name, written in expected.items())


@pytest.mark.parametrize(("in_file", "says"), [(True, "SlowFast and mmaction2"), (False, "pytorchvideo")])
def test_the_norm_of_the_first_shortcut_is_said_to_be_the_setting(tmp_path, in_file, says):
    names = SLOWFAST if in_file else PYTORCHVIDEO
    weights = saved(tmp_path, published_x3d(x3d_tensors(shortcut_norm=in_file), names))
    with pytest.raises(UserError, match=rf"{says}\. Set shortcut_norm: {str(in_file).lower()}"):
        x3d(weights, shortcut_norm=not in_file)


@pytest.mark.parametrize("names", [PYTORCHVIDEO, SLOWFAST, MMACTION], ids=["pytorchvideo", "slowfast", "mmaction2"])
def test_every_parameter_of_x3d_is_used_or_named(tmp_path, names):
    state = published_x3d(x3d_tensors(shortcut_norm=True), names)
    for what in ("stem", (2, 10, "se1"), "conv5", "projection"):
        short = {name: value for name, value in state.items() if name != f"{names[what]}.weight"}
        with pytest.raises(UserError, match=r"1 missing \(" if what != "conv5" else "missing"):
            x3d(saved(tmp_path, short), shortcut_norm=True)
    more = {**state, f"{names['conv5']}.bias": torch.zeros(432), "extra.weight": torch.zeros(1)}
    with pytest.raises(UserError, match=r"2 unknown \(conv5\.conv\.bias, extra\.weight"):
        x3d(saved(tmp_path, more), shortcut_norm=True)


def test_no_two_published_names_of_x3d_are_one():
    for names in (PYTORCHVIDEO, SLOWFAST, MMACTION):
        assert len(set(names.values())) == len(names)
    for one, other in itertools.combinations((PYTORCHVIDEO, SLOWFAST, MMACTION), 2):
        assert not set(one.values()) & set(other.values())
