import numpy as np
import pytest
import torch
from torch import nn

from actrec.models.recogniser import MeanNeck, Recogniser, build

SPEC = {
    "backbones": {"rgb": {"kind": "small3d", "width": 4, "weights": {"kind": "none"}, "frozen": False, "input_px": 16}},
    "neck": {"kind": "mean"},
    "heads": {"action": {"kind": "linear", "dropout": 0.5}},
}
EAR = {"kind": "resnet", "depth": 18, "weights": {"kind": "none"}, "frozen": True}
MBT = {
    "kind": "mbt",
    "width": 8,
    "layers": 2,
    "attention_heads": 2,
    "bottleneck_tokens": 2,
    "fusion_layer": 0,
    "dropout": 0.0,
}
PLAIN_HEAD = {"kind": "linear", "dropout": 0.0}
CLASSES = {"action": ("a", "b", "c")}


def make(
    *, seed=0, frozen=False, heads=SPEC["heads"], classes=CLASSES, channels_last=False, multi_label=(), sound=False
):
    backbones = {"rgb": {**SPEC["backbones"]["rgb"], "frozen": frozen}, **({"audio": EAR} if sound else {})}
    spec = {"backbones": backbones, "neck": MBT if sound else SPEC["neck"], "heads": heads}
    return build(spec, classes=classes, multi_label=multi_label, clip_frames=4, channels_last=channels_last, seed=seed)


def make_clips(count=3):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 4, 16, 16, 3), dtype=np.uint8))


def make_batch(count=3):
    return {"rgb": make_clips(count), "present": here("rgb", count=count)}


def here(*modalities, count=3):
    return {modality: torch.ones(count, dtype=torch.bool) for modality in modalities}


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(module, state):
    return all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def train(model, steps=3):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(make_batch())["action"].square().sum().backward()
        optimizer.step()


# --- clips without sound --------------------------------------------------------------------------------------------


def make_learner():
    """Return a model in training whose ears learn, and none of whose parts is random."""
    ears = {**EAR, "frozen": False}
    spec = {"backbones": {**SPEC["backbones"], "audio": ears}, "neck": MBT, "heads": {"action": PLAIN_HEAD}}
    return build(spec, classes=CLASSES, multi_label=(), clip_frames=4, channels_last=False, seed=0).train()


def make_heard(there, *, missing):
    """Return four clips, and in place of the sound that is not there the number `missing`."""
    present = torch.tensor(there)
    heard = torch.from_numpy(np.random.default_rng(1).normal(-40, 20, (4, 32, 40)).astype(np.float32))
    heard = heard.where(present[:, None, None], torch.tensor(missing))
    present_of = {**here("rgb", count=4), "audio": present}
    return {"rgb": make_clips(4), "audio": heard, "present": present_of, "rows": {"audio": present.nonzero()[:, 0]}}


