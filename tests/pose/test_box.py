"""Boxes by hand; and keypoints against what torch does to the pixels that they name."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from actrec.pose.box import apply_crop, compact_box, project, to_box
from actrec.pose.heatmap import joint_heatmaps

SWAP = (0, 2, 1)


def of(*places, score=1.0):
    """Return the skeleton of one person in one frame with joints at these places."""
    return np.array([[places]], np.float16), np.full((1, 1, len(places)), score, np.float16)


# --- the box --------------------------------------------------------------------------------------------------------


def test_a_box_by_hand():
    # 40 wide and 80 high round (120.5, 100.5) as measured from the picture's corner: 100 are wanted.
    assert compact_box(*of((100, 60), (140, 140)), (480, 640)) == (71, 51, 171, 151)


def test_it_is_round_all_persons_and_frames_and_may_leave_the_picture():
    keypoint = np.zeros((2, 3, 1, 2), np.float16)
    score = np.zeros((2, 3, 1), np.float16)
    for person, frame, place in ((0, 0, (10, 50)), (0, 2, (30, 60)), (1, 1, (210, 20))):
        keypoint[person, frame, 0], score[person, frame, 0] = place, 0.01
    # 200 wide, so 250 round (110.5, 40.5); what is not seen, at (0, 0), does not count.
    assert compact_box(keypoint, score, (120, 240)) == (-14, -84, 236, 166)


def test_it_holds_all_joints_with_room_about_them():
    rng = np.random.default_rng(0)
    for _ in range(200):
        keypoint = rng.uniform(0, 200, (2, 4, 3, 2))
        score = (rng.random((2, 4, 3)) > 0.4).astype(np.float32)
        x0, y0, x1, y1 = compact_box(keypoint, score, (200, 200))
        low, high = keypoint[score > 0].min(axis=0), keypoint[score > 0].max(axis=0)
        larger = (high - low).max()
        assert x1 - x0 == y1 - y0 == np.ceil(1.25 * larger)
        middle = np.array([x0 + x1 - 1, y0 + y1 - 1]) / 2
        assert np.abs(middle - (low + high) / 2).max() <= 0.5
        assert (low - [x0, y0]).min() >= 0.125 * larger - 1 and ([x1 - 1, y1 - 1] - high).min() >= 0.125 * larger - 1


@pytest.mark.parametrize(
    ("joints", "img_shape", "expected"),
    [
        (of((50, 50), (59, 90)), (100, 200), (0, -50, 200, 150)),  # 9 px wide
        (of((50, 50), (90, 59)), (200, 100), (-50, 0, 150, 200)),  # 9 px high
        (of((50, 50)), (200, 200), (0, 0, 200, 200)),
        (of((50, 50), (90, 90), score=0), (101, 200), (0, -49, 200, 151)),  # none is seen
        (of((50, 50), (60, 60)), (200, 200), (49, 49, 62, 62)),  # 10 px will do: 12.5, rounded up
    ],
)
def test_too_small_a_box_is_the_whole_picture(joints, img_shape, expected):
    assert compact_box(*joints, img_shape) == expected


# --- the way of a joint ---------------------------------------------------------------------------------------------


def cut(image, x0, y0, x1, y1):
    """Return rows y0 … y1 - 1 and columns x0 … x1 - 1 of an image (H, W), zeros where there are none."""
    height, width = image.shape
    padded = functional.pad(image, (max(-x0, 0), max(x1 - width, 0), max(-y0, 0), max(y1 - height, 0)))
    left, top = max(x0, 0), max(y0, 0)
    return padded[top : top + y1 - y0, left : left + x1 - x0]


def resize(image, size_px, *, antialias=True):
    return functional.interpolate(image[None, None], (size_px, size_px), mode="bilinear", antialias=antialias)[0, 0]


def dot(x, y, *, height=90, width=120):
    image = torch.zeros(height, width)
    image[y, x] = 1.0
    return image


def place_of(image):
    """Return the (x, y) of a dot's centre of mass."""
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in image.shape), indexing="ij")
    return torch.stack([(columns * image).sum(), (rows * image).sum()]) / image.sum()


