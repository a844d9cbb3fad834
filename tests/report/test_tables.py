"""The tables: by hand, and read back."""

import csv
import io
import re
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import precision_recall_fscore_support

from actrec.cells import csv_text, read_cell, read_csv, text_cell
from actrec.metrics.classification import Scores, predicted_classes
from actrec.metrics.multi_label import MultiScores
from actrec.report import tables
from actrec.report.write import metrics_tree

NASTY = ["=1+1", "+a", "-b", "@c", "'=d", "''-e", "'plain", "plain", "", "\tf", "a,b", 'q"q', "two\nlines", "é 挥手"]


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def scores() -> Scores:
    # Truth a a a b, said a c c a; class d has no clip and is never named.
    probs = [[0.7, 0.1, 0.15, 0.05], [0.2, 0.1, 0.6, 0.1], [0.3, 0.1, 0.5, 0.1], [0.4, 0.3, 0.2, 0.1]]
    return Scores(
        "test",
        "action",
        ("c1", "c2", "c3", "c4"),
        np.array(probs),
        np.array([0, 0, 0, 1]),
        ("a", "b", "c", "d"),
        paths=("v/1.mp4", "v/2.mp4", "v/3.mp4", "v/4.mp4"),
        groups=("anna", "anna", "ben", "ben"),
    )


@pytest.mark.parametrize("name", NASTY)
def test_no_cell_is_a_formula_and_every_cell_reads_back(name: str) -> None:
    text = csv_text(("x", "y"), [(name, -1.5)])
    _, (cell, number) = csv.reader(io.StringIO(text, newline=""))
    assert cell == text_cell(name) and not re.match(r"[=+\-@\t\r]", cell) and number == "-1.5"
    assert read_csv(io.StringIO(text, newline="")) == [["x", "y"], [name, "-1.5"]]


def test_ordinary_names_are_left_alone() -> None:
    assert [text_cell(name) for name in ("walk", "a-b", "3=x", "'tis", "")] == ["walk", "a-b", "3=x", "'tis", ""]


def test_predictions(scores: Scores) -> None:
    rows = read(tables.predictions_csv([scores]))
    assert len(rows) == 4
    assert rows[1] == {
        "clip_id": "c2",
        "path": "v/2.mp4",
        "split": "test",
        "group": "anna",
        "head": "action",
        "true": "a",
        "predicted": "c",
        "prob": "0.600000",
        "true_prob": "0.200000",
        "rank_of_true": "2",
        "top5": "c:0.6000|a:0.2000|b:0.1000|d:0.1000",
    }
    assert [row["rank_of_true"] for row in rows] == ["1", "2", "2", "2"]


def test_predictions_of_awkward_names() -> None:
    names = ("=cmd|x", "back\\slash", "c:0.5", "d", "e", "f")
    probs = np.array([[0.3, 0.25, 0.2, 0.1, 0.1, 0.05]])
    (row,) = read(tables.predictions_csv([Scores("val", "h", ("-1",), probs, np.array([2]), names)]))
    assert (row["clip_id"], row["true"], row["predicted"], row["path"]) == ("'-1", "c:0.5", "'=cmd|x", "")
    assert row["top5"] == "'=cmd\\|x:0.3000|back\\\\slash:0.2500|c:0.5:0.2000|d:0.1000|e:0.1000"
    # A reader that splits at every | without a \ before it, and at the last :, has the names back.
    parts = re.findall(r"((?:[^|\\]|\\.)*)(?:\||$)", read_cell(row["top5"]))
    found = [re.sub(r"\\(.)", r"\1", part.rpartition(":")[0]) for part in parts if part]
    assert found == list(names[:5])


def test_per_class(scores: Scores) -> None:
    rows = read(tables.per_class_csv([scores]))
    kept = ("class_number", "class", "num_clips", "precision", "recall", "f1", "most_confused_with")
    assert [[row[name] for name in kept] for row in rows] == [
        ["0", "a", "3", "0.500000", "0.333333", "0.400000", "c"],
        ["1", "b", "1", "", "0.000000", "0.000000", "a"],
        ["2", "c", "0", "0.000000", "", "0.000000", ""],
        ["3", "d", "0", "", "", "", ""],
    ]


def test_per_class_numbers_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(6), size=120)
    labels = rng.integers(0, 5, 120)
    scores = Scores("val", "h", tuple(map(str, range(120))), probs, labels, tuple("abcdef"))
    undefined: Any = {"zero_division": np.nan}
    expected: Any = precision_recall_fscore_support(labels, predicted_classes(scores), labels=range(6), **undefined)
    for k, row in enumerate(read(tables.per_class_csv([scores]))):
        for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
            assert row[name] == ("" if np.isnan(values[k]) else f"{values[k]:.6f}")


def test_confusion_has_a_row_a_clip(scores: Scores) -> None:
    assert tables.confusion_csv([scores]) == (
        "split,head,actual,predicted\ntest,action,a,a\ntest,action,a,c\ntest,action,a,c\ntest,action,b,a\n"
    )


def test_confused_pairs(scores: Scores) -> None:
    header = "split,head,actual,predicted,num_clips,actual_frac\n"
    rows = ["test,action,a,c,2,0.666667\n", "test,action,b,a,1,1.000000\n"]
    assert tables.confused_pairs_csv([scores]) == header + "".join(rows)
    assert tables.confused_pairs_csv([scores], limit=1) == header + rows[0]


