"""The surest mistakes of a model that is shown skeletons, drawn."""

from collections.abc import Mapping, Sequence

from actrec.data.manifest import Clip
from actrec.media.clip import ClipFolder, frame_indices
from actrec.metrics.classification import Scores
from actrec.metrics.mistakes import surest_mistakes
from actrec.metrics.summary import AnyScores
from actrec.outputs import file_name, label_head
from actrec.pose.box import in_square
from actrec.pose.folder import PoseFolder
from actrec.pose.skeleton import Skeleton
from actrec.report.skeletons import Strip, mistake_titles, skeleton_grid
from actrec.report.strips import shown_frames
from actrec.training.modalities import Folders
from actrec.words import counted

# The side of the square in which skeletons are drawn where there are no pictures below them.
_PLAIN_PX = 256


def mistake_pictures(
    all_scores: Sequence[AnyScores], clips: Sequence[Clip], folders: Folders, *, limit: int
) -> dict[str, bytes]:
    """Return PNG files by name: of each head, the clips of one split that its first output is surest and wrong about.

    There is none of a model that is shown no skeletons, nor of pairs: see `pair_pictures`; and see `surest_of`.

    Args:
        all_scores: Of that split, an output each.
        clips: Of that split.
        folders: Skeletons under `pose`, and under `rgb` the pictures to lay them over, if the model sees these too.
        limit: How many clips.
    """
    if "pose" not in folders or any(clip.people for clip in clips):
        return {}
    return {
        f"{scores.split}_{file_name(scores.head)}_skeletons.png": _picture(scores, rows, first_clips(clips), folders)
        for scores, rows in surest_of(all_scores, limit)
    }


def surest_of(all_scores: Sequence[AnyScores], limit: int) -> list[tuple[Scores, list[int]]]:
    """Return the first output of each head, and the rows of what it is surest and wrong about.

    There is none of a head that is right about all clips, or whose clips may have several classes.

    Args:
        all_scores: Of one split, an output each.
        limit: How many rows.
    """
    first: dict[str, AnyScores] = {}
    for scores in all_scores:
        first.setdefault(label_head(scores.head), scores)
    found = [(scores, surest_mistakes(scores, limit)) for scores in first.values() if isinstance(scores, Scores)]
    return [(scores, rows) for scores, rows in found if rows]


def first_clips(clips: Sequence[Clip]) -> Mapping[str, str]:
    """Return the id of the clip that stands for each row of scores, by the row's own id: of a sample the first."""
    return {clip.sample or clip.clip_id: clip.clip_id for clip in reversed(clips)}


def _picture(scores: Scores, rows: Sequence[int], clip_ids: Mapping[str, str], folders: Folders) -> bytes:
    poses, frames = folders["pose"], folders.get("rgb")
    assert isinstance(poses, PoseFolder) and (frames is None or isinstance(frames, ClipFolder))
    shown = [clip_ids[scores.clip_ids[row]] for row in rows]
    strips = [
        on_plain(poses[clip_id]) if frames is None else on_pictures(poses[clip_id], frames, clip_id)
        for clip_id in shown
    ]
    how_many = counted(len(rows), "wrong clip")
    return skeleton_grid(
        strips,
        mistake_titles(scores, rows),
        joints=poses.layout.joints,
        limbs=poses.layout.limbs,
        subtitle=f"{scores.split} · {scores.head} · {how_many}, the surest first",
    )


def on_plain(skeleton: Skeleton) -> Strip:
    """Return up to six frames of a skeleton, spread over the clip, in the square around all persons."""
    keypoint, score = in_square(skeleton, _PLAIN_PX)
    frames = shown_frames(keypoint.shape[1])
    return Strip(keypoint[:, frames], score[:, frames] > 0, _PLAIN_PX)


def on_pictures(skeleton: Skeleton, folder: ClipFolder, clip_id: str) -> Strip:
    """Return up to six of the stored frames of a clip, and the skeleton in them; these are cut around all persons."""
    spec = folder.spec
    keypoint, score = in_square(skeleton, spec.size_px)
    stored = shown_frames(spec.clip_frames)
    # The skeleton has all frames of the video; the first stored clip is some of them.
    frames = frame_indices(keypoint.shape[1], spec)[0, stored]
    return Strip(keypoint[:, frames], score[:, frames] > 0, spec.size_px, folder[clip_id][0].numpy()[stored])
