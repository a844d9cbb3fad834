"""What is cut out of a picture for a box: places and pixels worked out by hand, and those that another library has."""

import random
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import torch
from PIL import Image

from actrec.data.people import box_fault
from actrec.errors import BadItem, UserError
from actrec.media.clip import ClipSpec
from actrec.media.crops import CropTask, cut_person, make_crop_file, read_crops
from actrec.media.probe import probe

WIDTH, HEIGHT = 100, 60
SPEC = ClipSpec(2, 1, None, size_px=16, resize="stretch", region="boxes", pad_frac=0.2)


def placed():
    """Return a picture (1, H, W, 3) whose red is a pixel's column, and green its row."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return torch.from_numpy(np.stack([x, y, np.full_like(x, 7)], axis=-1).astype(np.uint8)[None])


def extent(part):
    """Return (left, top, right, bottom) of a part of `placed`, the last two excluded."""
    assert part.shape[0] == 1 and part.shape[3] == 3
    (left, top), (right, bottom) = part[0, 0, 0, :2].tolist(), part[0, -1, -1, :2].tolist()
    assert part.shape[1:3] == (bottom + 1 - top, right + 1 - left)
    return left, top, right + 1, bottom + 1


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((20, 10, 10, 20), (18, 6, 32, 34)),  # 2 pixels on both sides, 4 above and below
        ((-4, 10, 10, 20), (0, 6, 8, 34)),
        ((20, -5, 10, 20), (18, 0, 32, 19)),
        ((95, 10, 10, 20), (93, 6, 100, 34)),
        ((20, 50, 10, 20), (18, 46, 32, 60)),
        ((99, 59, 10, 10), (97, 57, 100, 60)),  # one pixel of it is to be seen
        ((20.5, 10.25, 9, 19.5), (18, 6, 32, 34)),  # 18.7 to 31.3 and 6.35 to 33.65: whole pixels
        ((0, 0, 100, 60), (0, 0, 100, 60)),
        ((-200, -200, 500, 500), (0, 0, 100, 60)),
        ((50, 30, 1, 1), (49, 29, 52, 32)),
    ],
)
def test_a_box_is_widened_by_a_fifth_and_ends_where_the_picture_does(box, expected):
    assert extent(cut_person(placed(), box, 0.2, wraps=False)) == expected


@pytest.mark.parametrize(
    ("pad_frac", "expected"), [(0.0, (20, 10, 30, 30)), (0.5, (15, 0, 35, 40)), (9, (0, 0, 100, 60))]
)
def test_by_how_much(pad_frac, expected):
    assert extent(cut_person(placed(), (20, 10, 10, 20), pad_frac, wraps=False)) == expected


def test_without_margin_a_float_box_has_every_pixel_that_it_touches():
    assert extent(cut_person(placed(), (20.5, 10.25, 9, 19.5), 0.0, wraps=False)) == (20, 10, 30, 30)


@pytest.mark.parametrize("x", [95, -5, 0, 88.4, 99.5, -11.5])
def test_across_the_seam_the_crop_is_that_of_the_picture_rolled(x):
    """Rolled by half, what is at 95 is at 45, and nothing is near an edge."""
    whole = cut_person(placed(), (x, 10, 10, 20), 0.2, wraps=True)
    rolled = placed().roll(50, dims=2)
    assert torch.equal(whole, cut_person(rolled, ((x + 50) % 100, 10, 10, 20), 0.2, wraps=False))


def test_across_the_seam_by_hand():
    part = cut_person(placed(), (95, -5, 10, 20), 0.2, wraps=True)
    assert part[0, 0, :, 0].tolist() == [*range(93, 100), *range(7)]
    assert part[0, :, 0, 1].tolist() == list(range(19))  # above and below it ends


def test_a_box_that_goes_all_round_shows_nothing_twice():
    part = cut_person(placed(), (10, 10, 100, 20), 0.2, wraps=True)
    assert part[0, 0, :, 0].tolist() == [*range(90, 100), *range(90)]


@pytest.mark.parametrize("wraps", [False, True])
def test_every_box_without_a_fault_has_a_crop(wraps):
    draw = random.Random(0)
    num_cut = 0
    for _ in range(4000):
        box = (draw.uniform(-150, 250), draw.uniform(-90, 150), draw.uniform(0.5, 130), draw.uniform(0.5, 130))
        if draw.random() < 0.5:  # near the edges
            box = (draw.choice([WIDTH, -box[2], 0]) + draw.uniform(-1.5, 1.5), box[1], box[2], box[3])
        if not box_fault(box, width_px=WIDTH, height_px=HEIGHT, wraps=wraps):
            part = cut_person(placed(), box, draw.choice([0.0, 0.2]), wraps)
            assert min(part.shape) >= 1, box
            num_cut += 1
    assert num_cut > 400


# --- made square --------------------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path):
    """Return a picture with a texture, in which a box of 40x20 pixels at (10, 20) is orange."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    pixels[20:40, 10:50] = (250, 120, 10)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def crops(path, *boxes, wraps=False, start_s=None, **settings):
    return read_crops(path, probe(path), replace(SPEC, **settings), boxes, wraps=wraps, start_s=start_s)


def test_stretched_a_crop_fills_the_square_and_padded_it_keeps_its_proportions(picture):
    """40x20 pixels in a square of 16 are 16x8, with 4 black rows above and below."""
    orange = torch.tensor([250, 120, 10], dtype=torch.uint8)
    (stretched,) = crops(picture, (10, 20, 40, 20), pad_frac=0.0)
    assert stretched.shape == (16, 16, 3) and (stretched == orange).all()
    (padded,) = crops(picture, (10, 20, 40, 20), pad_frac=0.0, resize="pad")
    assert (padded[4:12] == orange).all() and not padded[:4].any() and not padded[12:].any()
    (narrow,) = crops(picture, (15, 20, 5, 20), pad_frac=0.0, resize="pad")
    assert (narrow[:, 6:10] == orange).all() and not narrow[:, :6].any() and not narrow[:, 10:].any()


