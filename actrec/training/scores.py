"""Probabilities beside what is true, head by head."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from actrec.data.manifest import Clip, join_names
from actrec.errors import UserError
from actrec.metrics.classification import Scores
from actrec.metrics.fusion import fused
from actrec.metrics.multi_label import MultiScores
from actrec.metrics.summary import AnyScores
from actrec.outputs import fused_output, label_head, modality_of, stream_output
from actrec.training.labels import NO_LABEL
from actrec.training.sources import Source


def scores_of(
    split: str,
    source: Source,
    probs: Mapping[str, np.ndarray],
    classes: Mapping[str, Sequence[str]],
    *,
    ratios: Sequence[Sequence[float]] = (),
) -> list[AnyScores]:
    """Return what each output says of the clips that have a label for its head, beside that label.

    Of one modality's own output that is said only of clips that have the modality. Before these come the scores of all
    modalities together in each of `ratios`.

    Clips of one sample become one row: their probabilities are averaged, the sample is its id, and path and group are
    those of the first of them.

    Raises:
        UserError: if an output has no labelled clip, or the clips of a sample have different labels.
    """
    own = {
        name: _of_output(split, name, source, said, tuple(classes[label_head(name)])) for name, said in probs.items()
    }
    modalities, heads = dict.fromkeys(map(modality_of, own)), dict.fromkeys(map(label_head, own))
    together = [
        fused([own[stream_output(m, head)] for m in modalities], ratio, output=fused_output([*modalities], ratio, head))
        for ratio in ratios
        for head in heads
    ]
    return [*together, *own.values()]


def _of_output(split: str, output: str, source: Source, probs: np.ndarray, class_names: tuple[str, ...]) -> AnyScores:
    head = label_head(output)
    labels = source.labels[head].numpy()
    is_multi_label = labels.ndim == 2
    is_judged = (labels[:, 0] if is_multi_label else labels) != NO_LABEL
    if modality := modality_of(output):
        is_judged &= source.present[modality].numpy()
    known = np.flatnonzero(is_judged).tolist()
    rows = _by_sample(known, source.clips)
    for own in rows:
        if odd := [row for row in own[1:] if (labels[row] != labels[own[0]]).any()]:
            raise _differ(head, [(source.clips[row], _text(labels[row], class_names)) for row in (own[0], odd[0])])
    first = [own[0] for own in rows]
    kind = MultiScores if is_multi_label else Scores
    return kind(
        split=split,
        head=output,
        clip_ids=tuple(source.clips[row].sample or source.clips[row].clip_id for row in first),
        probs=_averaged(probs, rows),
        labels=labels[first].astype(np.int64),
        class_names=class_names,
        paths=tuple(source.clips[row].path for row in first),
        groups=tuple(source.clips[row].group for row in first),
    )


def _by_sample(known: Sequence[int], clips: Sequence[Clip]) -> list[list[int]]:
    """Return the rows of each sample, in the order of their first clips; a clip without one stands alone."""
    rows: dict[tuple[bool, str], list[int]] = {}
    for row in known:
        clip = clips[row]
        rows.setdefault((bool(clip.sample), clip.sample or clip.clip_id), []).append(row)
    return list(rows.values())


def _text(label: npt.NDArray[np.generic], class_names: Sequence[str]) -> str:
    return join_names(class_names[int(k)] for k in (np.flatnonzero(label) if label.ndim else [label]))


def _differ(head: str, found: Sequence[tuple[Clip, str]]) -> UserError:
    told = ", ".join(f"'{text}' ({clip.clip_id})" for clip, text in found)
    return UserError(
        f"the clips of the sample '{found[0][0].sample}' are judged as one, but have different labels for {head}: "
        f"{told}. Mend the labels, or data.reader.sample and sample_regex, which say what a sample is."
    )


def _averaged(probs: np.ndarray, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.floating]:
    if not rows:
        return probs[:0]
    order = np.concatenate(rows)
    starts = np.cumsum([0, *(len(own) for own in rows[:-1])])
    counts = np.array([[len(own)] for own in rows], dtype=probs.dtype)
    return np.add.reduceat(probs[order], starts, axis=0) / counts
