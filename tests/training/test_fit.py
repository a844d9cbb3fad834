from functools import partial

import numpy as np
import pytest
import torch
from tiny_runs import ADAMW, BACKBONE, CLASSES, CONSTANT, HEAD, PLAIN, SGD, ignore, make_model, same, states

from actrec.errors import UserError
from actrec.media.clip import ClipFolder
from actrec.models.recogniser import build
from actrec.store.features import CachedFeatures
from actrec.training.fit import Run, _Learner
from actrec.training.history import dump_history, epoch_printer
from actrec.training.loss import Loss
from actrec.training.optimizer import make_optimizer
from actrec.training.predict import predict
from actrec.training.randomness import epoch_order
from actrec.training.schedule import lr_factor
from actrec.training.settings import Steps
from actrec.training.sources import Batches

NO_DROPOUT = {**HEAD, "dropout": 0.0}
BARE = {"optimizer": SGD, "schedule": CONSTANT, "clip_norm": 0.0, "label_smoothing": 0.0, "class_weights": "none"}


# --- what a step does ------------------------------------------------------------------------------------------------


def test_an_epoch_of_sgd_by_hand(bench):
    """A linear head on cached tokens, without any extras: x -= lr * gradient, batch by batch in the epoch's order."""
    run = bench.run("cached", model=make_model(frozen=True, head=NO_DROPOUT), epochs=1, lr=0.3, **BARE)
    weight, bias = (p.detach().double().numpy().copy() for p in run._core.heads.parameters())
    source = run._train_batches._source
    order = epoch_order(10, seed=0, epoch=0)
    for rows in (order[:4], order[4:8], order[8:]):
        batch = source.training_batch(rows, 0)
        x, y = batch["tokens"]["rgb"].double().numpy().mean(axis=1), batch["labels"]["action"].numpy()
        logits = x @ weight.T + bias
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        error = (probs - np.eye(3)[y]) / len(rows)
        weight, bias = weight - 0.3 * error.T @ x, bias - 0.3 * error.sum(axis=0)
    fitted = run.fit(ignore)
    assert fitted.last["heads.0.1.weight"].numpy() == pytest.approx(weight, abs=1e-6)
    assert fitted.last["heads.0.1.bias"].numpy() == pytest.approx(bias, abs=1e-6)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(1, 10), (2, 5), (5, 2), (4, 3), (3, 9)])
