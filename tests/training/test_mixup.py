"""Mixup: what is shown, how it is judged, and that nothing but the seed decides."""

import numpy as np
import pytest
import torch
from test_fit_modalities import several
from tiny_runs import CLASSES, CONSTANT, HEAD, PLAIN, SGD, ignore, make_model, outcome
from torch.nn import functional

from actrec.training.loss import Loss
from actrec.training.mixup import Mix, draw_mix
from actrec.training.randomness import epoch_order, generator

NO_DROPOUT = {**HEAD, "dropout": 0.0}
BARE = {"optimizer": SGD, "schedule": CONSTANT, "clip_norm": 0.0, "label_smoothing": 0.0, "class_weights": "none"}
CPU = torch.device("cpu")


def mix_of(share, *partners):
    return Mix(share, torch.tensor(partners))


def here(*there):
    return torch.tensor(there)


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_pictures_are_mixed_and_rounded_to_what_pictures_are():
    pictures = torch.tensor([[0, 255, 10], [100, 255, 11], [200, 0, 13]], dtype=torch.uint8)
    batch = {"rgb": pictures, "present": {"rgb": here(True, True, True)}, "labels": {"action": torch.arange(3)}}
    shown = mix_of(0.75, 1, 2, 0).shown(batch)
    # Such as 0.75 * 0 + 0.25 * 100, 0.75 * 255 + 0.25 * 0 = 191.25, 0.75 * 10 + 0.25 * 11 = 10.25.
    assert shown["rgb"].tolist() == [[25, 255, 10], [125, 191, 12], [150, 64, 12]]
    assert shown["rgb"].dtype == torch.uint8
    assert shown["labels"]["action"].tolist() == [0, 1, 2]
    assert pictures[0].tolist() == [0, 255, 10]


def test_rounding_is_all_that_differs_from_mixing_scaled_pixels():
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 2, 8, 8, 3), dtype=np.uint8))
    present = {"rgb": torch.ones(4, dtype=torch.bool)}
    shown = mix_of(0.3, 2, 0, 3, 1).shown({"rgb": pictures, "present": present})["rgb"]
    scaled = pictures.double() / 255
    expected = 0.3 * scaled + 0.7 * scaled[[2, 0, 3, 1]]
    assert (shown.double() / 255 - expected).abs().max() <= 0.5 / 255 + 1e-7


def test_cached_tokens_are_mixed_as_they_are():
    tokens = {"rgb": torch.tensor([[[1.0, 3.0]], [[5.0, -1.0]]])}
    shown = mix_of(0.9, 1, 0).shown({"tokens": tokens, "present": {"rgb": here(True, True)}, "labels": {}})
    assert shown["tokens"]["rgb"].flatten().tolist() == pytest.approx([1.4, 2.6, 4.6, -0.6])
    assert set(shown) == {"tokens", "present", "labels"}


def test_a_clip_keeps_its_own_where_it_or_its_partner_lacks_the_modality():
    arrays = {"rgb": torch.tensor([[0.0], [10.0], [20.0]]), "audio": torch.tensor([[1.0], [0.0], [3.0]])}
    present = {"rgb": here(True, True, True), "audio": here(True, False, True)}
    shown = mix_of(0.5, 1, 2, 0).shown({**arrays, "present": present})
    assert shown["rgb"].flatten().tolist() == [5, 15, 10]
    assert shown["audio"].flatten().tolist() == [1, 0, 2]
    assert shown["present"] is present


def test_the_whole_share_changes_nothing():
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 5), dtype=np.uint8))
    assert torch.equal(mix_of(1.0, 2, 0, 1).shown({"a": values, "present": {"a": here(True, True, True)}})["a"], values)


# --- how it is judged -------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, -1.0], [0.0, 0.0, 3.0]])
LABELS = torch.tensor([0, 1, 2, 0])
SOME = torch.tensor([0, -1, 2, -1])
MANY = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [-1.0] * 3, [1.0, 0.0, 0.0]])
MIX = mix_of(0.7, 1, 2, 3, 0)


def judged(labels, **options):
    settings = {"class_weights": "none", "label_smoothing": 0.0, **options}
    loss = Loss({"a": {"loss_weight": 1.0}}, labels={"a": labels}, num_classes={"a": 3}, **settings)
    return MIX.loss(loss, {"a": LOGITS}, {"a": labels}).item()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_that_of_mixed_targets(smoothing):
    """Cross entropy is linear in its target, and torch takes targets that are probabilities."""
    target = 0.7 * functional.one_hot(LABELS, 3) + 0.3 * functional.one_hot(LABELS[MIX.partners], 3)
    expected = functional.cross_entropy(LOGITS, target, label_smoothing=smoothing).item()
    assert judged(LABELS, label_smoothing=smoothing) == pytest.approx(expected)


def test_the_loss_of_several_classes_a_clip_is_that_of_mixed_targets():
    labels = MANY.clone()
    labels[2] = torch.tensor([0.0, 1.0, 1.0])
    expected = functional.binary_cross_entropy_with_logits(LOGITS, 0.7 * labels + 0.3 * labels[MIX.partners]).item()
    assert judged(labels) == pytest.approx(expected)


