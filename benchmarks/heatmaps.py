"""A clip's heat-maps, in this process, which does nothing else: ours against a loop over persons, frames and joints.

The loops do what GeneratePoseTarget of mmaction2 does, one joint or limb after the other; the tests take them as the
reference for the values. (Of limbs shorter than a pixel, mmaction2 draws the first joint alone.)
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from actrec.pose.heatmap import joint_heatmaps, limb_heatmaps
from actrec.pose.layouts import LAYOUTS
from benchmarks.table import Row
from benchmarks.turns import take_turns

FRAMES, SIZE_PX, SIGMA_PX = 32, 56, 0.6
_LIMBS = LAYOUTS["coco17"].limbs
_GOAL_MS, _GOAL = 2.0, 5.0
# A standing person of the height that the compact box leaves, in the order of coco17, in pixels.
_X = (28, 29, 27, 31, 25, 33, 23, 36, 20, 37, 19, 31, 25, 32, 24, 32, 24)
_Y = (8, 7, 7, 8, 8, 14, 14, 22, 22, 29, 29, 30, 30, 40, 40, 50, 50)

Maps = Callable[[np.ndarray, np.ndarray], np.ndarray]


def measure(*, quick: bool) -> list[Row]:
    rounds, clips = (1, 1) if quick else (9, 20)
    rows = []
    for persons in (1, 2):
        joints = f"heat-maps of {FRAMES} x 17 joints at {SIZE_PX}², {persons} a frame"
        ours_ms, loop_ms, ratio = _compare(_joints, joint_loop, persons, rounds, clips)
        rows.append(Row(f"{joints} / the goal", _shown(ours_ms), _shown(_GOAL_MS), ours_ms / _GOAL_MS, at_most=1.0))
        rows.append(Row(f"{joints} / a loop", _shown(ours_ms), _shown(loop_ms), ratio, at_least=_GOAL))
    ours_ms, loop_ms, ratio = _compare(_limbs, limb_loop, 1, rounds, clips)
    rows.append(Row(f"heat-maps of {FRAMES} x 17 limbs / a loop", _shown(ours_ms), _shown(loop_ms), ratio))
    return rows


def _shown(ms: float) -> str:
    return f"{ms:.2f} ms a clip"


def _joints(keypoint: np.ndarray, score: np.ndarray) -> np.ndarray:
    return joint_heatmaps(keypoint, score, SIZE_PX, SIGMA_PX)


def _limbs(keypoint: np.ndarray, score: np.ndarray) -> np.ndarray:
    return limb_heatmaps(keypoint, score, SIZE_PX, SIGMA_PX, _LIMBS)


def _compare(ours: Maps, loop: Maps, persons: int, rounds: int, clips: int) -> tuple[float, float, float]:
    """Return what a clip takes us and the loop, in ms, and the ratio of the loop's time by ours."""
    skeletons = [_skeleton(persons, seed) for seed in range(clips)]

    def run(maps: Maps) -> float:
        maps(*skeletons[0])
        started = time.perf_counter()
        for keypoint, score in skeletons:
            maps(keypoint, score)
        return (time.perf_counter() - started) / len(skeletons) * 1e3

    turns = take_turns(rounds, ours=lambda: run(ours), loop=lambda: run(loop))
    return turns.median("ours"), turns.median("loop"), turns.ratio("loop", "ours")


def _skeleton(persons: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    keypoint = np.stack([_X, _Y], axis=-1) + rng.normal(0, 1.5, (persons, FRAMES, len(_X), 2))
    return keypoint.astype(np.float32), rng.uniform(0.3, 1, keypoint.shape[:3]).astype(np.float32)


def joint_loop(
    keypoint: np.ndarray, score: np.ndarray, size_px: int = SIZE_PX, sigma_px: float = SIGMA_PX
) -> np.ndarray:
    """Return what `joint_heatmaps` does, one joint after the other."""
    persons, frames, joints = score.shape
    maps = np.zeros((joints, frames, size_px, size_px), np.float32)
    for person, frame, joint in np.ndindex(persons, frames, joints):
        (x, y), peak = keypoint[person, frame, joint], score[person, frame, joint]
        if peak < 1e-4:
            continue
        columns = np.arange(max(int(x - 3 * sigma_px), 0), min(int(x + 3 * sigma_px) + 1, size_px), dtype=np.float32)
        rows = np.arange(max(int(y - 3 * sigma_px), 0), min(int(y + 3 * sigma_px) + 1, size_px), dtype=np.float32)
        _merge(maps[joint, frame], columns, rows, (columns - x) ** 2 + (rows[:, None] - y) ** 2, peak, sigma_px)
    return maps


def limb_loop(
    keypoint: np.ndarray,
    score: np.ndarray,
    size_px: int = SIZE_PX,
    sigma_px: float = SIGMA_PX,
    limbs: Sequence[tuple[int, int]] = _LIMBS,
) -> np.ndarray:
    """Return what `limb_heatmaps` does, one limb after the other."""
    persons, frames = score.shape[:2]
    maps = np.zeros((len(limbs), frames, size_px, size_px), np.float32)
    for person, frame, limb in np.ndindex(persons, frames, len(limbs)):
        (start, end), peak = keypoint[person, frame, list(limbs[limb])], score[person, frame, list(limbs[limb])].min()
        if peak < 1e-4:
            continue
        low, high = np.minimum(start, end) - 3 * sigma_px, np.maximum(start, end) + 3 * sigma_px
        columns = np.arange(max(int(low[0]), 0), min(int(high[0]) + 1, size_px), dtype=np.float32)
        rows = np.arange(max(int(low[1]), 0), min(int(high[1]) + 1, size_px), dtype=np.float32)
        along_x, along_y = end - start
        length_sq = along_x**2 + along_y**2
        right, down = columns - start[0], rows[:, None] - start[1]
        share = np.clip((right * along_x + down * along_y) / length_sq, 0, 1) if length_sq else np.float32(0)
        distance_sq = (right - share * along_x) ** 2 + (down - share * along_y) ** 2
        _merge(maps[limb, frame], columns, rows, distance_sq, peak, sigma_px)
    return maps


def _merge(
    drawn: np.ndarray, columns: np.ndarray, rows: np.ndarray, distance_sq: np.ndarray, peak: float, sigma_px: float
) -> None:
    if not (len(columns) and len(rows)):
        return
    part = drawn[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    np.maximum(part, peak * np.exp(-distance_sq / 2 / sigma_px**2), out=part)
