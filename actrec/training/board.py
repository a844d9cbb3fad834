"""The history for TensorBoard, which shows it while training goes on."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actrec.errors import UserError

Write = Callable[[Sequence[Mapping[str, Any]]], None]


@contextmanager
def board(folder: Path, *, enabled: bool) -> Iterator[Write]:
    """Yield what writes the epochs of a history that it has not written yet.

    Args:
        folder: For `tensorboard --logdir`; what another run left there is removed.
        enabled: Otherwise nothing is written or removed.

    Raises:
        UserError: if the package is not installed.
    """
    if not enabled:
        yield lambda history: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            f"train.tensorboard: true needs the package tensorboard, which is not there ({error}). "
            "Run: pip install 'actrec[tensorboard]'; or set train.tensorboard: false"
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    written = 0
    with SummaryWriter(str(folder)) as writer:

        def write(history: Sequence[Mapping[str, Any]]) -> None:
            nonlocal written
            for row in history[written:]:
                for name, value in row.items():
                    if name != "epoch" and isinstance(value, int | float) and not isinstance(value, bool):
                        writer.add_scalar(name, value, row["epoch"])
            written = len(history)
            writer.flush()

        yield write
