"""Randomness without state: a number depends on the seed and on what it is for, never on what was drawn before.

So the number of loader workers, and where a run was killed and resumed, cannot matter. No code draws from an ambient
generator, but for dropout, whose generator is seeded anew at each step.
"""

from hashlib import sha256

import numpy as np


def derive(seed: int, *what: int | str) -> int:
    """Return a 63-bit number that depends on the seed and on every part of `what`."""
    text = "\0".join(str(part) for part in (seed, *what))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *what: int | str) -> np.random.Generator:
    """Return a fresh generator for one purpose, such as (epoch, clip id)."""
    return np.random.default_rng(derive(seed, *what))


def epoch_order(num_clips: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order in which an epoch visits the clips, int64 (num_clips,)."""
    return generator(seed, "order", epoch).permutation(num_clips)


def balanced_order(labels: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Return which clips an epoch visits, int64 (n,) of n clips: drawn one by one, each class as likely.

    Clips of rare classes come several times, others not at all; and those without a label never.

    Args:
        labels: Class numbers int64 (n,), negative where a clip has none; one has a label.
        seed: See `generator`.
        epoch: Likewise.
    """
    known = np.flatnonzero(labels >= 0)
    _, own, counts = np.unique(labels[known], return_inverse=True, return_counts=True)
    chances = 1 / (len(counts) * counts[own])
    return generator(seed, "balanced order", epoch).choice(known, size=len(labels), p=chances)
