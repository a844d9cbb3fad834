"""Heads that are fitted at once, against scikit-learn's own pipeline and by hand."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from tiny_runs import SETTINGS, make_clip

from actrec.data.manifest import Manifest
from actrec.errors import UserError
from actrec.models.recogniser import build
from actrec.report.curves import read_history
from actrec.store.features import CachedFeatures, write_features
from actrec.training import svm
from actrec.training.data import Inputs
from actrec.training.device import launch
from actrec.training.fit import Fitted
from actrec.training.history import dump_history, fit_printer
from actrec.training.settings import Settings
from actrec.training.svm import SvmRun, best_temperature

WIDTH, TOKENS = 8, 2
CLASSES = ("a", "b", "c")
BACKBONE = {
    **{"kind": "hog", "orientations": 2, "cell_px": 8, "block_cells": 2},
    **{"weights": {"kind": "none"}, "frozen": True, "input_px": 16, "crop_frac": 1.0},
}
CELLS = (0.001, 0.1, 10.0)


class Bench:
    """Cached features that tell the class somewhat, of clips with labels; and runs on them."""

    def __init__(self, folder, *, labels, views=0, heads=None, noise=1.0, classes=CLASSES, **changes) -> None:
        """Args: `labels` {split: [label, …]}, of every head alike; "" is none. `heads` {head: its C}."""
        rng, heads = np.random.default_rng(0), heads or {"kind": list(CELLS)}
        centres = rng.normal(size=(len(classes), WIDTH))
        clips, plain, random = [], [], []
        for split in sorted(labels):
            for number, label in enumerate(labels[split]):
                own = {head: label for head in heads} if label else {}
                clips.append(make_clip(f"{split}{number:03d}", split, own))
                centre = centres[classes.index(label)] if label else np.full(WIDTH, 50.0)
                seen = (centre + noise * rng.normal(size=(1 + views, TOKENS, WIDTH))).astype(np.float32)
                plain.append(seen[:1])
                random += [seen[1:]] if split == "train" else []
        self.heads = {head: {"kind": "svm", "c": c} for head, c in heads.items()}
        train = [clip.clip_id for clip in clips if clip.split == "train"]
        write_features(
            folder / "features.h5",
            identity={},
            clip_ids=[clip.clip_id for clip in clips],
            plain={"rgb": np.stack(plain)},
            present={"rgb": np.ones(len(clips), bool)},
            augmented_ids=train,
            augmented={"rgb": np.stack(random)},
        )
        self.inputs = Inputs(Manifest(tuple(clips), tuple(heads)), {}, CachedFeatures(folder / "features.h5", None))
        self.classes = {head: classes for head in heads}
        settings = {"select_on": "kind.top1", "class_weights": "none", **changes}
        self.settings = Settings(**{**SETTINGS, **settings})
        self.spec = {"backbones": {"rgb": BACKBONE}, "neck": {"kind": "mean"}, "heads": self.heads}

    def fit(self, log=lambda row: None) -> Fitted:
        run = SvmRun(
            self.model(),
            self.inputs,
            settings=self.settings,
            fabric=launch(device="cpu", threads=1, precision="fp32"),
            heads=self.heads,
            classes=self.classes,
            seed=0,
        )
        return run.fit(log)

    def model(self, state=None):
        sizes = {"clip_frames": 1, "channels_last": False, "seed": 0}
        model = build(self.spec, classes=self.classes, multi_label=(), **sizes)
        if state is not None:
            model.load_state_dict(state)
        return model.eval()

    def tokens(self, split):
        """Return the plain and the random views of labelled clips (n, views, D), and their labels."""
        clips = [clip for clip in self.inputs.manifest.of_split(split) if clip.labels]
        ids, features = [clip.clip_id for clip in clips], self.inputs.features
        seen = np.concatenate([features.plain("rgb", ids), features.augmented("rgb", ids)], axis=1).mean(axis=2)
        head = next(iter(self.heads))
        return seen, np.array([self.classes[head].index(clip.labels[head]) for clip in clips])

    def pipeline(self, c, **settings):
        """Return scikit-learn's own, fitted to all views of train."""
        seen, labels = self.tokens("train")
        rows = seen.reshape(-1, WIDTH)
        linear = LinearSVC(C=c, dual=len(rows) < WIDTH, random_state=0, max_iter=100_000, **settings)
        return make_pipeline(StandardScaler(), linear).fit(rows, labels.repeat(seen.shape[1]))

    def margins(self, state, split="test", head="kind"):
        """Return what the model says of a split's plain views, times its temperature."""
        model, (seen, _) = self.model(state), self.tokens(split)
        tokens = torch.from_numpy(seen[:, :1])
        said = model({"tokens": {"rgb": tokens}, "present": {"rgb": torch.ones(len(tokens), dtype=torch.bool)}})
        return (said[head] * model.heads[model.outputs.index(head)].temperature).numpy()


