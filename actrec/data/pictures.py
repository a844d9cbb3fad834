"""Pairs of people by the picture that they are in, so that each picture is decoded once."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from actrec.data.manifest import Clip
from actrec.data.rows import id_of_part
from actrec.media.facts import Box


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, or what a video shows at one time, and whom the clips of it are about.

    Args:
        item_id: Of the file that their crops are kept in.
        clip: One of its clips: path, bytes and header are the same of all.
        boxes: All that any of them has, each once, sorted.
        rows: {clip id: which of the boxes it has, in its own order}.
    """

    item_id: str
    clip: Clip
    boxes: tuple[Box, ...]
    rows: dict[str, list[int]]


def pictures_of(clips: Iterable[Clip]) -> list[Picture]:
    """Return the pictures of clips that are about certain people, in the order of their ids."""
    together: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        together[id_of_part(clip.path, clip.start_s, None)].append(clip)
    return [_picture(item_id, own) for item_id, own in sorted(together.items())]


def _picture(item_id: str, clips: list[Clip]) -> Picture:
    boxes = tuple(sorted({box for clip in clips for box in _boxes(clip)}))
    place = {box: row for row, box in enumerate(boxes)}
    return Picture(item_id, clips[0], boxes, {clip.clip_id: [place[box] for box in _boxes(clip)] for clip in clips})


def _boxes(clip: Clip) -> tuple[Box, ...]:
    assert clip.people is not None, "the schema has seen to that"
    return clip.people.boxes
