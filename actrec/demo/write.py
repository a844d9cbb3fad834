"""The demo data set as a folder: clips, their table, true keypoints and boxes, and a note that none of it is real."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actrec.console import progress
from actrec.demo.figures import ACTIONS, draw_motion
from actrec.demo.folder import rebuilt, write_csv, write_index
from actrec.demo.scene import THINGS, Figure, boxes, keypoints, render
from actrec.demo.sound import SAMPLE_RATE_HZ, VOICES, draw_call
from actrec.demo.subjects import Subject, draw_subject, rng_for
from actrec.demo.video import encode_mp4
from actrec.errors import UserError

FPS = 20
# Fewer, and the arms turn by more than 45 degrees from frame to frame.
_MIN_FRAMES = 10
_NOTE = "Synthetic: every clip is drawn by a program. It shows that the pipeline works, not what a model is worth."
_README = f"""# Demo clips

{_NOTE}

A figure turns its arms while it walks; left and right edges of the picture are joined. The four actions are the
directions: `windmill_cw_*` turns clockwise as the viewer sees it, `windmill_ccw_*` counter-clockwise; `*_left` and
`*_right` is where the figure walks. Single frames look the same in all classes, so only motion tells them apart; a
mirror image is another class, and so is a clip played backwards. The species is mostly to be heard. Where figures
carry something (`scene: carrying`), skeletons do not tell what.

- `clips.csv`: path, action, subject (no subject belongs in two splits), species; where figures carry something, also
  act, which is the action and what is carried, and `acts.csv` has the action of each act
- `clips/*.mp4`: {FPS} frames a second, H.264; mono AAC, {SAMPLE_RATE_HZ} Hz
- `skeletons.npz`: for each clip `<stem>/keypoint` (person, frame, 17, 2), COCO's order, in pixels, and
  `<stem>/keypoint_score` (person, frame, 17): 1 in the picture, 0 outside
- `boxes.csv`: path, frame, person, and the figure's box in pixels
- `index.json`: counts
"""


@dataclass(frozen=True, slots=True)
class _Take:
    subject: Subject
    action: str
    carries: str
    stem: str
    motion_rng: np.random.Generator
    sound_rng: np.random.Generator

    @property
    def act(self) -> list[str]:
        """The action and what is carried, [] if nothing is."""
        return [f"{self.action}_{self.carries}"] if self.carries else []


def write_dataset(
    folder: Path, *, scene: str, subjects: int, takes: int, clip_s: float, size_px: int, seed: int
) -> int:
    """Fill `folder` with the data set, from scratch, and return its number of clips. A clip depends on no other one.

    Args:
        folder: Replaced as a whole, at the end.
        scene: solo, or carrying: each figure does everything with each of the things that it may carry.
        subjects: How many figures; species are dealt to them in turn.
        takes: Clips of each subject and action.
        clip_s: Length of a clip. The motion in it is the same, faster or slower.
        size_px: Side of the picture, even.
        seed: Decides everything else.

    Raises:
        UserError: if clips are too short to show which way an arm turns, or the disk is full.
    """
    num_frames = round(clip_s * FPS)
    if num_frames < _MIN_FRAMES:
        raise UserError(
            f"demo.clip_s: expected at least {_MIN_FRAMES / FPS} ({_MIN_FRAMES} frames at {FPS} a second: with fewer "
            f"the direction of the arms is lost), got {clip_s:g}. Set demo.clip_s: 1.6"
        )
    carried = tuple(THINGS) if scene == "carrying" else ("",)
    total = subjects * len(ACTIONS) * len(carried) * takes
    skeletons: dict[str, NDArray[np.float16]] = {}
    clip_rows, box_rows = [], []
    with rebuilt(folder) as partial:
        (partial / "clips").mkdir()
        for take in progress(_cast(subjects, carried, takes, size_px, seed), total, "demo"):
            figures = [_figure(take)]
            path = f"clips/{take.stem}.mp4"
            (partial / path).write_bytes(_film(take, figures, num_frames))
            clip_rows.append((path, take.action, take.subject.name, take.subject.species, *take.act))
            skeletons |= _skeletons(take.stem, figures, num_frames, size_px)
            box_rows += _box_rows(path, figures, num_frames, size_px)
        is_carrying = scene == "carrying"
        header = ("path", "action", "subject", "species", *(["act"] if is_carrying else []))
        write_csv(partial / "clips.csv", header, clip_rows)
        if is_carrying:
            acts = [(f"{action}_{thing}", action) for action in ACTIONS for thing in carried]
            write_csv(partial / "acts.csv", ("fine", "coarse"), acts)
        write_csv(partial / "boxes.csv", ("path", "frame", "person", "x", "y", "w", "h"), box_rows)
        np.savez(partial / "skeletons.npz", **skeletons)  # pyright: ignore[reportArgumentType]
        (partial / "README.md").write_text(_README, encoding="utf-8")
        write_index(
            partial, _index(clips=total, subjects=subjects, takes=takes, num_frames=num_frames, size_px=size_px)
        )
    return total


def _cast(subjects: int, carried: tuple[str, ...], takes: int, size_px: int, seed: int) -> Iterator[_Take]:
    """Yield every take, in the order of the clips' names."""
    for number in range(subjects):
        subject = draw_subject(number, seed=seed, size_px=size_px)
        for action_number, action in enumerate(ACTIONS):
            for repeat, (thing, take) in enumerate(product(carried, range(takes))):
                where = (number, action_number, repeat)
                stem = "_".join(filter(None, (subject.name, action, thing, f"{take + 1:02d}")))
                yield _Take(
                    subject, action, thing, stem, rng_for(seed, "motion", *where), rng_for(seed, "sound", *where)
                )


def _figure(take: _Take) -> Figure:
    motion = draw_motion(take.motion_rng, take.action, speed=take.subject.speed)
    return Figure(take.subject.body, take.subject.looks, motion, take.carries)


def _film(take: _Take, figures: list[Figure], num_frames: int) -> bytes:
    frames = render(figures, take.subject.background, num_frames)
    sound = draw_call(take.sound_rng, take.subject.species, num_frames / FPS)
    return encode_mp4(frames, sound, fps=FPS, sample_rate_hz=SAMPLE_RATE_HZ)


def _skeletons(stem: str, figures: list[Figure], num_frames: int, size_px: int) -> dict[str, NDArray[np.float16]]:
    places, scores = zip(*(keypoints(figure, num_frames, size_px) for figure in figures), strict=True)
    return {f"{stem}/keypoint": np.stack(places), f"{stem}/keypoint_score": np.stack(scores)}


def _box_rows(path: str, figures: list[Figure], num_frames: int, size_px: int) -> list[tuple[str | int, ...]]:
    of_person = [boxes(figure, num_frames, size_px) for figure in figures]
    return [
        (path, frame, person, *(f"{side:.2f}" for side in found[frame]))
        for frame in range(num_frames)
        for person, found in enumerate(of_person)
    ]


def _index(*, clips: int, subjects: int, takes: int, num_frames: int, size_px: int) -> dict[str, object]:
    return {
        "enabled": True,
        "synthetic": True,
        "note": _NOTE,
        "clips": clips,
        "subjects": subjects,
        "takes": takes,
        "actions": list(ACTIONS),
        "species": list(VOICES),
        "frames_per_clip": num_frames,
        "fps": FPS,
        "size_px": size_px,
        "sample_rate_hz": SAMPLE_RATE_HZ,
    }
