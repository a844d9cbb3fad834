"""One call for files of every kind."""

import csv
import json

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.pose.layouts import LAYOUTS
from actrec.pose.pyskl_file import dump_pickle
from actrec.pose.read import KINDS, SUFFIXES, read_skeletons
from actrec.pose.skeleton import make_skeleton

COCO = LAYOUTS["coco17"]
K = np.random.default_rng(0).uniform(1, 99, (1, 3, 17, 2)).round(1)


def as_pyskl(path):
    skeleton = make_skeleton("clip", K, None, layout=COCO, max_persons=1, img_shape=(100, 100))
    path.write_bytes(dump_pickle([skeleton], splits={"train": ["clip"]}, layout=COCO))


def as_npz(path):
    np.savez(path, **{"clip/keypoint": K, "clip/img_shape": np.array([100, 100])})


def as_csv(path):
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "frame", "person", "joint", "x", "y", "width", "height"])
        rows.writerows(["clip", t, 0, v, *K[0, t, v], 100, 100] for t, v in np.ndindex(3, 17))


def as_coco_json(path):
    images = [{"id": t, "file_name": f"clip/{t}.jpg", "width": 100, "height": 100} for t in range(3)]
    values = np.concatenate([K[0], np.full((3, 17, 1), 2.0)], axis=2)
    people = [{"image_id": t, "keypoints": values[t].ravel().tolist()} for t in range(3)]
    path.write_text(json.dumps({"images": images, "annotations": people}), encoding="utf-8")


@pytest.mark.parametrize("write", [as_pyskl, as_npz, as_csv, as_coco_json], ids=lambda write: write.__name__)
def test_the_same_skeleton_comes_out_of_every_kind(write, tmp_path):
    kind = write.__name__.removeprefix("as_")
    path = tmp_path / f"file{SUFFIXES[kind]}"
    write(path)
    found = read_skeletons(path, kind=kind, layout=COCO, max_persons=2)
    (skeleton,) = found.skeletons
    assert (skeleton.name, skeleton.img_shape) == ("clip", (100, 100)) and not found.faults
    np.testing.assert_array_equal(skeleton.keypoint, K.astype(np.float16))
    assert (skeleton.score == 1).all()
    assert found.splits == ({"train": ("clip",)} if kind == "pyskl" else {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_cannot_be_read_is_a_bad_item(kind, tmp_path):
    with pytest.raises(BadItem, match="unreadable"):
        read_skeletons(tmp_path / f"none{SUFFIXES[kind]}", kind=kind, layout=COCO, max_persons=2)


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_other_kinds_are_bad_items(kind, tmp_path):
    path = tmp_path / "file"
    for content in (b"", b"\x80\x04N.", b"PK\x03\x04", b"7\n", b"{}", bytes(range(256))):
        path.write_bytes(content)
        with pytest.raises(BadItem):
            read_skeletons(path, kind=kind, layout=COCO, max_persons=2)


def test_pixels_and_metres_do_not_mix(tmp_path):
    deep = np.random.default_rng(0).uniform(1, 2, (1, 3, 17, 3))
    np.savez(tmp_path / "x.npz", **{"a/keypoint": K, "b/keypoint": deep, "c/keypoint": K})
    found = read_skeletons(tmp_path / "x.npz", kind="npz", layout=COCO, max_persons=2)
    assert [s.name for s in found.skeletons] == ["a", "c"]
    assert [(fault.name, fault.reason) for fault in found.faults] == [("b", "wrong_shape")]
