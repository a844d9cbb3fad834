"""Rare classes: a weight a class, an epoch that has all alike, and the loss's terms that look at classes."""

from collections import Counter

import numpy as np
import pytest
import torch
from test_fit import BARE, NO_DROPOUT
from test_resume import Killed, dying
from tiny_runs import ignore, make_model, outcome

from actrec.errors import UserError
from actrec.training.labels import NO_LABEL, in_class_order
from actrec.training.loss import Loss
from actrec.training.mixup import draw_mix
from actrec.training.randomness import balanced_order, epoch_order, generator
from actrec.training.ranks import Ranks

PROBS = torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.25, 0.25, 0.5], [0.1, 0.1, 0.8]])
LOGITS = PROBS.log()
LABELS = torch.tensor([0, 0, 2, NO_LABEL])
TERMS = {"form": "variance", "weight": 0.1, "accuracy_weight": 0.05}


def make_loss(*, class_weights="none", smoothing=0.0, soft_recall=None, weight=1.0):
    return Loss(
        {"a": {"loss_weight": weight}},
        labels={"a": LABELS},
        num_classes={"a": 3},
        class_weights=class_weights,
        label_smoothing=smoothing,
        soft_recall=soft_recall,
    )


def settled(fitted):
    return {name: value for name, value in fitted.last.items() if not name.startswith("backbones")}


# --- a weight a class -------------------------------------------------------------------------------------------------


def test_weights_by_hand():
    """Two clips of class 0 and one of class 2: the weighted mean of -log p."""
    found = make_loss(class_weights=[1.0, 1.4, 6.1])({"a": LOGITS}, {"a": LABELS})
    expected = -(np.log(0.8) + np.log(0.4) + 6.1 * np.log(0.5)) / (1 + 1 + 6.1)
    assert found.item() == pytest.approx(expected)


def test_a_batch_of_nothing_but_weightless_clips_teaches_nothing():
    logits = LOGITS.clone().requires_grad_()
    found = make_loss(class_weights=[0.0, 1.0, 0.0], smoothing=0.1)({"a": logits}, {"a": LABELS})
    found.backward()
    assert found.item() == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_clips_of_a_class_without_weight_do_not_count(smoothing):
    loss = make_loss(class_weights=[1.0, 2.0, 0.0], smoothing=smoothing)
    assert torch.equal(loss({"a": LOGITS}, {"a": LABELS}), loss({"a": LOGITS[:2]}, {"a": LABELS[:2]}))


def test_weights_are_put_in_the_order_of_the_classes():
    assert in_class_order({"b": 6.1, "a": 1.0}, ("a", "b")) == [1.0, 6.1]