def cycle(count, names=CLASSES):
    return [names[i % len(names)] for i in range(count)]


SPLITS = {"train": cycle(36), "val": cycle(15), "test": cycle(12)}


@pytest.mark.parametrize("views", [0, 2])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_margins_are_those_of_scikit_learn_s_own_pipeline(tmp_path, views, class_weights):
    """Random views are learned from as well. Balanced, of classes of 6, 12 and 18 clips."""
    labels = {**SPLITS, "train": ["a"] * 6 + ["b"] * 12 + ["c"] * 18}
    bench = Bench(tmp_path, labels=labels, views=views, heads={"kind": [0.03]}, class_weights=class_weights)
    fitted = bench.fit()
    pipeline = bench.pipeline(0.03, class_weight=None if class_weights == "none" else "balanced")
    seen, _ = bench.tokens("test")
    expected = pipeline.decision_function(seen[:, 0])
    np.testing.assert_allclose(bench.margins(fitted.best), expected, atol=1e-3)
    other = bench.pipeline(0.03, class_weight="balanced" if class_weights == "none" else None)
    assert np.abs(other.decision_function(seen[:, 0]) - expected).max() > 0.05


def test_a_weight_a_class_is_scikit_learn_s_and_needs_the_classes_of_the_data(tmp_path):
    weights = {"a": 4.0, "b": 1.0, "c": 0.25}
    bench = Bench(tmp_path, labels=SPLITS, heads={"kind": [0.03]}, class_weights=weights, noise=2.0)
    seen, _ = bench.tokens("test")
    expected = bench.pipeline(0.03, class_weight={0: 4.0, 1: 1.0, 2: 0.25}).decision_function(seen[:, 0])
    np.testing.assert_allclose(bench.margins(bench.fit().best), expected, atol=1e-3)
    bench = Bench(tmp_path, labels=SPLITS, class_weights={"a": 4.0, "d": 1.0})
    with pytest.raises(UserError, match=r"train\.class_weights is of \['a', 'd'\]; the classes are \['a', 'b', 'c'\]"):
        bench.fit()


@pytest.mark.parametrize("views", [0, 1])
def test_fewer_clips_than_numbers_are_solved_the_other_way_round(tmp_path, views, monkeypatch):
    """The dual problem has a variable a clip, the primal one a variable a number of the features."""
    asked, real = [], LinearSVC.fit
    monkeypatch.setattr(LinearSVC, "fit", lambda self, *a: asked.append(self.dual) or real(self, *a))
    Bench(tmp_path, labels={**SPLITS, "train": cycle(6)}, views=views, heads={"kind": [0.1]}).fit()
    assert asked == [views == 0]  # 6 rows of 8 numbers, or 12


def test_two_classes_have_one_margin(tmp_path):
    names = ("a", "b")
    labels = {"train": cycle(20, names), "val": cycle(8, names), "test": cycle(8, names)}
    bench = Bench(tmp_path, labels=labels, heads={"kind": [0.1]}, classes=names)
    seen, _ = bench.tokens("test")
    expected = bench.pipeline(0.1).decision_function(seen[:, 0])
    found = bench.margins(bench.fit().best)
    np.testing.assert_allclose(found, np.stack([-expected, expected], axis=1), atol=1e-3)


def test_of_a_class_that_train_lacks_the_margin_is_that_of_the_others_side(tmp_path):
    labels = {**SPLITS, "train": cycle(24, ("a", "c"))}
    bench = Bench(tmp_path, labels=labels, heads={"kind": [0.1]}, noise=0.1)
    found = bench.margins(bench.fit().best)
    np.testing.assert_allclose(found[:, 1], -1, atol=1e-6)
    assert set(found.argmax(axis=1)) == {0, 2}
    np.testing.assert_allclose(found[:, 0], -found[:, 2], atol=1e-6)


def test_clips_without_a_label_count_nowhere(tmp_path):
    """They lie far off: were they there, means and scales would be others."""
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    some = {split: [*names, "", ""] for split, names in SPLITS.items()}
    fitted, bench = ([], [])
    for name, labels in (("without", SPLITS), ("with", some)):
        bench.append(Bench(tmp_path / name, labels=labels))
        fitted.append(bench[-1].fit())
    for one, other in zip(*(each.history for each in fitted), strict=True):
        assert one["train_clips"] == other["train_clips"] == 36
    mean = fitted[1].best["heads.0.mean"].numpy()
    seen, _ = bench[1].tokens("train")
    np.testing.assert_allclose(mean, seen.reshape(-1, WIDTH).mean(axis=0), atol=1e-5)
    assert np.abs(mean).max() < 5


