"""Pictures of people of whom some do something together."""

import io
import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import files, table
from PIL import Image

from actrec.data.geometry import spatial_features
from actrec.demo import pairs
from actrec.demo.crowd import MAX_GROUPS, Person, draw_crowd
from actrec.demo.figures import KEYPOINTS, draw_body, scaled
from actrec.demo.pairs import ASPECT, SHARES, draw_pairs, write_pairs
from actrec.demo.postures import POSTURES, draw_posture
from actrec.demo.scene import draw_looks

TINY: dict[str, Any] = {"subjects": 3, "takes": 4, "size_px": 48, "seed": 0}
INDEX = {name: number for number, name in enumerate(KEYPOINTS)}


def rng(*numbers: int) -> np.random.Generator:
    return np.random.default_rng([9, *numbers])


def box_of(row: dict[str, str], person: str) -> tuple[float, float, float, float]:
    x, y, w, h = (float(row[f"{person}{name}"]) for name in "xywh")
    return x, y, w, h


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    pictures, count = write_pairs(folder, **TINY)
    assert pictures == 12 and count == len(table(folder / "pairs.csv"))
    return folder


# --- the folder ---------------------------------------------------------------------------------------------------


def test_the_table_names_what_is_there(tiny: Path) -> None:
    rows = table(tiny / "pairs.csv")
    assert {row["path"] for row in rows} == {f"pictures/{p.name}" for p in (tiny / "pictures").iterdir()}
    assert {row["scene"] for row in rows} == {"scene01", "scene02", "scene03"}
    assert all(row["path"].startswith(f"pictures/{row['scene']}_") for row in rows)
    assert {row["relation"] for row in rows} <= set(SHARES)
    for row in rows:
        a, b, persons = int(row["a"]), int(row["b"]), int(row["persons"])
        assert 1 <= a < b <= persons and 2 <= persons <= 7
        for x, y, w, h in (box_of(row, "a"), box_of(row, "b")):
            assert 0 <= x < 96 and 0 < w < 48 and h > 4 and 0 <= y <= 48.05 - h
    keys = Counter((row["path"], row["a"], row["b"]) for row in rows)
    assert set(keys.values()) == {1}
    index = json.loads((tiny / "index.json").read_text())
    assert (index["enabled"], index["synthetic"], index["pictures"], index["pairs"]) == (True, True, 12, len(rows))
    assert "ynthetic" in (tiny / "README.md").read_text()


def test_one_person_has_one_box_and_pictures_are_twice_as_wide(tiny: Path) -> None:
    boxes: dict[tuple[str, str], set[Any]] = {}
    for row in table(tiny / "pairs.csv"):
        for person in "ab":
            boxes.setdefault((row["path"], row[person]), set()).add(box_of(row, person))
        with Image.open(tiny / row["path"]) as image:
            assert (image.size, image.mode, image.format) == ((96, 48), "RGB", "JPEG")
    assert all(len(found) == 1 for found in boxes.values())


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(tiny: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path / "again", **TINY)
    assert files(tmp_path / "again") == files(tiny)
    write_pairs(tmp_path / "other", **{**TINY, "seed": 1})
    one, other = files(tiny), files(tmp_path / "other")
    assert not any(one[name] == other[name] for name in one if name.startswith("pictures/"))


def test_a_picture_does_not_depend_on_how_many_others_there_are(tiny: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path / "more", **{**TINY, "subjects": 4, "takes": 5})
    fewer, more = files(tiny), files(tmp_path / "more")
    kept = [name for name in fewer if name.startswith("pictures/")]
    assert len(kept) == 12 and all(fewer[name] == more[name] for name in kept)
    rows = table(tmp_path / "more/pairs.csv")
    assert [row for row in rows if row["path"] in kept] == table(tiny / "pairs.csv")


