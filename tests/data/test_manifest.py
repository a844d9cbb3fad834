from dataclasses import replace

import pytest

from actrec.data.manifest import Clip, Manifest, dump, join_names, load_manifest, split_names
from actrec.data.people import People
from actrec.errors import UserError
from actrec.media.facts import MediaFacts

FILM = MediaFacts("mp4", "h264", "yuv420p", 96, 54, 90, 29.97003, 20, 1.25, "aac", 16000, 2)
SKELETON = {"skeleton_path": "a.pkl", "skeleton_name": "3, again", "skeleton_sha256": "b" * 64}
PAIR = People(((0.1 + 0.2, -3.5, 1e-3, 1234567.891), (3755.0, 12.0, 40.0, 80.0)), persons=17, wraps=True)
SOUND = MediaFacts("wav", "", "", 0, 0, 0, 0.0, 0, 3.5, "pcm_s16le", 8000, 1)


def clip(name: str, labels: dict[str, str], facts: MediaFacts = FILM, **changes) -> Clip:
    return replace(Clip(name, f"{name}.mp4", "train", "", labels, None, None, "0" * 64, 1, facts), **changes)


def manifest() -> Manifest:
    clips = (
        clip("1", {"species": "wolf", "actions": "run|smell"}, sample="S1", sound_path="1.WAV", sound_sha256="a" * 64),
        clip("2", {"species": "a|b"}, SOUND, start_s=0.5, end_s=2.0, group="g", split="val"),
        clip("3", {"actions": "sit 10|sit 2|run"}, split="test", **SKELETON),
        clip("4", {"species": "wolf"}, people=PAIR),
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


def test_people_are_one_cell_to_the_last_digit(tmp_path):
    (tmp_path / "m.csv").write_text(dump(manifest()), encoding="utf-8")
    first, *_, last = load_manifest(tmp_path / "m.csv").clips
    assert first.people is None and last.people == PAIR
    cell = '{"boxes":[[0.30000000000000004,-3.5,0.001,1234567.891],[3755.0,12.0,40.0,80.0]],"persons":17,"wraps":true}'
    assert f'"{cell.replace(chr(34), 2 * chr(34))}"' in dump(manifest())


@pytest.mark.parametrize("column", ["people", "skeleton_path", "audio_codec"])
def test_a_manifest_of_an_earlier_version_is_to_be_made_again(tmp_path, column):
    header, rest = dump(manifest()).split("\n", 1)
    (tmp_path / "m.csv").write_text(f"{header.replace(column, 'notes')}\n{rest}", encoding="utf-8")
    with pytest.raises(UserError, match=rf"m\.csv: of an earlier version, without {column}\. .*dvc repro ingest"):
        load_manifest(tmp_path / "m.csv")


def test_an_empty_manifest_is_to_be_made_again(tmp_path):
    (tmp_path / "m.csv").touch()
    with pytest.raises(UserError, match=r"without clip_id, path, .*dvc repro ingest"):
        load_manifest(tmp_path / "m.csv")


def test_classes_are_those_of_all_clips_and_a_bar_parts_them_only_where_clips_have_several():
    made = manifest()
    assert made.classes == {"species": ("a|b", "wolf"), "actions": ("run", "sit 2", "sit 10", "smell")}
    first, second, third, _ = made.clips
    assert made.labels_of(first, "actions") == ("run", "smell")
    assert made.labels_of(second, "species") == ("a|b",)
    assert made.labels_of(second, "actions") == made.labels_of(third, "species") == ()


def test_fewer_clips_have_fewer_classes():
    assert manifest().keep(["1"]).classes == {"species": ("wolf",), "actions": ("run", "smell")}


@pytest.mark.parametrize(("names", "text"), [((), ""), (("b",), "b"), (("b", "a b", "b"), "a b|b")])
def test_names_are_joined_in_order_and_once(names, text):
    assert join_names(names) == text
    assert split_names(text) == tuple(sorted(set(names)))


def test_the_order_of_classes_does_not_depend_on_a_set():
    """Numbers count as numbers, and of equal ones (1 and 01) the text decides; signs such as ① are text."""
    names = ["①", "a10", "a2", "b", "a02", "a", "01", "1", "2"]
    classes = [Manifest(tuple(clip(n, {"h": n}) for n in own), ("h",)).classes["h"] for own in (names, names[::-1])]
    assert classes[0] == classes[1] == ("01", "1", "2", "a", "a02", "a2", "a10", "b", "①")


@pytest.mark.parametrize(
    ("of_file_s", "start_s", "end_s", "expected"),
    [
        (9.0, None, None, 9.0),
        (9.0, 2.0, 5.0, 3.0),
        (9.0, 2.0, 12.0, 7.0),
        (0.0, 10.0, 12.0, 2.0),
        (0.0, 10.0, None, 0.0),
    ],
)
def test_how_long_a_clip_is_also_where_its_file_does_not_say(of_file_s, start_s, end_s, expected):
    part = clip("1", {}, replace(FILM, duration_s=of_file_s), start_s=start_s, end_s=end_s)
    assert part.duration_s == expected
