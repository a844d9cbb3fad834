"""Tables and pictures of experiments, whatever there is to show."""

from dataclasses import replace
from io import BytesIO, StringIO

import pytest
from PIL import Image

from actrec.compare.experiment import Experiment, differing, points
from actrec.compare.picture import comparison_png
from actrec.compare.table import MAX_SETTINGS, Table, experiments_csv, short_settings, table_of


def experiment(name: str, top1: float | None, **params: object) -> Experiment:
    values = {} if top1 is None else {"action": {"top1": top1, "top1_low": top1 - 0.1, "top1_high": top1 + 0.1}}
    return Experiment(name, params, {"val": values, "training": {"seconds": 30.0}}, "" if values else "failed: train")


def size(png: bytes) -> tuple[int, int]:
    return Image.open(BytesIO(png)).size


MEASURES = [("action", "top1")]


def test_names_of_settings_are_as_short_as_they_may_be() -> None:
    names = ["train.lr", "train.freeze.lr", "train.optimizer.kind", "seed", "data.split.seed", "a.rgb.x", "b.rgb.x"]
    assert short_settings(names) == [
        *("train.lr", "freeze.lr", "optimizer.kind", "seed", "split.seed", "a.rgb.x", "b.rgb.x")
    ]


def test_a_setting_that_is_absent_differs() -> None:
    shown = points([experiment("a", 0.5, x=1, y=None), experiment("b", 0.5, x=1.0, y=None, z=None)], pooled=False)
    assert differing(shown) == ["x", "z"]


def test_other_data_is_what_differs_first() -> None:
    values = {"model.x": 1, "train.lr": 0.1, "data.name": "a"}
    others = [Experiment("a", values, {}), Experiment("b", {"model.x": 2, "train.lr": 0.2, "data.name": "b"}, {})]
    assert differing(points(others, pooled=False)) == ["data.name", "model.x", "train.lr"]


def test_one_seed_is_no_range() -> None:
    (point,) = points([experiment("a", 0.5, seed=1)], pooled=True)
    found = point.measured("val", "action", "top1")
    assert found is not None and (found.value, found.low, found.high, found.count) == (0.5, 0.4, 0.6, 1)
    assert point.name == "a" and point.measured("test", "action", "top1") is None
    assert point.cost("minutes") == 0.5 and point.cost("peak_memory_mb") is None


def test_a_failed_seed_is_told_beside_the_others() -> None:
    table = table_of(points([experiment("a", 0.5, seed=1), experiment("b", None, seed=2)], pooled=True), MEASURES)
    assert table.header == ("experiment", "seeds", "val action top1", "minutes", "note")
    assert table.rows == (("a +1", "2", "0.500 [0.400–0.600]", "0.5", "failed: train"),)


def test_a_line_below_says_of_what_the_minutes_are() -> None:
    note = "Minutes are of training alone, without decoding and without the extraction of cached features.\n"
    table = table_of(points([experiment("a", 0.5)], pooled=False), MEASURES)
    table.show(shown := StringIO())
    assert table.markdown().endswith(f" |\n\n{note}") and shown.getvalue().endswith(f"\n{note}")
    without = table_of(points([Experiment("a", {}, {"val": {"action": {"top1": 0.5}}})], pooled=False), MEASURES)
    without.show(shown := StringIO())
    assert "minutes" not in without.header and "Minutes" not in without.markdown() + shown.getvalue()


def test_few_experiments_of_many_heads_are_turned() -> None:
    heads = [f"stream_{number}/action" for number in range(20)]
    values = {head: {"top1": 0.5, "top1_low": 0.4, "top1_high": 0.6} for head in heads}
    experiments = [Experiment(name, {"lr": lr}, {"val": values}) for name, lr in (("first", 0.1), ("second", 0.2))]
    table = table_of(points(experiments, pooled=False), [(head, "top1") for head in heads])
    turned = table.turned()
    assert turned.header == ("experiment", "first", "second") and turned.rows[0] == ("lr", "0.1", "0.2")
    assert turned.turned() == replace(table, numeric=turned.turned().numeric)
    table.show(shown := StringIO())
    lines = shown.getvalue().splitlines()
    assert lines[0].split() == ["experiment", "first", "second"]
    assert lines[2].split() == ["val", heads[0], "top1", *["0.500", "[0.400–0.600]"] * 2]