# --- C ------------------------------------------------------------------------------------------------------------


def test_of_equal_scores_the_smallest_c_is_chosen_whatever_the_order(tmp_path):
    bench = Bench(tmp_path, labels=SPLITS, noise=0.01, heads={"kind": [10.0, 0.1, 1.0, 0.1]})
    fitted = bench.fit()
    assert [row["c"] for row in fitted.history] == [0.1, 1.0, 10.0]
    assert [row["val_score"] for row in fitted.history] == [1.0, 1.0, 1.0]
    assert [row["is_best"] for row in fitted.history] == [True, False, False] and fitted.best_epoch == 1


@pytest.mark.parametrize(("select_on", "best_of"), [("kind.top1", max), ("kind.loss", min), ("kind.f1_macro", max)])
def test_c_is_chosen_on_val_by_what_is_asked_for(tmp_path, select_on, best_of):
    bench = Bench(tmp_path, labels=SPLITS, noise=2.0, heads={"kind": [1e-6, 1e-4, 1e-2, 1.0]}, select_on=select_on)
    fitted = bench.fit()
    column = "val_" + select_on.replace(".", "_")
    scores = [row[column] for row in fitted.history]
    assert [row["val_score"] for row in fitted.history] == scores and len(set(scores)) > 1
    assert fitted.best_epoch == 1 + scores.index(best_of(scores))
    chosen, largest = (fitted.history[i]["c"] for i in (fitted.best_epoch - 1, -1))
    seen, _ = bench.tokens("test")
    for state, c in ((fitted.best, chosen), (fitted.last, largest)):
        np.testing.assert_allclose(
            bench.margins(state), bench.pipeline(c).decision_function(seen[:, 0]), rtol=0.02, atol=0.01
        )


def test_scores_in_the_history_are_those_of_the_model(tmp_path):
    bench = Bench(tmp_path, labels=SPLITS, noise=2.0, heads={"kind": [0.01]})
    fitted = bench.fit()
    (row,) = fitted.history
    model, (_, labels) = bench.model(fitted.best), bench.tokens("val")
    logits = torch.from_numpy(bench.margins(fitted.best, "val")) / row["temperature"]
    assert model.heads[0].temperature.item() == pytest.approx(row["temperature"])
    assert row["val_kind_top1"] == pytest.approx((logits.argmax(dim=1).numpy() == labels).mean())
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    assert row["val_kind_loss"] == pytest.approx(loss.item(), abs=1e-5)
    _, labels = bench.tokens("train")
    logits = torch.from_numpy(bench.margins(fitted.best, "train")) / row["temperature"]
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    assert row["train_loss"] == pytest.approx(loss.item(), abs=1e-5)


def test_each_head_has_its_own_c_and_the_one_asked_for_says_which_row_is_the_best(tmp_path):
    heads = {"kind": [0.1, 1.0], "other": [1e-7, 0.5]}
    bench = Bench(tmp_path, labels=SPLITS, heads=heads, noise=2.0, select_on="kind.mean_per_class_acc")
    fitted = bench.fit()
    assert [(row["phase"], row["c"]) for row in fitted.history] == [
        *(("other", 1e-7), ("other", 0.5)),
        *(("kind", 0.1), ("kind", 1.0)),
    ]
    assert fitted.best_epoch in (3, 4) and sum(row["is_best"] for row in fitted.history) == 2
    assert all((row["val_kind_top1"] is None) == (row["phase"] == "other") for row in fitted.history)
    other = next(row for row in fitted.history if row["is_best"])
    seen, _ = bench.tokens("test")
    expected = bench.pipeline(other["c"]).decision_function(seen[:, 0])
    np.testing.assert_allclose(bench.margins(fitted.best, head="other"), expected, rtol=0.02, atol=0.01)


def test_a_c_without_a_solution_is_told_and_not_chosen(tmp_path, monkeypatch, capsys):
    """Without enough iterations: large C take more."""
    bench = Bench(tmp_path, labels={**SPLITS, "train": cycle(7)}, heads={"kind": [1e-5, 100.0]}, noise=2.0)
    monkeypatch.setattr(svm, "_MAX_ITERATIONS", 20)
    fitted = bench.fit()
    assert "kind: no solution for C = 100 after 20 iterations, so it is not chosen" in capsys.readouterr().err
    assert [row["val_score"] is None for row in fitted.history] == [False, True] and fitted.best_epoch == 1
    assert torch.equal(fitted.best["heads.0.coef"], fitted.last["heads.0.coef"])
    with pytest.raises(
        UserError, match=r"model\.heads\.kind\.c: for none of \[100\.0\] has .*Add smaller ones, such as 1$"
    ):
        Bench(tmp_path, labels={**SPLITS, "train": cycle(7)}, heads={"kind": [100.0]}, noise=2.0).fit()