@pytest.mark.parametrize("weights", [{"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 2.0, "c": 1.0, "d": 1.0}, {}])
def test_classes_that_are_not_there_are_named(bench, weights):
    expected = (
        rf"train\.class_weights is of \[{', '.join(repr(w) for w in weights)}\]; the classes are \['a', 'b', 'c'\]"
    )
    with pytest.raises(UserError, match=expected):
        bench.run("cached", class_weights=weights)


def test_a_run_takes_them_by_name(bench):
    run = bench.run("cached", class_weights={"c": 3.0, "a": 1.0, "b": 2.0})
    assert run._loss._balance("action").tolist() == [1, 2, 3]


def test_weights_of_the_counts_are_those_of_balanced(bench):
    """Ten clips, four of class a, three of b and c each: n / (3 * count)."""
    named = bench.run("cached", class_weights={"a": 10 / 12, "b": 10 / 9, "c": 10 / 9}, **_few()).fit(ignore)
    balanced = bench.run("cached", class_weights="balanced", **_few()).fit(ignore)
    for name, value in settled(balanced).items():
        assert settled(named)[name].numpy() == pytest.approx(value.numpy(), abs=1e-6)


def _few(**changes):
    return {**{name: value for name, value in BARE.items() if name != "class_weights"}, "epochs": 2, **changes}


# --- an epoch that has all classes alike ------------------------------------------------------------------------------


def test_each_class_is_as_likely():
    labels = np.array([0] * 60 + [1] * 10 + [2] * 30 + [NO_LABEL] * 20)
    drawn = np.concatenate([balanced_order(labels, seed=0, epoch=epoch) for epoch in range(200)])
    assert drawn.shape == (200 * 120,)
    counts = Counter(labels[drawn].tolist())
    # 24,000 draws of chance 1/3: a standard deviation is 73.
    assert set(counts) == {0, 1, 2} and all(abs(count - 8000) < 300 for count in counts.values())
    # Within a class each clip alike: 8,000 / 10, a standard deviation of 28.
    ones = Counter(drawn[(drawn >= 60) & (drawn < 70)].tolist())
    assert len(ones) == 10 and all(abs(count - 800) < 120 for count in ones.values())


def test_the_draw_depends_on_seed_and_epoch_and_nothing_else():
    labels = np.arange(30) % 3
    first = balanced_order(labels, seed=3, epoch=5)
    np.random.seed(0)
    assert (balanced_order(labels, seed=3, epoch=5) == first).all()
    assert (balanced_order(labels, seed=3, epoch=6) != first).any()
    assert (balanced_order(labels, seed=4, epoch=5) != first).any()


def test_a_run_visits_those_and_as_many_as_there_are(bench):
    run = bench.run("cached", sampler="balanced", epochs=2)
    seen, real = [], run._train_batches._source.training_batch
    run._train_batches._source.training_batch = lambda rows, epoch: (seen.append(rows), real(rows, epoch))[1]
    history = run.fit(ignore).history
    labels = run._labels["action"].numpy()
    expected = [balanced_order(labels, seed=0, epoch=epoch) for epoch in (0, 1)]
    assert np.concatenate(seen).tolist() == np.concatenate(expected).tolist()
    assert [row["train_clips"] for row in history] == [10, 10]
    assert sorted(expected[0]) != list(range(10))


def test_the_other_sampler_is_what_it_was(bench):
    run = bench.run("cached", epochs=1)
    assert run._order().tolist() == epoch_order(10, seed=0, epoch=0).tolist()


@pytest.mark.parametrize("calls", [2, 4, 7])
def test_a_killed_run_ends_as_an_undisturbed_one(bench, tmp_path, calls):
    changes = {
        "sampler": "balanced",
        "soft_recall": TERMS,
        "class_weights": {"a": 1.0, "b": 1.4, "c": 6.1},
        "mixup_alpha": 0.4,
    }
    expected = outcome(bench.run("cached", **changes).fit(ignore))
    make = {"state": tmp_path / "state.pt", "save_every_s": 0, **changes}
    with pytest.raises(Killed):
        dying(bench.run("cached", **make), "_step", calls=calls).fit(ignore)
    assert outcome(bench.run("cached", **make).fit(ignore)) == expected


@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_share_the_draw(size):
    """Together each batch is the one that a single process has."""
    order = balanced_order(np.arange(11) % 3, seed=0, epoch=0)
    parts = [Ranks(rank, size).order(order, 5) for rank in range(size)]
    sizes = [[Ranks(rank, size).clips_in(len(batch)) for rank in range(size)] for batch in _batches(order, 5)]
    starts = [0] * size
    for batch, own in zip(_batches(order, 5), sizes, strict=True):
        together = [row for rank in range(size) for row in parts[rank][starts[rank] : starts[rank] + own[rank]]]
        assert together == batch.tolist()
        starts = [start + max(count, 1) for start, count in zip(starts, own, strict=True)]


def _batches(order, size):
    return [order[i : i + size] for i in range(0, len(order), size)]


# --- the terms that look at classes -----------------------------------------------------------------------------------


def test_terms_of_an_output_by_hand():
    """Recalls 0.6 and 0.5, so a variance of 0.05^2; the mean probability of what is true is 1.7 / 3."""
    terms = 0.1 * 0.0025 - 0.05 * 1.7 / 3
    assert make_loss(soft_recall=TERMS).soft_recall({"a": LOGITS}, {"a": LABELS}).item() == pytest.approx(terms)
    # As the head counts, so do they; and two streams of a head are two outputs.
    twice = make_loss(soft_recall=TERMS, weight=2.0)
    assert twice.soft_recall({"a": LOGITS}, {"a": LABELS}).item() == pytest.approx(2 * terms)
    streams = {"rgb/a": LOGITS, "pose/a": LOGITS}
    assert make_loss(soft_recall=TERMS).soft_recall(streams, {"a": LABELS}).item() == pytest.approx(2 * terms)


@pytest.mark.parametrize("form", ["variance", "shortfall"])
def test_an_epoch_by_hand(bench, form):
    """A linear head on cached tokens that stands still: the terms of batches of 4, 4 and 2 clips, by clips."""
    terms = {"form": form, "weight": 0.7, "accuracy_weight": 0.2}
    model = make_model(frozen=True, head=NO_DROPOUT)
    run = bench.run("cached", model=model, soft_recall=terms, lr=0.0, epochs=1, **BARE)
    weight, bias = (p.detach().double().numpy().copy() for p in run._core.heads.parameters())
    order, total, entropy = epoch_order(10, seed=0, epoch=0), 0.0, 0.0
    for rows in (order[:4], order[4:8], order[8:]):
        batch = run._train_batches._source.training_batch(rows, 0)
        x, y = batch["tokens"]["rgb"].double().numpy().mean(axis=1), batch["labels"]["action"].numpy()
        exps = np.exp(x @ weight.T + bias)
        own = (exps / exps.sum(axis=1, keepdims=True))[np.arange(len(rows)), y]
        recalls = [own[y == number].mean() for number in set(y.tolist())]
        term = np.var(recalls) if form == "variance" else 1 - np.mean(recalls)
        total += len(rows) * (0.7 * term - 0.2 * own.mean())
        entropy -= np.log(own).sum()
    row = run.fit(ignore).history[0]
    assert row["train_soft_recall"] == pytest.approx(total / 10, abs=1e-6)
    assert row["train_loss"] == pytest.approx((entropy + total) / 10, abs=1e-6)


def test_of_a_mixture_both_labels_count(bench):
    terms = {"form": "shortfall", "weight": 1.0, "accuracy_weight": 0.0}
    model = make_model(frozen=True, head=NO_DROPOUT)
    options = {"soft_recall": terms, "mixup_alpha": 0.4, "batch_size": 10, "lr": 0.0, "epochs": 1}
    run = bench.run("cached", model=model, **options, **BARE)
    batch = run._train_batches._source.training_batch(epoch_order(10, seed=0, epoch=0), 0)
    mix = draw_mix(generator(0, "mixup", 0, 0), 10, alpha=0.4, device=torch.device("cpu"))
    with torch.no_grad():
        probs = run._core(mix.shown(batch))["action"].softmax(dim=1)
    labels = batch["labels"]["action"]

    def shortfall(y):
        own = probs[torch.arange(10), y]
        return 1 - torch.stack([own[y == number].mean() for number in y.unique()]).mean()

    expected = mix.share * shortfall(labels) + (1 - mix.share) * shortfall(labels[mix.partners])
    assert run.fit(ignore).history[0]["train_soft_recall"] == pytest.approx(expected.item(), abs=1e-6)


def test_the_terms_teach(bench):
    """Alone, at a weight that drowns the cross entropy, they lift the mean probability of what is true."""
    terms = {"form": "shortfall", "weight": 100.0, "accuracy_weight": 0.0}
    changes = {**BARE, "soft_recall": terms, "epochs": 20, "lr": 0.02, "batch_size": 10}
    model = make_model(frozen=True, head=NO_DROPOUT)
    said = [row["train_soft_recall"] for row in bench.run("cached", model=model, **changes).fit(ignore).history]
    assert said[-1] < said[0] - 20


def test_without_them_the_history_has_no_such_column(bench):
    assert "train_soft_recall" not in bench.run("cached", epochs=1).fit(ignore).history[0]
