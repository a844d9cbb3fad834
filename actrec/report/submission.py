"""submission.csv: the five likeliest fine and coarse classes of each clip, as the challenge of MA-52 takes them."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from actrec.cells import csv_text
from actrec.errors import UserError
from actrec.metrics.classification import TOP_K, ClipScores, top_classes
from actrec.metrics.summary import AnyScores

_HEADER = (
    "vid",
    *(f"action_pred_{place}" for place in range(1, TOP_K + 1)),
    *(f"body_pred_{place}" for place in range(1, TOP_K + 1)),
)


def submission_csv(all_scores: Iterable[AnyScores], *, split: str, outputs: tuple[str, str] | None) -> str:
    """Return a row a clip: its file's name, and the numbers of the five likeliest classes, likeliest first.

    Class numbers are those of per_class.csv, from 0. Where there are fewer than five classes the last cells are empty.

    Args:
        all_scores: One for each split and output.
        split: Of which clips.
        outputs: What says the fine and the coarse classes; None: nothing is asked for, the table has no rows.

    Raises:
        UserError: if the model has no such output, the two are not of the same clips, or two clips have one name.

    Source: Micro-Action Analysis Grand Challenge, ACM Multimedia 2024: the format of its results.
    """
    if outputs is None:
        return csv_text(_HEADER, ())
    found = {scores.head: scores for scores in all_scores if scores.split == split}
    if missing := [output for output in outputs if output not in found]:
        raise UserError(f"evaluate.submission asks for {', '.join(missing)}; the model has {', '.join(found)}")
    fine, coarse = (found[output] for output in outputs)
    if odd := sorted(set(fine.clip_ids) ^ set(coarse.clip_ids)):
        raise UserError(
            f"evaluate.submission: {len(odd)} clips of {split} have a label for one of {' and '.join(outputs)} alone, "
            f"such as {odd[0]}. Label both, or set evaluate.submission: null"
        )
    files = [PurePosixPath(path).name for path in fine.paths]
    if len(set(files)) < len(files):
        twice = next(name for name in files if files.count(name) > 1)
        raise UserError(
            f"evaluate.submission names clips by their files, but {twice} is that of several clips of {split}. Set "
            "evaluate.submission: null"
        )
    rows = zip(files, _best(fine), _best(coarse), strict=True)
    return csv_text(_HEADER, ((name, *actions, *bodies) for name, actions, bodies in rows))


def _best(scores: ClipScores) -> list[Sequence[int | str]]:
    best = top_classes(scores.probs, TOP_K)
    return [[*own, *[""] * (TOP_K - best.shape[1])] for own in best.tolist()]
