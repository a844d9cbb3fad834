import numpy as np
import pytest
import torch
from torch import nn

from actrec.models.recogniser import MeanNeck, Recogniser, build

SPEC = {
    "backbones": {"rgb": {"kind": "small3d", "width": 4, "weights": {"kind": "none"}, "frozen": False, "input_px": 16}},
    "heads": {"action": {"kind": "linear", "dropout": 0.5}},
}
CLASSES = {"action": ("a", "b", "c")}


def make(*, seed=0, frozen=False, heads=SPEC["heads"], classes=CLASSES, channels_last=False):
    spec = {"backbones": {"rgb": {**SPEC["backbones"]["rgb"], "frozen": frozen}}, "heads": heads}
    return build(spec, classes=classes, clip_frames=4, channels_last=channels_last, seed=seed)


def make_clips(count=3):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 4, 16, 16, 3), dtype=np.uint8))


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(module, state):
    return all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def train(model, steps=3):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model({"rgb": make_clips()})["action"].square().sum().backward()
        optimizer.step()


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights():
    assert same(make(seed=5), make(seed=5).state_dict())
    other = make(seed=6)
    assert not any(
        torch.equal(p, q) for p, q in zip(make(seed=5).parameters(), other.parameters(), strict=True) if p.dim() > 1
    )


def test_the_ambient_generator_has_no_influence_and_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    first = make(seed=5)
    assert torch.equal(torch.rand(4), expected)
    assert same(make(seed=5), first.state_dict())


def test_the_memory_layout_has_no_influence_on_the_weights():
    assert same(make(channels_last=True), make(channels_last=False).state_dict())


# --- freezing ---------------------------------------------------------------------------------------------------------


def test_a_frozen_backbone_stands_still_in_every_bit():
    model = make(frozen=True)
    before, heads = state_of(model.backbones), state_of(model.heads)
    train(model)
    assert same(model.backbones, before)
    assert not same(model.heads, heads)
    assert all(p.grad is None for p in model.backbones.parameters())


def test_a_free_backbone_moves_with_its_statistics():
    model = make()
    before = state_of(model.backbones)
    train(model)
    after = model.backbones.state_dict()
    assert not any(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("call", [lambda m: m.train(), lambda m: m.train(True), lambda m: m.eval().train()])
def test_frozen_means_evaluation_whatever_is_said(call):
    model = make(frozen=True)
    call(model)
    assert not any(module.training for module in model.backbones["rgb"].modules())
    assert model.training and all(module.training for module in model.heads.modules())
    model.eval()
    assert not any(module.training for module in model.modules())


def test_dropout_in_a_frozen_backbone_is_off():
    class Noisy(nn.Module):
        weights_sha256 = ""

        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, clips):
            return self.drop(torch.ones(len(clips), 2, 100))

    model = Recogniser({"rgb": Noisy()}, MeanNeck(), {"action": nn.Identity()})
    model.train()
    assert not torch.equal(model.tokens({"rgb": make_clips()})["rgb"], torch.ones(3, 2, 100))
    model.freeze("rgb")
    assert torch.equal(model.tokens({"rgb": make_clips()})["rgb"], torch.ones(3, 2, 100))


def test_no_graph_is_kept_of_a_frozen_backbone():
    model = make()
    clips = {"rgb": make_clips()}
    assert model.tokens(clips)["rgb"].requires_grad
    model.freeze("rgb")
    assert not model.tokens(clips)["rgb"].requires_grad
    assert model(clips)["action"].requires_grad


def test_thawing_restores_training():
    model = make(frozen=True).train()
    train(model, steps=1)
    model.freeze()
    assert model.frozen == frozenset()
    assert all(p.requires_grad for p in model.parameters()) and all(module.training for module in model.modules())
    before = state_of(model.backbones)
    train(model)
    assert not any(torch.equal(value, model.backbones.state_dict()[name]) for name, value in before.items())


def test_freezing_does_not_wake_a_model_that_evaluates():
    model = make().eval()
    model.freeze("rgb")
    model.freeze()
    assert not any(module.training for module in model.modules())


# --- forward ----------------------------------------------------------------------------------------------------------


def test_cached_tokens_stand_for_the_clips():
    model = make().eval()
    clips = {"rgb": make_clips()}
    with torch.inference_mode():
        tokens = model.tokens(clips)
        assert tokens["rgb"].shape == (3, 2, 16)
        assert torch.equal(model({"tokens": tokens})["action"], model(clips)["action"])


def test_the_neck_is_the_mean_in_full_precision():
    tokens = torch.arange(12.0).view(1, 3, 4)
    assert MeanNeck()({"rgb": tokens}).tolist() == [[4, 5, 6, 7]]
    assert MeanNeck()({"rgb": tokens.bfloat16()}).dtype == torch.float32


def test_a_linear_head_by_hand():
    model = make().eval()
    tokens = torch.randn(2, 3, 16)
    _, linear = model.heads[0]
    expected = tokens.mean(dim=1) @ linear.weight.T + linear.bias
    assert torch.allclose(model({"tokens": {"rgb": tokens}})["action"], expected, atol=1e-6)


def test_heads_of_both_kinds_and_any_name():
    heads = {
        "type": {"kind": "linear", "dropout": 0.25},
        "items": {"kind": "mlp", "hidden": 7, "dropout": 0.5},
        "v1.0": {"kind": "linear", "dropout": 0.0},
    }
    model = make(heads=heads, classes={"type": ("a", "b"), "items": ("p", "q", "r"), "v1.0": ("x",) * 5}).eval()
    logits = model({"rgb": make_clips(2)})
    assert {name: tuple(values.shape) for name, values in logits.items()} == {
        "type": (2, 2),
        "items": (2, 3),
        "v1.0": (2, 5),
    }
    kinds = [[type(layer).__name__ for layer in head] for head in model.heads]
    assert kinds == [["Dropout", "Linear"], ["Dropout", "Linear", "ReLU", "Dropout", "Linear"], ["Dropout", "Linear"]]
    assert [layer.p for head in model.heads for layer in head if isinstance(layer, nn.Dropout)] == [0.25, 0.5, 0.5, 0.0]
    assert model.heads[1][1].out_features == 7
    with pytest.raises(ValueError, match="svm"):
        make(heads={"action": {"kind": "svm"}})


def test_weights_are_named_by_their_files():
    model = make()
    assert model.weights_sha256 == {"rgb": ""}
    model.backbones["rgb"].weights_sha256 = "a" * 64
    assert model.weights_sha256 == {"rgb": "a" * 64}
