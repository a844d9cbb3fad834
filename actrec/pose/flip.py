"""The mirror image: of keypoints, and of heat-maps of joints or limbs.

`swap` is of the layout: swap[v] is the joint that v becomes in a mirror image, as the left wrist becomes the right one.
"""

from collections.abc import Sequence

import numpy as np


def flip_keypoint(
    keypoint: np.ndarray, score: np.ndarray, *, width_px: int, swap: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoint (…, V, 2) and score (…, V) of the mirrored picture.

    x becomes width_px - 1 - x: whole numbers are centres of pixels (see `box`), and column i becomes width_px - 1 - i
    when an image is mirrored. Keypoints of joints that are not seen (score 0) move too, and still mean nothing.
    """
    mirrored = keypoint[..., list(swap), :].copy()
    mirrored[..., 0] = width_px - 1 - mirrored[..., 0]
    return mirrored, score[..., list(swap)]


def flip_heatmaps(heatmaps: np.ndarray, swap: Sequence[int]) -> np.ndarray:
    """Return heat-maps (K, T, H, W) of the mirrored picture; for those of limbs, `swap` is `limb_swap`'s."""
    return np.ascontiguousarray(heatmaps[list(swap), ..., ::-1])


def limb_swap(limbs: Sequence[tuple[int, int]], swap: Sequence[int]) -> tuple[int, ...]:
    """Return which limb each becomes in a mirror image: the one between the swapped joints, in either order.

    Raises:
        ValueError: if one of them is no limb of the layout.
    """
    places = {frozenset(limb): place for place, limb in enumerate(limbs)}
    images = [frozenset(swap[joint] for joint in limb) for limb in limbs]
    missing = [
        f"{limb} becomes {tuple(swap[joint] for joint in limb)}"
        for limb, image in zip(limbs, images, strict=True)
        if image not in places
    ]
    if missing:
        raise ValueError(
            f"the limbs of this layout have no mirror image: {', '.join(missing)}, which the layout does not list; "
            "add it to its limbs, or correct its swap"
        )
    return tuple(places[image] for image in images)
