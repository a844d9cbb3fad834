"""A recogniser whose modalities have heads of their own: names, fusion, joint backbones, and PCAN's part in it."""

import numpy as np
import pytest
import torch

from actrec.models.backbone import JointBackbone
from actrec.models.recogniser import JOINT, build
from actrec.pose.layouts import LAYOUTS
from actrec.training.labels import NO_LABEL

NONE = {"kind": "none"}
RGB = {"weights": NONE, "frozen": False, "input_frames": 2, "input_px": 32, "token_grid": None}
POSE = {**RGB, "heatmaps": {"of": "joints", "sigma_px": 0.6}, "input_frames": 8, "input_px": 8}
SLOW_ONLY = {**RGB, "kind": "slow_only", "blocks": [1, 1, 1, 1], "width": 4}
POSE_CONV3D = {**POSE, "kind": "pose_conv3d", "blocks": [1, 1, 1], "width": 4, "temporal_stride": 1}
X_SHIFT_RGB = {**RGB, "kind": "x_shift", "blocks": [1, 1, 1, 1], "widths": [8, 8, 16, 16]}
X_SHIFT_POSE = {**POSE, "kind": "x_shift", "blocks": [1, 1, 1], "widths": [8, 8, 16]}
EAR = {"kind": "resnet", "depth": 18, "weights": NONE, "frozen": False}
LATERALS = {"kind": "rgbpose_conv3d", "kernel": 3, "interaction": True, "rgb_drop": 0.0, "pose_drop": 0.0}
LATERALS |= {"weights": NONE}
ALONE = {"rgb": SLOW_ONLY, "pose": POSE_CONV3D}, {"kind": "none"}
JOINED = {"rgb": SLOW_ONLY, "pose": POSE_CONV3D}, LATERALS
GUIDED = {"rgb": X_SHIFT_RGB, "pose": X_SHIFT_POSE}, {"kind": "pose_guided"}
HEARING = {"rgb": X_SHIFT_RGB, "audio": EAR, "pose": X_SHIFT_POSE}, {"kind": "pose_guided"}
KINDS = pytest.mark.parametrize("kind", [ALONE, JOINED, GUIDED, HEARING], ids=["alone", "joined", "guided", "hearing"])
CLASSES = {"act": ("a", "b", "c"), "action": ("x", "y")}
PARENTS = (0, 0, 1)
HEAD = {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0}
PCAN = {
    "fine": "act",
    "coarse": "action",
    "calibration": True,
    "calibration_weight": 0.2,
    "false_negative_factors": [1.0, 0.1, 0.5],
    "diversity": True,
    "diversity_weight": 0.2,
    "tree": True,
    "tree_weight": 1.0,
    "rectification": True,
    "rectification_weights": {"rgb": 5.0, "pose": 2.0},
    "fine_width": 6,
    "coarse_width": 5,
    "momentum": 0.9,
    "temperature": 0.125,
    "doubt_scale": 0.125,
}
PENALTIES = ("calibration_fine", "diversity", "tree", "calibration_coarse")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(kind, *, ratios=(), pcan=None, seed=0, channels_last=False, frozen=(), multi_label=()):
    backbones, laterals = kind
    neck = {"kind": "late", "ratios": ratios, "laterals": laterals, "pcan": pcan}
    spec = {
        "backbones": {m: {**backbone, "frozen": m in frozen} for m, backbone in backbones.items()},
        "neck": neck,
        "heads": dict.fromkeys(CLASSES, HEAD),
    }
    options = {"multi_label": multi_label, "clip_frames": 4, "layout": LAYOUTS["coco17"]}
    return build(spec, classes=CLASSES, parents=PARENTS, channels_last=channels_last, seed=seed, **options)


