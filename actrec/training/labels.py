"""Class names as numbers."""

from collections.abc import Collection, Mapping, Sequence

import torch

from actrec.data.manifest import Clip, split_names
from actrec.errors import UserError

NO_LABEL = -1


def label_tensors(
    clips: Sequence[Clip], classes: Mapping[str, Sequence[str]], multi_label: Collection[str]
) -> dict[str, torch.Tensor]:
    """Return what each head should say of the clips.

    Args:
        clips: The rows.
        classes: The class names of each head, in the order of their numbers.
        multi_label: The heads whose clips may have several classes.

    Returns:
        A head: class numbers int64 (n,), NO_LABEL where a clip has none; or, of a head in `multi_label`, float32
        (n, classes) of 0 and 1, with rows of NO_LABEL where a clip has none. A class that is not in `classes` is none.
    """
    return {
        head: _many_hot(clips, head, names) if head in multi_label else _numbers(clips, head, names)
        for head, names in classes.items()
    }


def in_class_order(weights: Mapping[str, float], names: Sequence[str]) -> list[float]:
    """Return train.class_weights {class: weight} as a weight a class number.

    Raises:
        UserError: if a class has none, or a name is no class.
    """
    if set(weights) != set(names):
        raise UserError(
            f"train.class_weights is of {sorted(weights)}; the classes are {list(names)}. Give each of them a weight, "
            "and nothing else; or take balanced"
        )
    return [weights[name] for name in names]


def _numbers(clips: Sequence[Clip], head: str, names: Sequence[str]) -> torch.Tensor:
    known = {name: i for i, name in enumerate(names)}
    return torch.tensor([known.get(clip.labels.get(head, ""), NO_LABEL) for clip in clips], dtype=torch.int64)


def _many_hot(clips: Sequence[Clip], head: str, names: Sequence[str]) -> torch.Tensor:
    known = {name: i for i, name in enumerate(names)}
    rows = torch.full((len(clips), len(names)), float(NO_LABEL))
    for row, clip in zip(rows, clips, strict=True):
        own = [known[name] for name in split_names(clip.labels.get(head, "")) if name in known]
        if own:
            row.zero_()
            row[own] = 1
    return rows
