"""Pickles of pyskl and mmaction2: reading theirs, and writing one that they, numpy and we read alike."""

import hashlib
import io
import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from actrec.errors import BadItem, UserError
from actrec.pose.layouts import LAYOUTS
from actrec.pose.pyskl_file import dump_pickle, load_pickle, read_pyskl, write_pickle
from actrec.pose.skeleton import make_skeleton

COCO, NTU = LAYOUTS["coco17"], LAYOUTS["ntu25"]


def annotation(name="S001C001P001R001A001", *, persons=2, frames=5, label=0, seed=0, dims=2, dtype=np.float16):
    rng = np.random.default_rng(seed)
    joints = 17 if dims == 2 else 25
    found = {
        "frame_dir": name,
        "label": label,
        "total_frames": frames,
        "keypoint": rng.uniform(1, 500, (persons, frames, joints, dims)).astype(dtype),
    }
    if dims == 2:
        score = rng.uniform(0.1, 1, (persons, frames, joints)).astype(dtype)
        found |= {"img_shape": (1080, 1920), "original_shape": (1080, 1920), "keypoint_score": score}
    return found


def published(**others):
    clips = [annotation(f"clip{number}", label=number, seed=number, **others) for number in range(3)]
    return {"split": {"xsub_train": ["clip0", "clip1"], "xsub_val": ["clip2"]}, "annotations": clips}


@pytest.fixture
def file(tmp_path):
    def write(content, protocol=4):
        path = tmp_path / "skeletons.pkl"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
        return path

    return write


def read(path, layout=COCO, max_persons=5):
    return read_pyskl(path, layout=layout, max_persons=max_persons)


# --- reading theirs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dims", [2, 3])
def test_both_forms_are_read_whole(protocol, dims, file):
    content = published(dims=dims)
    for form in (content, content["annotations"]):
        found = read(file(form, protocol), COCO if dims == 2 else NTU)
        assert not found.faults and [s.name for s in found.skeletons] == ["clip0", "clip1", "clip2"]
        assert [s.label for s in found.skeletons] == [0, 1, 2]
        for skeleton, expected in zip(found.skeletons, content["annotations"], strict=True):
            np.testing.assert_array_equal(skeleton.keypoint, expected["keypoint"])
            np.testing.assert_array_equal(skeleton.score, expected.get("keypoint_score", 1))
            assert skeleton.img_shape == ((1080, 1920) if dims == 2 else None)
        assert found.splits == ({"xsub_train": ("clip0", "clip1"), "xsub_val": ("clip2",)} if form is content else {})


def test_float32_and_fortran_order_are_taken(file):
    one = annotation(dtype=np.float32)
    one["keypoint"] = np.asfortranarray(one["keypoint"])
    found = read(file([one])).skeletons[0]
    np.testing.assert_array_equal(found.keypoint, one["keypoint"].astype(np.float16))


def test_a_scalar_label_and_a_list_for_a_shape_are_taken(file):
    one = annotation() | {"label": np.int64(9), "img_shape": [480, 640], "clip_len": np.float32(2)}
    found = read(file([one])).skeletons[0]
    assert (found.label, found.img_shape) == (9, (480, 640))
    del one["label"], one["img_shape"]
    found = read(file([one])).skeletons[0]
    assert (found.label, found.img_shape) == (None, None)


def test_persons_are_kept_by_the_rule(file):
    assert read(file(published(persons=3)), max_persons=1).skeletons[0].keypoint.shape == (1, 5, 17, 2)


def test_clips_whose_joints_lie_elsewhere_are_refused_in_words(file):
    kinetics = {
        "frame_dir": "k400/x",
        "label": 3,
        "raw_file": "kp/1.pkl",
        "frame_inds": np.arange(4),
        "total_frames": 300,
    }
    with pytest.raises(BadItem) as error:
        read(file({"split": {}, "annotations": [kinetics]}))
    assert error.value.reason == "unsupported" and "Kinetics-400" in error.value.message


NOT_SUCH_FILES = {
    "a number": 7,
    "a dict of others": {"labels": [1]},
    "annotations by name": {"annotations": {"a": annotation()}},
    "a list for split": {"annotations": [], "split": ["a"]},
    "names that are none": {"annotations": [], "split": {"train": ["a", 0]}},
    "a name for a list": {"annotations": [], "split": {"train": "abc"}},
}