def test_the_widest_column_gives_way_and_words_stay_whole() -> None:
    table = Table(("name", "train.dropout"), (False, True), (("two words", "0.5 [0.4–0.6]"),), "")
    assert table.widths(24, stacked=False) == [9, 13]  # and a gap of two
    assert table.widths(23, stacked=False) == [8, 13] and table.widths(0, stacked=False) == [5, 13]
    assert table.widths(22, stacked=True) == [9, 11]  # "train." above "dropout"
    assert table.widths(0, stacked=True) == [5, 9]  # "[0.4–0.6]"


def test_in_a_file_no_word_is_broken_however_wide_the_table() -> None:
    heads = [f"stream_{number:02}/action" for number in range(30)]
    names = [f"experiment-with-a-long-name-{number:02}" for number in range(25)]
    experiments = [Experiment(name, {}, {"val": {head: {"top1": 0.123} for head in heads}}) for name in names]
    table = table_of(points(experiments, pooled=False), [(head, "top1") for head in heads])
    table.show(shown := StringIO())
    words = shown.getvalue().split()
    assert min(sum(each.widths(0, stacked=False)) for each in (table, table.turned())) > 200
    assert set(heads) | set(names) <= set(words) and words.count("0.123") == len(heads) * len(names)


def test_a_picture_of_many_heads_has_several_lines_of_panels() -> None:
    heads = [f"head{number}" for number in range(9)]
    values = {head: {"top1": 0.5} for head in heads}
    shown = points([Experiment("a", {}, {"val": values, "training": {"seconds": 9.0}})], pooled=False)
    sizes = [size(comparison_png(shown, [(head, "top1") for head in heads[:count]], title="t")) for count in (1, 4, 9)]
    assert sizes[0][1] == sizes[1][1] and sizes[2][1] > 2 * sizes[1][1] - 150
    assert sizes[0][0] < sizes[2][0] < sizes[1][0], "four columns, without a narrow one for the cost"


def test_many_settings_are_all_in_the_csv_alone() -> None:
    names = [f"p{number}" for number in range(20)]
    both = [experiment(name, 0.5, **dict.fromkeys(names, value)) for name, value in (("a", 1), ("b", 2))]
    assert len(table_of(points(both, pooled=False), MEASURES).header) == 3 + MAX_SETTINGS
    assert set(names) <= set(experiments_csv(both).splitlines()[0].split(","))


def test_cells_are_text_and_no_formulas() -> None:
    both = [experiment("=1+1", 0.5, x="-2"), experiment("[red]b", 0.5, x="@y")]
    lines = experiments_csv(both).splitlines()
    assert lines[1].startswith("'=1+1,'-2,") and lines[2].startswith("[red]b,'@y,")


@pytest.mark.parametrize("count", [1, 3, 40, 200])
def test_a_picture_grows_with_its_rows_up_to_a_size(count: int) -> None:
    shown = points([experiment(f"run-{n}", 0.5 + n / 1000 if n % 5 else None, x=n) for n in range(count)], pooled=False)
    width, height = size(comparison_png(shown, MEASURES, title="Experiments"))
    assert width < 1200 and height == pytest.approx(110 * (1.9 + 0.34 * min(count, 80)), abs=3)


def test_a_picture_without_any_result() -> None:
    assert size(comparison_png(points([experiment("a", None)], pooled=False), MEASURES, title="t"))[0] > 300


def test_the_same_experiments_are_the_same_bytes() -> None:
    shown = points([experiment("日本", 0.5), experiment("b" * 90, 0.6)], pooled=False)
    assert comparison_png(shown, MEASURES, title="t") == comparison_png(shown, MEASURES, title="t")
