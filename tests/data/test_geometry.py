"""The eight numbers of a pair, worked out by hand."""

import numpy as np
import pytest

from actrec.data.geometry import spatial_features
from actrec.data.people import People, box_fault

PANORAMA = {"width_px": 3760, "height_px": 480, "wraps": True}
PLAIN = {"width_px": 200, "height_px": 100, "wraps": False}


def features(a, b, persons=2, **picture):
    return spatial_features(a, b, persons=persons, **picture)


def test_identical_boxes():
    # dx = dy = 0: the gap is -w / W, everything that compares sizes is 1.
    found = features((10, 20, 40, 50), (10, 20, 40, 50), **PLAIN)
    np.testing.assert_allclose(found, [-40 / 200, 1, 0, 1, 1, 0, 0, 1], rtol=1e-6)
    assert found.dtype == np.float32


def test_touching_boxes_of_different_size():
    # A spans x 0-20, y 10-50; B x 20-50, y 30-90: centres (10, 30) and (35, 60), dx 25, dy 30.
    # Vertically they share y 30-50: 20 of the lower one's 40. Areas 800 and 1800.
    found = features((0, 10, 20, 40), (20, 30, 30, 60), **PLAIN)
    distance = np.hypot(25, 30) / np.sqrt(2600)
    np.testing.assert_allclose(found, [0, 40 / 60, 25 / 200, 0.5, 800 / 1800, distance, 0.3, 1], rtol=1e-6)


def test_boxes_above_each_other_do_not_overlap():
    assert features((0, 0, 10, 10), (0, 50, 10, 10), **PLAIN)[3] == 0


def test_across_the_seam_it_is_near():
    # Centres at 3750 and 10: 20 pixels apart the short way, 3740 the long one.
    pair = (3730, 100, 40, 80), (-10, 100, 40, 80)
    near = features(*pair, **PANORAMA)
    assert near[2] == pytest.approx(20 / 3760)
    assert near[0] == pytest.approx((20 - 40) / 3760)
    far = features(*pair, **{**PANORAMA, "wraps": False})
    assert far[2] == pytest.approx(3740 / 3760)
    # A box that reaches beyond the right edge is the same as one from the left.
    np.testing.assert_allclose(features(pair[0], (3750, 100, 40, 80), **PANORAMA), near, rtol=1e-5)


@pytest.mark.parametrize(("persons", "level"), [(0, 0), (1, 1), (5, 1), (6, 2), (10, 2), (11, 3), (80, 3)])
def test_crowd_levels(persons, level):
    assert features((0, 0, 10, 10), (0, 0, 10, 10), persons, **PLAIN)[7] == level


def test_who_is_a_does_not_matter():
    a, b = (3, 5, 20, 41), (150, 30, 33, 60)
    np.testing.assert_array_equal(features(a, b, **PLAIN), features(b, a, **PLAIN))


@pytest.mark.parametrize(
    ("box", "wraps", "reason"),
    [
        ((10, 10, 30, 30), False, None),
        ((-20, -20, 30, 30), False, None),
        ((190, 90, 30, 30), False, None),
        ((40, 40, -10, 20), False, "swapped_corners"),
        ((40, 40, 10, -20), False, "swapped_corners"),
        ((40, 40, 0, 20), False, "empty_box"),
        ((40, 40, 10, 0.5), False, "empty_box"),
        ((200, 10, 30, 30), False, "box_outside"),
        ((-30, 10, 30, 30), False, "box_outside"),
        ((-29, 10, 30, 30), False, None),
        ((-29.5, 10, 30, 30), False, "box_outside"),  # half a pixel of it is to be seen
        ((199.5, 10, 30, 30), False, "box_outside"),
        ((199, 99, 30, 30), False, None),
        ((199, 99.5, 30, 30), False, "box_outside"),
        ((0, -29.5, 30, 30), True, "box_outside"),
        ((float("nan"),) * 4, False, "unknown_person"),
        ((10, 100, 30, 30), False, "box_outside"),
        ((10, -30, 30, 30), False, "box_outside"),
        ((200, 10, 30, 30), True, None),
        ((-30, 10, 30, 30), True, None),
        ((0, 0, 200, 30), True, None),
        ((0, 0, 201, 30), True, "box_outside"),
        ((400, 0, 10, 30), True, "box_outside"),  # twice round
        ((-210.5, 0, 10, 30), True, "box_outside"),
    ],
)
def test_boxes_that_show_nobody(box, wraps, reason):
    fault = box_fault(box, width_px=200, height_px=100, wraps=wraps)
    assert (fault and fault[0]) == reason


def test_people_survive_the_table():
    people = People(((1.5, 2, 3, 4), (0, 0, 10, 20)), persons=7, wraps=True)
    assert People.parse(people.dump()) == people
    assert People.parse("") is None
