"""The stages ingest and frames on pairs of people: tables, JRDB, splits, what is set aside, and a real set."""

import csv
import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from actrec import paths
from actrec.data import quarantine
from actrec.data.manifest import load_manifest
from actrec.data.people import People
from actrec.errors import UserError
from actrec.media.clip import ClipFolder
from actrec.store import tree
from pipeline import frames, ingest

REPO = Path(__file__).resolve().parents[2]
VOLLEYBALL = REPO.parent / "shared/data/volleyball"
BOXES = [["ax", "ay", "aw", "ah"], ["bx", "by", "bw", "bh"]]
HEADER = ["image", "relation", *BOXES[0], *BOXES[1]]
TABLE = {
    **{"kind": "csv", "file": "pairs.csv", "path": "image", "heads": {"relation": "relation"}, "multi_label": {}},
    **dict.fromkeys(["id", "split", "group", "group_regex", "sample", "sample_regex", "start_s", "end_s"]),
}
CLASSES = {"walking together": "walking", "standing together": "standing"}
JRDB = {
    **{"kind": "jrdb", "head": "relation", "images": "images/image_stitched", "labels": "labels"},
    **{"classes": CLASSES, "frame_interval": 1, "several": "skip"},
}
PAIR = (10, 10, 20, 30, 40, 12, 20, 28)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch, without_workers):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ACTREC_WORKERS", "2")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def table(*, corners=False, wraps=False, **settings):
    return {
        **TABLE,
        "people": {"boxes": BOXES, "corners": corners, "ids": None, "persons": None, "wraps": wraps},
        **settings,
    }


def ingested(reader, *, root="raw", max_bad_frac=0.5, media="image", **settings):
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))
    params["data"].update(name="mine", root=str(root), media=media, max_bad_frac=max_bad_frac, reader=reader)
    own = {"clip_frames": 2, "clips_per_video": 1, "size_px": 16, "region": "boxes", "resize": "pad", "pad_frac": 0.2}
    params["frames"].update({**own, **settings})
    params["model"]["heads"] = {"relation": params["model"]["heads"]["action"]}
    params["train"]["select_on"] = "relation.loss"
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    ingest.main(Path("params.yaml"))
    return load_manifest(paths.manifest("mine"))


def crops():
    frames.main(Path("params.yaml"))
    return ClipFolder(paths.frames("mine"), tree.read_index(paths.frames("mine")))


def write(rows, *, header=HEADER):
    Path("raw").mkdir(exist_ok=True)
    with Path("raw/pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def draw(name, shade, size=(60, 100)):
    path = Path("raw") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), shade, np.uint8)).save(path)


def draw_set(count=12):
    """Write pictures 0.png, 1.png, …, and return a row for two pairs in each."""
    for number in range(count):
        draw(f"{number}.png", 20 * number)
    others = (50, 12, 20, 28, *PAIR[:4])
    return [
        (f"{number}.png", relation, *boxes)
        for number in range(count)
        for relation, boxes in (("walking", PAIR), ("standing", others))
    ]


def listed():
    return {bad.clip_id.partition("#")[0]: bad for bad in quarantine.load(paths.quarantine("mine", "ingest"))}


def splits_of(manifest, key):
    found: dict[str, set[str]] = {}
    for clip in manifest.clips:
        found.setdefault(key(clip), set()).add(clip.split)
    return found


def test_a_table_of_pairs_becomes_a_manifest_and_crops():
    write(draw_set())
    manifest = ingested(table())
    assert len(manifest.clips) == 24 and listed() == {}
    clip = next(clip for clip in manifest.clips if clip.clip_id == "3.png#10,10,20,30+40,12,20,28")
    assert clip.people == People(((10, 10, 20, 30), (40, 12, 20, 28)), persons=3, wraps=False)
    folder = crops()
    assert all(folder[clip.clip_id].shape == (1, 2, 16, 16, 3) for clip in manifest.clips)
    # Of one colour, but for the black of the narrow sides.
    assert set(folder["3.png#10,10,20,30+40,12,20,28"].unique().tolist()) == {0, 60}