def test_a_failure_leaves_what_was_there_and_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "index.json").write_text("{}")
    monkeypatch.setattr(pairs, "encoded", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_pairs(folder, **TINY)
    assert files(folder) == {"index.json": b"{}"}
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


# --- who does what ------------------------------------------------------------------------------------------------


def test_relations_are_dealt_six_to_four_to_one_in_every_scene() -> None:
    # 11 pictures of three groups each are three packs of eleven.
    for scene in range(3):
        dealt = [relation for take in range(11) for relation in pairs._relations(scene, take, seed=0)]
        assert len(dealt) == 11 * MAX_GROUPS and Counter(dealt) == {"walking": 18, "standing": 12, "sitting": 3}


def test_pairs_are_each_two_of_a_group_once() -> None:
    for i in range(30):
        crowd = draw_crowd(rng(1, i), ["walking", "standing", "sitting"], ASPECT)
        assert 2 <= len(crowd.people) <= 7
        found = list(crowd.pairs())
        assert {(a, b): relation for a, b, relation in found} == {
            tuple(sorted(two)): relation for relation, members in crowd.groups for two in combinations(members, 2)
        }
        assert len(found) == sum(len(members) * (len(members) - 1) // 2 for _, members in crowd.groups)
        for relation, members in crowd.groups:
            assert {crowd.people[member].sits for member in members} == {relation == "sitting"}


def test_numbers_say_nothing_of_who_is_in_a_group() -> None:
    """Were people numbered in the order of their groups, two of a group would always be neighbours."""
    crowds = [draw_crowd(rng(2, i), ["walking", "standing", "sitting"], ASPECT) for i in range(100)]
    apart = [b - a for crowd in crowds if len(crowd.people) == 7 for a, b, _ in crowd.pairs()]
    # Of two out of seven at random, in the mean (7 + 1) / 3.
    assert np.mean(apart) == pytest.approx(8 / 3, abs=0.3)


# --- what a picture shows -----------------------------------------------------------------------------------------


def person(posture: str, x: float, seed: int) -> Person:
    body = scaled(draw_body(rng(3, seed)), 0.8)
    places = draw_posture(rng(4, seed), posture, body, heading_rad=1.0) + np.array([x, 0.4])
    return Person(body, draw_looks(rng(3, seed), "fox"), places, depth=0.5, sits=posture == "sitting")


@pytest.mark.parametrize("posture", POSTURES)
def test_a_box_is_tight_around_what_is_drawn(posture: str) -> None:
    for seed in range(5):
        drawn, size = person(posture, 1.0, seed), 128
        picture = np.zeros((size, ASPECT * size, 3), np.float32)
        pairs._draw(picture, drawn)
        rows, columns = np.nonzero((picture > 0.02).any(axis=2))
        ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(ends, drawn.box * size, atol=2.5)


def test_a_box_goes_over_the_edge_with_its_figure() -> None:
    over = person("standing", 1.99, 0)
    x, y, w, h = pairs._box(over, rng(5))
    assert 0 <= x < ASPECT < x + w and 0 <= y < y + h <= 1
    beyond = person("standing", 2.01, 0)
    left, _, right, _ = beyond.box
    assert left < ASPECT  # it begins at the right of the picture, and its middle is at the left
    assert pairs._box(beyond, rng(5))[2] == pytest.approx(right - left, rel=0.05)


def test_boxes_are_about_right() -> None:
    _, crowd, boxes = draw_pairs(0, 0, size_px=100, seed=0)
    for who, (x, y, w, h) in zip(crowd.people, boxes, strict=True):
        left, top, right, bottom = who.box * 100
        slack = 0.021 * np.array([right - left, bottom - top])
        assert abs((x - left + 100) % 200 - 100) <= slack[0]
        assert abs(w - (right - left)) <= 2 * slack[0]
        assert abs(y - max(top, 0)) <= slack[1] and abs(y + h - min(bottom, 100)) <= slack[1]


def test_those_who_sit_bend_their_knees_and_others_have_them_below_the_hips() -> None:
    for seed in range(20):
        body = draw_body(rng(6, seed))
        drop = {}
        for posture in POSTURES:
            places = draw_posture(rng(7, seed), posture, body, heading_rad=np.pi / 2)
            drop[posture] = (places[INDEX["left_knee"]] - places[INDEX["left_hip"]])[1] / (body.leg / 2)
        # cos of 1.2 rad is 0.36, of the widest stride, 0.6, 0.83.
        assert drop["sitting"] < 0.37 and drop["walking"] > 0.82 and drop["standing"] > 0.9


def test_a_stride_is_seen_from_the_side_and_not_from_ahead() -> None:
    for seed in range(20):
        body = draw_body(rng(8, seed))
        ahead, aside = (draw_posture(rng(8, seed), "walking", body, angle) for angle in (0.0, np.pi / 2))
        hips, ankles = ([INDEX[f"{side}_{joint}"] for side in ("left", "right")] for joint in ("hip", "ankle"))
        np.testing.assert_allclose(ahead[ankles, 0], ahead[hips, 0], atol=1e-12)
        np.testing.assert_allclose(ahead[ankles, 1], aside[ankles, 1], atol=1e-12)
    spread = [
        np.ptp(draw_posture(rng(8, seed), "walking", draw_body(rng(8, seed)), np.pi / 2)[ankles, 0])
        for seed in range(20)
    ]
    assert np.max(spread) > 0.15 and np.min(spread) < 0.06


def test_bones_have_their_length_in_the_plane_of_the_picture() -> None:
    body = draw_body(rng(9))
    for posture in POSTURES:
        at = draw_posture(rng(9), posture, body, heading_rad=np.pi / 2)
        for upper, lower, length in (("hip", "knee", body.leg), ("knee", "ankle", body.leg)):
            for side in ("left", "right"):
                bone = at[INDEX[f"{side}_{upper}"]] - at[INDEX[f"{side}_{lower}"]]
                assert np.hypot(*bone) == pytest.approx(length / 2)


def test_geometry_says_something_and_not_all() -> None:
    """Those who walk are spread in depth, those who sit are not; and each feature of a class overlaps another's."""
    found: dict[str, list[np.ndarray]] = {relation: [] for relation in POSTURES}
    for i in range(120):
        crowd = draw_crowd(rng(10, i), [POSTURES[i % 3]] * 3, ASPECT)
        boxes = [pairs._box(who, rng(11, i)) for who in crowd.people]
        for a, b, relation in crowd.pairs():
            features = spatial_features(boxes[a], boxes[b], width_px=2, height_px=1, persons=7, wraps=True)
            found[relation].append(features)
    walking, standing, sitting = (np.array(found[relation]) for relation in POSTURES)
    assert np.median(walking[:, 6]) > 1.4 * np.median(standing[:, 6]) > 1.4 * np.median(sitting[:, 6])
    assert np.median(standing[:, 5]) < 0.9 * np.median(sitting[:, 5])
    for one, other in combinations((walking, standing, sitting), 2):
        low, high = np.quantile(one, 0.1, axis=0), np.quantile(one, 0.9, axis=0)
        inside = ((other >= low) & (other <= high)).mean(axis=0)
        assert (inside[:7] > 0.3).all()


def test_files_keep_the_picture() -> None:
    pixels, _, _ = draw_pairs(1, 1, size_px=64, seed=0)
    assert pixels.shape == (64, 128, 3) and pixels.dtype == np.uint8
    with Image.open(io.BytesIO(pairs.encoded(pixels, "jpg"))) as image:
        assert np.abs(np.asarray(image).astype(int) - pixels).mean() <= 6
