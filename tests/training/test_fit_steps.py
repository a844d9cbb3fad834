"""What a step of training does: rates, optimizers, accumulated batches, by hand."""

from functools import partial

import numpy as np
import pytest
import torch
from tiny_runs import CONSTANT, HEAD, SGD, ignore, make_model, states

from actrec.training.optimizer import make_optimizer
from actrec.training.randomness import epoch_order
from actrec.training.schedule import lr_factor

NO_DROPOUT = {**HEAD, "dropout": 0.0}
BARE = {"optimizer": SGD, "schedule": CONSTANT, "clip_norm": 0.0, "label_smoothing": 0.0, "class_weights": "none"}


@pytest.mark.parametrize(
    ("momentum", "nesterov", "decay"),
    [(0.0, False, 0.0), (0.7, False, 0.0), (0.7, True, 0.0), (0.0, False, 0.2), (0.7, True, 0.2)],
)
def test_an_epoch_of_sgd_by_hand(bench, momentum, nesterov, decay):
    """A linear head on cached tokens, batch by batch in the epoch's order.

    Without any extras x -= lr * gradient; decay adds to the gradient, momentum remembers it.
    """
    optimizer = {"kind": "sgd", "momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
    model = make_model(frozen=True, head=NO_DROPOUT)
    run = bench.run("cached", model=model, epochs=1, lr=0.3, **{**BARE, "optimizer": optimizer})
    params = [p.detach().double().numpy().copy() for p in run._core.heads.parameters()]
    speeds = [np.zeros_like(own) for own in params]
    source = run._train_batches._source
    order = epoch_order(10, seed=0, epoch=0)
    for rows in (order[:4], order[4:8], order[8:]):
        batch = source.training_batch(rows, 0)
        x, y = batch["tokens"]["rgb"].double().numpy().mean(axis=1), batch["labels"]["action"].numpy()
        logits = x @ params[0].T + params[1]
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        error = (probs - np.eye(3)[y]) / len(rows)
        for k, gradient in enumerate((error.T @ x, error.sum(axis=0))):
            pull = gradient + decay * params[k]
            speeds[k] = momentum * speeds[k] + pull
            params[k] -= 0.3 * (pull + momentum * speeds[k] if nesterov else speeds[k])
    fitted = run.fit(ignore)
    assert fitted.last["heads.0.1.weight"].numpy() == pytest.approx(params[0], abs=1e-6)
    assert fitted.last["heads.0.1.bias"].numpy() == pytest.approx(params[1], abs=1e-6)


def test_the_loss_of_an_epoch_is_that_of_softened_labels(bench):
    model = make_model(frozen=True, head=NO_DROPOUT)
    run = bench.run("cached", model=model, epochs=1, lr=0.0, **{**BARE, "label_smoothing": 0.2})
    batch = run._train_batches._source.training_batch(np.arange(10), 0)
    with torch.inference_mode():
        (linear,) = (part for part in run._core.heads.modules() if isinstance(part, torch.nn.Linear))
        logits = linear(batch["tokens"]["rgb"].mean(dim=1))
    expected = torch.nn.functional.cross_entropy(logits, batch["labels"]["action"], label_smoothing=0.2)
    (row,) = run.fit(ignore).history
    assert row["train_loss"] == pytest.approx(expected.item(), abs=1e-6)


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
