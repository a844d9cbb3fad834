"""The intervals: against scipy, and by what they promise."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from actrec.metrics import bootstrap
from actrec.metrics.bootstrap import accuracy_intervals, intervals, precision_interval
from actrec.metrics.classification import Scores, predicted_classes
from actrec.metrics.multi_label import MultiScores
from actrec.metrics.summary import AnyScores, summarise


def scores_with(labels: np.ndarray, right: np.ndarray, c: int) -> Scores:
    """Return clips of which those in `right` are recognised, and the others taken for the next class."""
    probs = np.eye(c)[np.where(right, labels, (labels + 1) % c)]
    return Scores("test", "action", tuple(map(str, range(len(labels)))), probs, labels, tuple(map(str, range(c))))


def test_no_samples_no_keys() -> None:
    assert accuracy_intervals(scores_with(np.array([0, 1]), np.array([True, False]), 2), samples=0, seed=0) == {}


def test_the_seed_settles_the_interval() -> None:
    rng = np.random.default_rng(0)
    scores = scores_with(rng.integers(0, 4, 50), rng.random(50) < 0.6, 4)
    first = accuracy_intervals(scores, samples=200, seed=1)
    assert first == accuracy_intervals(scores, samples=200, seed=1)
    assert first != accuracy_intervals(scores, samples=200, seed=2)
    assert list(first) == ["top1_low", "top1_high", "mean_per_class_acc_low", "mean_per_class_acc_high"]


def test_scipy_draws_the_same_interval() -> None:
    rng = np.random.default_rng(3)
    labels = rng.choice(5, size=150, p=[0.5, 0.2, 0.15, 0.13, 0.02])  # the last class is missing from many draws
    scores = scores_with(labels, rng.random(150) < 0.3 + labels / 8, 5)
    predicted = predicted_classes(scores)

    def mean_per_class(true: np.ndarray, guess: np.ndarray) -> float:
        return float(np.mean([(guess[true == k] == k).mean() for k in np.unique(true)]))

    def top1(true: np.ndarray, guess: np.ndarray) -> float:
        return float((true == guess).mean())

    ours = accuracy_intervals(scores, samples=20_000, seed=0)
    for name, statistic, samples in (("top1", top1, 2000), ("mean_per_class_acc", mean_per_class, 2000)):
        theirs = stats.bootstrap(
            (labels, predicted),
            statistic,
            paired=True,
            vectorized=False,
            method="percentile",
            n_resamples=samples,
            rng=np.random.default_rng(0),
        ).confidence_interval
        # Both ends are quantiles of 2,000 draws: their own standard error is about 0.002.
        assert ours[f"{name}_low"] == pytest.approx(theirs.low, abs=0.012)
        assert ours[f"{name}_high"] == pytest.approx(theirs.high, abs=0.012)


def test_about_95_of_100_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth, trials, held, held_per_class = 0.7, 300, 0, 0
    for trial in range(trials):
        labels = np.arange(120) % 3
        interval = accuracy_intervals(scores_with(labels, rng.random(120) < truth, 3), samples=400, seed=trial)
        held += interval["top1_low"] <= truth <= interval["top1_high"]
        held_per_class += interval["mean_per_class_acc_low"] <= truth <= interval["mean_per_class_acc_high"]
    # Three standard errors of a share of 300, and the percentile method's known shortfall at n = 120.
    assert 0.90 <= held / trials <= 0.985
    assert 0.90 <= held_per_class / trials <= 0.985


def test_the_score_lies_inside_and_more_clips_narrow_it() -> None:
    labels = np.arange(40) % 4
    right = np.arange(40) % 5 > 0
    widths = []
    for times in (1, 25):
        scores = scores_with(np.tile(labels, times), np.tile(right, times), 4)
        values = summarise(scores) | accuracy_intervals(scores, samples=2000, seed=0)
        for name in ("top1", "mean_per_class_acc"):
            assert values[f"{name}_low"] <= values[name] <= values[f"{name}_high"]
        widths.append(values["top1_high"] - values["top1_low"])
    # The width falls with the root of the number of clips.
    assert widths[0] / widths[1] == pytest.approx(5, rel=0.15)


def test_all_right_leaves_no_doubt_that_a_bootstrap_can_see() -> None:
    scores = scores_with(np.array([0, 1, 1]), np.array([True, True, True]), 3)
    assert set(accuracy_intervals(scores, samples=50, seed=0).values()) == {1.0}


# --- several classes a clip ---------------------------------------------------------------------------------------


def multi_scores(seed: int, n: int, c: int, *, prevalence: float = 0.2, skill: float = 1.5) -> MultiScores:
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, c)) < prevalence).astype(np.int64)
    probs = 1 / (1 + np.exp(-rng.normal(size=(n, c)) - skill * labels))
    return MultiScores("test", "actions", tuple(map(str, range(n))), probs, labels, tuple(map(str, range(c))))


def test_either_kind_has_the_interval_of_its_main_metrics() -> None:
    one, several = scores_with(np.array([0, 1]), np.array([True, False]), 2), multi_scores(0, 30, 3)
    assert intervals(one, samples=20, seed=0) == accuracy_intervals(one, samples=20, seed=0)
    assert list(intervals(several, samples=20, seed=0)) == ["map_macro_low", "map_macro_high"]
    assert intervals(several, samples=20, seed=0) != intervals(several, samples=20, seed=1)
    assert intervals(several, samples=0, seed=0) == {}


@pytest.mark.parametrize(
    "scores", [scores_with(np.arange(40) % 2, np.arange(40) % 4 < 2, 2), multi_scores(0, 30, 3)], ids=["one", "several"]
)
def test_of_a_single_draw_both_ends_are_its_score_and_of_many_they_are_apart(scores: AnyScores) -> None:
    def widths(samples: int) -> list[float]:
        ends = list(intervals(scores, samples=samples, seed=0).values())
        return [high - low for low, high in zip(ends[::2], ends[1::2], strict=True)]

    assert set(widths(1)) == {0.0}
    assert min(widths(200)) > 0


def test_scipy_draws_the_same_interval_of_mean_average_precision() -> None:
    scores = multi_scores(1, 80, 4)

    def mean_average_precision(rows: np.ndarray) -> float:
        true, probs = scores.labels[rows], scores.probs[rows]
        return float(average_precision_score(true[:, true.any(axis=0)], probs[:, true.any(axis=0)], average="macro"))

    ours = precision_interval(scores, samples=10_000, seed=0)
    theirs = stats.bootstrap(
        (np.arange(80),),
        mean_average_precision,
        vectorized=False,
        method="basic",
        n_resamples=800,
        rng=np.random.default_rng(0),
    ).confidence_interval
    # The standard error of a quantile of 800 draws is about 0.006 here.
    assert ours["map_macro_low"] == pytest.approx(theirs.low, abs=0.02)
    assert ours["map_macro_high"] == pytest.approx(theirs.high, abs=0.02)


def test_the_number_of_draws_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = multi_scores(2, 40, 3)
    whole = precision_interval(scores, samples=50, seed=0)
    monkeypatch.setattr(bootstrap, "_MAX_CELLS", 40 * 7)
    assert precision_interval(scores, samples=50, seed=0) == whole


def test_most_intervals_hold_the_truth_where_classes_are_rare() -> None:
    """The truth is the score of very many clips; the quantiles of the draws hold it in two of three trials alone."""
    truth = summarise(multi_scores(0, 100_000, 2, prevalence=0.05))["map_macro"]
    held = 0
    for trial in range(80):
        interval = precision_interval(multi_scores(trial + 1, 300, 8, prevalence=0.05), samples=200, seed=trial)
        held += interval["map_macro_low"] <= truth <= interval["map_macro_high"]
    assert held / 80 >= 0.8