def test_columns_say_who_they_are_and_how_many_there_are():
    names = {"walking": ("ann", "bob"), "standing": ("cy", "ann")}
    write([(*row, *names[row[1]], 12) for row in draw_set()], header=[*HEADER, "who", "whom", "n"])
    people = {**table()["people"], "ids": ["who", "whom"], "persons": "n"}
    found = {clip.clip_id: clip.people for clip in ingested(table(people=people)).clips}
    assert found.keys() == {f"{number}.png#{who}" for number in range(12) for who in ("ann+bob", "cy+ann")}
    assert {own.persons for own in found.values() if own} == {12}


def test_the_pairs_of_a_picture_are_never_in_two_splits():
    write(draw_set())
    found = splits_of(ingested(table()), lambda clip: clip.path)
    assert len(found) == 12 and all(len(splits) == 1 for splits in found.values())
    assert {split for splits in found.values() for split in splits} == {"train", "val", "test"}


def test_a_copy_of_a_picture_is_in_its_split():
    rows = draw_set()
    for number in range(12):
        draw(f"copy {number}.png", 20 * number)
    write([*rows, *((f"copy {number}.png", "walking", *PAIR) for number in range(12))])
    found = splits_of(ingested(table()), lambda clip: clip.sha256)
    assert len(found) == 12 and all(len(splits) == 1 for splits in found.values())


def test_val_is_taken_out_of_train_in_whole_pictures():
    rows = [(*row, "test" if number >= 18 else "train") for number, row in enumerate(draw_set())]
    write(rows, header=[*HEADER, "split"])
    found = splits_of(ingested(table(split="split")), lambda clip: clip.path)
    assert all(len(splits) == 1 for splits in found.values()) and {"val"} in found.values()


