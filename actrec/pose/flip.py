"""The mirror image of keypoints.

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