def make_batch(kind, count=3, seed=0):
    rng = np.random.default_rng(seed)
    arrays = {
        "rgb": rng.integers(0, 256, (count, 2, 32, 32, 3), dtype=np.uint8),
        "audio": rng.normal(-40, 10, (count, 40, 70)).astype(np.float32),
        "pose": rng.random((count, 17, 8, 8, 8), dtype=np.float32),
    }
    batch = {modality: torch.from_numpy(arrays[modality]) for modality in kind[0]}
    return {**batch, "present": {m: torch.ones(count, dtype=torch.bool) for m in kind[0]}}


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def moved(module, before):
    """Return what of a module's state is not as before."""
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def step(model, batch):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    torch.stack([values.square().sum() for values in model.train()(batch).values()]).sum().backward()
    optimizer.step()


# --- names ------------------------------------------------------------------------------------------------------------


@KINDS
def test_each_modality_has_a_head_of_its_own_for_each_label(kind):
    model = make(kind).eval()
    assert model.outputs == tuple(f"{modality}/{head}" for modality in kind[0] for head in CLASSES)
    assert model.modalities == tuple(kind[0])
    assert set(model.weights_sha256) == set(model.bare_weights) == set(kind[0])
    with torch.inference_mode():
        batch = make_batch(kind)
        logits, tokens = model(batch), model.tokens(batch)
    assert {name: tuple(values.shape) for name, values in logits.items()} == {
        name: (3, 3 if name.endswith("/act") else 2) for name in model.outputs
    }
    for name, head in zip(model.outputs, model.heads, strict=True):
        own = tokens[name.partition("/")[0]].mean(dim=1)
        torch.testing.assert_close(logits[name], own @ head[1].weight.T + head[1].bias)


def test_only_laterals_make_one_backbone_of_two():
    assert set(make(ALONE).backbones) == {"rgb", "pose"}
    assert set(make(JOINED).backbones) == {JOINT}
    model = make(HEARING)
    assert set(model.backbones) == {JOINT, "audio"}
    assert isinstance(model.backbones[JOINT], JointBackbone)


def test_of_a_fresh_model_laterals_change_nothing_and_then_each_stream_sees_the_other():
    alone, joined, batch = make(ALONE).eval(), make(JOINED).eval(), make_batch(JOINED)
    other = {**batch, "pose": batch["pose"].flip(0)}
    with torch.inference_mode():
        for name, values in alone(batch).items():
            torch.testing.assert_close(joined(batch)[name], values)
        assert torch.equal(alone(other)["rgb/act"], alone(batch)["rgb/act"])
    for parameter in joined.parameters():
        parameter.data += 0.05
    with torch.inference_mode():
        assert not torch.allclose(joined(other)["rgb/act"], joined(batch)["rgb/act"])


def test_several_classes_a_clip_are_those_of_the_head_in_each_stream():
    model = make(ALONE, multi_label=["act"])
    logits = torch.tensor([[0.0, 0.0]])
    assert model.to_probs("rgb/act", logits + torch.log(torch.tensor(3.0))).tolist() == [pytest.approx([0.75, 0.75])]
    assert model.to_probs("pose/action", logits + torch.log(torch.tensor(3.0))).tolist() == [[0.5, 0.5]]


# --- what a clip lacks ------------------------------------------------------------------------------------------------


def test_a_stream_says_nothing_of_a_clip_that_lacks_it_and_learns_nothing_from_it():
    model = make(HEARING).train()
    tokens = {m: torch.randn(3, 2, b.width) for m, b in model._own_backbones().items()}
    tokens["audio"][1] = 100.0
    present = {m: torch.tensor([True, m != "audio", True]) for m in tokens}
    logits = model.decide(tokens, present)
    assert logits["audio/act"][1].tolist() == [0, 0, 0] and logits["audio/action"][1].tolist() == [0, 0]
    assert all((values[[0, 2]] != 0).all() for values in logits.values()) and (logits["rgb/act"][1] != 0).all()
    torch.stack([values.square().sum() for values in logits.values()]).sum().backward()
    for name, head in zip(model.outputs, model.heads, strict=True):
        if name.startswith("audio"):
            seen = tokens["audio"][[0, 2]].mean(dim=1)
            torch.testing.assert_close(head[1].weight.grad, 2 * logits[name][[0, 2]].detach().T @ seen)


