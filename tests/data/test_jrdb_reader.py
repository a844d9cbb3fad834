"""JRDB: scenes in the layout of its toolkit, written by hand."""

import json
from collections import defaultdict

import pytest

from actrec.data.people import People, is_unseen
from actrec.data.problems import Problems
from actrec.data.readers import read_index
from actrec.data.skeleton_index import SkeletonIndex
from actrec.data.splits import Candidate, assign_splits
from actrec.errors import UserError

CLASSES = {"walking together": "walking", "standing together": "standing", "sitting together": "sitting"}
READER = {
    **{"kind": "jrdb", "head": "relation", "images": "images/image_stitched", "labels": "labels/social"},
    **{"classes": CLASSES, "frame_interval": 1, "several": "skip"},
}
BOXES = {1: [10, 100, 50, 200], 2: [3700, 90.5, 80, 210], 3: [900, 100, 60, 190], 12: [20, 100, 40, 100]}


def person(number, *interactions, **changes):
    """Return the entry of a person, with interactions (other, names…)."""
    said = [
        {"pair": f"pedestrian:{other}", "box_pair": BOXES.get(other), "inter_labels": dict.fromkeys(names, 1)}
        for other, *names in interactions
    ]
    entry = {"label_id": f"pedestrian:{number}", "box": BOXES[number], "action_label": {"walking": 1}}
    return {**entry, "H-interaction": said, **changes}


