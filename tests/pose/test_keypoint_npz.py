"""Keypoints in npz files: what the demo writes, what the docstring says, and what is wrong."""

import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from actrec.demo.write import write_dataset
from actrec.errors import BadItem
from actrec.pose.keypoint_npz import read_npz
from actrec.pose.layouts import LAYOUTS
from actrec.pose.skeleton import MAX_VALUES

COCO = LAYOUTS["coco17"]
RNG = np.random.default_rng(0)
K, S = RNG.uniform(1, 90, (2, 6, 17, 2)), RNG.uniform(0.1, 1, (2, 6, 17))


@pytest.fixture
def file(tmp_path):
    def write(arrays, *, save=np.savez):
        path = tmp_path / "skeletons.npz"
        save(path, **arrays)
        return path

    return write


def read(path, layout=COCO):
    return read_npz(path, layout=layout, max_persons=2)


def npy(values):
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def test_the_skeletons_of_the_demo_are_read_as_they_are(tmp_path):
    write_dataset(tmp_path / "demo", scene="solo", subjects=1, takes=1, clip_s=0.5, size_px=32, seed=0)
    path = tmp_path / "demo/skeletons.npz"
    found = read(path)
    with np.load(path) as arrays:
        assert len(found.skeletons) == 4 and not found.faults
        for skeleton in found.skeletons:
            score = arrays[f"{skeleton.name}/keypoint_score"]
            np.testing.assert_array_equal(skeleton.score, score)
            np.testing.assert_array_equal(
                skeleton.keypoint, arrays[f"{skeleton.name}/keypoint"] * (score > 0)[..., None]
            )
            assert skeleton.img_shape is None and skeleton.keypoint.shape == (1, 10, 17, 2)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_names_scores_and_the_size_of_the_picture(save, file):
    arrays = {
        "a/b/keypoint": K,
        "a/b/keypoint_score": S,
        "a/b/img_shape": np.array([90, 120]),
        "c/keypoint": np.asfortranarray(K),
        "img_shape": np.array([480, 640]),
        "labels": np.array(["x"], object),
    }
    found = read(file(arrays, save=save))
    assert [(s.name, s.img_shape) for s in found.skeletons] == [("a/b", (90, 120)), ("c", (480, 640))]
    np.testing.assert_array_equal(found.skeletons[0].score, S.astype(np.float16))
    assert (found.skeletons[1].score == 1).all() and not found.faults and found.splits == {}
    np.testing.assert_array_equal(found.skeletons[1].keypoint, K.astype(np.float16))


def test_utkinect_gets_in_as_the_docstring_says(tmp_path, file):
    """Its text: a frame number, then x y z of 20 joints a line."""
    joints = RNG.uniform(-1, 3, (7, 20, 3))
    lines = [f"{400 + 2 * t} " + " ".join(f"{v:.6f}" for v in joints[t].ravel()) for t in range(7)]
    (tmp_path / "joints_s01_e01.txt").write_text("\n".join(lines))
    table = np.loadtxt(tmp_path / "joints_s01_e01.txt")
    found = read(file({"s01_e01/keypoint": table[:, 1:].reshape(1, -1, 20, 3)}), LAYOUTS["utkinect20"])
    np.testing.assert_allclose(found.skeletons[0].keypoint[0], joints, atol=2e-3)


FAULTS = {
    "objects": ({"bad/keypoint": np.array([K, None], object)}, "malformed", "got object"),
    "truth": ({"bad/keypoint": K > 3}, "malformed", "got bool"),
    "other joints": ({"bad/keypoint": K[:, :, :5]}, "wrong_layout", "expected 17 joints"),
    "scores that are text": ({"bad/keypoint": K, "bad/keypoint_score": S.astype("U4")}, "malformed", "got <U4"),
    "scores by another name": ({"bad/keypoint": K, "bad/scores": S}, "malformed", "keypoint_score"),
    "a shape of three": ({"bad/keypoint": K, "bad/img_shape": np.array([1, 2, 3])}, "wrong_shape", "[height, width]"),
    "a shape with a point": ({"bad/keypoint": K, "bad/img_shape": np.array([1.5, 2])}, "wrong_shape", "float64"),
    "a shape of nothing": ({"bad/keypoint": K, "bad/img_shape": np.array([0, 2])}, "wrong_shape", "img_shape"),
    "no frames": ({"bad/keypoint": K[:, :0]}, "empty", "got 0"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_bad_clip_is_a_fault_and_the_others_are_read(case, file):
    arrays, reason, words = FAULTS[case]
    found = read(file({"one/keypoint": K, **arrays, "two/keypoint": K}))
    assert [s.name for s in found.skeletons] == ["one", "two"]
    ((name, found_reason, message),) = found.faults
    assert (name, found_reason) == ("bad", reason) and words in message


def test_pickled_objects_are_not_loaded(tmp_path):
    class Asks:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'canary')!r}, 'w')",))

    content = npy(np.zeros(1)).replace(b"'<f8'", b"'|O' ")[:-8] + pickle.dumps(np.array([Asks()], object))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("bad/keypoint.npy", content)
    found = read(tmp_path / "x.npz")
    assert found.faults[0].reason == "malformed" and not (tmp_path / "canary").exists()


def header(shape, descr="<f2", magic=b"\x93NUMPY\x01\x00"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return magic + len(text).to_bytes(2, "little") + text


DAMAGED = {
    "a claim of terabytes": (header((1, 2**40, 17, 2)), "too_large"),
    "a claim that is just too large": (header((1, MAX_VALUES, 1, 2)), "too_large"),
    "a claim beyond all": (header((2**63, 2**63)), "too_large"),
    "sides below 0": (header((-2, -6, 17, 2)), "malformed"),
    "fewer bytes than claimed": (header((2, 6, 17, 2)) + bytes(100), "malformed"),
    "more bytes than claimed": (header((2, 6, 17, 2)) + bytes(2000), "malformed"),
    "no header": (b"", "malformed"),
    "other magic": (header((2, 6, 17, 2), magic=b"\x93NUMPX\x01\x00"), "malformed"),
    "a version to come": (header((2, 6, 17, 2), magic=b"\x93NUMPY\x09\x00"), "malformed"),
    "a header that is a program": (header("__import__('os').system('x')"), "malformed"),
    "a type that is none": (header((2, 6, 17, 2), descr="<q9"), "malformed"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_arrays_are_faults_and_take_no_memory(case, tmp_path):
    content, reason = DAMAGED[case]
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("bad/keypoint.npy", content)
        archive.writestr("good/keypoint.npy", npy(K))
    tracemalloc.start()
    try:
        found = read(tmp_path / "x.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert [s.name for s in found.skeletons] == ["good"]
    assert [(fault.name, fault.reason) for fault in found.faults] == [("bad", reason)]


def test_damage_in_the_archive_is_found(file):
    path = file({"one/keypoint": K}, save=np.savez_compressed)
    content = bytearray(path.read_bytes())
    content[300:310] = bytes(10)
    path.write_bytes(content)
    assert [fault.reason for fault in read(path).faults] == ["malformed"]


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"PK\x03\x04" + bytes(50)])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(BadItem, match="expected an npz file"):
        read(tmp_path / "x.npz")


def test_a_file_without_keypoints_says_what_it_has(file):
    with pytest.raises(BadItem, match="<name>/keypoint, got x, y"):
        read(file({"x": K, "y": S}))