def test_one_modality_alone():
    assert make(({"pose": POSE_CONV3D}, {"kind": "none"})).outputs == ("pose/act", "pose/action")


# --- weights ----------------------------------------------------------------------------------------------------------


@KINDS
def test_the_seed_alone_decides_all_weights(kind):
    pcan = {**PCAN, "rectification_weights": {"rgb": 1.0, "pose": 1.0, "audio": 1.0}}
    expected = torch.rand(3, generator=torch.Generator().manual_seed(7))
    first = make(kind, pcan=pcan, seed=5)
    torch.manual_seed(7)
    again, other = make(kind, pcan=pcan, seed=5), make(kind, pcan=pcan, seed=6)
    assert torch.equal(torch.rand(3), expected)
    assert not moved(again, first.state_dict())
    drawn = {name for name, value in first.named_parameters() if value.dim() > 1 and value.any()}
    assert len(drawn) > 20 and drawn <= moved(other, first.state_dict())


@pytest.mark.parametrize("kind", [JOINED, GUIDED], ids=["joined", "guided"])
def test_channels_last_is_another_order_in_memory_of_the_same_weights(kind):
    plain, last, batch = make(kind).eval(), make(kind, channels_last=True).eval(), make_batch(kind)
    assert not moved(last, plain.state_dict())
    streams = last.backbones[JOINT].parts.values()
    deep = [p for part in streams for p in part.parameters() if p.dim() == 5 and p.shape[1] > 1 and p[0, 0].numel() > 1]
    assert len(deep) >= 2 and all(p.is_contiguous(memory_format=torch.channels_last_3d) for p in deep)
    with torch.inference_mode():
        expected, found = plain(batch), last(batch)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-4, atol=1e-5)


# --- freezing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [JOINED, GUIDED], ids=["joined", "guided"])
def test_a_joint_backbone_is_frozen_as_a_whole_and_thaws(kind):
    model = make(kind)
    model.freeze(JOINT)
    before, heads = state_of(model.backbones), state_of(model.heads)
    assert not any(values.requires_grad for values in model.train().tokens(make_batch(kind)).values())
    assert not any(module.training for module in model.backbones[JOINT].modules())
    step(model, make_batch(kind))
    assert not moved(model.backbones, before) and moved(model.heads, heads) == set(heads)
    model.freeze()
    assert all(p.requires_grad for p in model.parameters()) and all(module.training for module in model.modules())
    step(model, make_batch(kind))
    assert {name.partition(".")[0] for name in moved(model.backbones, before)} == {JOINT}
    streams = {name.split(".")[1] for name in moved(model.backbones, before)}
    assert {"rgb", "pose"} < streams


def test_settings_freeze_each_stream_or_the_joint_one():
    assert make(ALONE, frozen=["rgb"]).frozen == {"rgb"}
    assert make(ALONE, frozen=["rgb", "pose"]).frozen == {"rgb", "pose"}
    assert make(GUIDED, frozen=["rgb", "pose"]).frozen == {JOINT}
    assert make(HEARING, frozen=["audio"]).frozen == {"audio"}
    model = make(ALONE, frozen=["rgb"])
    before = state_of(model.backbones)
    step(model, make_batch(ALONE))
    assert {name.partition(".")[0] for name in moved(model.backbones, before)} == {"pose"}


# --- PCAN -------------------------------------------------------------------------------------------------------------


def pcan_batch(model, labels, count=6, seed=1):
    """Return cached tokens, fine labels as given and the coarse ones that follow."""
    generator = torch.Generator().manual_seed(seed)
    tokens = {m: torch.randn(count, 3, b.width, generator=generator) for m, b in model._own_backbones().items()}
    fine = torch.tensor(labels)
    coarse = torch.where(fine == NO_LABEL, NO_LABEL, torch.tensor(PARENTS)[fine.clamp(min=0)])
    present = {m: torch.ones(count, dtype=torch.bool) for m in tokens}
    return {"tokens": tokens, "present": present, "labels": {"act": fine, "action": coarse}}


