"""results/ as a whole."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actrec.metrics.classification import Scores
from actrec.metrics.multi_label import MultiScores
from actrec.report import write


@pytest.fixture
def both() -> list[Scores]:
    probs = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    test = Scores("test", "action", ("x", "y", "z"), probs, np.array([0, 0, 1]), ("a", "b"))
    return [replace(test, split="val"), test]


def test_metrics_are_nested_by_split_and_head_and_fit_json(both: list[Scores]) -> None:
    tree = write.metrics_tree(both, bootstrap_samples=50, seed=0)
    assert {split: list(heads) for split, heads in tree.items()} == {"val": ["action"], "test": ["action"]}
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert set(tree["val"]["action"]) == {
        *("top1", "top5", "mean_per_class_acc", "f1_macro", "f1_weighted", "map_macro", "loss"),
        *("num_clips", "num_classes"),
        *("top1_low", "top1_high", "mean_per_class_acc_low", "mean_per_class_acc_high"),
    }
    without = write.metrics_tree(both, bootstrap_samples=0, seed=0)
    assert not [name for name in without["val"]["action"] if name.endswith(("_low", "_high"))]


def test_two_levels_of_classes_have_f1_mean_a_stream(both: list[Scores]) -> None:
    # Head kind says the same of every clip as action, and is right about all.
    kind = replace(both[1], head="kind", labels=np.array([0, 1, 1]))
    streams = [replace(s, head=f"{m}/{s.head}") for m in ("rgbpose_1:1", "rgb") for s in (both[1], kind)]
    plain = write.metrics_tree(streams, bootstrap_samples=0, seed=0)
    tree = write.metrics_tree(streams, levels=("action", "kind"), bootstrap_samples=0, seed=0)
    # action: two of three are right; F1 of a is 2/3, of b 2/3.
    expected = {"f1_mean": pytest.approx((2 / 3 + 2 / 3 + 1 + 1) / 4)}
    assert tree == {"test": {**plain["test"], "rgbpose_1:1/action+kind": expected, "rgb/action+kind": expected}}
    joint = write.metrics_tree([both[1], kind], levels=("action", "kind"), bootstrap_samples=0, seed=0)
    assert joint["test"]["action+kind"] == expected


def test_without_two_levels_of_one_class_a_clip_there_is_no_f1_mean(both: list[Scores]) -> None:
    several = MultiScores("test", "kind", ("x",), np.array([[0.9, 0.4]]), np.array([[1, 0]]), ("a", "b"))
    tree = write.metrics_tree([both[1], several], levels=("action", "kind"), bootstrap_samples=0, seed=0)
    assert list(tree["test"]) == ["action", "kind"]


def test_the_levels_are_those_of_the_data_or_the_two_heads_of_streams() -> None:
    late, mean = ({"neck": {"kind": kind}, "heads": {"fine": {}, "coarse": {}}} for kind in ("late", "mean"))
    assert write.levels_of(late, None) == ("fine", "coarse")
    assert write.levels_of(mean, None) is None
    assert write.levels_of(mean, ("coarse", "fine")) == ("coarse", "fine")
    assert write.levels_of(mean, ("fine", "other")) is None
    assert write.levels_of({**late, "heads": {"fine": {}}}, None) is None


def test_results_has_every_file_and_nothing_of_an_earlier_run(
    both: list[Scores], tmp_path: Path, write_history: Callable[..., Path]
) -> None:
    metrics = write.metrics_tree(both, bootstrap_samples=50, seed=0)
    history = write_history(tmp_path / "history.csv", epochs=2)
    results = tmp_path / "results"
    (results / "plots").mkdir(parents=True)
    (results / "plots" / "test_gone_confusion.png").write_bytes(b"old")
    write.results(results, both, metrics=metrics, history_csv=history, select_on="action.top1", pictures={})

    kinds = ("confusion", "confusion_normalised", "per_class", "best_worst", "confused_pairs")
    pictures = {f"plots/{split}_action_{kind}.png" for split in ("val", "test") for kind in kinds}
    assert {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()} == {
        *("predictions.csv", "per_class.csv", "confusion.csv", "confused_pairs.csv", "scores.npz", "submission.csv"),
        *("confusion/val_action.csv", "confusion/test_action.csv", "plots/training_curves.png"),
        *pictures,
    }
    assert (results / "confusion/test_action.csv").read_text().splitlines()[1:] == [
        *("test,action,a,a", "test,action,a,b", "test,action,b,b")
    ]
    assert len((results / "confusion.csv").read_text().splitlines()) == 1 + 6


@pytest.fixture
def no_epochs(tmp_path: Path, write_history: Callable[..., Path]) -> Path:
    """Return a history of nothing but its columns."""
    path = write_history(tmp_path / "history.csv", epochs=1)
    path.write_text(path.read_text().splitlines()[0] + "\n")
    return path


def test_without_epochs_there_are_no_curves(both: list[Scores], tmp_path: Path, no_epochs: Path) -> None:
    metrics = write.metrics_tree(both[:1], bootstrap_samples=0, seed=0)
    write.results(tmp_path, both[:1], metrics=metrics, history_csv=no_epochs, select_on="action.top1", pictures={})
    assert not (tmp_path / "plots/training_curves.png").exists()
    assert (tmp_path / "plots/val_action_confusion.png").exists()


@pytest.mark.parametrize(
    ("submission", "rows"),
    [
        (("action", "kind"), ["x.mp4,0,1,,,,1,0,,,", "y.mp4,1,0,,,,0,1,,,", "z.mp4,1,0,,,,0,1,,,"]),
        (("kind", "action"), ["x.mp4,1,0,,,,0,1,,,", "y.mp4,0,1,,,,1,0,,,", "z.mp4,0,1,,,,1,0,,,"]),
        (None, []),
    ],
)
def test_what_is_handed_in_is_of_the_last_split_and_of_the_outputs_asked_for(
    both: list[Scores],
    tmp_path: Path,
    no_epochs: Path,
    monkeypatch: pytest.MonkeyPatch,
    submission: tuple[str, str] | None,
    rows: list[str],
) -> None:
    monkeypatch.setattr(write, "_pictures", lambda *args: {})
    test = replace(both[1], paths=("x.mp4", "y.mp4", "z.mp4"))
    kind = replace(test, head="kind", probs=test.probs[:, ::-1])
    val = [replace(own, split="val", probs=own.probs[::-1]) for own in (test, kind)]
    how = {"metrics": {}, "history_csv": no_epochs, "select_on": "action.top1", "pictures": {}}
    write.results(tmp_path, [*val, test, kind], **how, submission=submission)
    assert (tmp_path / "submission.csv").read_text().splitlines()[1:] == rows


def test_costs_are_sums_over_epochs(tmp_path: Path, write_history: Callable[..., Path]) -> None:
    """Of each epoch's 4 s, one goes to data and two to computing; the rest is validation."""
    path = write_history(tmp_path / "history.csv", epochs=30, train_clips=1200)
    assert write.run_costs(path) == {
        **{"epochs": 30, "best_epoch": 2, "seconds": 120.0, "minutes": 2.0, "clips_per_s": 400.0},
        "peak_memory_mb": 9.5,
    }


