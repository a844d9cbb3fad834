"""Plots and tables of 196 classes with long names, as many as Stanford Cars has, stay readable."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from actrec.metrics.bootstrap import intervals
from actrec.metrics.classification import Scores, summarise
from actrec.report import canvas, plots, tables

NUM_CLASSES = 196
MAKERS = ("Aston Martin", "Audi", "Dodge", "Land Rover", "Mercedes-Benz", "Ram C/V", "Rolls-Royce")
BODIES = ("Sedan", "Convertible", "Cargo Van Minivan", "HD Crew Cab SuperCab Extended")
# Made up, and as long as the longest ones of that data set.
NAMES = tuple(f"{MAKERS[k % 7]} Model {k // 28} {BODIES[k // 7 % 4]} {2006 + k % 7}" for k in range(NUM_CLASSES))
BEST, WORST, LONE = 17, 101, 60


@pytest.fixture(scope="module")
def scores() -> Scores:
    """Return 40 clips a class; of each class as many right as its number modulo 30, and 4 more.

    Wrong ones are all taken for the next class, but those of class 60, which are taken for one class each. Class 17 is
    always right, class 101 never.
    """
    labels = np.repeat(np.arange(NUM_CLASSES), 40)
    nth = np.tile(np.arange(40), NUM_CLASSES)
    hits = 4 + np.arange(NUM_CLASSES) % 30
    hits[BEST], hits[WORST] = 40, 0
    said = np.where(nth < hits[labels], labels, (labels + 1) % NUM_CLASSES)
    said = np.where((labels == LONE) & (said != labels), (labels + nth) % NUM_CLASSES, said)
    probs = np.full((len(labels), NUM_CLASSES), 0.5 / (NUM_CLASSES - 1))
    probs[np.arange(len(labels)), said] = 0.5
    return Scores("test", "class", tuple(f"{k:05d}" for k in range(len(labels))), probs, labels, NAMES)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture: as matplotlib has it, and its file."""

    fig: Figure
    content: bytes


TITLES = {
    "Confusion, clips": "confusion",
    "Confusion, share of each true class": "confusion_normalised",
    "Accuracy of each class": "per_class",
    "Best and worst classes": "best_worst",
    "Most confused pairs (true → predicted)": "confused_pairs",
}


@pytest.fixture(scope="module")
def drawn(scores: Scores) -> Mapping[str, Drawn]:
    """Return each figure by its name."""
    found: dict[str, Figure] = {}
    with pytest.MonkeyPatch.context() as patch:
        png = canvas.png

        def keep(fig: Figure) -> bytes:
            found[TITLES[fig.texts[0].get_text()]] = fig
            return png(fig)

        patch.setattr(canvas, "png", keep)
        made = plots.figures(scores, summarise(scores) | intervals(scores, samples=20, seed=0))
    assert found.keys() == made.keys()
    return {name: Drawn(fig, made[name]) for name, fig in found.items()}


def texts(fig: Figure) -> list[Text]:
    return [text for text in fig.findobj(Text) if isinstance(text, Text) and text.get_visible() and text.get_text()]


def boxes(fig: Figure) -> dict[str, np.ndarray]:
    """Return left, lower, right and upper edge of each text in pixels, of those that are drawn."""
    renderer = FigureCanvasAgg(fig).get_renderer()
    found = {}
    for number, text in enumerate(texts(fig)):
        extent = text.get_window_extent(renderer)
        found[f"{number} {text.get_text()}"] = np.array(extent.extents)
    return found


def test_names_are_as_long_as_real_ones_and_all_different() -> None:
    assert len(set(NAMES)) == NUM_CLASSES
    assert max(map(len, NAMES)) > 45


@pytest.mark.parametrize("name", TITLES.values())
def test_no_text_overlaps_another_or_leaves_the_picture(drawn: Mapping[str, Drawn], name: str) -> None:
    fig = drawn[name].fig
    width, height = fig.canvas.get_width_height()
    found = boxes(fig)
    outside = [text for text, (x0, y0, x1, y1) in found.items() if x0 < 0 or y0 < 0 or x1 > width or y1 > height]
    assert not outside
    over = [
        (one, other)
        for (one, a), (other, b) in combinations(found.items(), 2)
        # A pixel is what letters leave free inside their boxes.
        if (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) > 1).all()
    ]
    assert not over