def test_accumulated_batches_are_one_large_one(bench, batch_size, accumulate):
    """Also where they do not divide the ten clips: each clip counts alike."""
    make = partial(bench.run, "cached", epochs=3, lr=0.5, **BARE)
    large = make(model=make_model(frozen=True, head=NO_DROPOUT), batch_size=10).fit(ignore)
    parts = make(model=make_model(frozen=True, head=NO_DROPOUT), batch_size=batch_size, accumulate=accumulate)
    found = parts.fit(ignore)
    for name, value in large.last.items():
        assert found.last[name].float().numpy() == pytest.approx(value.float().numpy(), abs=1e-6)
    losses = [[row["train_loss"] for row in fitted.history] for fitted in (found, large)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_the_last_updates_of_an_epoch_take_what_is_left(bench, monkeypatch):
    run = bench.run("cached", epochs=2, batch_size=3, accumulate=2)  # 4 steps: 2 + 2
    assert updates(run, monkeypatch) == [2, 4, 2, 4]
    run = bench.run("cached", epochs=2, batch_size=4, accumulate=2)  # 3 steps: 2 + 1
    assert updates(run, monkeypatch) == [2, 3, 2, 3]


def updates(run, monkeypatch):
    """Return after which steps of its epoch the optimizer moved."""
    found = []
    with monkeypatch.context() as patch:
        real = torch.optim.SGD.step
        patch.setattr(torch.optim.SGD, "step", lambda *a, **k: (found.append(run.state.step), real(*a, **k))[1])
        run.fit(ignore)
    return found


def test_the_norm_of_the_gradient_is_clipped(bench):
    def moved(clip_norm):
        run = bench.run("cached", batch_size=10, epochs=1, **{**BARE, "clip_norm": clip_norm}, lr=1.0)
        before = states(run, lambda core: core.heads)
        run.fit(ignore)
        after = states(run, lambda core: core.heads)
        return torch.cat([(after[name] - before[name]).flatten() for name in before]).norm().item()

    free = moved(0.0)
    assert free > 0.1
    assert moved(0.05) == pytest.approx(0.05, rel=1e-3)
    assert moved(100.0) == pytest.approx(free)


def test_the_rate_follows_the_schedule(bench, monkeypatch):
    schedule = {"kind": "cosine", "warmup_epochs": 1, "warmup_from_frac": 0.0, "final_frac": 0.1}
    changes = {"schedule": schedule, "freeze": {"epochs": 2, "lr": 0.2}, "epochs": 2, "lr": 0.05}
    run, rates = bench.run("live", **changes, backbone_lr_factor=0.1), []
    real = run._set_lr
    monkeypatch.setattr(run, "_set_lr", lambda: (real(), rates.append([g["lr"] for g in run._optimizer.param_groups])))
    history = run.fit(ignore).history
    factor = partial(lr_factor, schedule, step=1 / 3, epochs=2, scores=(), lower_is_better=True)
    factors = [factor(progress=i / 3) for i in range(6)]
    # Each phase has its own schedule; the backbone, once free, learns at a tenth.
    assert rates[:6] == [[pytest.approx(0.2 * f)] for f in factors]
    assert rates[6:] == [[pytest.approx(0.05 * f), pytest.approx(0.005 * f)] for f in factors]
    assert [row["lr"] for row in history] == [rates[i][0] for i in (2, 5, 8, 11)]


def test_plateau_looks_at_the_selected_metric_of_its_phase(bench, monkeypatch):
    schedule = {"kind": "plateau", "warmup_epochs": 0, "warmup_from_frac": 0.0, "patience_epochs": 1, "factor": 0.5}
    run = bench.run("cached", schedule=schedule, epochs=5, lr=1.0, select_on="action.top1")
    scores = iter([0.5, 0.4, 0.6, 0.6, 0.6])
    real = run._validate
    monkeypatch.setattr(run, "_validate", lambda: {**real(), "val_action_top1": next(scores), "val_action_loss": 1.0})
    fitted = run.fit(ignore)
    assert [row["lr"] for row in fitted.history] == [1, 1, 0.5, 0.5, 0.25]
    assert fitted.best_epoch == 3 and [row["is_best"] for row in fitted.history] == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (SGD, torch.optim.SGD),
        ({"kind": "adam", "weight_decay": 0.1}, torch.optim.Adam),
        ({"kind": "adamw", "weight_decay": 0.1}, torch.optim.AdamW),
    ],
)
def test_optimizers(spec, expected):
    optimizer = make_optimizer(spec, make_model(), backbone_lr_factor=0.3)
    assert type(optimizer) is expected
    assert [group["factor"] for group in optimizer.param_groups] == [1.0, 0.3]
    assert {group["weight_decay"] for group in optimizer.param_groups} == {spec["weight_decay"]}
    assert len(make_optimizer(spec, make_model(frozen=True), backbone_lr_factor=0.3).param_groups) == 1
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    assert sizes == [16 * 3 + 3, sum(p.numel() for p in make_model().backbones.parameters())]


def test_an_unknown_optimizer_is_a_bug():
    with pytest.raises(ValueError, match="lion"):
        make_optimizer({"kind": "lion"}, make_model(), backbone_lr_factor=1.0)


# --- phases ----------------------------------------------------------------------------------------------------------


def test_backbones_stand_still_then_thaw(bench):
    run = bench.run("live", freeze={"epochs": 2, "lr": 0.1}, epochs=2, optimizer=ADAMW)
    fresh, seen, optimizers = states(run, lambda core: core.backbones), [], []

    def look(row):
        seen.append(states(run, lambda core: core.backbones))
        optimizers.append(run._optimizer)
        trains = [p.requires_grad for p in run._core.backbones.parameters()]
        assert trains == [row["phase"] == "main"] * len(trains)

    history = run.fit(look).history
    assert [row["phase"] for row in history] == ["frozen", "frozen", "main", "main"]
    # Statistics of batch norm included.
    assert same(fresh, seen[0]) and same(fresh, seen[1])
    assert not any(torch.equal(seen[1][name], value) for name, value in seen[2].items())
    assert optimizers[0] is optimizers[1] and optimizers[1] is not optimizers[2] and optimizers[2] is optimizers[3]
    assert {int(state["step"]) for state in optimizers[3].state.values()} == {6}  # 2 epochs of 3 steps: a fresh one


def test_a_backbone_that_is_frozen_for_good_never_moves(bench):
    model = make_model(frozen=True)
    before = {name: value.clone() for name, value in model.backbones.state_dict().items()}
    heads = [p.clone() for p in model.heads.parameters()]
    bench.run("live", model=model, epochs=2, optimizer=ADAMW, lr=0.1).fit(ignore)
    assert same(before, model.backbones.state_dict())
    assert not any(torch.equal(old, new) for old, new in zip(heads, model.heads.parameters(), strict=True))
    assert all(p.grad is None for p in model.backbones.parameters())


# --- what is added to the loss ---------------------------------------------------------------------------------------


