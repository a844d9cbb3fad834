"""Mistakes about pairs: the part of the picture around the two, and what cannot be drawn any more."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actrec.data.manifest import Clip
from actrec.data.people import People
from actrec.errors import BadItem
from actrec.explain.mistakes import mistake_pictures
from actrec.explain.pairs import ViewTask, around, pair_pictures, pair_views, read_view, view_of
from actrec.media.facts import Box
from actrec.media.probe import probe
from actrec.metrics.classification import Scores

LEFT, RIGHT = (10.0, 20.0, 8.0, 30.0), (30.0, 22.0, 8.0, 28.0)
PAIR = People((LEFT, RIGHT), persons=2, wraps=False)


def pair(a: Box, b: Box, *, wraps: bool = False) -> People:
    return People((a, b), persons=5, wraps=wraps)


def columns(width_px: int, height_px: int) -> np.ndarray:
    """Return a picture whose columns tell their number: red its hundreds, green the rest."""
    picture = np.zeros((height_px, width_px, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(width_px) // 100, np.arange(width_px) % 100
    return picture


# --- which part of the picture ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width_px", "height_px"), [(64, 48), (160, 90), (90, 160)])
def test_all_of_a_picture_is_shown(width_px, height_px):
    assert around(PAIR, width_px=width_px, height_px=height_px) == (0, width_px, (LEFT, RIGHT))


@pytest.mark.parametrize(
    ("a", "b", "wraps", "left", "shown", "beginnings"),
    [
        # 1000 x 90: at least 160 columns are shown, and 22.5 beside the two. They are at 500 to 560 together.
        ((500, 10, 20, 50), (540, 10, 20, 50), False, 450, 160, (50, 90)),
        # From 300 to 700: 400 + 2 * 22.5.
        ((680, 10, 20, 50), (300, 10, 20, 50), False, 278, 445, (402, 22)),
        # Near an edge, and beyond it.
        ((5, 10, 20, 50), (30, 10, 20, 50), False, 0, 160, (5, 30)),
        ((-10, 10, 20, 50), (30, 10, 20, 50), False, 0, 160, (-10, 30)),
        ((990, 10, 20, 50), (900, 10, 20, 50), False, 840, 160, (150, 60)),
        # Across the seam, either order: the two are at 980 to 1030, of which the middle is 1005.
        ((980, 10, 20, 50), (10, 10, 20, 50), True, 925, 160, (55, 85)),
        ((10, 10, 20, 50), (980, 10, 20, 50), True, -75, 160, (85, 55)),
        # A panorama's box that goes on beyond the edge, as its reader may give it.
        ((980, 10, 40, 50), (30, 10, 20, 50), True, 935, 160, (45, 95)),
        # The far side of a panorama: 500 columns and a margin.
        ((0, 10, 20, 50), (480, 10, 20, 50), True, -22, 545, (22, 502)),
        # All of it is needed.
        ((20, 10, 20, 50), (890, 10, 90, 50), False, 0, 1000, (20, 890)),
    ],
)
def test_the_part_around_the_two(a, b, wraps, left, shown, beginnings):
    found = around(pair(a, b, wraps=wraps), width_px=1000, height_px=90)
    assert found[:2] == (left, shown)
    assert [box[0] for box in found[2]] == list(beginnings)
    assert [box[1:] for box in found[2]] == [a[1:], b[1:]]


def test_a_panorama_goes_on_beyond_its_edge():
    view = view_of(columns(400, 30), pair((390, 2, 8, 20), (6, 2, 8, 20), wraps=True))
    # 390 to 414, of which the middle is 402; 16/9 * 30 = 53.3, so 54 columns from 375 on.
    assert (view.size_px, view.picture.shape) == ((54, 30), (30, 54, 3))
    numbers = view.picture[0, :, 0].astype(int) * 100 + view.picture[0, :, 1]
    assert numbers.tolist() == [*range(375, 400), *range(29)]
    assert view.boxes == ((15, 2, 8, 20), (31, 2, 8, 20))


def test_large_pictures_are_made_smaller():
    view = view_of(np.full((900, 3000, 3), 9, np.uint8), pair((0, 0, 9, 9), (2980, 0, 9, 9)))
    assert view.size_px == (3000, 900), "boxes stay in its own pixels"
    assert view.picture.shape == (300, 1000, 3) and (view.picture == 9).all()


# --- from files ---------------------------------------------------------------------------------------------------


def clip(root: Path, clip_id: str, path: str, people: People | None = PAIR, start_s: float | None = None) -> Clip:
    file = root / path
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    size, facts = file.stat().st_size, probe(file)
    return Clip(clip_id, path, "test", "", {"relation": "sitting"}, start_s, None, sha256, size, facts, people=people)


def save(path: Path, green: int = 120) -> None:
    Image.new("RGB", (64, 48), (0, green, 0)).save(path)


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Return two pairs of one picture, and one of another."""
    save(tmp_path / "one.png")
    save(tmp_path / "two.png", 60)
    swapped = People((RIGHT, LEFT), persons=2, wraps=False)
    return [clip(tmp_path, "a", "one.png"), clip(tmp_path, "b", "one.png", swapped), clip(tmp_path, "c", "two.png")]


