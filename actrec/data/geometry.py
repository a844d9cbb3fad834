"""How two people stand to each other in a picture, in eight numbers."""

import math

import numpy as np

from actrec.media.facts import Box

NUM_FEATURES = 8
_CROWD_LEVELS = (0, 5, 10)


def spatial_features(box_a: Box, box_b: Box, *, width_px: int, height_px: int, persons: int, wraps: bool) -> np.ndarray:
    """Return the geometry of a pair, float32 (8,); the same for A and B swapped.

    With dx and dy between the boxes' centres (the short way round a panorama), all but the last without unit:

    0. the gap between the boxes, (dx - (wA + wB) / 2) / W: below 0 where they overlap;
    1. min(h) / max(h);
    2. dx / W;
    3. how far they overlap vertically, as a share of the lower one's height;
    4. min(area) / max(area);
    5. the distance of the centres by the root of both areas' sum;
    6. |dy| / H;
    7. how crowded it is: 0 nobody, 1 up to 5 persons, 2 up to 10, 3 more.

    Args:
        box_a: (x, y, width, height) in pixels, width and height above 0.
        box_b: Likewise.
        width_px: W, of the picture.
        height_px: H, of the picture.
        persons: In the whole picture.
        wraps: Left and right edge of the picture meet.

    Source: the eight features of the JRDB relation model, W x H there a panorama of 3760 x 480.
    """
    (xa, ya, wa, ha), (xb, yb, wb, hb) = box_a, box_b
    dx = abs((xa + wa / 2) - (xb + wb / 2))
    if wraps:
        dx %= width_px
        dx = min(dx, width_px - dx)
    dy = abs((ya + ha / 2) - (yb + hb / 2))
    overlap = max(0.0, min(ya + ha, yb + hb) - max(ya, yb))
    area_a, area_b = wa * ha, wb * hb
    return np.array(
        [
            (dx - (wa + wb) / 2) / width_px,
            min(ha, hb) / max(ha, hb),
            dx / width_px,
            overlap / min(ha, hb),
            min(area_a, area_b) / max(area_a, area_b),
            math.hypot(dx, dy) / math.sqrt(area_a + area_b),
            dy / height_px,
            sum(persons > level for level in _CROWD_LEVELS),
        ],
        np.float32,
    )
