"""The figures: drawn for every number of classes, the same bytes each time, no name taken for a formula."""

import io
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from actrec.metrics import summary
from actrec.metrics.bootstrap import intervals
from actrec.metrics.classification import Scores, summarise
from actrec.metrics.multi_label import MultiScores
from actrec.report import canvas, plots

AWKWARD = ("a_1 costs $x_{2$", "$", "挥手", "x" * 300, "x" * 299 + "y", "  ", "line\nbreak", "<script>")


def make_scores(class_names: Sequence[str], *, n: int, without_clips: int = 0, skill: float = 2.0) -> Scores:
    rng = np.random.default_rng(0)
    c = len(class_names)
    labels = rng.integers(0, c - without_clips, n)
    logits = rng.normal(size=(n, c)) + skill * np.eye(c)[labels]
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    return Scores("test", "action", tuple(map(str, range(n))), probs, labels, tuple(class_names))


def draw(scores: Scores) -> dict[str, bytes]:
    return plots.figures(scores, summarise(scores))


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(("c", "n", "without_clips"), [(1, 3, 0), (2, 10, 0), (6, 40, 1), (200, 900, 5)])
def test_every_figure_for_few_and_many_classes(c: int, n: int, without_clips: int) -> None:
    drawn = draw(make_scores([f"class {k}" for k in range(c)], n=n, without_clips=without_clips))
    assert list(drawn) == ["confusion", "confusion_normalised", "per_class", "best_worst", "confused_pairs"]
    for what, content in drawn.items():
        height, width, _ = pixels(content).shape
        assert 350 <= width <= 1600 and 150 <= height <= 1600, what
        assert (pixels(content)[:, -3:] == 255).all(), f"{what}: something runs off the right edge"
        assert (pixels(content)[:, :3] == 255).all(), f"{what}: something runs off the left edge"
        assert (pixels(content)[-3:] == 255).all(), f"{what}: something runs off the lower edge"


