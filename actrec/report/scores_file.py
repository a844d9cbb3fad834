"""scores.npz: the probabilities of every class, so that another ratio of modalities needs no model.

Its arrays, of which `numpy.load` reads one at a time:

    modalities              (m,) str: those that have outputs of their own, in the order of a ratio's numbers
    classes/<head>            (c,) str
    <split>/<output>/clip_ids (n,) str: of one modality, those that have it
    <split>/<output>/labels   (n,) int64; (n, c) of 0 and 1 where clips may have several classes
    <split>/<output>/probs    (n, c) float32
"""

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actrec.errors import UserError, not_here
from actrec.metrics.classification import Scores
from actrec.metrics.multi_label import MultiScores
from actrec.metrics.summary import AnyScores
from actrec.outputs import label_head

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


@dataclass(frozen=True, slots=True)
class SavedScores:
    """What scores.npz holds. `modalities` is empty where the model has one joint representation."""

    modalities: tuple[str, ...]
    scores: tuple[AnyScores, ...]


def dump_scores(all_scores: Iterable[AnyScores], *, modalities: Sequence[str]) -> bytes:
    """Return the content of scores.npz; the same scores give the same bytes.

    Args:
        all_scores: One for each split and output.
        modalities: Those that have outputs of their own; () if none has.
    """
    arrays: dict[str, npt.NDArray[Any]] = {"modalities": np.array(modalities, dtype=np.str_)}
    for scores in all_scores:
        own = f"{scores.split}/{scores.head}"
        arrays[f"classes/{label_head(scores.head)}"] = np.array(scores.class_names, dtype=np.str_)
        arrays[f"{own}/clip_ids"] = np.array(scores.clip_ids, dtype=np.str_)
        arrays[f"{own}/labels"] = scores.labels.astype(np.int64)
        arrays[f"{own}/probs"] = scores.probs.astype(np.float32)
    out = io.BytesIO()
    # Not np.savez: what dates it gives is its own business. Not compressed: zlib's versions differ in their bytes.
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, values in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            member.create_system = _UNIX
            archive.writestr(member, _npy(values))
    return out.getvalue()


def load_scores(path: Path) -> SavedScores:
    """Return what `dump_scores` has made.

    Raises:
        UserError: if it is not there, or another file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no scores yet. Make them: dvc repro.{not_here()}")
    try:
        if not zipfile.is_zipfile(path):  # numpy would leave the file open, or take it for a single array
            raise ValueError("expected an npz file")
        with np.load(path, allow_pickle=False) as arrays:
            found = [_scores(arrays, *name.split("/", 1)) for name in arrays.files if name.endswith("/probs")]
            return SavedScores(tuple(arrays["modalities"].tolist()), tuple(found))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        text = " ".join(str(error).split())[:150]
        raise UserError(f"{path}: not the scores that `evaluate` writes ({text}). Make them: dvc repro") from None


def _scores(arrays: Any, split: str, rest: str) -> AnyScores:
    output = rest.removesuffix("/probs")
    labels = arrays[f"{split}/{output}/labels"]
    kind = MultiScores if labels.ndim == 2 else Scores
    return kind(
        split=split,
        head=output,
        clip_ids=tuple(arrays[f"{split}/{output}/clip_ids"].tolist()),
        probs=arrays[f"{split}/{output}/probs"],
        labels=labels,
        class_names=tuple(arrays[f"classes/{label_head(output)}"].tolist()),
    )


def _npy(values: npt.NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(values), allow_pickle=False)
    return out.getvalue()
