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
from actrec.training.predict import predict
from actrec.training.settings import Steps
from actrec.training.sources import Batches

NO_DROPOUT = {**HEAD, "dropout": 0.0}
BARE = {"optimizer": SGD, "schedule": CONSTANT, "clip_norm": 0.0, "label_smoothing": 0.0, "class_weights": "none"}


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

    class TwoViews:
        is_slow = False

        def __len__(self):
            return 2

        def plain_batch(self, rows):
            return {"views": 2, "labels": {}}

    probs = predict(Fixed(), Batches(TwoViews()), device=torch.device("cpu"), batch_size=2)
    assert probs["action"].tolist() == [[0.5, 0.5], [0.5, 0.5]]


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