@pytest.mark.parametrize("size_px", [17, 56, 64, 91, 200])
@pytest.mark.parametrize("box", [(20, 10, 84, 74), (-13, -20, 107, 100), (40, 30, 130, 120)])
def test_a_joint_goes_where_its_pixel_goes(box, size_px):
    rng = np.random.default_rng(size_px)
    for _ in range(10):
        x, y = int(rng.integers(max(box[0], 0) + 6, min(box[2], 120) - 6)), int(rng.integers(max(box[1], 0) + 6, 70))
        shown = resize(cut(dot(x, y), *box), size_px)
        moved = to_box(np.array([x, y], np.float32), box, size_px)
        # The weights of a resized pixel are normed over its neighbours, so the dot's mass is a little uneven.
        np.testing.assert_allclose(place_of(shown), moved, atol=0.2)
        heat = joint_heatmaps(moved[None, None, None], np.ones((1, 1, 1)), size_px, 0.7)[0, 0]
        row, column = divmod(int(heat.argmax()), size_px)
        assert np.abs(moved - [column, row]).max() <= 0.5 + 1e-4
        assert shown[row, column] > 0.75 * shown.max()  # of neighbours that the dot lies between, either may be larger


@pytest.mark.parametrize("size_px", [16, 32, 64, 100])
@pytest.mark.parametrize(("antialias", "tolerance_px"), [(False, 1e-4), (True, 0.05)])
def test_an_image_of_coordinates_says_where_each_pixel_came_from(size_px, antialias, tolerance_px):
    """Interpolation keeps straight lines straight, but for the edges; with antialiasing, nearly so."""
    box = (24, 6, 104, 86)
    rows, columns = torch.meshgrid(torch.arange(90.0), torch.arange(120.0), indexing="ij")
    from_x, from_y = (resize(cut(image, *box), size_px, antialias=antialias) for image in (columns, rows))
    moved = to_box(np.stack([from_x, from_y], axis=-1), box, size_px)
    inner = slice(size_px // 8, -size_px // 8)
    expected = np.stack(np.meshgrid(np.arange(size_px), np.arange(size_px)), axis=-1)
    np.testing.assert_allclose(moved[inner, inner], expected[inner, inner], atol=tolerance_px)


def test_a_box_of_the_same_size_moves_by_whole_pixels():
    keypoint = np.array([[[[100.0, 60.0], [140.0, 140.0]]]], np.float16)
    moved = to_box(keypoint, (71, 51, 171, 151), 100)
    assert moved.dtype == np.float32
    assert moved.tolist() == [[[[29.0, 9.0], [69.0, 89.0]]]]


def test_half_the_size_by_hand():
    # Columns 10 and 11 become column 0: the centre of it lies between theirs.
    assert to_box(np.array([[10.0, 21.0], [10.5, 20.5]]), (10, 20, 18, 28), 4).tolist() == [[-0.25, 0.25], [0, 0]]


# --- crops ----------------------------------------------------------------------------------------------------------


def test_a_crop_by_hand():
    keypoint = np.array([[[[4.0, 8.0], [7.0, 9.0], [12.0, 9.0]]]], np.float32)
    score = np.array([[[0.5, 0.7, 0.9]]], np.float16)
    # Rows 8 to 11 and columns 4 to 11, each four times as wide or eight times as high: column 12 is outside.
    moved, scores = apply_crop(keypoint, score, (8, 4, 4, 8), to_px=32, flip=False, swap=SWAP)
    assert moved[0, 0, :2].tolist() == [[1.5, 3.5], [13.5, 11.5]]
    assert scores.dtype == np.float16
    np.testing.assert_array_equal(scores, np.array([[[0.5, 0.7, 0.0]]], np.float16))
    mirrored, scores = apply_crop(keypoint, score, (8, 4, 4, 8), to_px=32, flip=True, swap=SWAP)
    assert mirrored[0, 0, [0, 2]].tolist() == [[29.5, 3.5], [17.5, 11.5]]  # 31 - 1.5; and the right hand is a left one
    np.testing.assert_array_equal(scores, np.array([[[0.5, 0.0, 0.7]]], np.float16))


@pytest.mark.parametrize("flip", [False, True])
def test_a_joint_s_peak_lands_on_its_pixel_through_every_crop(flip):
    """A picture's way: the box, a resize to 80, a random crop, a resize to 56, perhaps a mirror. So the joint's."""
    rng = np.random.default_rng(3)
    is_kept = []
    for _ in range(60):
        x, y = int(rng.integers(20, 100)), int(rng.integers(20, 70))
        box = (10, 5, 90, 85) if rng.random() < 0.5 else (-15, -20, 115, 110)
        height, width = (int(n) for n in rng.integers(48, 81, 2))
        top, left = int(rng.integers(81 - height)), int(rng.integers(81 - width))
        image = resize(cut(dot(x, y), *box), 80)[top : top + height, left : left + width]
        image = resize(image, 56)
        image = image.flip(1) if flip else image
        keypoint = to_box(np.array([[[[x, y]]]], np.float32), box, 80)
        crop = (top, left, height, width)
        moved, score = apply_crop(keypoint, np.ones((1, 1, 1)), crop, to_px=56, flip=flip, swap=(0,))
        is_kept.append(bool(score[0, 0, 0]))
        heat = joint_heatmaps(moved, score, 56, 0.7)[0, 0]
        if not is_kept[-1]:
            assert not heat.any()
            assert image.max() < 0.3  # at most the rim of the dot
            continue
        row, column = divmod(int(heat.argmax()), 56)
        assert heat[row, column] > 0.5
        assert image[row, column] > 0.75 * image.max()  # of neighbours between which the dot lies, either is the larger
    assert 5 < sum(is_kept) < 60


def test_the_edge_of_a_crop_belongs_to_it_on_the_low_side():
    keypoint = np.array([[[[3.5, 5.0], [3.49, 5.0], [11.49, 5.0], [11.5, 5.0], [5.0, 3.49], [5.0, 11.5]]]])
    _, score = apply_crop(keypoint, np.ones((1, 1, 6)), (4, 4, 8, 8), to_px=8, flip=False, swap=range(6))
    assert score.tolist() == [[[1, 0, 1, 0, 0, 0]]]


def test_what_is_not_seen_stays_so():
    keypoint = np.array([[[[5.0, 5.0], [6.0, 6.0], [7.0, 7.0]]]], np.float32)
    _, score = apply_crop(keypoint, np.array([[[0.0, 1, 0]]]), (0, 0, 10, 10), to_px=8, flip=True, swap=SWAP)
    assert score.tolist() == [[[0, 0, 1]]]


# --- from space to a picture ----------------------------------------------------------------------------------------


def test_metres_become_pixels_with_y_downwards():
    keypoint = np.array([[[[2.5, -1.0, 3.0], [1.5, -2.0, 2.0], [2.25, -2.25, 9.0], [0.0, 0.0, 0.0]]]], np.float16)
    score = np.array([[[1, 1, 1, 0]]], np.float16)
    flat, img_shape = project(keypoint, score)
    assert (flat.dtype, flat.shape) == (np.float32, (1, 1, 4, 2))
    # x: 1.5 is the least. y: -1.0 is the highest.
    assert flat.tolist() == [[[[256, 0], [0, 256], [192, 320], [0, 0]]]]
    assert img_shape == (321, 257)


def test_one_scale_and_shift_for_all_persons_and_frames():
    rng = np.random.default_rng(0)
    keypoint = rng.normal(0, 1, (2, 5, 4, 3))
    score = (rng.random((2, 5, 4)) > 0.3).astype(np.float32)
    flat, (height, width) = project(keypoint, score)
    seen = score > 0
    shift = flat[seen] - keypoint[seen][:, :2] * (256, -256)
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-3)
    assert flat.min() == 0 and not flat[~seen].any()
    assert width - 1 >= flat[..., 0].max() > width - 2 and height - 1 >= flat[..., 1].max() > height - 2


def test_a_skeleton_at_the_origin_is_seen_all_the_same():
    keypoint = np.array([[[[0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]]])
    assert project(keypoint, np.ones((1, 1, 2)))[0].tolist() == [[[[256, 0], [0, 0]]]]


def test_nobody_makes_an_empty_picture():
    flat, img_shape = project(np.zeros((2, 3, 4, 3)), np.zeros((2, 3, 4)))
    assert flat.shape == (2, 3, 4, 2) and not flat.any() and img_shape == (1, 1)
    assert compact_box(flat, np.zeros((2, 3, 4)), img_shape) == (0, 0, 1, 1)