@pytest.mark.parametrize(("train", "told"), [(["a"] * 4, r"\['a'\]"), (["", ""], r"\[\]")])
def test_fewer_than_two_classes_cannot_be_told_apart(tmp_path, train, told):
    with pytest.raises(UserError, match=rf"kind: the clips of train are of the classes {told}, and an svm tells"):
        Bench(tmp_path, labels={**SPLITS, "train": train}).fit()


# --- the temperature ----------------------------------------------------------------------------------------------


def test_the_temperature_by_hand():
    """Of four clips with the margin 1 three are right: likeliest is a probability of 3/4, a logit of ln 3."""
    logits = np.array([[[1.0, 0.0]]] * 4, np.float32)
    assert best_temperature(logits, np.array([0, 0, 1, 0])) == pytest.approx(1 / math.log(3), rel=1e-4)


def test_views_are_averaged_as_probabilities():
    """One view says nothing: of p and 1/2 the mean is to be 3/4 - 1/8, so p = 3/4 for 5 right of 8."""
    logits = np.array([[[1.0, 0.0], [0.0, 0.0]]] * 8, np.float32)
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    assert best_temperature(logits, labels) == pytest.approx(1 / math.log(3), rel=1e-4)


def test_where_nothing_tells_the_temperature_stays_within_bounds():
    right, wrong = np.array([[[2.0, 0.0]]] * 3, np.float32), np.array([1, 1, 1])
    assert best_temperature(right, 1 - wrong) == pytest.approx(2 / 20, rel=1e-3)
    assert best_temperature(right, wrong) == pytest.approx(2 / 0.1, rel=1e-3)
    assert best_temperature(np.zeros((3, 1, 2), np.float32), wrong) == 1
    assert best_temperature(right[:0], wrong[:0]) == 1


# --- what is written ----------------------------------------------------------------------------------------------


def test_the_same_run_ends_the_same(tmp_path):
    first, second = (Bench(tmp_path, labels=SPLITS, views=1).fit() for _ in range(2))
    for one, other in ((first.best, second.best), (first.last, second.last)):
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    times = ("compute_s", "epoch_s", "peak_memory_mb")
    histories = [[{k: v for k, v in row.items() if k not in times} for row in run.history] for run in (first, second)]
    assert histories[0] == histories[1]


def test_the_history_is_a_file_that_reports_read(tmp_path):
    lines = dump_history(Bench(tmp_path, labels=SPLITS, heads={"kind": [0.1, 1.0], "other": [1.0]}).fit().history)
    (tmp_path / "history.csv").write_text(lines)
    rows = list(csv.DictReader(lines.splitlines()))
    assert [row["c"] for row in rows] == ["1.0", "0.1", "1.0"] and {row["lr"] for row in rows} == {""}
    history = read_history(tmp_path / "history.csv")
    assert history is not None and history.best in (1, 2) and len(history.marked) == 2
    assert history.phases == ("other", "kind", "kind") and np.isnan(history.numbers["val_kind_top1"][0])


def test_each_c_is_told(tmp_path, capsys):
    bench = Bench(tmp_path, labels=SPLITS, noise=0.01, heads={"kind": [0.001]})
    bench.fit(fit_printer("kind.top1"))
    assert capsys.readouterr().err.startswith("svm: kind, C = 0.001 ")
    no_solution = {"val_score": None, "phase": "kind", "c": 1.0}
    fit_printer("kind.top1")(no_solution)
    assert capsys.readouterr().err == ""


def test_samples_of_several_clips_are_scored_as_one(tmp_path):
    """As everywhere else: val_kind_top1 is of samples."""
    bench = Bench(tmp_path, labels={**SPLITS, "val": ["a", "a", "b", "b"]}, noise=2.0)
    manifest = bench.inputs.manifest
    clips = tuple(replace(clip, sample=clip.labels["kind"]) if clip.split == "val" else clip for clip in manifest.clips)
    bench.inputs = replace(bench.inputs, manifest=replace(manifest, clips=clips))
    assert {row["val_kind_top1"] for row in bench.fit().history} <= {0, 0.5, 1}