@pytest.mark.parametrize("c", [1, 2, 5])
def test_no_class_is_among_the_best_and_the_worst_though_all_are_equal(c: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"class {k}" for k in range(c)]
    labels = np.repeat(np.arange(c), 2)
    shown: list[list[str]] = []
    monkeypatch.setattr(plots, "_class_bars", lambda axes, order, *rest: shown.append([names[k] for k in order]))
    scores = Scores("test", "act", tuple(map(str, range(2 * c))), np.eye(c)[labels], labels, tuple(names))
    plots.best_worst(scores, summarise(scores))
    best, worst = shown
    assert not set(best) & set(worst) and len(best) == max(1, c // 2) and len(worst) == c // 2


def test_awkward_names_are_drawn_without_a_warning() -> None:
    for what, content in draw(make_scores(AWKWARD, n=40)).items():
        assert pixels(content).std() > 5, what
        assert (pixels(content)[:, :3] == 255).all(), f"{what}: a name runs off the left edge"


PROGRAM = """
import hashlib
import numpy as np
from actrec.metrics.classification import Scores
from actrec.report import plots
scores = Scores("val", "h", tuple("123456"), np.eye(3)[[0, 1, 2, 0, 1, 1]], np.array([0, 1, 2, 1, 0, 2]), tuple("abc"))
pictures = plots.figures(scores, {"top1": 0.5, "mean_per_class_acc": 0.5})
print(*(hashlib.sha256(content).hexdigest() for content in pictures.values()))
"""


def test_the_same_figure_has_the_same_bytes_in_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    exec(PROGRAM, {})
    here = capsys.readouterr().out
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    there = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout == here
    assert len(set(here.split())) == 5


def test_the_users_own_style_changes_nothing() -> None:
    import matplotlib as mpl

    scores = make_scores("abc", n=20)
    before = draw(scores)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.bbox": "tight"}):
        assert draw(scores) == before
        assert mpl.rcParams["font.size"] == 30  # and it is left as it was


def test_a_picture_carries_no_program_name_or_date() -> None:
    with Image.open(io.BytesIO(draw(make_scores("ab", n=9))["confusion"])) as image:
        assert set(image.info) <= {"dpi"}


def test_the_confusion_shows_where_the_clips_are() -> None:
    # Everything is taken for b: of the cells, those of the right column are dark and the others pale.
    scores = Scores("test", "h", tuple("12345678"), np.eye(2)[[1] * 8], np.array([0, 1] * 4), ("a", "b"))
    image = pixels(draw(scores)["confusion"])
    dark = (image == pixels_of_top_colour()).all(axis=2)
    columns = np.flatnonzero(dark.sum(axis=0) > 100)
    assert columns.min() > image.shape[1] // 2
    assert dark.sum() > 20_000


def pixels_of_top_colour() -> np.ndarray:
    import matplotlib as mpl

    return np.round(np.array(mpl.colormaps["Blues"](1.0)[:3]) * 255).astype(np.uint8)


def test_short_names_are_short_and_different() -> None:
    names = ["walk", "x" * 60 + "1" + "y" * 60, "x" * 60 + "2" + "y" * 60, "挥手", "walk ", "scratching the left neck"]
    shown = canvas.short_names(names, max_chars=20)
    assert all(len(name) <= 20 for name in shown)
    assert len(set(shown)) == len(names)
    assert shown == ["walk #0", "xxxxxxxxx…yyyyyyy #1", "xxxxxxxxx…yyyyyyy #2", "#3", "walk #4", "scratching…eft neck"]
    assert canvas.short_names(["a", "b c"], max_chars=20) == ["a", "b c"]


def test_a_number_in_place_of_a_name_is_explained() -> None:
    assert "class_number" in canvas.number_note(["walk", "#3"])
    assert canvas.number_note(["walk", "jump"]) == ""


def test_best_and_worst_share_no_class_and_more_clips_go_first() -> None:
    recalls = np.array([1.0, 1.0, 0.5, np.nan, 0.0, 0.0])
    totals = np.array([2, 9, 4, 0, 3, 8])
    assert plots._ranking(recalls, totals, worst=False).tolist() == [1, 0, 2, 5, 4]
    assert plots._ranking(recalls, totals, worst=True).tolist() == [5, 4, 2, 1, 0]


# --- several classes a clip ---------------------------------------------------------------------------------------


def make_multi_scores(c: int, *, n: int, without_clips: int = 0) -> MultiScores:
    rng = np.random.default_rng(0)
    labels = (rng.random((n, c)) < 0.15).astype(np.int64)
    labels[0], labels[:, c - without_clips :] = 1, 0
    probs = 1 / (1 + np.exp(1 - rng.normal(size=(n, c)) - 2 * labels))
    return MultiScores("test", "acts", tuple(map(str, range(n))), probs, labels, tuple(f"class {k}" for k in range(c)))


@pytest.mark.parametrize(("c", "n", "without_clips"), [(1, 3, 0), (2, 10, 0), (20, 80, 2), (200, 300, 5)])
def test_classes_are_drawn_and_no_confusions_where_clips_have_several(c: int, n: int, without_clips: int) -> None:
    scores = make_multi_scores(c, n=n, without_clips=without_clips)
    drawn = plots.figures(scores, summary.summarise(scores) | intervals(scores, samples=20, seed=0))
    assert list(drawn) == ["per_class", "best_worst"]
    for what, content in drawn.items():
        height, width, _ = pixels(content).shape
        assert 350 <= width <= 1600 and 150 <= height <= 1600, what
        assert (pixels(content)[:, -3:] == 255).all(), f"{what}: something runs off the right edge"
        assert (pixels(content)[:, :3] == 255).all(), f"{what}: something runs off the left edge"


def test_the_bars_are_as_long_as_the_average_precisions() -> None:
    """Two classes of two: one that is told apart, 1.0, and one that comes last of four, 0.25."""
    probs = np.array([[0.9, 0.1], [0.1, 0.7], [0.2, 0.8], [0.3, 0.9]])
    scores = MultiScores("test", "acts", tuple("1234"), probs, np.array([[1, 1], [0, 0], [0, 0], [0, 0]]), ("a", "b"))
    image = pixels(plots.figures(scores, summary.summarise(scores))["per_class"])
    lengths = (np.abs(image.astype(int) - (0x00, 0x72, 0xB2)).sum(axis=2) < 12).sum(axis=1)
    full, quarter = lengths.max(), np.median(lengths[lengths > 0][-10:])
    assert quarter / full == pytest.approx(0.25, abs=0.02)