def test_equally_common_confusions_come_in_the_order_of_class_numbers() -> None:
    labels = np.array([2, 1, 0, 2])
    scores = Scores("val", "h", tuple("wxyz"), np.eye(3)[[1, 0, 2, 0]], labels, ("a", "b", "c"))
    assert [(p.actual, p.predicted) for p in tables.confused_pairs(scores)] == [(0, 2), (1, 0), (2, 0), (2, 1)]


def test_summary_shows_metrics_beside_chance(scores: Scores) -> None:
    metrics = metrics_tree([scores], bootstrap_samples=100, seed=0)
    values = metrics["test"]["action"]
    header, row = tables.summary_text([scores], metrics).splitlines()
    assert header.split() == ["split", "head", "clips", "chance", "top1", "top5", "mean", "per", "class", "F1", "loss"]
    interval = f"[{values['top1_low']:.3f}–{values['top1_high']:.3f}]"
    assert row.split()[:7] == ["test", "action", "4", "0.750", "0.250", interval, "-"]
    without = metrics_tree([scores], bootstrap_samples=0, seed=0)
    assert "[" not in tables.summary_text([scores], without)


def test_summary_goes_to_standard_error_as_plain_lines(
    scores: Scores, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    metrics = metrics_tree([scores], bootstrap_samples=50, seed=0)
    tables.show_summary([scores], metrics)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == tables.summary_text([scores], metrics) + "\n"
    assert "\x1b" not in said.err


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_interval_is_cut_on_a_narrow_terminal(scores: Scores, columns: int) -> None:
    metrics = metrics_tree([scores], bootstrap_samples=100, seed=0)
    out = io.StringIO()
    Console(file=out, width=columns).print(tables.summary_table([scores], metrics), crop=False)
    for name in ("top1", "mean_per_class_acc"):
        values = metrics["test"]["action"]
        assert f"[{values[f'{name}_low']:.3f}–{values[f'{name}_high']:.3f}]" in out.getvalue()


# --- several classes a clip ---------------------------------------------------------------------------------------


@pytest.fixture
def several() -> MultiScores:
    # walk: true of c1 and c2, said of c1 and c3. eat|x: true of c2 and said of it. sleep: never true, never said.
    probs = [[0.9, 0.1, 0.2], [0.4, 0.5, 0.1], [0.6, 0.2, 0.1]]
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    return MultiScores("test", "acts", ("c1", "c2", "c3"), np.array(probs), labels, ("walk", "=eat", "sleep"))


def test_predictions_with_several_classes(several: MultiScores) -> None:
    rows = read(tables.predictions_csv([several]))
    assert rows[1] == {
        "clip_id": "c2",
        "path": "",
        "split": "test",
        "group": "",
        "head": "acts",
        "true": "walk|=eat",
        "predicted": "'=eat",
        "prob": "0.500000",
        "true_prob": "",
        "rank_of_true": "",
        "top5": "'=eat:0.5000|walk:0.4000|sleep:0.1000",
    }
    assert [(row["true"], row["predicted"]) for row in rows] == [("walk", "walk"), ("walk|=eat", "'=eat"), ("", "walk")]


def test_per_class_with_several_classes(several: MultiScores) -> None:
    rows = read(tables.per_class_csv([several]))
    kept = ("class_number", "class", "num_clips", "precision", "recall", "f1", "most_confused_with", "ap")
    # walk stands at places 1 and 3 of 3: (1 + 2/3) / 2.
    assert [[row[name] for name in kept] for row in rows] == [
        ["0", "walk", "2", "0.500000", "0.500000", "0.500000", "", "0.833333"],
        ["1", "'=eat", "1", "1.000000", "1.000000", "1.000000", "", "1.000000"],
        ["2", "sleep", "0", "", "", "", "", ""],
    ]


def test_per_class_has_the_average_precision_of_either_kind(scores: Scores, several: MultiScores) -> None:
    rows = read(tables.per_class_csv([scores, several]))
    assert [row["head"] for row in rows] == ["action"] * 4 + ["acts"] * 3
    # a: places 1, 3 and 4 of 4 by its probability 0.7 0.4 0.3 0.2. b: first by 0.3.
    assert [row["ap"] for row in rows[:4]] == [f"{(1 + 2 / 3 + 3 / 4) / 3:.6f}", "1.000000", "", ""]


def test_summary_shows_mean_average_precision_where_clips_have_several_classes(
    scores: Scores, several: MultiScores
) -> None:
    metrics = metrics_tree([scores, several], bootstrap_samples=0, seed=0)
    header, one, many = tables.summary_text([scores, several], metrics).splitlines()
    columns = ["split", "head", "clips", "chance", "top1", "top5", "mean", "per", "class", "mAP", "F1", "loss"]
    assert header.split() == columns
    assert one.split()[-3] == f"{metrics['test']['action']['map_macro']:.3f}"
    # chance: the shares of walk and eat, 2/3 and 1/3. mAP: (5/6 + 1) / 2. F1: (1/2 + 1) / 2.
    assert many.split()[:9] == ["test", "acts", "3", "0.500", "-", "-", "-", "0.917", "0.750"]