def write(root, **scenes):
    """Write {scene: {frame: people}}; of a number n there are n empty pictures."""
    folder = root / READER["labels"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, frames in scenes.items():
        (folder / f"{name}.json").write_text(json.dumps({"labels": frames}))


def read(root, **settings):
    problems = Problems("here")
    reader = {**READER, **settings}
    index = read_index(root, reader, media="image", skeletons=SkeletonIndex(), problems=problems)
    problems.stop_if_any()
    assert index.heads == ("relation",) and not index.multi_label
    return index.rows


def error_of(root, **settings):
    with pytest.raises(UserError) as caught:
        read(root, **settings)
    return str(caught.value)


def test_each_pair_is_one_row_though_both_list_it(tmp_path):
    people = [
        person(12, (2, "walking together"), (1, "standing together")),
        person(1, (12, "standing together")),
        person(2, (12, "walking together")),
        person(3),
    ]
    write(tmp_path, cafe={"000007.jpg": people})
    rows = read(tmp_path)
    path = "images/image_stitched/cafe/000007.jpg"
    assert [(row.clip_id, row.labels) for row in rows] == [
        (f"{path}#1+12", {"relation": "standing"}),  # A is the lower number, not the one that is listed first
        (f"{path}#2+12", {"relation": "walking"}),
    ]
    assert {(row.path, row.group, row.split, row.where == row.clip_id) for row in rows} == {(path, "cafe", None, True)}
    # Everybody counts, also who interacts with nobody; the panorama goes all round.
    assert rows[0].people == People(((10, 100, 50, 200), (20, 100, 40, 100)), persons=4, wraps=True)
    assert rows[1].people == People(((3700, 90.5, 80, 210), (20, 100, 40, 100)), persons=4, wraps=True)


@pytest.mark.parametrize("side", [0, 1])
def test_one_side_is_enough(tmp_path, side):
    pair = [person(1), person(2)]
    pair[side] = person(1 + side, (2 - side, "walking together"))
    write(tmp_path, cafe={"0.jpg": pair})
    (row,) = read(tmp_path)
    assert row.clip_id.endswith("#1+2") and row.labels == {"relation": "walking"}


@pytest.mark.parametrize(
    "people",
    [
        [person(1, (2, "standing together")), person(2, (1, "walking together"))],  # the sides disagree
        [person(1, (2, "standing together", "walking together")), person(2)],
        [person(1, (2, "standing together"), (2, "walking together")), person(2)],
    ],
    ids=["sides", "one label list", "twice"],
)
def test_a_pair_with_several_relations_is_left_out_or_has_the_first_of_the_classes(tmp_path, capsys, people):
    kept = [person(3, (12, "sitting together")), person(12)]
    write(tmp_path, cafe={"0.jpg": [*people, *kept]})
    (row,) = read(tmp_path)
    assert row.clip_id.endswith("#3+12") and "left out 1 pair with several relations" in capsys.readouterr().err
    first, _ = read(tmp_path, several="first")
    assert first.clip_id.endswith("#1+2") and first.labels == {"relation": "walking"}
    assert "took the first relation of 1 pair" in capsys.readouterr().err


def test_several_relations_of_one_class_are_one(tmp_path, capsys):
    write(tmp_path, cafe={"0.jpg": [person(1, (2, "walking together", "walking toward each other")), person(2)]})
    (row,) = read(tmp_path, classes={**CLASSES, "walking toward each other": "walking"})
    assert row.labels == {"relation": "walking"} and "several" not in capsys.readouterr().err


def test_other_relations_are_counted_once_a_pair_and_left_out(tmp_path, capsys):
    people = [
        person(1, (2, "walking together", "conversation"), (3, "conversation")),
        person(2, (1, "conversation")),
        person(3, (12, "hugging")),
        person(12),
    ]
    write(tmp_path, cafe={"0.jpg": people})
    (row,) = read(tmp_path)
    assert row.clip_id.endswith("#1+2")
    told = capsys.readouterr().err
    assert "left out 3 relations that data.reader.classes does not name (2 conversation, 1 hugging)" in told


def test_every_so_many_pictures_of_each_scene_from_its_first(tmp_path):
    pair = [person(1, (2, "walking together")), person(2)]
    scene = {f"{number:06}.jpg": pair for number in (3, 0, 1, 2, 4)}
    write(tmp_path, hall=scene, cafe=dict(list(scene.items())[:1]))
    kept = [(row.group, row.path[-10:]) for row in read(tmp_path, frame_interval=2)]
    assert kept == [("cafe", "000003.jpg"), ("hall", "000000.jpg"), ("hall", "000002.jpg"), ("hall", "000004.jpg")]


def test_somebody_who_is_not_in_the_picture_has_no_box(tmp_path):
    """Both ways round: the row stays, to be set aside with a reason."""
    write(tmp_path, cafe={"0.jpg": [person(3, (1, "walking together"), (99, "standing together"))]})
    first, second = read(tmp_path)
    assert (first.clip_id[-4:], second.clip_id[-5:]) == ("#1+3", "#3+99")
    assert [is_unseen(box) for box in (*first.people.boxes, *second.people.boxes)] == [True, False, False, True]
    assert first.people.persons == 1


def test_with_oneself_nobody_is_a_pair(tmp_path, capsys):
    write(tmp_path, cafe={"0.jpg": [person(1, (1, "walking together"), (2, "walking together")), person(2)]})
    assert len(read(tmp_path)) == 1
    assert "left out 1 interaction of somebody with himself" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [None, {}, []], ids=["null", "empty", "list"])
def test_people_without_interactions(tmp_path, shape):
    quiet = person(1, **{"H-interaction": shape})
    without = {key: value for key, value in person(3).items() if key != "H-interaction"}
    pair = [person(2, (12, "sitting together")), person(12)]
    write(tmp_path, cafe={"0.jpg": [quiet, without, *pair], "1.jpg": []})
    (row,) = read(tmp_path)
    assert row.people.persons == 4


