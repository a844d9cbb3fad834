"""Clips with heat on them: which frames, which colours, which words."""

import io

import numpy as np
import pytest
from PIL import Image

from actrec.report.attention import attention_grid, clip_titles

GREY = 120
MIDDLE = 185  # a row of pixels through the first clip's frames


def make_clips(count: int = 2, frames: int = 16, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    return np.full((count, frames, size, size, 3), GREY, np.uint8), np.zeros((count, frames, size, size), np.float32)


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def tiles(picture: np.ndarray) -> list[tuple[int, int]]:
    """Return the column ranges of the first clip's frames."""
    dark = (picture[MIDDLE] != 255).any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], dark.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize(("frames", "shown"), [(1, 1), (4, 4), (6, 6), (16, 6)])
def test_up_to_six_frames_side_by_side(frames: int, shown: int) -> None:
    places = tiles(pixels(attention_grid(*make_clips(frames=frames), ["one", "two"])))
    assert len(places) == shown
    assert {b - a for a, b in places} <= {164, 165, 166}, "1.5 in at 110 dots an inch"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_row_a_clip_and_nothing_beyond_the_edges(count: int) -> None:
    picture = pixels(attention_grid(*make_clips(count), ["true: walking · predicted: running"] * count))
    assert picture.shape[0] == pytest.approx(110 * (0.66 + 1.8 * count + 0.4), abs=1)
    for edge in (picture[:, :3], picture[:, -3:], picture[-3:]):
        assert (edge == 255).all()
    column = (picture == GREY).all(axis=2)[:, tiles(picture)[0][0] + 80]
    assert np.diff(np.concatenate([[0], column.astype(int)])).clip(min=0).sum() == count


def test_frames_from_first_to_last_without_colour_where_there_is_no_heat() -> None:
    frames, heat = make_clips(1)
    frames += np.arange(16, dtype=np.uint8).reshape(1, 16, 1, 1, 1) * 5
    picture = pixels(attention_grid(frames, heat, ["one"]))
    centres = [picture[MIDDLE, (a + b) // 2].tolist() for a, b in tiles(picture)]
    assert centres == [[GREY + 5 * number] * 3 for number in (0, 3, 6, 9, 12, 15)]


def test_hot_places_turn_yellow_and_lie_where_the_heat_is() -> None:
    frames, heat = make_clips(1, frames=1)
    heat[0, 0, :16, 16:] = 1.0  # above, right
    picture = pixels(attention_grid(frames, heat, ["one"]))
    ((left, right),) = tiles(picture)
    rows = np.flatnonzero((picture[:, (left * 3 + right) // 4] == GREY).all(axis=1))
    top, bottom = rows[0], rows[-1]
    height, width = bottom - top, right - left
    corners = {(y, x): picture[top + height * y // 4, left + width * x // 4].tolist() for y in (1, 3) for x in (1, 3)}
    assert [corners[place] for place in ((1, 1), (3, 1), (3, 3))] == [[GREY] * 3] * 3
    # The end of matplotlib's inferno is (252, 255, 164): .65 of it and .35 of the grey.
    assert corners[1, 3] == pytest.approx([206, 208, 149], abs=2)


def test_the_same_picture_is_the_same_bytes() -> None:
    frames, heat = make_clips()
    assert attention_grid(frames, heat, ["a", "b"]) == attention_grid(frames, heat, ["a", "b"])
    assert attention_grid(frames, heat, ["a", "b"]) != attention_grid(frames, heat, ["a", "c"])


def test_titles_name_both_classes() -> None:
    found = clip_titles(("walking", "running"), [0, 1, -1], [0, 0, 1])
    assert found == [
        "true: walking · predicted: walking",
        "true: running · predicted: walking",
        "true: (no label) · predicted: running",
    ]


def test_awkward_names_are_drawn_without_a_warning() -> None:
    names = ("a_1 costs $x_{2$", "挥手", "x" * 300)
    picture = pixels(attention_grid(*make_clips(3, frames=2), clip_titles(names, [0, 1, 2], [1, 2, 2])))
    assert (picture[:, -3:] == 255).all(), "a title runs off the right edge"


def test_what_does_not_fit_is_refused() -> None:
    frames, heat = make_clips()
    for parts in ((frames, heat[:1], ["a", "b"]), (frames, heat, ["a"]), (frames[:0], heat[:0], [])):
        with pytest.raises(ValueError, match="do not fit each other"):
            attention_grid(*parts)