@pytest.mark.parametrize("case", NOT_SUCH_FILES)
def test_other_files_are_refused(case, file):
    with pytest.raises(BadItem, match="malformed"):
        read(file(NOT_SUCH_FILES[case]))


def test_an_empty_file_is_refused(file):
    with pytest.raises(BadItem, match="empty file"):
        read(file(b""))


ONE = annotation()
FAULTS = {
    "no dict": (7, "malformed", "expected a dict, got int"),
    "no name": (ONE | {"frame_dir": None}, "no_name", "got NoneType"),
    "an endless name": (ONE | {"frame_dir": "x" * 2000}, "no_name", ""),
    "no joints": ({"frame_dir": "bad", "label": 1}, "wrong_shape", "'keypoint': expected an array, got NoneType"),
    "a list of joints": (ONE | {"keypoint": ONE["keypoint"].tolist()}, "wrong_shape", "expected an array, got list"),
    "no scores": (ONE | {"keypoint_score": None}, "wrong_shape", "expected the scores of 2-D joints"),
    "a list of scores": (ONE | {"keypoint_score": [1]}, "wrong_shape", "'keypoint_score': expected an array, got list"),
    "frames that are not there": (
        ONE | {"total_frames": 6},
        "wrong_shape",
        "expected the 5 frames of 'keypoint', got 6",
    ),
    "a word for frames": (ONE | {"total_frames": "5"}, "malformed", "'total_frames': expected a whole number, got str"),
    "a word for a label": (ONE | {"label": "walk"}, "malformed", "'label': expected a whole number, got str"),
    "a label beyond all": (ONE | {"label": 2**40}, "malformed", "'label'"),
    "a shape of three": (ONE | {"img_shape": (1080, 1920, 3)}, "wrong_shape", "'img_shape'"),
    "a shape of nothing": (ONE | {"img_shape": (0, 1920)}, "wrong_shape", "'img_shape'"),
    "other joints": (annotation(dims=3), "wrong_layout", "expected 17 joints"),
    "not a number": (ONE | {"keypoint": np.full((2, 5, 17, 2), np.nan)}, "not_finite", "nan"),
    "the same name again": (annotation("good"), "duplicate", "more than once"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_bad_annotation_is_a_fault_and_the_others_are_read(case, file):
    bad, reason, words = FAULTS[case]
    found = read(file([annotation("good"), bad, annotation("other")]))
    assert [s.name for s in found.skeletons] == ["good", "other"]
    ((name, found_reason, message),) = found.faults
    assert found_reason == reason and words in message
    assert name == (
        bad["frame_dir"] if isinstance(bad, dict) and 0 < len(bad["frame_dir"] or "") < 999 else "annotation 1"
    )


def test_one_array_in_many_annotations_does_not_fill_the_memory(file):
    one = annotation(persons=1, frames=2000)
    many = [one | {"frame_dir": f"clip{number}"} for number in range(500)]
    path = file(many)
    assert path.stat().st_size < 500_000
    tracemalloc.start()
    try:
        with pytest.raises(BadItem, match="too_large"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_one_list_in_many_splits_does_not_fill_the_memory(file):
    names = [f"{number}" for number in range(1000)]
    with pytest.raises(BadItem, match="too_large"):
        read(file({"annotations": [], "split": {f"fold{number}": names for number in range(1000)}}))


def test_scores_that_several_annotations_share_are_taken(file):
    """Of a user who wrote the same array of ones for clips of one length."""
    ones = np.ones((2, 5, 17), np.float16)
    found = read(file([annotation(f"clip{n}", seed=n) | {"keypoint_score": ones} for n in range(20)]))
    assert len(found.skeletons) == 20 and not found.faults


# --- writing and reading ours -------------------------------------------------------------------------------------


def skeletons(dims=2, count=3, layout=None):
    layout = layout or (COCO if dims == 2 else NTU)
    found = []
    for number in range(count):
        rng = np.random.default_rng(number)
        shape = (1 + number % 2, 4 + number, len(layout.joints), dims)
        keypoint, score = rng.uniform(1, 200, shape), rng.uniform(0.1, 1, shape[:3]) if dims == 2 else None
        size = (120, 160) if dims == 2 else None
        label = number if number else None
        found.append(
            make_skeleton(f"c/{number}.mp4", keypoint, score, layout=layout, max_persons=2, img_shape=size, label=label)
        )
    return found


SPLITS = {"train": ["c/0.mp4", "c/2.mp4"], "val": ["c/1.mp4"], "test": []}


def same(one, other):
    return (one.name, one.img_shape, one.label) == (other.name, other.img_shape, other.label) and (
        np.array_equal(one.keypoint, other.keypoint) and np.array_equal(one.score, other.score)
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_written_is_read(dims, file):
    layout = COCO if dims == 2 else NTU
    written = skeletons(dims)
    found = load_pickle(file(dump_pickle(written, splits=SPLITS, layout=layout)))
    assert found.layout is layout and found.splits == {name: tuple(names) for name, names in SPLITS.items()}
    assert all(same(*pair) for pair in zip(found.skeletons, written, strict=True))
    assert found.skeletons[0].keypoint.dtype == found.skeletons[0].score.dtype == np.float16


@pytest.mark.parametrize("dims", [2, 3])
def test_python_and_pyskl_read_it(dims):
    """With the entries that pyskl's own loaders ask for, and in 3-D without the scores that they do not expect."""
    written = skeletons(dims)
    content = pickle.loads(dump_pickle(written, splits=SPLITS, layout=COCO if dims == 2 else NTU))
    assert type(content) is dict and content["split"] == SPLITS
    for entry, skeleton in zip(content["annotations"], written, strict=True):
        assert entry["frame_dir"] == skeleton.name and entry["total_frames"] == skeleton.keypoint.shape[1]
        assert type(entry["keypoint"]) is np.ndarray and entry["keypoint"].dtype == np.float16
        np.testing.assert_array_equal(entry["keypoint"], skeleton.keypoint)
        assert ("keypoint_score" in entry) == ("img_shape" in entry) == (dims == 2)
        if dims == 2:
            assert entry["img_shape"] == entry["original_shape"] == (120, 160)
            np.testing.assert_array_equal(entry["keypoint_score"], skeleton.score)
        assert entry.get("label") == skeleton.label
        entry["keypoint"][0, 0] = 0  # pyskl's transforms write into it


def test_it_names_nothing_that_numpy_1_does_not_have():
    content = dump_pickle(skeletons(), splits=SPLITS, layout=COCO)
    assert content[:2] == b"\x80\x04" and b"numpy._core" not in content and b"numpy.core.multiarray" in content


def test_our_own_are_read_as_anyones(file):
    written = skeletons()
    found = read(file(dump_pickle(written, splits=SPLITS, layout=COCO)))
    assert all(same(*pair) for pair in zip(found.skeletons, written, strict=True)) and not found.faults
    with pytest.raises(BadItem, match="wrong_layout"):
        read(file(dump_pickle(written, splits=SPLITS, layout=COCO)), NTU)


def test_the_same_content_gives_the_same_bytes():
    """Whether texts, tuples and arrays are the same objects or equal ones, however the arrays lie in memory."""
    written = skeletons()
    expected = dump_pickle(written, splits=SPLITS, layout=COCO)
    others = []
    for one in written:
        padded = np.zeros((*one.keypoint.shape[:3], 5), np.float16)
        padded[..., 1:3] = one.keypoint
        shape = tuple(int(str(side)) for side in one.img_shape)
        name = "".join(list(one.name))
        others.append(
            replace(one, name=name, keypoint=padded[..., 1:3], score=np.asfortranarray(one.score), img_shape=shape)
        )
    splits = {"".join(list(name)): tuple("".join(list(n)) for n in names) for name, names in SPLITS.items()}
    assert dump_pickle(iter(others), splits=splits, layout=COCO) == expected
    # The bytes themselves: a change of them makes every stage after this one run again.
    whole = [
        make_skeleton("a", np.arange(1, 35).reshape(1, 1, 17, 2), None, layout=COCO, max_persons=1, img_shape=(3, 4))
    ]
    digest = hashlib.sha256(dump_pickle(whole, splits={"train": ["a"]}, layout=COCO)).hexdigest()
    assert digest == "ce2448516a6158e5263efbf422a36b3e3a3675a9a056da11a96c5a5068b0449f"


def test_scores_of_3d_joints_are_kept_where_they_say_more(file):
    layout = LAYOUTS["utkinect20"]
    (plain,) = skeletons(3, 1, layout)
    seen = replace(plain, score=(plain.score * np.float16(0.5)))
    found = load_pickle(file(dump_pickle([seen], splits={}, layout=layout)))
    assert same(found.skeletons[0], seen)
    assert "keypoint_score" in pickle.loads(dump_pickle([seen], splits={}, layout=layout))["annotations"][0]


def test_metres_are_of_no_picture(file):
    (deep,) = skeletons(3, 1)
    content = dump_pickle([replace(deep, img_shape=(120, 160))], splits={}, layout=NTU)
    assert content == dump_pickle([deep], splits={}, layout=NTU)


def test_loaded_arrays_are_views_of_the_file_and_stay(file):
    path = file(dump_pickle(skeletons(), splits=SPLITS, layout=COCO))
    found = load_pickle(path)
    assert not found.skeletons[0].keypoint.flags.writeable
    path.unlink()
    assert found.skeletons[2].keypoint.max() > 100


def test_writing_takes_the_memory_of_one_skeleton():
    (one,) = skeletons(count=1)
    large = replace(one, keypoint=np.ones((1, 20_000, 17, 2), np.float16), score=np.ones((1, 20_000, 17), np.float16))

    class Nowhere(io.RawIOBase):
        written = 0

        def write(self, content):
            Nowhere.written += memoryview(content).nbytes
            return memoryview(content).nbytes

    tracemalloc.start()
    try:
        many = (replace(large, name=f"clip{number}") for number in range(50))
        write_pickle(Nowhere(), many, splits={}, layout=COCO)
        assert Nowhere.written > 100_000_000
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_what_has_no_place_in_the_file_is_an_error():
    with pytest.raises(TypeError, match="int64"):
        dump_pickle([replace(skeletons()[0], label=np.int64(3))], splits={}, layout=COCO)


def test_what_no_one_could_use_is_not_written():
    flat, deep = skeletons(2, 2), skeletons(3, 2)
    cases = {
        "no_img_shape": [replace(flat[0], img_shape=None)],
        "duplicate": [flat[0], flat[0]],
        "wrong_layout": deep,
        "wrong_shape": [flat[0], replace(flat[1], keypoint=np.ones((2, 5, 17, 3), np.float16))],
    }
    for reason, some in cases.items():
        with pytest.raises(BadItem, match=reason):
            dump_pickle(some, splits={}, layout=COCO)


GOOD = dump_pickle(skeletons(), splits=SPLITS, layout=COCO)


def repacked(change):
    content = pickle.loads(GOOD)
    change(content)
    return pickle.dumps(content, 4)


NOT_OURS = {
    "nothing": b"",
    "another pickle": pickle.dumps({"a": 1}),
    "one that was cut": GOOD[:-40],
    "one that is longer": GOOD + b"x",
    "a hostile one": b"\x80\x04cos\nsystem\n" + b"X\x02\x00\x00\x00id\x85R.",
    "pyskl's own": pickle.dumps(published()),
    "an unknown layout": GOOD.replace(b"coco17", b"coco18"),
    "another layout": GOOD.replace(b"\x06\x00\x00\x00coco17", b"\x05\x00\x00\x00ntu25"),
    "float32": repacked(lambda c: c["annotations"][1].update(keypoint=np.ones((2, 5, 17, 2), np.float32))),
    "no scores in part": repacked(lambda c: c["annotations"][1].update(keypoint_score=None)),
    "other scores": repacked(lambda c: c["annotations"][1].update(keypoint_score=np.ones((2, 4, 17), np.float16))),
    "four coordinates": repacked(lambda c: c["annotations"][1].update(keypoint=np.ones((2, 5, 17, 4), np.float16))),
    "a clip twice": repacked(lambda c: c["annotations"].append(c["annotations"][0])),
    "a clip without name": repacked(lambda c: c["annotations"][0].pop("frame_dir")),
}


@pytest.mark.parametrize("case", NOT_OURS)
def test_another_file_in_its_place_is_refused_with_the_command_that_mends_it(case, file):
    path = file(NOT_OURS[case])
    with pytest.raises(UserError) as error:
        load_pickle(path)
    assert str(path) in str(error.value) and "dvc repro -f skeletons" in str(error.value)


def test_a_stage_that_was_off_is_told_from_a_bad_file(file, tmp_path):
    with pytest.raises(UserError, match=r"skeletons\.enabled: true"):
        load_pickle(file(b'{"enabled": false}\n'))
    with pytest.raises(UserError, match="No such file"):
        load_pickle(tmp_path / "none.pkl")
