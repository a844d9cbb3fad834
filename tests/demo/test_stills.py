"""Pictures of figures that hold something up."""

import errno
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import files, table
from PIL import Image

from actrec.demo import stills
from actrec.demo.figures import KEYPOINTS, draw_body, scaled, standing
from actrec.demo.pictures import encoded
from actrec.demo.scene import draw_looks
from actrec.demo.stills import CLASSES, POSES, draw_still, write_stills
from actrec.errors import UserError

TINY: dict[str, Any] = {"subjects": 3, "takes": 2, "size_px": 32, "seed": 0}


def rng(*numbers: int) -> np.random.Generator:
    return np.random.default_rng([7, *numbers])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    assert write_stills(folder, **TINY) == 48
    return folder


def test_the_table_names_what_is_there(tiny: Path) -> None:
    rows = table(tiny / "clips.csv")
    assert sorted(row["path"] for row in rows) == sorted(f"pictures/{p.name}" for p in (tiny / "pictures").iterdir())
    assert Counter((row["subject"], row["act"]) for row in rows) == {
        (f"subject00{n}", act): 2 for n in (1, 2, 3) for act in CLASSES
    }
    assert all(row["act"] == f"{row['pose']}_{row['thing']}" for row in rows)
    index = json.loads((tiny / "index.json").read_text())
    assert (index["enabled"], index["synthetic"], index["clips"]) == (True, True, 48)
    assert "ynthetic" in (tiny / "README.md").read_text()


def test_pictures_are_jpeg_and_some_of_each_class_png(tmp_path: Path) -> None:
    write_stills(tmp_path / "demo", **{**TINY, "subjects": 4})
    kinds = Counter()
    for row in table(tmp_path / "demo/clips.csv"):
        with Image.open(tmp_path / "demo" / row["path"]) as image:
            assert (image.size, image.mode) == ((32, 32), "RGB")
            kinds[row["act"], image.format] += 1
        assert row["path"].endswith(".png") == (image.format == "PNG")
    assert kinds == {(act, kind): count for act in CLASSES for kind, count in (("JPEG", 6), ("PNG", 2))}


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(tiny: Path, tmp_path: Path) -> None:
    write_stills(tmp_path / "again", **TINY)
    assert files(tmp_path / "again") == files(tiny)
    write_stills(tmp_path / "other", **{**TINY, "seed": 1})
    one, other = files(tiny), files(tmp_path / "other")
    assert one.keys() == other.keys()
    assert not any(one[name] == other[name] for name in one if name.startswith("pictures/"))


def test_a_picture_does_not_depend_on_how_many_others_there_are(tiny: Path, tmp_path: Path) -> None:
    write_stills(tmp_path / "more", **{**TINY, "subjects": 4, "takes": 3})
    fewer, more = files(tiny), files(tmp_path / "more")
    kept = [name for name in fewer if name.startswith("pictures/")]
    assert len(kept) == 48
    assert all(fewer[name] == more[name] for name in kept)
    assert len({content for name, content in more.items() if name.startswith("pictures/")}) == 4 * 8 * 3


def test_a_failure_leaves_what_was_there_and_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "index.json").write_text("{}")

    def fail(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stills, "encoded", fail)
    with pytest.raises(UserError, match=r"demo: the disk is full"):
        write_stills(folder, **TINY)
    assert files(folder) == {"index.json": b"{}"}
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


# --- what a picture shows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("degrees", "left_wrist", "right_wrist"), [(0, (0, 1), (0, 1)), (90, (1, 0), (-1, 0)), (180, (0, -1), (0, -1))]
)
def test_arms_are_raised_sideways(
    degrees: float, left_wrist: tuple[float, float], right_wrist: tuple[float, float]
) -> None:
    body = draw_body(rng())
    pose = standing(body, left_raise_rad=np.deg2rad(degrees), right_raise_rad=np.deg2rad(degrees), leg_rad=0.0)
    assert pose.shape == (17, 2)
    at = dict(zip(KEYPOINTS, pose, strict=True))
    for side, expected in (("left", left_wrist), ("right", right_wrist)):
        along = (at[f"{side}_wrist"] - at[f"{side}_shoulder"]) / body.arm
        np.testing.assert_allclose(along, expected, atol=1e-12)
        np.testing.assert_allclose(at[f"{side}_elbow"], (at[f"{side}_wrist"] + at[f"{side}_shoulder"]) / 2)


def test_each_arm_has_its_own_angle() -> None:
    pose = standing(draw_body(rng()), left_raise_rad=np.pi, right_raise_rad=0.0, leg_rad=0.0)
    at = dict(zip(KEYPOINTS, pose, strict=True))
    assert at["left_wrist"][1] < 0 < at["right_wrist"][1]
    mirrored = standing(draw_body(rng()), left_raise_rad=0.0, right_raise_rad=np.pi, leg_rad=0.0)
    np.testing.assert_allclose(mirrored[KEYPOINTS.index("right_wrist")], at["left_wrist"] * (-1, 1), atol=1e-12)


def test_poses_are_further_apart_than_arms_vary() -> None:
    """Three standard deviations on either side leave a gap: a pose is told by its arms."""
    raised = sorted({angle for pair in POSES.values() for angle in pair})
    assert min(np.diff(raised)) > 6 * stills._RAISE_SPREAD_DEG


def test_the_class_decides_the_arms_and_the_thing_and_nothing_else() -> None:
    """Of one draw the head and the legs are the same in all classes, and so is what is far from the figure."""
    body, looks = draw_body(rng(1)), draw_looks(rng(1), "fox")
    drawn = np.stack([draw_still(rng(2), body, looks, act, 64) for act in range(len(CLASSES))]).astype(int)
    changed = np.abs(drawn - drawn[0]).max(axis=(0, 3)) > 0
    assert 0.02 < changed.mean() < 0.35
    # And any two classes differ.
    assert all(np.abs(a - b).max() > 60 for i, a in enumerate(drawn) for b in drawn[:i])


def test_colours_and_light_say_nothing_of_the_class() -> None:
    """Means of the channels over 60 pictures a class: apart by less than five standard errors."""
    body, looks = draw_body(rng(3)), draw_looks(rng(3), "hare")
    means = np.array(
        [[draw_still(rng(4, act, i), body, looks, act, 32).mean(axis=(0, 1)) for i in range(60)] for act in range(8)]
    )
    error = means.std(axis=1).mean(axis=0) / np.sqrt(60) * np.sqrt(2)
    between = np.abs(means.mean(axis=1) - means.mean(axis=(0, 1)))
    assert (between < 5 * error).all()


def test_a_figure_stays_inside() -> None:
    for i in range(50):
        body = draw_body(rng(5, i))
        small = scaled(body, stills._SCALES[1] if i % 2 else stills._SCALES[0])
        x, y = stills._place(rng(6, i), small)
        reach = small.arm + small.hand_radius
        assert reach + small.shoulder_half <= x <= 1 - reach - small.shoulder_half
        # The tallest ones have their feet at the lower edge.
        assert reach <= y <= 1 - 0.9 * (small.torso + small.leg)


def test_encoding_keeps_the_picture() -> None:
    pixels = draw_still(rng(8), draw_body(rng(8)), draw_looks(rng(8), "owl"), 3, 64)
    for kind, most in (("png", 0), ("jpg", 6)):
        with Image.open(io.BytesIO(encoded(pixels, kind))) as image:
            assert np.abs(np.asarray(image).astype(int) - pixels).mean() <= most
