"""Heat over images and videos: which words, what lies where."""

import io

import numpy as np
import pytest
from PIL import Image

from actrec.metrics.classification import Scores
from actrec.metrics.multi_label import MultiScores
from actrec.report.cams import Heated, mistake_grid, said_grid, said_titles

GREY = 120
YELLOW = [206, 208, 149]  # .65 of inferno's last colour, (252, 255, 164), and .35 of the grey


def make_scores(labels: list[int], said: list[int], sure: list[float], names: tuple[str, ...]) -> Scores:
    count = len(names)
    answers = zip(said, sure, strict=True)
    probs = np.array([[p if k == own else (1 - p) / (count - 1) for k in range(count)] for own, p in answers])
    return Scores("test", "bird", tuple(map(str, range(len(labels)))), probs, np.array(labels), names)


def make_clips(count: int, *, frames: int, classes: int = 1) -> list[Heated]:
    return [
        Heated(np.full((frames, 32, 32, 3), GREY, np.uint8), np.zeros((classes, frames, 32, 32), np.float32))
        for _ in range(count)
    ]


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def tiles(picture: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return where the tiles are: the centre of each, (row, column) in pixels, row by row."""
    grey_or_hot = (picture == GREY).all(axis=2) | (np.abs(picture - YELLOW) <= 3).all(axis=2)
    rows = _middles(grey_or_hot.sum(axis=1) > 100)
    return [[(row, column) for column in _middles(grey_or_hot[row])] for row in rows]


def hot_among(picture: np.ndarray, places: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Return (row, column) of the tiles that have a colour."""
    return [(i, j) for i, row in enumerate(places) for j, at in enumerate(row) if picture[at].tolist() != [GREY] * 3]


def _middles(inside: np.ndarray) -> list[int]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    return [int(a + b) // 2 for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 100]


# --- words ------------------------------------------------------------------------------------------------------------


def test_titles_say_what_is_said_and_true_with_probabilities():
    scores = make_scores([1, 0], [1, 2], [0.8, 0.5], ("crow", "jay", "owl"))
    assert said_titles(scores, [1, 0], max_chars=20) == [
        ("said: owl 0.50", "true: crow 0.25"),
        ("said: jay 0.80", "true: jay 0.80"),
    ]


def test_of_several_true_classes_the_likeliest_is_named():
    probs = np.array([[0.9, 0.2, 0.6], [0.9, 0.2, 0.6], [0.1, 0.2, 0.3]])
    labels = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]])
    scores = MultiScores("test", "birds", ("x", "y", "z"), probs, labels, ("crow", "jay", "owl"))
    assert said_titles(scores, [0, 1, 2], max_chars=20) == [
        ("said: crow 0.90", "true: owl 0.60 +1"),
        ("said: crow 0.90", "true: crow 0.90"),
        ("said: owl 0.30", "true: none"),
    ]


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("count", [1, 4, 5])
def test_awkward_names_stay_within_the_picture(frames, count):
    names = ("a_1 costs $x_{2$", "挥手", "Mercedes-Benz Sprinter Van 2012", "x" * 300)
    scores = make_scores([0, 1, 2, 3, 3], [3, 3, 3, 2, 0], [0.9] * 5, names)
    rows = range(5)[-count:]
    for picture in (
        pixels(said_grid(make_clips(count, frames=frames), scores, rows, subtitle="test")),
        pixels(mistake_grid(make_clips(count, frames=frames, classes=2), scores, rows, subtitle="test")),
    ):
        for edge in (picture[:, :3], picture[:, -3:], picture[-3:]):
            assert (edge == 255).all()


# --- places -----------------------------------------------------------------------------------------------------------

BIRDS = make_scores([0] * 9, [1] * 9, [0.7] * 9, ("crow", "jay"))


def test_images_are_tiles_four_across():
    clips = make_clips(9, frames=1)
    clips[6].heat[:] = 1
    picture = pixels(said_grid(clips, BIRDS, range(9), subtitle="test"))
    found = tiles(picture)
    assert [len(row) for row in found] == [4, 4, 1]
    hot = [
        (i, j) for i, row in enumerate(found) for j, place in enumerate(row) if picture[place].tolist() != [GREY] * 3
    ]
    assert hot == [(1, 2)]
    assert picture[found[1][2]].tolist() == pytest.approx(YELLOW, abs=2)


def test_an_image_stands_beside_its_two_heats():
    clips = make_clips(3, frames=1, classes=2)
    clips[1].heat[0], clips[2].heat[1] = 1, 1
    picture = pixels(mistake_grid(clips, BIRDS, range(3), subtitle="test"))
    found = tiles(picture)
    assert [len(row) for row in found] == [6, 3]
    hot = [
        (i, j) for i, row in enumerate(found) for j, place in enumerate(row) if picture[place].tolist() != [GREY] * 3
    ]
    # The second image, on the right: for the class said; the third: for the true one.
    assert hot == [(0, 4), (1, 2)]


def test_a_video_is_a_row_and_two_where_it_is_a_mistake():
    clips = make_clips(2, frames=4, classes=2)
    clips[0].heat[0, 1], clips[1].heat[1, 3] = 1, 1
    picture = pixels(said_grid(clips, BIRDS, range(2), subtitle="test"))
    found = tiles(picture)
    assert [len(row) for row in found] == [4, 4]
    assert picture[found[0][1]].tolist() == pytest.approx(YELLOW, abs=2)
    assert picture[found[0][0]].tolist() == picture[found[1][3]].tolist() == [GREY] * 3
    picture = pixels(mistake_grid(clips, BIRDS, range(2), subtitle="test"))
    found = tiles(picture)
    assert [len(row) for row in found] == [4, 4, 4, 4]
    hot = [
        (i, j) for i, row in enumerate(found) for j, place in enumerate(row) if picture[place].tolist() != [GREY] * 3
    ]
    assert hot == [(0, 1), (3, 3)]


def test_the_same_picture_is_the_same_bytes():
    clips = make_clips(2, frames=1, classes=2)
    for draw in (said_grid, mistake_grid):
        assert draw(clips, BIRDS, [0, 1], subtitle="test") == draw(clips, BIRDS, [0, 1], subtitle="test")
        assert draw(clips, BIRDS, [0, 1], subtitle="test") != draw(clips, BIRDS, [0, 1], subtitle="val")
