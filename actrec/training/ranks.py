"""What each of several processes takes of the clips, and how what they find is put together again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed

from actrec.data.manifest import Clip
from actrec.training.sources import Batch, Source


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together: number `rank` of `size`; alone it is 0 of 1."""

    rank: int = 0
    size: int = 1

    def clips_in(self, num_clips: int) -> int:
        """Return how many of a batch's clips are this process's: shares are equal, or the first ones larger by one."""
        return num_clips // self.size + (self.rank < num_clips % self.size)

    def batch_size(self, batch_size: int) -> int:
        """Return how many clips this process takes at a time; one at least, see `order`."""
        return max(self.clips_in(batch_size), 1)

    def order(self, order: np.ndarray, batch_size: int) -> np.ndarray:
        """Return this process's clips of an epoch, in batches of `self.batch_size(batch_size)` but for the last.

        Of a batch with fewer clips than processes, those without one get its first: all must take part in each step.
        It must not count there; `clips_in` is 0.

        Args:
            order: The clips of all processes, int64 (n,).
            batch_size: That of all of them together.
        """
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        own = [np.array_split(batch, self.size)[self.rank] for batch in batches]
        return np.concatenate([part if len(part) else batch[:1] for part, batch in zip(own, batches, strict=True)])

    def rows(self, num_clips: int) -> np.ndarray:
        """Return which rows this process looks at: one block after the other; beyond the last it is that one again."""
        size = -(-num_clips // self.size)
        return np.minimum(np.arange(self.rank * size, (self.rank + 1) * size), num_clips - 1)

    def join(self, own: np.ndarray, num_clips: int, device: torch.device) -> np.ndarray:
        """Return what all processes found for their `rows`, (num_clips, …) in the order of the clips."""
        if self.size == 1:
            return own
        sent = torch.from_numpy(own).to(device)
        found = [torch.empty_like(sent) for _ in range(self.size)]
        distributed.all_gather(found, sent)
        return torch.cat(found)[:num_clips].cpu().numpy()

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of each value over all processes; without gradient."""
        if self.size == 1:
            return values
        values = values.detach().clone()
        distributed.all_reduce(values)
        return values

    def agree_on_buffers(self, module: torch.nn.Module) -> None:
        """Give all processes the buffers of the first, such as statistics of batch norm: each has its own clips'."""
        if self.size > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)


class Rows:
    """Some rows of a source, as a source of its own."""

    def __init__(self, source: Source, rows: np.ndarray) -> None:
        self._source, self._rows = source, rows
        self.clips: Sequence[Clip] = [source.clips[row] for row in rows]
        self.labels = {head: values[torch.from_numpy(rows)] for head, values in source.labels.items()}
        self.present = {modality: values[torch.from_numpy(rows)] for modality, values in source.present.items()}
        self.is_slow = source.is_slow

    def __len__(self) -> int:
        return len(self._rows)

    def training_batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Return a random view of each row."""
        return self._source.training_batch(self._rows[rows], epoch)

    def plain_batch(self, rows: np.ndarray) -> Batch:
        """Return all plain views of each row."""
        return self._source.plain_batch(self._rows[rows])


def own_rows(source: Source, ranks: Ranks) -> Source:
    """Return the clips that this process looks at where all of them are looked at once."""
    return source if ranks.size == 1 else Rows(source, ranks.rows(len(source)))