class Penalised(torch.nn.Module):
    """A model whose logits are two numbers, whatever is shown to it; it is told to make their squares small."""

    def __init__(self):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor([3.0, 1.0]))

    def learn(self, batch):
        squares = self.value.square()
        return {"action": self.value.expand(len(batch["labels"]["action"]), 2)}, {"a": squares[0], "b": squares[1]}


def test_penalties_by_hand(bench):
    """The loss of two clips of class 0 and 1, and the squares; its gradient is twice the numbers and p - 1/2."""
    run = bench.run("cached")
    run._core, run._loss = (
        Penalised(),
        Loss({"action": HEAD}, labels={}, num_classes={}, class_weights="none", label_smoothing=0.0),
    )
    run._model = run.fabric.setup_module(_Learner(run._core))
    run._steps, labels = Steps(2, 2, 1), {"action": torch.tensor([0, 1])}
    loss, values = run._losses({"labels": labels})
    loss.backward()
    first = 1 / (1 + np.exp(-2.0))
    entropy = -(np.log(first) + np.log(1 - first)) / 2
    assert values == {"loss": pytest.approx(entropy + 9 + 1), "a": 9, "b": 1}
    assert run._core.value.grad.tolist() == pytest.approx([6 + first - 0.5, 2 + 0.5 - first])


def test_penalties_are_columns_of_the_history(bench, monkeypatch):
    """Of batches of 4, 4 and 2 clips, the mean over clips."""
    run, said = bench.run("cached", epochs=2, **BARE), iter([1.0, 2.0, 5.0, 3.0, 3.0, 3.0])
    core = run._core
    monkeypatch.setattr(type(core), "learn", lambda self, batch: (self(batch), {"tree": torch.tensor(next(said))}))
    rows = run.fit(ignore).history
    assert [row["train_tree"] for row in rows] == [pytest.approx((4 * 1 + 4 * 2 + 2 * 5) / 10), 3]
    assert list(rows[0])[3:6] == ["train_loss", "train_tree", "val_score"]
    assert rows[0]["train_loss"] > rows[0]["train_tree"]


# --- altogether -------------------------------------------------------------------------------------------------------


def test_training_on_noise_learns_it_by_heart(bench):
    run = bench.run("live", epochs=12, lr=0.02, optimizer=ADAMW, augment=PLAIN, label_smoothing=0.0, batch_size=5)
    losses = [row["train_loss"] for row in run.fit(ignore).history]
    assert losses[-1] < 0.35 < 0.8 < losses[0]
    probs = predict(run._core, run._train_batches, device=run.fabric.device, batch_size=3)["action"]
    assert (probs.argmax(axis=1) == run._train_batches._source.labels["action"].numpy()).mean() > 0.8


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_run(bench, monkeypatch):
    run = bench.run("cached", lr=0.123, **{**BARE, "schedule": CONSTANT}, epochs=3)
    real = run._loss.forward
    monkeypatch.setattr(
        Loss,
        "forward",
        lambda self, *a: real(*a) * (float("nan") if run.state.epoch == 1 and run.state.step == 2 else 1),
    )
    with pytest.raises(UserError, match=r"the loss is nan at epoch 2, step 3 of 3, lr 0\.123.*train\.lr.*clip_norm"):
        run.fit(ignore)


def test_a_rate_that_is_far_too_high_is_told_apart_from_a_bug(bench):
    """Without any trick: whichever is first no number, the loss of a step or what is said of the val clips."""
    run = bench.run("live", lr=1e30, **BARE, epochs=3)
    with pytest.raises(UserError, match=r"at epoch \d, step \d of 3, lr 1e\+30"):
        run.fit(ignore)


def test_probabilities_that_are_no_numbers_stop_the_run(bench):
    """The last update of an epoch may spoil the model: no step's loss tells of it any more."""
    run = bench.run("cached", model=make_model(frozen=True, head=NO_DROPOUT), epochs=1, batch_size=10, **BARE, lr=1e38)
    run._train_batches._source._views["rgb"] *= 1e5
    with pytest.raises(UserError, match=r"val clips is not a number at epoch 1, step 1 of 1, lr 1e\+38"):
        run.fit(ignore)


# --- what is read, and what is written --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["live", "cached"])
def test_the_test_split_is_never_looked_at(bench, monkeypatch, kind):
    opened = []
    real = ClipFolder.__getitem__
    monkeypatch.setattr(
        ClipFolder, "__getitem__", lambda self, clip_id: (opened.append(clip_id), real(self, clip_id))[1]
    )
    for name in ("plain", "present", "augmented"):
        monkeypatch.setattr(CachedFeatures, name, spy(getattr(CachedFeatures, name), opened))
    bench.run(kind, epochs=2).fit(ignore)
    assert {clip_id[:3] for clip_id in opened} == {"tra", "val"}
    assert {clip.clip_id for clip in bench.inputs.manifest.clips if clip.split != "test"} == set(opened)