def test_without_a_count_of_clips_there_is_no_rate(tmp_path: Path, write_history: Callable[..., Path]) -> None:
    costs = write.run_costs(write_history(tmp_path / "history.csv", epochs=1))
    assert "clips_per_s" not in costs and costs["minutes"] == 0.07


def test_an_svm_has_no_rate(tmp_path: Path, write_history: Callable[..., Path]) -> None:
    """Its rows are each C, not epochs, and their time is the solver's."""
    path = write_history(tmp_path / "history.csv", epochs=2, train_clips=1200)
    header, *rows = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in [f"{header},c", *(f"{row},0.1" for row in rows)]))
    assert write.run_costs(path) == {
        **{"epochs": 2, "best_epoch": 2, "seconds": 8.0, "minutes": 0.13, "peak_memory_mb": 9.5}
    }


def test_heads_of_several_classes_have_no_confusions(both: list[Scores], tmp_path: Path, no_epochs: Path) -> None:
    labels, names = np.array([[1, 0], [1, 1]]), ("a", "b")
    several = MultiScores("test", "acts", ("x", "y"), np.array([[0.9, 0.4], [0.2, 0.6]]), labels, names)
    mixed = [both[1], several]
    metrics = write.metrics_tree(mixed, bootstrap_samples=30, seed=0)
    assert set(metrics["test"]["acts"]) == {
        *("map_macro", "map_macro_low", "map_macro_high", "f1_macro", "f1_weighted", "loss"),
        *("num_clips", "num_classes"),
    }
    write.results(tmp_path, mixed, metrics=metrics, history_csv=no_epochs, select_on="acts.map_macro", pictures={})
    assert {path.name for path in (tmp_path / "confusion").iterdir()} == {"test_action.csv"}
    assert "acts" not in (tmp_path / "confusion.csv").read_text() + (tmp_path / "confused_pairs.csv").read_text()
    drawn = {path.name for path in (tmp_path / "plots").iterdir() if "acts" in path.name}
    assert drawn == {"test_acts_per_class.png", "test_acts_best_worst.png"}


def test_heads_of_several_classes_alone_leave_the_tables_of_confusions_empty(tmp_path: Path, no_epochs: Path) -> None:
    several = MultiScores("test", "acts", ("x",), np.array([[0.9, 0.4]]), np.array([[1, 0]]), ("a", "b"))
    metrics = write.metrics_tree([several], bootstrap_samples=0, seed=0)
    write.results(tmp_path, [several], metrics=metrics, history_csv=no_epochs, select_on="acts.map_macro", pictures={})
    assert (tmp_path / "confusion.csv").read_text() == "split,head,actual,predicted\n"
    assert not list((tmp_path / "confusion").iterdir())
