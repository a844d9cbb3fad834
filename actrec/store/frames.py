"""What the frames stage makes: an item a clip, or an item a picture with everybody whom its pairs are about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from actrec.data.manifest import Clip
from actrec.data.pictures import pictures_of
from actrec.media.clip import ClipSpec, ClipTask
from actrec.media.crops import CropTask
from actrec.media.decode import decoder_of
from actrec.store.cas import item_key
from actrec.store.tree import Built, Job

# {clip id: (item id, its rows)}
Pairs = dict[str, tuple[str, list[int]]]


def clip_jobs(
    clips: Sequence[Clip], *, root: Path, spec: ClipSpec, version: str, region_of: Callable[[str], Any]
) -> list[Job]:
    """Return a job a clip.

    Args:
        clips: Of the manifest.
        root: The data root.
        spec: How they are cut.
        version: Of the code that makes them.
        region_of: What to cut out of a clip, by its id: a `Region`, or None.
    """

    def job(clip: Clip) -> Job:
        part = {"start_s": clip.start_s, "end_s": clip.end_s, "region": region_of(clip.clip_id)}
        settings = {**asdict(spec), **part, "decoder": decoder_of(clip.facts)}
        task = ClipTask(root / clip.path, clip.sha256, clip.facts, spec, **part)
        return Job(clip.clip_id, item_key(version, settings, clip.sha256), task)

    return [job(clip) for clip in clips]


def crop_jobs(clips: Sequence[Clip], *, root: Path, spec: ClipSpec, version: str) -> tuple[list[Job], Pairs]:
    """Return a job a picture, and which of its crops each clip has.

    Args:
        clips: Of the manifest, each about two people.
        root: The data root.
        spec: How they are cut out.
        version: Of the code that does it.
    """
    jobs, pairs = [], Pairs()
    for picture in pictures_of(clips):
        clip, people = picture.clip, picture.clip.people
        assert people is not None, "pictures_of has looked"
        part = {"start_s": clip.start_s, "boxes": picture.boxes, "wraps": people.wraps}
        settings = {**asdict(spec), **part, "decoder": decoder_of(clip.facts)}
        task = CropTask(root / clip.path, clip.sha256, clip.facts, spec, **part)
        jobs.append(Job(picture.item_id, item_key(version, settings, clip.sha256), task))
        pairs |= {clip_id: (picture.item_id, rows) for clip_id, rows in picture.rows.items()}
    return jobs, pairs


def lost_clips(built: Built, pairs: Mapping[str, tuple[str, list[int]]] | None) -> Built:
    """Return what was built with each failed picture's clips in its place."""
    if pairs is None:
        return built
    outcome_of = {outcome.item.clip_id: outcome for outcome in built.failed}
    failed = [
        replace(outcome_of[item_id], item=replace(outcome_of[item_id].item, clip_id=clip_id))
        for clip_id, (item_id, _) in sorted(pairs.items())
        if item_id in outcome_of
    ]
    return replace(built, failed=failed)
