"""The training curves, from a history.csv as training writes it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from actrec.errors import UserError
from actrec.report import canvas
from actrec.report.curves import History, read_history, training_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WriteHistory = Callable[..., Path]
SVM_COLUMNS = "epoch,phase,c,lr,train_loss,val_score,val_kind_top1,val_kind_loss,val_age_top1,val_age_loss"
# Of two heads; for the last C of `kind` there was no solution.
SVM_ROWS = (
    "1,age,0.01,,0.5,0.4,,,0.4,1.5,0.0,2.0,2.5,9.5,True",
    "2,kind,0.001,,0.9,0.6,0.6,0.8,,,0.0,2.0,2.5,9.5,False",
    "3,kind,0.1,,0.3,0.8,0.8,0.7,,,0.0,2.0,2.5,9.5,True",
    "4,kind,10.0,,,,,,,,0.0,2.0,2.5,9.5,False",
)


def test_history_is_read(tmp_path: Path, write_history: WriteHistory) -> None:
    history = read_history(write_history(tmp_path / "h.csv", epochs=4, heads=("a_top1", "b")))
    assert history is not None
    assert history.heads == ["a_top1", "b"]
    assert history.best == 1  # the last epoch that was the best so far
    assert history.phases == ("frozen", "frozen", "main", "main")
    np.testing.assert_array_equal(history.numbers["train_loss"], [2, 1, 2 / 3, 0.5])


def test_an_empty_cell_is_a_gap_and_a_header_alone_is_no_history(tmp_path: Path, write_history: WriteHistory) -> None:
    path = write_history(tmp_path / "h.csv", epochs=2)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace(",2.0,", ",,", 1), lines[2]]))
    history = read_history(path)
    assert history is not None and np.isnan(history.numbers["train_loss"][0])
    assert training_curves(history, select_on="action.top1")
    path.write_text(lines[0] + "\n")
    assert read_history(path) is None


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("epoch,lr\n1,0.1\n")
    with pytest.raises(UserError, match=r"h\.csv: no column phase, train_loss, .*dvc repro"):
        read_history(tmp_path / "h.csv")


@pytest.mark.parametrize(("epochs", "validated", "select_on"), [(1, False, "action.top1"), (40, True, "action.loss")])
def test_curves_are_drawn_the_same_each_time(
    tmp_path: Path, write_history: WriteHistory, epochs: int, validated: bool, select_on: str
) -> None:
    history = read_history(write_history(tmp_path / "h.csv", epochs=epochs, validated=validated))
    assert history is not None
    first = training_curves(history, select_on=select_on)
    assert first.startswith(b"\x89PNG") and len(first) > 10_000
    assert first == training_curves(history, select_on=select_on)


def test_other_numbers_make_another_picture(tmp_path: Path, write_history: WriteHistory) -> None:
    history = read_history(write_history(tmp_path / "h.csv", epochs=5))
    assert history is not None
    first = training_curves(history, select_on="action.top1")
    history.numbers["data_s"][2] = 1.5
    assert training_curves(history, select_on="action.top1") != first


@pytest.mark.parametrize("select_on", ["acts.loss", "acts.map_macro"])
def test_where_clips_have_several_classes_mean_average_precision_is_drawn(
    tmp_path: Path, write_history: WriteHistory, select_on: str
) -> None:
    metrics = ("map_macro", "f1_macro", "f1_weighted", "loss")
    history = read_history(write_history(tmp_path / "h.csv", epochs=4, heads=("acts",), metrics=metrics))
    assert history is not None and history.heads == ["acts"]
    first = training_curves(history, select_on=select_on)
    history.numbers["val_acts_map_macro"][3] = 0.9
    assert training_curves(history, select_on=select_on) != first


def test_every_one_of_many_outputs_has_a_line_of_its_own_and_its_name_beside(
    tmp_path: Path, write_history: WriteHistory, drawn: list["Figure"]
) -> None:
    heads = tuple(f"stream{number}/act" for number in range(10))
    history = read_history(write_history(tmp_path / "h.csv", epochs=4, heads=heads))
    assert history is not None and training_curves(history, select_on=f"{heads[0]}.top1")
    loss, quality, *_ = drawn[0].axes
    for axes, count in ((loss, 11), (quality, 10)):
        lines = [line for line in axes.get_lines() if len(line.get_xydata()) == 4]
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines) == count
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (loss, quality)]
    assert legends == [["train"], [f"val {head}" for head in heads]]
    beside = quality.get_legend().get_window_extent()
    assert beside.x0 > quality.get_window_extent().x1


def test_where_epochs_were_not_validated_the_line_goes_from_one_that_was_to_the_next(
    tmp_path: Path, write_history: WriteHistory
) -> None:
    """Above 30 epochs points are not marked, and a line of single points would not be seen."""
    history = read_history(write_history(tmp_path / "h.csv", epochs=40))
    assert history is not None
    history.numbers["val_action_top1"][::2] = np.nan
    first = training_curves(history, select_on="action.top1")
    history.numbers["val_action_top1"][21] = 0.9
    assert training_curves(history, select_on="action.top1") != first


# --- support vector machines --------------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list["Figure"]:
    """Return the figures that are made into files."""
    figures, real = [], canvas.png
    monkeypatch.setattr(canvas, "png", lambda fig: figures.append(fig) or real(fig))
    return figures


def _svm_history(path: Path, rows: Sequence[str]) -> History:
    header = f"{SVM_COLUMNS},data_s,compute_s,epoch_s,peak_memory_mb,is_best"
    path.write_text("\n".join([header, *rows]) + "\n")
    history = read_history(path)
    assert history is not None
    return history


@pytest.mark.parametrize("metric", ["top1", "loss"])
def test_of_an_svm_the_score_is_drawn_over_c(tmp_path: Path, drawn: list["Figure"], metric: str) -> None:
    history = _svm_history(tmp_path / "h.csv", SVM_ROWS)
    first = training_curves(history, select_on=f"kind.{metric}")
    assert first == training_curves(history, select_on=f"kind.{metric}")
    loss, quality = drawn[0].axes  # and no panels of what an svm has not: a rate, epochs
    assert {axes.get_xscale() for axes in (loss, quality)} == {"log"}
    assert all(axes.get_xlabel() == "C" and axes.lines for axes in (loss, quality))
    lines = {line.get_label(): line.get_xydata().tolist() for line in [*loss.lines, *quality.lines]}
    assert lines["train kind"] == [[0.001, 0.9], [0.1, 0.3]] and lines["train age"] == [[0.01, 0.5]]
    (scores,) = (line.get_xydata() for line in quality.lines if line.get_label() == "val kind")
    np.testing.assert_array_equal(scores, [[0.001, 0.6], [0.1, 0.8]])
    rings = [line.get_xydata() for line in quality.lines if line.get_fillstyle() == "none"]
    np.testing.assert_array_equal(rings, [[[0.1, 0.8]], [[0.01, 0.4]]])
    assert any("4 fitted, 10 s in all · kind: C = 0.1, val" in text.get_text() for text in drawn[0].texts)


def test_a_single_c_is_drawn(tmp_path: Path, drawn: list["Figure"]) -> None:
    assert training_curves(_svm_history(tmp_path / "h.csv", SVM_ROWS[:1]), select_on="age.top1")
    assert len(drawn[0].axes) == 2