def test_class_weights_are_those_of_both_labels():
    """Weights 4 / (3 * 2), 4 / (3 * 1), 4 / (3 * 1); the partners' labels have the same sum of weights."""
    weights, log_probs = torch.tensor([2 / 3, 4 / 3, 4 / 3]), LOGITS.log_softmax(dim=1)
    parts = [
        (share * weights[labels] * -log_probs[torch.arange(4), labels]).sum() / weights[labels].sum()
        for share, labels in ((0.7, LABELS), (0.3, LABELS[MIX.partners]))
    ]
    assert judged(LABELS, class_weights="balanced") == pytest.approx(sum(parts).item())


def test_a_label_that_lacks_does_not_count_on_either_side():
    """Clips 0 and 2 have labels of their own; clips 1 and 3 have partners (2 and 0) with one."""
    log_probs = LOGITS.log_softmax(dim=1)
    own = -(log_probs[0, 0] + log_probs[2, 2]) / 2
    theirs = -(log_probs[1, 2] + log_probs[3, 0]) / 2
    assert judged(SOME) == pytest.approx((0.7 * own + 0.3 * theirs).item())
    assert judged(torch.full((4,), -1)) == 0


# --- what decides -----------------------------------------------------------------------------------------------------


def test_shares_are_of_the_beta_distribution_and_partners_a_permutation():
    from scipy import stats

    mixes = [draw_mix(generator(0, "mixup", 0, step), 5, alpha=0.4, device=CPU) for step in range(500)]
    assert stats.kstest([mix.share for mix in mixes], stats.beta(0.4, 0.4).cdf).pvalue > 0.01
    assert all(sorted(mix.partners.tolist()) == list(range(5)) for mix in mixes)
    assert len({tuple(mix.partners.tolist()) for mix in mixes}) > 90  # of 120


def test_parts_of_one_batch_have_one_share():
    first, second = (draw_mix(generator(3, "mixup", 1, 2), n, alpha=1.0, device=CPU) for n in (4, 3))
    assert first.share == second.share and len(first.partners) == 4 and len(second.partners) == 3


@pytest.mark.parametrize("kind", ["live", "cached"])
def test_an_epoch_of_mixed_batches_by_hand(bench, kind):
    """The first epoch's loss, with a rate of 0: of each batch the mixed clips' cross entropy with mixed targets."""
    model = make_model(frozen=True, head=NO_DROPOUT)
    run = bench.run(kind, model=model, epochs=1, lr=0.0, mixup_alpha=0.5, augment=PLAIN, **BARE)
    source, total = run._train_batches._source, 0.0
    order = epoch_order(10, seed=0, epoch=0)
    for step, rows in enumerate((order[:4], order[4:8], order[8:])):
        batch, rng = source.training_batch(rows, 0), generator(0, "mixup", 0, step)
        share, partners = rng.beta(0.5, 0.5), rng.permutation(len(rows))
        arrays = batch["tokens"] if kind == "cached" else batch
        values = arrays["rgb"].double()
        mixed = share * values + (1 - share) * values[partners]
        arrays["rgb"] = mixed.float() if kind == "cached" else mixed.round().to(torch.uint8)
        target = functional.one_hot(batch["labels"]["action"], len(CLASSES)).double()
        target = share * target + (1 - share) * target[partners]
        with torch.inference_mode():
            total += len(rows) * functional.cross_entropy(run._core(batch)["action"].double(), target).item()
    assert run.fit(ignore).history[0]["train_loss"] == pytest.approx(total / 10, rel=1e-5)


def test_a_run_with_mixup_depends_on_the_seed_alone(bench, monkeypatch):
    ends = []
    for ambient, workers in ((1, "0"), (2, "2")):
        torch.manual_seed(ambient)
        np.random.seed(ambient)
        monkeypatch.setenv("ACTREC_LOADER_WORKERS", workers)
        ends.append(outcome(bench.run("live", epochs=1, mixup_alpha=0.4).fit(ignore)))
    assert ends[0] == ends[1]
    plain, other = (outcome(bench.run("live", epochs=1, **more).fit(ignore)) for more in ({}, {"mixup_alpha": 0.3}))
    assert ends[0]["last"] != plain["last"] and ends[0]["last"] != other["last"]


def test_validation_is_not_mixed(bench):
    run = bench.run("live", epochs=1, mixup_alpha=1.0)
    row = run.fit(ignore).history[0]
    batch = run._val_batches._source.plain_batch(np.arange(5))
    with torch.inference_mode():
        logits = run._core.eval()(batch)["action"]
    expected = functional.cross_entropy(logits, batch["labels"]["action"]).item()
    assert row["val_action_loss"] == pytest.approx(expected, rel=1e-5)


def test_several_classes_a_clip_and_clips_without_labels_are_mixed_too(bench):
    changes = {**BARE, "select_on": "action.map_macro", "class_weights": "balanced"}
    model = make_model(frozen=True, head=NO_DROPOUT, multi_label=("action",))
    history = several(bench).run("cached", model=model, epochs=30, batch_size=4, lr=1.0, mixup_alpha=0.2, **changes)
    losses = [row["train_loss"] for row in history.fit(ignore).history]
    assert np.isfinite(losses).all() and np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_clips_without_sound_are_mixed_with_those_that_have_it(both):
    history = both.run("live", epochs=2, lr=0.01, mixup_alpha=0.4).fit(ignore).history
    assert all(np.isfinite(row["train_loss"]) for row in history)