@pytest.mark.parametrize("size_px", [112, 224])
def test_pixels_are_those_of_another_library(picture, size_px):
    boxes = [(4, 4, 20, 40), (60, 10, 30, 30)]
    found = crops(picture, *boxes, size_px=size_px)
    assert found.shape == (2, size_px, size_px, 3) and found.dtype == torch.uint8
    with Image.open(picture) as whole:
        for crop, place in zip(found, [(0, 0, 28, 52), (54, 4, 96, 46)], strict=True):
            other = np.asarray(whole.crop(place).resize((size_px, size_px), Image.Resampling.BILINEAR))
            np.testing.assert_allclose(crop.numpy().astype(int), other.astype(int), atol=1)


def test_each_crop_is_the_same_alone_and_among_others(picture):
    boxes = [(60, 10, 30, 30), (10, 20, 40, 20), (-5, -5, 20, 20)]
    together = crops(picture, *boxes)
    for box, crop in zip(boxes, together, strict=True):
        assert torch.equal(crops(picture, box)[0], crop)


def test_a_picture_that_lies_on_its_side_has_boxes_of_the_upright_one(tmp_path):
    """EXIF 6 turns it clockwise: what is stored at the bottom left comes to the top left."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[HEIGHT - 20 :, :30] = (0, 200, 0)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    found = crops(tmp_path / "a.png", (0, 0, 20, 30), (40, 70, 20, 30), pad_frac=0.0)
    assert (found[0] == torch.tensor([0, 200, 0], dtype=torch.uint8)).all() and not found[1].any()


def test_a_picture_of_another_size_than_its_header_says_is_not_cut(picture):
    facts = replace(probe(picture), width_px=200)
    with pytest.raises(BadItem, match="promises 200x60 pixels, the picture has 100x60") as caught:
        read_crops(picture, facts, SPEC, [(150, 10, 10, 10)], wraps=False)
    assert caught.value.reason == "frame_mismatch"


# --- videos -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[("mp4", "libx264"), ("avi", "mpeg4")], ids=["decord", "pyav"])
def film(tmp_path, make_video, request):
    """Return a video of 12 frames, ten a second, the k-th of which is grey of 20 k in its left half."""
    frames = np.zeros((12, 80, 96, 3), np.uint8)
    frames[:, :, :48] = 20 * np.arange(12)[:, None, None, None]
    suffix, codec = request.param
    return make_video(tmp_path / f"film.{suffix}", frames, codec=codec, options={"g": "4"})


@pytest.mark.parametrize(("start_s", "frame"), [(None, 0), (0.3, 3), (0.35, 3), (0.3999, 4), (1.1, 11), (1.19, 11)])
def test_a_pair_in_a_video_is_of_the_frame_that_is_shown_then(film, start_s, frame):
    found = crops(film, (4, 4, 30, 60), (60, 4, 30, 60), start_s=start_s, pad_frac=0.1)
    assert found[0].float().mean().item() == pytest.approx(20 * frame, abs=4)
    assert found[1].float().mean().item() == pytest.approx(0, abs=4)


def test_after_the_end_there_is_nobody(film):
    with pytest.raises(BadItem, match=r"nothing is shown any more at 1\.3 s") as caught:
        crops(film, (4, 4, 30, 60), start_s=1.3)
    assert caught.value.reason == "too_short"


@pytest.mark.parametrize(("rotation_deg", "turns"), [(90, 1), (180, 2), (270, 3)])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_boxes_are_of_the_upright_video(tmp_path, make_video, codec, rotation_deg, turns):
    """The player turns it clockwise, so that it was turned against the clock before."""
    upright = np.zeros((96, 80, 3) if turns % 2 else (80, 96, 3), np.uint8)
    upright[8:40, 40:72] = 220
    frames = np.repeat(np.rot90(upright, turns)[None], 4, axis=0)
    film = make_video(tmp_path / "turned.mp4", frames, codec=codec, rotation_deg=rotation_deg)
    assert probe(film).upright_px == upright.shape[1::-1]
    found = crops(film, (42, 10, 28, 28), (42, 44, 28, 28), (4, 10, 28, 28), pad_frac=0.0).float().mean(dim=(1, 2, 3))
    assert found.tolist() == pytest.approx([220, 0, 0], abs=4)


# --- the file -----------------------------------------------------------------------------------------------------


def test_the_file_has_a_crop_a_box_and_the_same_bytes_again(picture):
    boxes = ((10.0, 20.0, 40.0, 20.0), (95.0, 5.0, 10.0, 20.0))
    digest = sha256(picture.read_bytes()).hexdigest()
    task = CropTask(picture, digest, probe(picture), SPEC, None, boxes, wraps=True)
    threads = torch.get_num_threads()
    try:
        content = make_crop_file(task)
        assert content == make_crop_file(task)
        (picture.parent / "a.pt").write_bytes(content)
        assert torch.equal(torch.load(picture.parent / "a.pt", weights_only=True), crops(picture, *boxes, wraps=True))
        with pytest.raises(UserError, match=r"picture\.png: changed since ingest read it"):
            make_crop_file(replace(task, sha256="0" * 64))
    finally:
        torch.set_num_threads(threads)
