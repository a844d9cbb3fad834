"""Training with several modalities, and with several classes a clip."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_runs import ADAMW, CONSTANT, HEAD, SGD, ignore, make_model, states

from actrec.training.predict import predict

NO_DROPOUT = {**HEAD, "dropout": 0.0}
BARE = {"optimizer": SGD, "schedule": CONSTANT, "clip_norm": 0.0, "label_smoothing": 0.0, "class_weights": "none"}


@pytest.mark.parametrize("kind", ["live", "cached"])
def test_both_modalities_are_learnt_from(both, kind):
    run = both.run(kind, epochs=2, optimizer=ADAMW, lr=0.01, batch_size=1)  # so that some batches have no sound at all
    neck = states(run, lambda core: core.neck)
    history = run.fit(ignore).history
    assert all(np.isfinite(row["train_loss"]) and np.isfinite(row["val_action_loss"]) for row in history)
    moved = {name for name, value in neck.items() if not torch.equal(value, run._core.neck.state_dict()[name])}
    assert {"streams.rgb.projection.weight", "streams.audio.projection.weight", "bottleneck"} <= moved


def test_sound_alone_is_learnt_by_heart(both):
    """What the tokens of the pictures say is taken away: what is left to learn from is heard."""
    run = both.run("cached", epochs=40, optimizer=ADAMW, lr=0.02, batch_size=10, label_smoothing=0.0)
    source = run._train_batches._source
    source._views = {m: views[:, :1] * (m == "audio") for m, views in source._views.items()}
    losses = [row["train_loss"] for row in run.fit(ignore).history]
    probs = predict(run._core, run._train_batches, device=run.fabric.device, batch_size=10)["action"]
    heard, right = source.present["audio"].numpy(), probs.argmax(axis=1) == source.labels["action"].numpy()
    assert heard.sum() == 7 and right[heard].all() and losses[-1] < losses[0]
    assert np.ptp(probs[~heard], axis=0).max() < 1e-6  # nothing tells these apart


def several(bench):
    """Return the bench with a head whose clips have two classes, but for every fifth, of which nothing is known."""
    names = ("a|b", "b|c", "a|c")
    clips = tuple(
        replace(clip, labels={"action": names[i % 3]} if i % 5 else {})
        for i, clip in enumerate(bench.inputs.manifest.clips)
    )
    manifest = replace(bench.inputs.manifest, clips=clips, multi_label=frozenset({"action"}))
    return replace(bench, inputs=replace(bench.inputs, manifest=manifest))


def test_several_classes_a_clip_are_learnt_with_the_binary_cross_entropy(bench):
    run = several(bench).run(
        "cached",
        model=make_model(frozen=True, head=NO_DROPOUT, multi_label=("action",)),
        epochs=40,
        batch_size=10,
        lr=1.0,
        **{**BARE, "select_on": "action.map_macro"},
    )
    source = run._train_batches._source
    batch, labels = source.training_batch(np.arange(10), 0), source.labels["action"]
    known = labels[:, 0] >= 0
    assert labels.shape == (10, 3) and 0 < known.sum() < 10 and (labels[known].sum(dim=1) == 2).all()
    with torch.inference_mode():
        prob = torch.sigmoid(run._core.eval()(batch)["action"].double())[known]
    expected = -(labels[known] * prob.log() + (1 - labels[known]) * (1 - prob).log()).mean().item()
    history = run.fit(ignore).history
    assert history[0]["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert history[-1]["train_loss"] < 0.6 * history[0]["train_loss"]
    metrics = [name for name in history[0] if name.startswith("val_action_")]
    assert metrics == [f"val_action_{m}" for m in ("map_macro", "f1_macro", "f1_weighted", "loss")]
    assert all(row["val_score"] == row["val_action_map_macro"] for row in history)


def test_validation_of_several_classes_is_of_sigmoids(bench):
    run = several(bench).run(
        "cached", model=make_model(frozen=True, head=NO_DROPOUT, multi_label=("action",)), epochs=1, **BARE
    )
    row = run.fit(ignore).history[0]
    source = run._val_batches._source
    labels = source.labels["action"]
    known = labels[:, 0] >= 0
    with torch.inference_mode():
        logits = run._core.eval()(source.plain_batch(np.arange(5)))["action"]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[known], labels[known]).item()
    assert row["val_action_loss"] == pytest.approx(expected, rel=1e-5)