def spy(method, opened):
    return lambda self, modality, ids: (opened.extend(ids), method(self, modality, ids))[1]


def test_a_row_of_the_history(bench):
    rows = []
    fitted = bench.run("cached", epochs=2).fit(rows.append)
    assert fitted.history == rows and [row["epoch"] for row in rows] == [1, 2]
    metrics = ("top1", "top5", "mean_per_class_acc", "f1_macro", "f1_weighted", "map_macro", "loss")
    times = ("data_s", "compute_s", "epoch_s", "peak_memory_mb")
    names = [
        "epoch",
        "phase",
        "lr",
        "train_loss",
        "val_score",
        *(f"val_action_{m}" for m in metrics),
        "train_clips",
        *times,
        "is_best",
    ]
    assert list(rows[0]) == names
    assert rows[0]["val_score"] == rows[0]["val_action_loss"]
    assert [row["train_clips"] for row in rows] == [10, 10]
    assert all(row["epoch_s"] >= row["data_s"] + row["compute_s"] - 1e-3 and row["peak_memory_mb"] > 10 for row in rows)
    assert dump_history(rows).splitlines()[0] == ",".join(names) and len(dump_history(rows).splitlines()) == 3


def test_validation_is_on_plain_views_without_dropout(bench):
    run = bench.run("live", epochs=1)
    row = run.fit(ignore).history[0]
    model = run._core.eval()
    batch = run._val_batches._source.plain_batch(np.arange(5))
    with torch.inference_mode():
        logits = model(batch)["action"]
    expected = torch.nn.functional.cross_entropy(logits, batch["labels"]["action"]).item()
    assert row["val_action_loss"] == pytest.approx(expected, rel=1e-5)


def test_views_are_averaged_as_probabilities(bench):
    class Fixed(torch.nn.Module):
        def forward(self, batch):
            return {"action": torch.tensor([[0.0, 100.0], [100.0, 0.0], [0.0, 0.0], [0.0, 0.0]])}

        def to_probs(self, head, logits):
            return logits.softmax(dim=1)

        def fuse(self, probs):
            return {**probs, "more": probs["action"][:, :1]}

    class TwoViews:
        is_slow = False

        def __len__(self):
            return 2

        def plain_batch(self, rows):
            return {"views": 2, "labels": {}}

    probs = predict(Fixed(), Batches(TwoViews()), device=torch.device("cpu"), batch_size=2)
    assert probs["action"].tolist() == [[0.5, 0.5], [0.5, 0.5]] and probs["more"].tolist() == [[0.5], [0.5]]


def test_two_heads_with_missing_labels(bench):
    """A label named like a method of torch's modules is as good as any."""
    heads = {"type": NO_DROPOUT, "v1.0": {**NO_DROPOUT, "loss_weight": 0.0}}
    classes = {"type": CLASSES, "v1.0": ("p", "q")}
    spec = {"backbones": {"rgb": BACKBONE}, "neck": {"kind": "mean"}, "heads": heads}
    model = build(spec, classes=classes, multi_label=(), clip_frames=4, channels_last=False, seed=0)
    run = bench.run("live")
    train, val = run._train_batches._source, run._val_batches._source
    train.labels = {"type": train.labels["action"], "v1.0": torch.full((10,), -1)}
    val.labels = {"type": val.labels["action"], "v1.0": torch.tensor([-1, 0, 1, -1, 0])}
    before = [p.clone() for p in model.heads[1].parameters()]
    two = Run(
        model,
        train,
        val,
        settings=type(run.settings)(**{**vars_of(run.settings), **BARE, "epochs": 1, "select_on": "type.top1"}),
        fabric=bench.fabric,
        heads=heads,
        classes=classes,
        seed=0,
        checkpoint=run._checkpoint.with_name("two.pt"),
    )
    row = two.fit(ignore).history[0]
    assert {"val_type_top1", "val_v1.0_top1"} <= set(row)
    assert all(torch.equal(old, new) for old, new in zip(before, model.heads[1].parameters(), strict=True))


def vars_of(settings):
    return {name: getattr(settings, name) for name in settings.__slots__}


def test_what_is_printed(bench, capsys):
    row = {
        "epoch": 2,
        "train_loss": 0.5,
        "val_score": 0.75,
        "is_best": True,
        "data_s": 1.0,
        "compute_s": 3.0,
        "epoch_s": 5.0,
    }
    epoch_printer("action.top1", 30)(row)
    assert capsys.readouterr().err == (
        "epoch   2/30  loss 0.5000  val action.top1 0.7500 best  5.0 s, 25% of it waiting for data\n"
    )
    epoch_printer("action.top1", 30)({**row, "val_score": None, "is_best": False})
    assert "  val action.top1 -            5.0 s, 25%" in capsys.readouterr().err