PROBS = np.array([[0.8, 0.2], [0.9, 0.1], [0.3, 0.7]])
SCORES = Scores("test", "relation", ("a", "b", "c"), PROBS, np.array([1, 0, 0]), ("sitting", "walking"))


def test_a_picture_a_head_of_its_mistakes(clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    right = replace(SCORES, head="other", labels=np.array([0, 0, 1]))
    found = pair_pictures([SCORES, right, replace(SCORES, head="rgb/relation")], clips, tmp_path, limit=3)
    assert list(found) == ["test_relation_mistakes.png"] and capsys.readouterr().err == ""
    with Image.open(io.BytesIO(found["test_relation_mistakes.png"])) as image:
        pixels = np.asarray(image.convert("RGB"))
    # Of both pictures, whose sides are 4:3: as high as a tile, and side by side, the surest first.
    first, second = ((pixels == (0, green, 0)).all(axis=-1) for green in (120, 60))
    assert first.sum() == pytest.approx(second.sum(), rel=0.02) and first.sum() > 50_000
    assert np.argwhere(first)[:, 1].max() < np.argwhere(second)[:, 1].min()
    assert pair_pictures([SCORES], clips, tmp_path, limit=3) == found, "the same bytes again"
    assert pair_pictures([SCORES], clips, tmp_path, limit=1) != found


def test_a_file_that_changed_or_vanished_is_told_and_left_out(
    clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    whole = pair_pictures([SCORES], clips, tmp_path, limit=3)
    save(tmp_path / "two.png", 61)
    without = pair_pictures([SCORES], clips, tmp_path, limit=3)
    said = capsys.readouterr().err
    assert list(without) == list(whole) and without != whole
    assert f"c is a mistake that is not drawn. {tmp_path / 'two.png'}: changed since ingest read it" in said
    assert "dvc repro --force --single-item evaluate" in said and "a is a mistake" not in said
    for name in ("one.png", "two.png"):
        (tmp_path / name).unlink()
    assert pair_pictures([SCORES], clips, tmp_path, limit=3) == {}
    assert "one.png: cannot be read" in capsys.readouterr().err


def test_what_no_decoder_reads_is_told_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save(tmp_path / "good.png")
    good = clip(tmp_path, "good", "good.png")
    bad = tmp_path / "bad.png"
    bad.write_bytes((tmp_path / "good.png").read_bytes()[:60])
    # As of a file whose header promised more, and that nobody has read before.
    broken = replace(good, clip_id="bad", path="bad.png", sha256=hashlib.sha256(bad.read_bytes()).hexdigest())
    assert list(pair_views([good, broken], tmp_path)) == ["good"]
    assert f"bad is a mistake that is not drawn. {bad}: " in capsys.readouterr().err


def test_the_frame_that_a_video_shows_then(tmp_path: Path, make_video):
    frames = np.repeat(np.arange(10, dtype=np.uint8), 96 * 128 * 3).reshape(10, 96, 128, 3) * 20
    make_video(tmp_path / "v.mp4", frames, fps=10)
    facts = probe(tmp_path / "v.mp4")

    def brightness(start_s: float | None) -> float:
        return float(read_view(ViewTask("v", tmp_path / "v.mp4", facts, start_s, PAIR)).picture.mean())

    assert [brightness(at) for at in (None, 0.3, 0.38, 0.9)] == pytest.approx([0, 60, 60, 180], abs=4)
    with pytest.raises(BadItem, match=r"nothing is shown any more at 1\.5 s"):
        brightness(1.5)


def test_clips_that_are_not_about_pairs_have_none(clips: list[Clip], tmp_path: Path):
    alone = [replace(each, people=None) for each in clips]
    assert pair_pictures([SCORES], alone, tmp_path / "nowhere", limit=3) == {}
    assert mistake_pictures([SCORES], clips, {}, limit=3) == {}, "and pairs have no skeletons"


def test_of_a_sample_its_first_pair_is_drawn(clips: list[Clip], tmp_path: Path):
    sample = replace(SCORES, clip_ids=("s",), probs=PROBS[:1], labels=SCORES.labels[:1])
    together = [replace(each, sample="s") for each in clips]
    (tmp_path / "two.png").unlink()
    assert list(pair_pictures([sample], together, tmp_path, limit=1)) == ["test_relation_mistakes.png"]