@pytest.mark.parametrize("there", [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
def test_what_stands_for_missing_sound_reaches_no_clip_while_batch_norm_learns(there):
    said = []
    for missing in (0.0, 1e3):
        model = make_learner()
        logits, _ = model.learn(make_heard([bool(own) for own in there], missing=missing))
        logits["action"].square().sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        said.append((logits["action"].detach(), gradients, state_of(model)))
    (one, own_gradients, state), (other, other_gradients, other_state) = said
    assert torch.equal(one, other)
    assert all(torch.equal(value, other_gradients[name]) for name, value in own_gradients.items())
    assert all(torch.equal(value, other_state[name]) for name, value in state.items())


def test_batch_norm_learns_of_those_that_are_there():
    """The ears of clips 0 and 2 alone are those of a batch of these two."""
    both, alone = make_learner(), make_learner()
    batch = make_heard([True, False, True, False], missing=0.0)
    tokens = both.tokens(batch)["audio"]
    expected = alone.tokens_of("audio", batch["audio"][[0, 2]])
    torch.testing.assert_close(tokens[[0, 2]], expected)
    assert same(both.backbones["audio"], alone.backbones["audio"].state_dict())
    assert not same(both.backbones["audio"], make_learner().backbones["audio"].state_dict())


@pytest.mark.parametrize("there", [[False, True, False, False], [False] * 4])
def test_of_less_than_two_there_are_no_statistics(there):
    model = make_learner()
    before = state_of(model.backbones["audio"])
    model.learn(make_heard(there, missing=0.0))
    assert same(model.backbones["audio"], before) and model.backbones["audio"].training


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

    model = Recogniser({"rgb": Noisy()}, MeanNeck(100), {"action": nn.Identity()})
    model.train()
    assert not torch.equal(model.tokens(make_batch())["rgb"], torch.ones(3, 2, 100))
    model.freeze("rgb")
    assert torch.equal(model.tokens(make_batch())["rgb"], torch.ones(3, 2, 100))


def test_no_graph_is_kept_of_a_frozen_backbone():
    model = make()
    clips = make_batch()
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
    clips = make_batch()
    with torch.inference_mode():
        tokens = model.tokens(clips)
        assert tokens["rgb"].shape == (3, 2, 16)
        assert torch.equal(model({"tokens": tokens, "present": here("rgb")})["action"], model(clips)["action"])


def test_the_neck_is_the_mean_in_full_precision():
    tokens = torch.arange(12.0).view(1, 3, 4)
    assert MeanNeck(4)({"rgb": tokens}, here("rgb", count=1)).tolist() == [[4, 5, 6, 7]]
    assert MeanNeck(4)({"rgb": tokens.bfloat16()}, here("rgb", count=1)).dtype == torch.float32


def test_a_linear_head_by_hand():
    model = make().eval()
    tokens = torch.randn(2, 3, 16)
    _, linear = model.heads[0]
    expected = tokens.mean(dim=1) @ linear.weight.T + linear.bias
    assert torch.allclose(
        model({"tokens": {"rgb": tokens}, "present": here("rgb", count=2)})["action"], expected, atol=1e-6
    )


def test_heads_of_both_kinds_and_any_name():
    heads = {
        "type": {"kind": "linear", "dropout": 0.25},
        "items": {"kind": "mlp", "hidden": 7, "dropout": 0.5},
        "v1.0": {"kind": "linear", "dropout": 0.0},
    }
    model = make(heads=heads, classes={"type": ("a", "b"), "items": ("p", "q", "r"), "v1.0": ("x",) * 5}).eval()
    logits = model(make_batch(2))
    assert {name: tuple(values.shape) for name, values in logits.items()} == {
        "type": (2, 2),
        "items": (2, 3),
        "v1.0": (2, 5),
    }
    kinds = [[type(layer).__name__ for layer in head] for head in model.heads]
    assert kinds == [["Dropout", "Linear"], ["Dropout", "Linear", "ReLU", "Dropout", "Linear"], ["Dropout", "Linear"]]
    assert [layer.p for head in model.heads for layer in head if isinstance(layer, nn.Dropout)] == [0.25, 0.5, 0.5, 0.0]
    assert model.heads[1][1].out_features == 7
    with pytest.raises(ValueError, match="tree"):
        make(heads={"action": {"kind": "tree"}})


def test_weights_are_named_by_their_files():
    model = make()
    assert model.weights_sha256 == {"rgb": ""}
    model.backbones["rgb"].weights_sha256 = "a" * 64
    assert model.weights_sha256 == {"rgb": "a" * 64}


# --- several modalities, several classes a clip -----------------------------------------------------------------------


def make_mels(count=3):
    return torch.from_numpy(np.random.default_rng(1).normal(-40, 10, (count, 40, 70)).astype(np.float32))


def test_sound_and_pictures_have_a_backbone_and_a_stream_each():
    model = make(sound=True).eval()
    batch = {"rgb": make_clips(), "audio": make_mels(), "present": here("rgb", "audio")}
    with torch.inference_mode():
        tokens = model.tokens(batch)
        # 40 x 70 is 2 x 3 places after five halvings.
        assert {m: tuple(values.shape) for m, values in tokens.items()} == {"rgb": (3, 2, 16), "audio": (3, 6, 512)}
        assert all(torch.equal(model.tokens_of(m, batch[m]), values) for m, values in tokens.items())
        logits = model(batch)["action"]
        assert torch.equal(model({"tokens": tokens, "present": batch["present"]})["action"], logits)
        assert torch.equal(model.decide(tokens, batch["present"])["action"], logits)
    assert logits.shape == (3, 3) and model.neck.width == 8 and model.heads[0][1].in_features == 8
    assert model.weights_sha256 == {"rgb": "", "audio": ""}
    assert model.bare_weights == {"rgb": {"kind": "none"}, "audio": {"kind": "none"}}


def test_what_stands_for_a_missing_sound_is_not_looked_at():
    model = make(sound=True).eval()
    tokens = {"rgb": torch.randn(3, 2, 16), "audio": torch.randn(3, 6, 512)}
    present = {"rgb": torch.ones(3, dtype=torch.bool), "audio": torch.tensor([True, False, True])}
    logits = model.decide(tokens, present)["action"]
    other = tokens["audio"].clone()
    other[:2] = 5.0
    changed = model.decide({**tokens, "audio": other}, present)["action"]
    assert torch.equal(changed[1:], logits[1:]) and not torch.allclose(changed[0], logits[0])


def test_each_modality_is_frozen_by_itself():
    model = make(sound=True).train()
    assert model.frozen == {"audio"}
    batch = {"rgb": make_clips(), "audio": make_mels(), "present": here("rgb", "audio")}
    before = state_of(model.backbones["audio"])
    model(batch)["action"].square().sum().backward()
    assert same(model.backbones["audio"], before)
    assert all(p.grad is None for p in model.backbones["audio"].parameters())
    free = [*model.backbones["rgb"].parameters(), *model.neck.parameters(), *model.heads.parameters()]
    assert all(p.grad is not None for p in free)
    model.freeze("rgb")
    assert all(p.requires_grad for p in model.backbones["audio"].parameters())


def test_a_mean_neck_takes_one_modality_alone():
    spec = {**SPEC, "backbones": {**SPEC["backbones"], "audio": EAR}}
    with pytest.raises(ValueError, match="unpack"):
        build(spec, classes=CLASSES, multi_label=(), clip_frames=4, channels_last=False, seed=0)


def test_an_unknown_neck_is_a_bug():
    with pytest.raises(ValueError, match="giraffe"):
        build(
            {**SPEC, "neck": {"kind": "giraffe"}},
            classes=CLASSES,
            multi_label=(),
            clip_frames=4,
            channels_last=False,
            seed=0,
        )


def test_probabilities_of_one_class_among_all_or_of_each_by_itself():
    heads = {"action": SPEC["heads"]["action"], "acts": SPEC["heads"]["action"]}
    model = make(heads=heads, classes={"action": CLASSES["action"], "acts": ("p", "q", "r")}, multi_label=["acts"])
    assert model.multi_label == {"acts"}
    logits = torch.log(torch.tensor([[1.0, 2.0, 5.0]]))
    assert model.to_probs("action", logits).tolist() == [pytest.approx([1 / 8, 2 / 8, 5 / 8])]
    # The sigmoid of log x is x / (1 + x).
    assert model.to_probs("acts", logits).tolist() == [pytest.approx([1 / 2, 2 / 3, 5 / 6])]
    assert all(model.to_probs(head, logits.bfloat16()).dtype == torch.float32 for head in heads)