@pytest.mark.parametrize("name", ["confusion", "confusion_normalised"])
def test_a_confusion_of_many_classes_has_no_names_and_a_cell_for_each_pair(
    drawn: Mapping[str, Drawn], name: str
) -> None:
    matrix, _ = drawn[name].fig.axes
    assert [label.get_text() for label in (*matrix.get_xticklabels(), *matrix.get_yticklabels())] == []
    assert list(matrix.texts) == []  # no numbers in cells
    (image,) = matrix.images
    assert np.shape(image.get_array()) == (NUM_CLASSES, NUM_CLASSES)
    # A cell is at least four pixels wide: a single one can be seen.
    assert matrix.get_window_extent().width >= 4 * NUM_CLASSES
    assert any(
        "196 classes" in text.get_text() and "per_class.csv" in text.get_text() for text in drawn[name].fig.texts
    )
    assert len(texts(drawn[name].fig)) < 20


def test_one_mistake_among_thousands_is_a_visible_speck(scores: Scores, drawn: Mapping[str, Drawn]) -> None:
    (image,) = drawn["confusion"].fig.axes[0].images
    assert scores.labels[60 * 40 + 39] == LONE
    single = np.asarray(image.cmap(image.norm(1)))[:3]
    nothing = np.asarray(image.cmap(image.norm(0)))[:3]
    assert np.abs(single - nothing).max() * 255 > 20


def test_the_skyline_has_a_bar_for_each_class_and_no_names(drawn: Mapping[str, Drawn]) -> None:
    (axes,) = drawn["per_class"].fig.axes
    heights = [bar.get_height() for bar in axes.patches]
    assert len(heights) == NUM_CLASSES
    assert heights == sorted(heights, reverse=True)
    assert (heights[0], heights[-1]) == (1.0, 0.0)
    assert axes.get_xticklabels() == []


def test_the_ten_best_and_the_ten_worst_are_named(drawn: Mapping[str, Drawn]) -> None:
    best, worst = drawn["best_worst"].fig.axes
    short = canvas.short_names(NAMES, max_chars=26)
    for axes, first in ((best, BEST), (worst, WORST)):
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert len(names) == len(set(names)) == 10
        assert names[0] == short[first]
        assert all(len(name) <= 26 for name in names)
    # Of those with numbers modulo 30 of 29 and of 0: 33 and 4 of 40 right.
    assert [round(bar.get_width(), 3) for bar in best.patches] == [1.0, *[0.825] * 6, *[0.8] * 3]
    assert [round(bar.get_width(), 3) for bar in worst.patches] == [0.0, *[0.1] * 7, *[0.125] * 2]


def test_the_commonest_confusions_are_named_and_the_rest_counted(drawn: Mapping[str, Drawn]) -> None:
    (axes,) = drawn["confused_pairs"].fig.axes
    short = canvas.short_names(NAMES, max_chars=26)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == len(set(names)) == 15
    assert names[0] == f"{short[WORST]} → {short[WORST + 1]}"
    assert [bar.get_width() for bar in axes.patches][:2] == [40, 36]
    # All classes but 17 and 60 are taken for one other; 60, of whose clips 4 are right, for 36.
    assert any("The commonest 15 of 230 confusions" in text.get_text() for text in drawn["confused_pairs"].fig.texts)


def test_pictures_are_no_larger_than_a_screen(drawn: Mapping[str, Drawn]) -> None:
    for name, picture in drawn.items():
        with Image.open(io.BytesIO(picture.content)) as image:
            assert max(image.size) <= 1600, name
        assert len(picture.content) < 400_000, name


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_tables_give_every_class_and_names_in_full(scores: Scores) -> None:
    rows = read(tables.per_class_csv([scores]))
    assert [row["class"] for row in rows] == list(NAMES)
    assert rows[BEST]["recall"] == "1.000000" and rows[WORST]["recall"] == "0.000000"
    assert rows[WORST]["most_confused_with"] == NAMES[WORST + 1]
    pairs = read(tables.confused_pairs_csv([scores]))
    assert len(pairs) == 100
    assert (pairs[0]["actual"], pairs[0]["predicted"], pairs[0]["num_clips"]) == (NAMES[WORST], NAMES[WORST + 1], "40")


def test_the_summary_is_a_line_whatever_the_number_of_classes(scores: Scores) -> None:
    values = summarise(scores) | intervals(scores, samples=20, seed=0)
    header, row = tables.summary_text([scores], {"test": {"class": values}}).splitlines()
    assert len(header) <= 160 and len(row) <= 160
    # One class of 196: 40 of 7,840 clips.
    assert row.split()[2:4] == ["7840", "0.005"]