def test_a_picture_that_is_given_to_two_splits_is_told():
    rows = [(*row, ("train", "val", "test", "train")[number // 2 % 4]) for number, row in enumerate(draw_set())]
    rows[3] = (*rows[3][:-1], "train")
    write(rows, header=[*HEADER, "split"])
    expected = r"same bytes in two splits \(1\)(?s:.*)row 4 \(val\), row 5 \(train\): 1\.png"
    with pytest.raises(UserError, match=expected):
        ingested(table(split="split"))


@pytest.mark.parametrize("corners", [False, True])
def test_boxes_that_show_nobody_are_set_aside_with_a_reason_and_the_others_stay(corners):
    bad = {
        "0.png": ("unknown_person", ("", "", "", "")),
        "1.png": ("swapped_corners", (40, 12, -20, 28)),
        "2.png": ("swapped_corners", (40, 40, 20, -28)),
        "3.png": ("empty_box", (40, 12, 0, 28)),
        "4.png": ("empty_box", (40, 12, 20, 0.25)),
        "5.png": ("box_outside", (100, 12, 20, 28)),
        "6.png": ("box_outside", (40, 60, 20, 28)),
        "7.png": ("box_outside", (-30, 12, 30.5, 28)),
        "8.png": ("same_person", PAIR[:4]),
    }

    def cells(x, y, w, h):
        return (x, y, x + w, y + h) if corners and w != "" else (x, y, w, h)

    rows = [(path, relation, *cells(*own[:4]), *cells(*own[4:])) for path, relation, *own in draw_set()]
    write([*rows, *((path, "walking", *cells(*PAIR[:4]), *cells(*box)) for path, (_, box) in bad.items())])
    manifest = ingested(table(corners=corners))
    assert {path: item.reason for path, item in listed().items()} == {path: reason for path, (reason, _) in bad.items()}
    assert len(manifest.clips) == 24
    assert listed()["5.png"].message == ("x=100 y=12 w=20 h=28: less than a pixel of it is in the picture of 100x60")
    folder = crops()
    assert all(folder[clip.clip_id].flatten(2).any(dim=2).all() for clip in manifest.clips if clip.path != "0.png")
    with pytest.raises(UserError, match=r"9 of 33 clips are unusable \(27\.3%\)"):
        ingested(table(corners=corners), max_bad_frac=0.2)


def test_boxes_of_a_panorama_may_reach_over_its_seam():
    write([*draw_set(), ("0.png", "walking", 90, 10, 30, 30, -20, 12, 15, 28)])
    assert len(ingested(table()).clips) == 24  # of a plain picture the second is outside
    assert listed()["0.png"].reason == "box_outside"
    assert len(ingested(table(wraps=True)).clips) == 25 and listed() == {}


def test_a_path_that_cannot_be_a_file_name_is_told_though_a_column_has_ids():
    rows = [(*row, f"pair {number}") for number, row in enumerate(draw_set())]
    Path("raw/sub").mkdir()
    write([*rows, ("sub/../0.png", "walking", *PAIR, "other")], header=[*HEADER, "id"])
    with pytest.raises(UserError, match=r"row 26: 'sub/\.\./0\.png': it has an empty part"):
        ingested(table(id="id"))


def test_pairs_in_a_video_have_a_time(make_video):
    rows = []
    for number in range(6):
        shades = np.repeat(20 * np.arange(10, dtype=np.uint8), 80 * 96 * 3).reshape(10, 80, 96, 3)
        shades[:, :8] = 30 * number
        make_video(Path(f"raw/{number}.mp4"), shades)
        boxes = (10, 20, 20, 40, 60, 20, 20, 40)
        rows += [(f"{number}.mp4", "walking", *boxes, 0.25), (f"{number}.mp4", "standing", *boxes, 0.8)]
    write([*rows, ("0.mp4", "walking", *boxes, 7), ("1.mp4", "walking", *boxes, "")], header=[*HEADER, "time"])
    manifest = ingested(table(start_s="time"), media="video", pad_frac=0.0, resize="stretch")
    assert len(manifest.clips) == 12 and listed()["0.mp4@7-"].reason == "too_short"
    assert listed()["1.mp4"].reason == "no_time"
    assert all(len(splits) == 1 for splits in splits_of(manifest, lambda clip: clip.path).values())
    folder = crops()
    shade = {"walking": 40, "standing": 160}  # what frames 2 and 8 show
    for clip in manifest.clips:
        mean = folder[clip.clip_id].float().mean().item()
        assert mean == pytest.approx(shade[clip.labels["relation"]], abs=4)


def test_pairs_in_videos_without_a_column_of_times_are_refused():
    with pytest.raises(UserError, match=r"reader\.people is about a moment of a video, but reader\.start_s is null"):
        ingested(table(), media="video")


def test_jrdb_from_its_layout_to_crops():
    """Six scenes of 3760x480, in which one of each pair stands across the seam."""
    pixels = np.zeros((480, 3760, 3), np.uint8)
    pixels[100:300, 3700:], pixels[100:300, :40], pixels[100:300, 100:150] = 200, 200, 90
    near, far = [3700, 100, 100, 200], [100, 100, 50, 200]
    for scene in range(6):
        pixels[:50, :50] = scene
        for frame in ("000000.jpg", "000001.jpg"):
            path = Path(f"raw/images/image_stitched/scene-{scene}/{frame}")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, quality=95)
        people = [
            {"label_id": "pedestrian:4", "box": near, "H-interaction": [said(9, "walking together"), said(77, "hi")]},
            {"label_id": "pedestrian:9", "box": far, "H-interaction": [said(4, "walking together")]},
            {"label_id": "pedestrian:2", "box": far, "H-interaction": [said(4, "standing together")]},
            {"label_id": "pedestrian:3", "box": near, "H-interaction": [said(77, "standing together")]},
        ]
        content = {"labels": {"000000.jpg": people, "000001.jpg": people}}
        Path("raw/labels").mkdir(exist_ok=True)
        Path(f"raw/labels/scene-{scene}.json").write_text(json.dumps(content))
    manifest = ingested(JRDB, pad_frac=0.0, resize="stretch")
    assert Counter(clip.labels["relation"] for clip in manifest.clips) == {"walking": 12, "standing": 12}
    assert {bad.reason for bad in quarantine.load(paths.quarantine("mine", "ingest"))} == {"unknown_person"}
    scenes = splits_of(manifest, lambda clip: clip.group)
    assert len(scenes) == 6 and all(len(splits) == 1 for splits in scenes.values())
    assert {split for splits in scenes.values() for split in splits} == {"train", "val", "test"}
    clip = manifest.clips[0]
    assert (clip.facts.width_px, clip.facts.height_px) == (3760, 480)
    assert clip.people == People((tuple(far), tuple(near)), persons=4, wraps=True)
    folder = crops()
    first, second = folder[clip.clip_id].float().mean(dim=(0, 2, 3, 4)).tolist()
    assert (first, second) == (pytest.approx(90, abs=3), pytest.approx(200, abs=3))


def said(other, *names):
    return {"pair": f"pedestrian:{other}", "box_pair": [0, 0, 1, 1], "inter_labels": dict.fromkeys(names, 1)}


# --- a real set ---------------------------------------------------------------------------------------------------


def players():
    """Yield (match, clip, {box: action}) of each annotated frame: name group_label, then x y w h action a player."""
    for match in ("39", "41"):
        for line in (VOLLEYBALL / match / "annotations.txt").read_text().splitlines():
            name, _, *cells = line.split()
            boxes = [tuple(map(int, cells[at : at + 4])) for at in range(0, len(cells), 5)]
            yield match, name.removesuffix(".jpg"), dict(zip(boxes, cells[4::5], strict=True))


@pytest.mark.skipif(not VOLLEYBALL.is_dir(), reason="no ../shared/data/volleyball here")
def test_a_real_set_of_players(capsys):
    """Pairs of players who do the same, or not: a check of formats."""
    rows, counts = [], {}
    for match, clip, actions in players():
        split = {"29885": "train", "29905": "train", "19515": "val", "19560": "test"}[clip]
        for a, b in combinations(actions, 2):
            relation = "same" if actions[a] == actions[b] else "different"
            rows.append((f"{match}/{clip}/{clip}.jpg", relation, *a, *b, split))
        counts[f"{match}/{clip}/{clip}.jpg"] = len(actions)
    Path("pairs").mkdir()
    with Path("pairs/pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*HEADER, "split"], *rows])
    for match, clip, _ in players():
        target = Path(f"pairs/{match}/{clip}/{clip}.jpg")
        target.parent.mkdir(parents=True)
        target.write_bytes((VOLLEYBALL / match / clip / f"{clip}.jpg").read_bytes())
    manifest = ingested(table(split="split"), root="pairs", max_bad_frac=0.0, size_px=112)
    assert counts and len(manifest.clips) == sum(n * (n - 1) // 2 for n in counts.values()) == len(rows)
    assert {clip.path: clip.people.persons for clip in manifest.clips if clip.people} == counts
    assert manifest.classes == {"relation": ("different", "same")}
    folder = crops()
    assert f"{len(rows)} clips of 4 pictures, 4 of them decoded now, 0 set aside" in capsys.readouterr().err
    assert len({part for clip in manifest.clips for part in folder.parts(clip.clip_id)}) == sum(counts.values())
    for clip in manifest.clips[::20]:
        both = folder[clip.clip_id]
        assert both.shape == (1, 2, 112, 112, 3) and both.float().std() > 10
    clip = manifest.clips[0]
    (x, y, w, h), _ = clip.people.boxes if clip.people else ()
    with Image.open(Path("pairs") / clip.path) as whole:
        left, top = np.floor([x - 0.2 * w, y - 0.2 * h])
        right, bottom = np.ceil([x + 1.2 * w, y + 1.2 * h])
        width = round((right - left) * 112 / (bottom - top))
        person = whole.crop((left, top, right, bottom)).resize((width, 112), Image.Resampling.BILINEAR)
    start = (112 - width) // 2
    found = folder[clip.clip_id][0, 0].numpy().astype(int)
    np.testing.assert_allclose(found[:, start : start + width], np.asarray(person).astype(int), atol=1)
    assert not found[:, :start].any() and not found[:, start + width :].any()
