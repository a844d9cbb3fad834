"""The square of a picture that people are in, and where their joints go as it is cut out, resized and mirrored.

A keypoint (x, y) of whole numbers is the centre of the pixel in column x and row y; so a picture of W columns reaches
from x = -0.5 to W - 0.5. (mmaction2 scales keypoints without these halves: in smaller pictures they are up to half a
pixel off what the image shows.)
A box (x0, y0, x1, y1) is of columns x0 … x1 - 1 and rows y0 … y1 - 1, of which some may lie outside the picture.
Score 0: not seen; what the keypoint says there means nothing, and it is not looked at.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actrec.pose.flip import flip_keypoint
from actrec.pose.skeleton import Skeleton

_GROWTH = 1.25
_MIN_EXTENT_PX = 10
_PX_PER_METRE = 256

Corners = tuple[float, float, float, float]  # x0, y0, x1, y1
Crop = tuple[int, int, int, int]  # top, left, height, width


def compact_box(keypoint: np.ndarray, score: np.ndarray, img_shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the square (x0, y0, x1, y1) round all seen joints of all persons and frames, with room about them.

    Its side is 1.25 times the larger of the joints' width and height, about their middle. It is of whole pixels, so
    that an image can be cut there. Where their width or height is less than 10 px, or none is seen, it is the square
    round the whole picture.

    Args:
        keypoint: (M, T, V, 2), finite, in pixels of the picture.
        score: (M, T, V), 0 where not seen.
        img_shape: (height, width) of the picture.

    Source: PoseCompact of mmaction2 with hw_ratio 1, but for two things: it keeps the whole picture's own proportions,
    and rounds towards zero, so that its square may be one pixel out of square.
    """
    seen = keypoint[score > 0].astype(np.float64)
    low, high = (seen.min(axis=0), seen.max(axis=0)) if len(seen) else (np.zeros(2), np.zeros(2))
    if (high - low).min() < _MIN_EXTENT_PX:
        height, width = img_shape
        return _square(np.array([width, height]) / 2, max(height, width))
    return _square((low + high + 1) / 2, (high - low).max() * _GROWTH)


def _square(center: np.ndarray, side: float) -> tuple[int, int, int, int]:
    """Return the square round `center`, measured from the picture's corner, of `side` rounded up to whole pixels."""
    side_px = int(np.ceil(side))
    x0, y0 = (int(corner) for corner in np.floor(center - side_px / 2 + 0.5))
    return x0, y0, x0 + side_px, y0 + side_px


def to_box(keypoint: np.ndarray, box: Corners, size_px: int) -> NDArray[np.float32]:
    """Return keypoint (…, 2) in pixels of the box resized to (size_px, size_px), float32.

    It is what torch's interpolate does to an image with align_corners=False: edges come to lie on edges.
    """
    corner, opposite = np.array(box[:2], np.float64), np.array(box[2:], np.float64)
    return ((keypoint - corner + 0.5) * (size_px / (opposite - corner)) - 0.5).astype(np.float32)


def apply_crop(
    keypoint: np.ndarray, score: np.ndarray, crop: Crop, *, to_px: int, flip: bool, swap: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoint (…, V, 2) and score (…, V) in a crop that is resized to (to_px, to_px), then perhaps mirrored.

    Args:
        keypoint: In the pixels that the crop is given in.
        score: Becomes 0 where a joint lies outside the crop.
        crop: (top, left, height, width), as an image is cut: image[top : top + height, left : left + width].
        to_px: It may be another than the image is resized to: heat-maps are smaller.
        flip: Mirror.
        swap: See `flip`.
    """
    top, left, height, width = crop
    moved = to_box(keypoint, (left, top, left + width, top + height), to_px)
    is_inside = ((moved >= -0.5) & (moved < to_px - 0.5)).all(axis=-1)
    kept = np.where(is_inside, score, 0)
    return flip_keypoint(moved, kept, width_px=to_px, swap=swap) if flip else (moved, kept)


def project(keypoint: np.ndarray, score: np.ndarray) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Return a skeleton in space as one in a picture: keypoint float32 (M, T, V, 2) in pixels, and its (height, width).

    Seen from straight ahead, at no distance in particular (orthographic): 256 px a metre. The picture is the smallest
    that has the centres of all seen joints in it, so none is negative. Joints that are not seen stay at 0.

    Args:
        keypoint: (M, T, V, 3) in metres, x right, y up, z away.
        score: (M, T, V), 0 where not seen.
    """
    is_seen = score > 0
    if not is_seen.any():
        return np.zeros((*score.shape, 2), np.float32), (1, 1)
    flat = keypoint[..., :2].astype(np.float64) * (_PX_PER_METRE, -_PX_PER_METRE)
    flat -= flat[is_seen].min(axis=0)
    width, height = np.ceil(flat[is_seen].max(axis=0)).astype(int) + 1
    return np.where(is_seen[..., None], flat, 0).astype(np.float32), (int(height), int(width))


def in_square(skeleton: Skeleton, size_px: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return keypoints (M, T, V, 2) in pixels of the square around all persons, size_px wide, and scores (M, T, V).

    A skeleton in metres is projected first.
    """
    keypoint, score = skeleton.keypoint.astype(np.float32), skeleton.score.astype(np.float32)
    if skeleton.img_shape is None:
        keypoint, shape = project(keypoint, score)
    else:
        shape = skeleton.img_shape
    return to_box(keypoint, compact_box(keypoint, score, shape), size_px), score
