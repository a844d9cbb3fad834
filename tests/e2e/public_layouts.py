"""The demo's clips and skeletons in the files and names of public data sets."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from actrec.pose.layouts import LAYOUTS, Layout
from actrec.pose.pyskl_file import dump_pickle
from actrec.pose.read import read_skeletons
from actrec.pose.skeleton import Skeleton

# One of each of four kinds, in NTU60's semantic groups and in MA-52's bodies.
NTU_ACTIONS, MA52_ACTIONS = (1, 5, 14, 50), (0, 5, 11, 24)
# The first three train by NTU's protocol xsub, the fourth does not.
_NTU_SUBJECTS = (1, 2, 4, 3)


def fill_jrdb(folder: Path, *, scenes: int) -> None:
    """Fill a folder as JRDB is: a stitched panorama a scene, with three people who do one thing each two of them."""
    images, labels = folder / "images/image_stitched", folder / "labels/labels_2d_activity_social_stitched"
    labels.mkdir(parents=True)
    relations = ("walking together", "standing together", "sitting together")
    for scene in range(scenes):
        (images / f"scene-{scene}").mkdir(parents=True)
        pixels = np.random.default_rng(scene).integers(0, 255, (60, 470, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"scene-{scene}/000000.jpg")
        people = [
            {
                "label_id": f"pedestrian:{one}",
                "box": [440 * one // 2, 10, 40, 40 + one],
                "H-interaction": [
                    {"pair": f"pedestrian:{other}", "inter_labels": {relations[(one + other) % 3]: 1}}
                    for other in range(3)
                    if other != one
                ],
            }
            for one in range(3)
        ]
        content = json.dumps({"labels": {"000000.jpg": people}})
        (labels / f"scene-{scene}.json").write_text(content, encoding="utf-8")


def fill_ntu(folder: Path, demo: Path) -> None:
    """Fill a folder as NTU RGB+D 60 is, with a pickle of 2-D skeletons as mmaction2's."""
    names = {
        stem: f"S001C001P{_NTU_SUBJECTS[subject]:03}R001A{NTU_ACTIONS[action]:03}"
        for stem, subject, action in _clips(demo)
    }
    (folder / "nturgb+d_rgb").mkdir(parents=True)
    for stem, name in names.items():
        shutil.copy2(demo / f"clips/{stem}.mp4", folder / f"nturgb+d_rgb/{name}_rgb.mp4")
    _write_pickle(folder / "ntu60_2d.pkl", demo, names, LAYOUTS["coco17"])


def fill_ma52(folder: Path, demo: Path) -> None:
    """Fill a folder as Micro-Action 52 is."""
    names, lines = {}, {"train": [], "val": []}
    for number, (stem, subject, action) in enumerate(_clips(demo)):
        names[stem] = f"{subject:04}_01_{number:04}"
        lines["val" if subject == 3 else "train"].append(f"{names[stem]}.mp4 {MA52_ACTIONS[action]}")
    (folder / "videos").mkdir(parents=True)
    for stem, name in names.items():
        shutil.copy2(demo / f"clips/{stem}.mp4", folder / f"videos/{name}.mp4")
    for split, own in lines.items():
        (folder / f"{split}_list_videos.txt").write_text("\n".join(own) + "\n", encoding="utf-8")
    _write_pickle(folder / "ma52_2d.pkl", demo, names, LAYOUTS["ma52_28"])


def fill_poses(folder: Path, demo: Path) -> None:
    """Fill a folder with nothing but skeletons of another layout, and their table."""
    folder.mkdir(parents=True)
    shown = {skeleton.name: _as_layout(skeleton, LAYOUTS["utkinect20"]) for skeleton in _skeletons(demo)}
    # In metres, y up.
    metres = {f"{name}/keypoint": _upright(own.keypoint.astype(np.float32)) for name, own in shown.items()}
    np.savez(folder / "skeletons.npz", **metres)
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(stem, f"action{action}", f"subject{subject}") for stem, subject, action in _clips(demo)]
        csv.writer(file).writerows([("name", "action", "subject"), *rows])


def _clips(demo: Path) -> Iterator[tuple[str, int, int]]:
    """Yield stem, number of the subject and number of the action."""
    with (demo / "clips.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    actions = sorted({row["action"] for row in rows})
    for row in rows:
        yield Path(row["path"]).stem, int(row["subject"].removeprefix("subject")) - 1, actions.index(row["action"])


def _skeletons(demo: Path) -> tuple[Skeleton, ...]:
    return read_skeletons(demo / "skeletons.npz", kind="npz", layout=LAYOUTS["coco17"], max_persons=1).skeletons


def _write_pickle(path: Path, demo: Path, names: dict[str, str], layout: Layout) -> None:
    shown = [_as_layout(replace(s, name=names[s.name], img_shape=(32, 32)), layout) for s in _skeletons(demo)]
    path.write_bytes(dump_pickle(shown, splits={}, layout=layout))


def _as_layout(skeleton: Skeleton, layout: Layout) -> Skeleton:
    joints = np.arange(len(layout.joints)) % skeleton.score.shape[-1]
    return replace(skeleton, keypoint=skeleton.keypoint[:, :, joints], score=skeleton.score[:, :, joints])


def _upright(keypoint: np.ndarray) -> np.ndarray:
    height = np.where(keypoint.any(axis=-1), 1 - keypoint[..., 1] / 32, 0)
    return np.stack([keypoint[..., 0] / 32, height, 2 * keypoint.any(axis=-1)], axis=-1)
