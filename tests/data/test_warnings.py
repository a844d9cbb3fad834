from dataclasses import replace
from hashlib import sha256

from actrec.data.collect import warnings
from actrec.data.manifest import Clip, Manifest
from actrec.media.facts import MediaFacts

ALONE = "there is nothing to tell apart"
NO_SCORE = ". They have no score there: add clips of them from a group of their own, or merge them with other classes"
FACTS = MediaFacts("mp4", "h264", "yuv420p", 96, 96, 0, 20.0, 20, 1.0, "", 0, 0)


def clip(name: str, split, labels: dict[str, str], group: str = "", sample: str = "") -> Clip:
    return Clip(
        name, f"{name}.mp4", split, group, labels, None, None, sha256(name.encode()).hexdigest(), 1, FACTS, sample
    )


def test_nothing_is_said_of_clips_with_groups_labels_and_all_classes_everywhere():
    clips = [clip(f"{split}{k}", split, {"act": k}, split) for split in ("train", "val", "test") for k in "ab"]
    assert warnings(Manifest(tuple(clips), ("act",))) == []


def test_copies_that_keep_groups_together_are_told_once_for_each_two():
    ann, tom = clip("1", "train", {"act": "a"}, "ann"), clip("2", "val", {"act": "a"}, "tom")
    copies = [replace(tom, clip_id=name, path=f"{name}.mp4", sha256=ann.sha256) for name in "34"]
    said = warnings(Manifest((ann, tom, *copies), ("act",)))
    assert said == [
        "groups ann and tom stay together, for both have the same file: 1.mp4 and 3.mp4",
        f"act has one class, a: {ALONE}",
    ]


def test_of_many_groups_that_stay_together_three_are_named():
    clips = [replace(clip(str(i), "train", {"act": "ab"[i % 2]}, f"g{i}"), sha256="0" * 64) for i in range(6)]
    said = [line for line in warnings(Manifest(tuple(clips), ("act",))) if "together" in line]
    assert len(said) == 4 and said[-1] == "2 more pairs of groups stay together for such files"


def test_one_file_with_two_labels_is_told_but_not_parts_of_one():
    first, second = clip("1", "train", {"act": "a"}, "ann"), clip("2", "train", {"act": "b"}, "ann")
    copy = replace(second, sha256=first.sha256)
    told = [f"the same file has two labels for act: {first.path} and {copy.path}"]
    assert [line for line in warnings(Manifest((first, copy), ("act",))) if "same file" in line] == told
    for other in (second, replace(copy, labels={"act": "a"}), replace(copy, labels={}), replace(copy, start_s=1.0)):
        assert not [line for line in warnings(Manifest((first, other), ("act",))) if "same file" in line]


def test_missing_groups_labels_and_classes_are_told():
    clips = (
        clip("1", "train", {"act": "a", "kind": "x"}),
        clip("2", "train", {"act": "b", "kind": "y"}),
        clip("3", "val", {"act": "a"}),
        clip("4", "test", {"act": "b", "kind": "x"}),
    )
    assert warnings(Manifest(clips, ("act", "kind"))) == [
        "no clip has a group: takes of the same person or place may be in train and test alike",
        f"val has no clip of 1 of the classes of act: b{NO_SCORE}",
        f"test has no clip of 1 of the classes of act: a{NO_SCORE}",
        "1 clip without a label for kind: counted for the other heads alone",
        f"val has no clip of 2 of the classes of kind: x, y{NO_SCORE}",
        f"test has no clip of 1 of the classes of kind: y{NO_SCORE}",
    ]


def test_a_split_without_clips_lacks_no_classes():
    clips = [clip(f"{split}{act}", split, {"act": act}, split) for split in ("train", "val") for act in "ab"]
    assert warnings(Manifest(tuple(clips), ("act",))) == []


def test_classes_are_counted_one_by_one_where_clips_have_several():
    clips = (
        clip("1", "train", {"acts": "run|sit"}, "a"),
        clip("2", "val", {"acts": "run|sit"}, "b"),
        clip("3", "test", {"acts": "sit"}, "c"),
    )
    assert warnings(Manifest(clips, ("acts",), frozenset({"acts"}))) == [
        f"test has no clip of 1 of the classes of acts: run{NO_SCORE}"
    ]


def test_samples_of_train_that_cannot_be_scored_are_told():
    clips = [
        clip(f"{split}{i}", split, {"act": name, "kind": "x"}, split, f"{split} walk")
        for split in ("train", "val", "test")
        for i, name in enumerate(("run", "run", "sit") if split == "train" else ("run", "run"))
    ]
    clips += [clip("t", "val", {"act": "sit"}, "val"), clip("u", "test", {"act": "sit", "kind": "x"}, "test")]
    said = warnings(Manifest(tuple(clips), ("act", "kind")))
    assert said == [
        "1 sample of train with clips of different labels for act, which therefore cannot be scored by sample: "
        "train walk",
        f"kind has one class, x: {ALONE}",
        "1 clip without a label for kind: counted for the other heads alone",
    ]