def rows_of(batch, rows):
    tokens, present, labels = (
        {name: values[rows] for name, values in batch[part].items()} for part in ("tokens", "present", "labels")
    )
    return {"tokens": tokens, "present": present, "labels": labels}


def test_learning_gives_penalties_of_each_stream_and_plain_logits():
    model = make(JOINED, pcan=PCAN).train()
    batch = pcan_batch(model, [0, 1, 2, 2, 1, 0])
    logits, penalties = model.learn(batch)
    assert list(penalties) == [f"{stream}/{name}" for stream in ("rgb", "pose") for name in PENALTIES]
    assert all(value.shape == () and value > 0 for value in penalties.values())
    plain = make(JOINED).train()
    expected, nothing = plain.learn(batch)
    assert nothing == {}
    for name, values in expected.items():
        torch.testing.assert_close(logits[name], values)
    torch.stack(list(penalties.values())).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.pcan.parameters())


def test_penalties_are_those_of_the_stream_s_own_tokens_and_logits():
    model = make(JOINED, pcan=PCAN).train()
    batch = pcan_batch(model, [0, 1, 2, 2, 1, 0])
    twin = make(JOINED, pcan=PCAN).train().pcan
    logits, penalties = model.learn(batch)
    labels = (batch["labels"]["act"], batch["labels"]["action"])
    expected = {}
    for m in ("rgb", "pose"):
        expected |= twin.penalties(m, batch["tokens"][m], logits[f"{m}/act"], logits[f"{m}/action"], *labels)
    assert penalties.keys() == expected.keys()
    assert all(torch.equal(penalties[name], value) for name, value in expected.items())


@pytest.mark.parametrize("lacking", ["labels", "the modality"])
def test_clips_that_lack_labels_or_the_modality_are_as_if_they_were_not_there(lacking):
    full, part = make(JOINED, pcan=PCAN).train(), make(JOINED, pcan=PCAN).train()
    batch = pcan_batch(full, [0, 1, 2, 2, 1, 0])
    expected = part.learn(rows_of(batch, [0, 2, 3]))[1]
    out = torch.tensor([1, 4, 5])
    if lacking == "labels":
        batch["labels"] = {head: values.index_fill(0, out, NO_LABEL) for head, values in batch["labels"].items()}
    else:
        batch["present"] = {m: values.index_fill(0, out, False) for m, values in batch["present"].items()}
    found = full.learn(batch)[1]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    for name, value in part.pcan.named_buffers():
        torch.testing.assert_close(dict(full.pcan.named_buffers())[name], value)


def test_prediction_rectifies_fine_logits_and_learning_does_not():
    model = make(JOINED, pcan=PCAN).train()
    batch = pcan_batch(model, [0, 1, 2, 2, 1, 0])
    plain = make(JOINED).eval()
    for name in ("rgb", "pose"):
        torch.nn.init.normal_(model.pcan.fine[name].prototypes)
    with torch.inference_mode():
        untouched = plain(batch)
        for name, values in model(batch).items():
            torch.testing.assert_close(values, untouched[name])
        found = model.eval()(batch)
    for m, weight in PCAN["rectification_weights"].items():
        level = model.pcan.fine[m]
        embedded = level.projection(batch["tokens"][m].amax(dim=1))
        alike = torch.nn.functional.cosine_similarity(embedded[:, None], level.prototypes[None], dim=2)
        torch.testing.assert_close(found[f"{m}/act"], untouched[f"{m}/act"] + weight * alike)
        torch.testing.assert_close(found[f"{m}/action"], untouched[f"{m}/action"])


def test_nothing_is_rectified_of_a_clip_that_lacks_the_modality():
    model = make(JOINED, pcan=PCAN).eval()
    torch.nn.init.normal_(model.pcan.fine["pose"].prototypes)
    batch = pcan_batch(model, [0, 1, 2, 2, 1, 0])
    batch["present"]["pose"][2] = False
    with torch.inference_mode():
        found = model(batch)["pose/act"]
    assert found[2].tolist() == [0, 0, 0] and found[1].any()
