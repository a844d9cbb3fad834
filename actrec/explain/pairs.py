"""The surest mistakes of a model that is shown pairs of people, drawn in the pictures that they are in.

Crops are all that the frames stage keeps of these pictures, so that they are read again, from the data root. It is no
dependency of `evaluate`: the manifest names each file by its sha256, and of a file that is another, or gone, nothing is
drawn. So what is drawn is the same for the same manifest, as long as its files are there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actrec.console import say
from actrec.data.manifest import Clip
from actrec.data.people import People
from actrec.errors import UserError
from actrec.explain.mistakes import first_clips, surest_of
from actrec.media.clip import HEAVY_IMPORTS
from actrec.media.crops import shown_at
from actrec.media.facts import Box, MediaFacts
from actrec.media.unchanged import check_unchanged
from actrec.metrics.summary import AnyScores
from actrec.outputs import file_name
from actrec.report.pairs import PairView, pair_grid
from actrec.report.skeletons import mistake_titles
from actrec.store.workers import run_each, worker_count
from actrec.words import counted

# Of a wider picture the part around the two is shown, in its full height.
_WIDEST = 16 / 9
_MARGIN_FRAC = 0.25  # of the picture's height, on either side of the two
_MAX_PX = (1000, 560)  # about twice what is drawn of a picture
_TIMEOUT_S = 300.0


def pair_pictures(
    all_scores: Sequence[AnyScores], clips: Sequence[Clip], root: Path, *, limit: int
) -> dict[str, bytes]:
    """Return PNG files by name: of each head, the pairs of one split that its first output is surest and wrong about.

    There is none of clips that are not about pairs; and see `surest_of`. A pair whose file cannot be read any more is
    left out, which is told in a line.

    Args:
        all_scores: Of that split, an output each.
        clips: Of that split.
        root: The data root.
        limit: How many clips.
    """
    about_pairs = {clip.clip_id: clip for clip in clips if clip.people}
    if not about_pairs:
        return {}
    shown, clip_ids, drawn = surest_of(all_scores, limit), first_clips(clips), {}
    wanted = {clip_ids[scores.clip_ids[row]] for scores, rows in shown for row in rows}
    views = pair_views([about_pairs[clip_id] for clip_id in sorted(wanted)], root)
    for scores, rows in shown:
        own = {row: views[clip_id] for row in rows if (clip_id := clip_ids[scores.clip_ids[row]]) in views}
        if own:
            subtitle = f"{scores.split} · {scores.head} · {counted(len(own), 'wrong pair')}, the surest first"
            name = f"{scores.split}_{file_name(scores.head)}_mistakes.png"
            drawn[name] = pair_grid(list(own.values()), mistake_titles(scores, list(own)), subtitle=subtitle)
    return drawn


@dataclass(frozen=True, slots=True)
class ViewTask:
    """What a worker needs to show one pair."""

    clip_id: str
    path: Path
    facts: MediaFacts
    start_s: float | None
    people: People


def pair_views(clips: Sequence[Clip], root: Path) -> Mapping[str, PairView]:
    """Return what is shown of each clip, by its id; say in a line which have nothing to show, and why.

    Decoders run in workers that can be killed: of a model that looks at geometry alone nobody has read these pictures.
    """
    tasks = [
        ViewTask(clip.clip_id, root / clip.path, clip.facts, clip.start_s, clip.people)
        for clip in clips
        if clip.people and _is_there(clip, root)
    ]
    views = {}
    for outcome in run_each(read_view, tasks, timeout_s=_TIMEOUT_S, workers=worker_count(), preload=HEAVY_IMPORTS):
        if outcome.result is None:
            _say_left_out(outcome.item.clip_id, f"{outcome.item.path}: {outcome.reason}: {outcome.message}")
        else:
            views[outcome.item.clip_id] = outcome.result
    if len(views) < len(clips):
        say("evaluate.worst_clips: once the files are back: dvc repro --force --single-item evaluate")
    return views


def _is_there(clip: Clip, root: Path) -> bool:
    try:
        check_unchanged(root / clip.path, clip.sha256)
    except UserError as error:
        _say_left_out(clip.clip_id, str(error))
        return False
    return True


def _say_left_out(clip_id: str, why: str) -> None:
    say(f"evaluate.worst_clips: {clip_id} is a mistake that is not drawn. {why}")


def read_view(task: ViewTask) -> PairView:
    """Return the pair in its picture, or in the frame that a video shows at `start_s`.

    Raises:
        BadItem: too_short, if the video ends before; or what the decoder found.
    """
    return view_of(shown_at(task.path, task.facts, task.start_s)[0], task.people)


def view_of(picture: np.ndarray, people: People) -> PairView:
    """Return the part of a picture, uint8 RGB (H, W, 3), that shows a pair, with at most 1000 x 560 pixels."""
    from PIL import Image

    height, width = picture.shape[:2]
    left, shown, boxes = around(people, width_px=width, height_px=height)
    part = Image.fromarray(picture[:, np.arange(left, left + shown) % width])
    part.thumbnail(_MAX_PX)
    return PairView(np.asarray(part), (shown, height), boxes)


def around(people: People, *, width_px: int, height_px: int) -> tuple[int, int, tuple[Box, Box]]:
    """Return which part of a picture shows a pair: its first column, its columns, and the boxes from there on.

    The whole picture up to 16:9. Of a wider one so much, or more where the two and a margin need it, with the pair in
    the middle, or as near to it as the edges allow. A panorama all round goes on beyond its edges: there the columns
    count modulo its width, and the pair is the short way round.

    Args:
        people: Two.
        width_px: Of the picture.
        height_px: Of the picture.
    """
    (xa, ya, wa, ha), (xb, yb, wb, hb) = people.boxes
    if people.wraps:
        xb += width_px * round((xa + wa / 2 - xb - wb / 2) / width_px)
    begin, end = min(xa, xb), max(xa + wa, xb + wb)
    if not people.wraps:
        begin, end = max(begin, 0), min(end, width_px)
    needed = max(end - begin + 2 * _MARGIN_FRAC * height_px, _WIDEST * height_px)
    shown = min(math.ceil(needed), width_px)
    left = round((begin + end - shown) / 2)
    if not people.wraps:
        left = min(max(left, 0), width_px - shown)
    return left, shown, ((xa - left, ya, wa, ha), (xb - left, yb, wb, hb))