@pytest.mark.parametrize(
    ("entry", "kind", "shown"),
    [
        ("nobody", "a person without an id or a box", '"nobody"'),
        (person(1, label_id="robot:1"), "a person without an id or a box", '"label_id": "robot:1"'),
        (person(1, label_id=1), "a person without an id or a box", '"label_id": 1'),
        (person(1, label_id="pedestrian:-1"), "a person without an id or a box", "pedestrian:-1"),
        (person(1, box=[1, 2, 3]), "a person without an id or a box", "pedestrian:1 with box [1, 2, 3]"),
        (person(1, box=None), "a person without an id or a box", "pedestrian:1 with box null"),
        (person(1, box=[1, 2, 3, float("nan")]), "a person without an id or a box", "[1, 2, 3, NaN]"),
        (person(2, box=[1, 2, 3, 4]), "somebody with two boxes in one picture", "pedestrian:2"),
        (person(1, **{"H-interaction": ["walking"]}), "does not say with whom", 'pedestrian:1 with "walking"'),
        (person(1, **{"H-interaction": "walking"}), "does not say with whom", 'pedestrian:1 with "walking"'),
        (person(1, **{"H-interaction": [{"pair": 2}]}), "does not say with whom", '{"pair": 2}'),
        (person(1, **{"H-interaction": [{"pair": "pedestrian:2", "inter_labels": "a"}]}), "or what it is", '"a"'),
        (person(1, **{"H-interaction": [{"pair": "pedestrian:2", "inter_labels": [["a"]]}]}), "what it is", '[["a"]]'),
    ],
)
def test_an_entry_of_another_form_is_told_with_its_picture(tmp_path, entry, kind, shown):
    write(tmp_path, cafe={"3.jpg": [person(2, (12, "sitting together")), person(12), entry]})
    told = error_of(tmp_path)
    assert kind in told and "images/image_stitched/cafe/3.jpg: " in told and shown in told


def test_a_person_who_is_listed_twice_alike_is_one(tmp_path):
    write(tmp_path, cafe={"0.jpg": [person(1, (2, "walking together")), person(2), person(1, (2, "walking together"))]})
    (row,) = read(tmp_path)
    assert row.people.persons == 2


def test_pictures_that_are_no_lists_are_told(tmp_path):
    write(tmp_path, cafe={"0.jpg": {"people": []}})
    assert "a picture without a list of people (1)" in error_of(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", r"cafe\.json: not JSON"),
        ("[]", r"cafe\.json: expected"),
        ('{"labels": []}', r"cafe\.json: expected"),
        ('{"labels": {"0.jpg": []}}', "no pair with a relation of data.reader.classes: walking together, standing"),
    ],
)
def test_files_of_another_form(tmp_path, text, expected):
    (tmp_path / READER["labels"]).mkdir(parents=True)
    (tmp_path / READER["labels"] / "cafe.json").write_text(text)
    with pytest.raises(UserError, match=expected):
        read(tmp_path)


def test_a_folder_without_scenes(tmp_path):
    with pytest.raises(UserError, match=r"data\.reader\.labels is 'labels/social': no <scene>\.json in "):
        read(tmp_path)


def test_folders_may_be_written_as_one_likes(tmp_path):
    write(tmp_path, cafe={"0.jpg": [person(1, (2, "walking together")), person(2)]})
    (row,) = read(tmp_path, images="./", labels="labels/../labels/social/")
    assert row.path == "cafe/0.jpg"


def test_no_scene_is_in_two_splits(tmp_path):
    """Twelve scenes of different length, each with all relations."""
    people = [person(1, (2, "walking together"), (3, "standing together")), person(2, (3, "sitting together"))]
    frames = [{f"{number}.jpg": [*people, person(3)] for number in range(1, length)} for length in range(2, 14)]
    write(tmp_path, **{f"scene{number}": own for number, own in enumerate(frames)})
    rows = read(tmp_path)
    samples = [Candidate(row.clip_id, list(row.labels.items()), row.group, row.path) for row in rows]
    splits, _ = assign_splits(samples, train_frac=0.7, val_frac=0.15, test_frac=0.15, seed=0)
    scenes = defaultdict(set)
    for row in rows:
        scenes[row.group].add(splits[row.clip_id])
    assert len(scenes) == 12 and all(len(own) == 1 for own in scenes.values())
    assert {split for own in scenes.values() for split in own} == {"train", "val", "test"}
