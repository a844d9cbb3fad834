from dataclasses import replace

import pytest

from actrec.data.manifest import Clip, Manifest, dump, join_names, load_manifest, split_names
from actrec.media.facts import MediaFacts

FILM = MediaFacts("mp4", "h264", "yuv420p", 96, 54, 90, 29.97003, 20, 1.25, "aac", 16000, 2)
SKELETON = {"skeleton_path": "a.pkl", "skeleton_name": "3, again", "skeleton_sha256": "b" * 64}
SOUND = MediaFacts("wav", "", "", 0, 0, 0, 0.0, 0, 3.5, "pcm_s16le", 8000, 1)


def clip(name: str, labels: dict[str, str], facts: MediaFacts = FILM, **changes) -> Clip:
    return replace(Clip(name, f"{name}.mp4", "train", "", labels, None, None, "0" * 64, 1, facts), **changes)


def manifest() -> Manifest:
    clips = (
        clip("1", {"species": "wolf", "actions": "run|smell"}, sample="S1", sound_path="1.WAV", sound_sha256="a" * 64),
        clip("2", {"species": "a|b"}, SOUND, start_s=0.5, end_s=2.0, group="g", split="val"),
        clip("3", {"actions": "sit 10|sit 2|run"}, split="test", **SKELETON),
    )
    return Manifest(clips, ("species", "actions"), frozenset({"actions"}))


def test_what_is_written_is_read_back(tmp_path):
    (tmp_path / "m.csv").write_text(dump(manifest()), encoding="utf-8")
    assert load_manifest(tmp_path / "m.csv") == manifest()


def test_the_column_says_whether_clips_have_one_class_or_several():
    header, first, *_ = dump(manifest()).splitlines()
    columns = dict(zip(header.split(","), first.split(","), strict=True))
    assert (columns["label:species"], columns["labels:actions"]) == ("wolf", "run|smell")
    assert (columns["sample"], columns["sound_path"], columns["audio_codec"]) == ("S1", "1.WAV", "aac")
    assert columns["skeleton_path"] == columns["skeleton_name"] == columns["skeleton_sha256"] == ""


def test_classes_are_those_of_all_clips_and_a_bar_parts_them_only_where_clips_have_several():
    made = manifest()
    assert made.classes == {"species": ("a|b", "wolf"), "actions": ("run", "sit 2", "sit 10", "smell")}
    first, second, third = made.clips
    assert made.labels_of(first, "actions") == ("run", "smell")
    assert made.labels_of(second, "species") == ("a|b",)
    assert made.labels_of(second, "actions") == made.labels_of(third, "species") == ()


def test_fewer_clips_have_fewer_classes():
    assert manifest().keep(["1"]).classes == {"species": ("wolf",), "actions": ("run", "smell")}


@pytest.mark.parametrize(("names", "text"), [((), ""), (("b",), "b"), (("b", "a b", "b"), "a b|b")])
def test_names_are_joined_in_order_and_once(names, text):
    assert join_names(names) == text
    assert split_names(text) == tuple(sorted(set(names)))
