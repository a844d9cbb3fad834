import numpy as np
import pytest
import torch
from torch.nn import functional

from actrec.training.views import (
    PlainViews,
    cut,
    jitter_color,
    jittered,
    plain_view,
    randaugmented,
    random_crop,
    random_mel,
    views_of,
)


def coordinates(height, width, *, frames=2):
    """Return a clip whose pixels say where they are: red the row, green the column, blue the frame."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    clip = torch.zeros((frames, height, width, 3), dtype=torch.uint8)
    clip[..., 0], clip[..., 1] = rows, columns
    clip[..., 2] = torch.arange(frames)[:, None, None]
    return clip


def view_of(clip, rng, *, input_px, min_area_frac=0.5, flip_prob=0.0, color_jitter=0.0):
    crop = random_crop(rng, *clip.shape[1:3], min_area_frac=min_area_frac, flip_prob=flip_prob)
    return jittered(cut(clip, crop, input_px), rng, color_jitter)


@pytest.fixture
def crops(monkeypatch):
    """Return the list of what was cut out, before it is resized."""
    found = []
    real = functional.interpolate
    monkeypatch.setattr(functional, "interpolate", lambda x, *a, **k: found.append(x) or real(x, *a, **k))
    return found


def test_each_scale_of_the_section_has_views_of_its_own():
    section = {"clips": 3, "flip": True, "scales": [1.0, 1.5]}
    assert views_of(section) == [PlainViews(3, True, 1.0), PlainViews(3, True, 1.5)]
    assert views_of({"clips": 2, "flip": False, "scales": [0.5]}) == [PlainViews(2, False, 0.5)]


def test_a_plain_view_of_the_same_size_is_the_clip_itself():
    clips = torch.randint(0, 256, (2, 3, 8, 8, 3), dtype=torch.uint8)
    assert torch.equal(plain_view(clips, input_px=8, crop_frac=1.0), clips)


def test_a_plain_view_of_a_part_is_the_middle_of_the_middle_square():
    clip = coordinates(12, 20)
    assert torch.equal(plain_view(clip, input_px=6, crop_frac=0.5), clip[:, 3:9, 7:13])
    assert torch.equal(plain_view(clip, input_px=1, crop_frac=0.01), clip[:, 5:6, 9:10])


def test_a_plain_view_resizes_each_frame_by_itself():
    clips = torch.randint(0, 256, (2, 3, 12, 12, 3), dtype=torch.uint8)
    view = plain_view(clips, input_px=8, crop_frac=1.0)
    assert (view.shape, view.dtype) == ((2, 3, 8, 8, 3), torch.uint8)
    alone = functional.interpolate(clips[1, 2].permute(2, 0, 1)[None].float(), (8, 8), mode="bilinear", antialias=True)
    assert (view[1, 2].permute(2, 0, 1).float() - alone[0]).abs().max() <= 1


def test_random_crops_have_the_stated_area_and_aspect_and_lie_inside(crops):
    clip, areas, aspects, tops = coordinates(200, 200), [], [], []
    rng = np.random.default_rng(0)
    for _ in range(300):
        view_of(clip, rng, input_px=8, min_area_frac=0.4)
        crop = crops[-1]
        height, width = crop.shape[2:]
        areas.append(height * width / 200**2)
        aspects.append(width / height)
        tops.append(int(crop[0, 0, 0, 0]))
        # A stretch of rows and columns as they lie in the frame: nothing from outside, nothing moved.
        left = int(crop[0, 1, 0, 0])
        assert torch.equal(crop[0].permute(1, 2, 0), clip[0, tops[-1] : tops[-1] + height, left : left + width])
    assert 0.4 * 0.98 <= min(areas) <= 0.42 and 0.98 <= max(areas) <= 1
    assert 3 / 4 * 0.98 <= min(aspects) < 0.78 and 1.28 < max(aspects) <= 4 / 3 * 1.02
    assert np.mean(areas) == pytest.approx(0.7, abs=0.03)  # uniform
    assert np.mean(np.log(aspects)) == pytest.approx(0, abs=0.03)
    assert len(set(tops)) > 30


@pytest.mark.parametrize("shape", [(40, 40), (40, 90), (90, 40)])
def test_the_whole_area_is_no_crop(shape):
    clip = coordinates(*shape)
    view = view_of(clip, np.random.default_rng(1), input_px=16, min_area_frac=1.0)
    assert torch.equal(view, plain_view(clip, input_px=16, crop_frac=1.0))


def test_all_frames_share_the_crop_and_the_mirror():
    clip = coordinates(32, 32, frames=5)
    for seed in range(5):
        view = view_of(clip, np.random.default_rng(seed), input_px=16, flip_prob=0.5)
        assert all(torch.equal(frame[..., :2], view[0, ..., :2]) for frame in view)
        assert view[:, 0, 0, 2].tolist() == list(range(5))


def test_mirroring():
    clip = coordinates(32, 32)
    never, always = (view_of(clip, np.random.default_rng(3), input_px=16, flip_prob=p) for p in (0.0, 1.0))
    assert torch.equal(always.flip(2), never) and not torch.equal(always, never)
    assert (never.int()[..., 0].diff(dim=1) >= 0).all() and (never.int()[..., 1].diff(dim=2) >= 0).all()
    assert (always.int()[..., 0].diff(dim=1) >= 0).all() and (always.int()[..., 1].diff(dim=2) <= 0).all()
    assert torch.equal(always.flip(2).flip(2), always)
    rng = np.random.default_rng(0)
    columns = [view_of(clip, rng, input_px=16, flip_prob=0.3)[0, 0, :, 1].tolist() for _ in range(200)]
    assert 40 <= sum(left > right for left, *_, right in columns) <= 80  # 60 expected, 3 standard deviations


def test_without_jitter_colours_stay():
    clip = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(view_of(clip, np.random.default_rng(0), input_px=16, min_area_frac=1.0), clip)
    other = view_of(clip, np.random.default_rng(0), input_px=16, min_area_frac=1.0, color_jitter=0.3)
    assert not torch.equal(other, clip)


@pytest.mark.parametrize("color_jitter", [0.1, 0.4])
def test_jitter_is_as_strong_as_asked_for(color_jitter):
    """Of an even grey only brightness shows: it is spread over [1 - j, 1 + j]."""
    grey = torch.full((1, 4, 4, 3), 100, dtype=torch.uint8)
    views = [jittered(grey, np.random.default_rng(seed), color_jitter) for seed in range(300)]
    assert all((view == view[0, 0, 0, 0]).all() for view in views)
    factors = [view[0, 0, 0, 0].item() / 100 for view in views]
    assert 1 - color_jitter - 0.005 <= min(factors) <= 1 - 0.95 * color_jitter
    assert 1 + 0.95 * color_jitter <= max(factors) <= 1 + color_jitter + 0.005


@pytest.mark.parametrize("factors", [(1, 1, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0.5), (1.2, 0.7, 1.1)])
def test_jitter_is_torchvision_s(factors):
    """One frame, since torchvision takes the mean grey of each frame, and ours is of the clip."""
    from torchvision.transforms.functional import adjust_brightness, adjust_contrast, adjust_saturation

    saturation, contrast, brightness = factors
    clip = torch.from_numpy(np.random.default_rng(0).integers(60, 190, (1, 8, 8, 3), dtype=np.uint8))
    pixels = clip.permute(0, 3, 1, 2).float() / 255
    expected = adjust_brightness(adjust_contrast(adjust_saturation(pixels, saturation), contrast), brightness)
    found = jitter_color(clip, np.array(factors, float))
    assert found.dtype == torch.uint8
    assert (found.permute(0, 3, 1, 2) / 255 - expected).abs().max() < 1.5 / 255


def test_jitter_does_not_wrap_round():
    clip = torch.tensor([0, 128, 255], dtype=torch.uint8).expand(1, 2, 2, 3)
    assert jitter_color(clip, np.array([1.0, 1.0, 1.9]))[0, 0, 0].tolist() == [0, 243, 255]


# --- pictures that are no squares ------------------------------------------------------------------------------------


def crops_of(height, width, count=4000):
    rng = np.random.default_rng(0)
    found = [random_crop(rng, height, width, min_area_frac=0.08, flip_prob=0.0) for _ in range(count)]
    return np.array([crop[:4] for crop in found])


@pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 300)])
def test_small_crops_are_torchvision_s(height, width):
    """Those of up to 0.4 of the area always fit; of larger ones torchvision draws anew what does not."""
    from scipy.stats import ks_2samp
    from torchvision.transforms import RandomResizedCrop

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        picture = torch.zeros(3, height, width)
        theirs = np.array([RandomResizedCrop.get_params(picture, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(4000)])
    area = height * width
    ours, theirs = (own[own[:, 2] * own[:, 3] < 0.4 * area] for own in (crops_of(height, width), theirs))
    assert len(ours) > 1000 and len(theirs) > 1000
    for of in (
        lambda crop: crop[:, 2] * crop[:, 3] / area,
        lambda crop: np.log(crop[:, 3] / crop[:, 2]),
        lambda crop: crop[:, 0] / (height - crop[:, 2]),
        lambda crop: crop[:, 1] / (width - crop[:, 3]),
    ):
        assert ks_2samp(of(ours), of(theirs)).pvalue > 0.01


@pytest.mark.parametrize(("height", "width"), [(300, 400), (90, 40), (20, 80)])
def test_crops_of_any_picture_have_all_areas_and_lie_inside(height, width):
    from scipy.stats import kstest

    crops = crops_of(height, width)
    assert (crops[:, :2] >= 0).all() and (crops[:, 2:] >= 1).all()
    assert (crops[:, 0] + crops[:, 2] <= height).all() and (crops[:, 1] + crops[:, 3] <= width).all()
    areas = crops[:, 2] * crops[:, 3] / (height * width)
    # Pixels are whole: of a small picture, areas are not quite uniform.
    assert kstest(areas, "uniform", args=(0.08, 0.92)).statistic < 0.03


def test_a_crop_of_a_wide_picture_is_resized_to_a_square():
    clip = coordinates(60, 200)
    crop = random_crop(np.random.default_rng(5), 60, 200, min_area_frac=0.2, flip_prob=1.0)
    view = cut(clip, crop, 16)
    assert view.shape == (2, 16, 16, 3) and crop.left > 0
    rows, columns = view[0, :, 0, 0].int(), view[0, 0, :, 1].int().flip(0)
    assert abs(rows[0] - crop.top) <= crop.height / 16 and abs(rows[-1] - crop.top - crop.height) <= crop.height / 16
    assert abs(columns[0] - crop.left) <= crop.width / 16
    assert abs(columns[-1] - crop.left - crop.width) <= crop.width / 16


# --- RandAugment -----------------------------------------------------------------------------------------------------

SPEC = {"ops": 2, "magnitude": 9}


def test_without_randaugment_nothing_is_drawn():
    clip, rng = coordinates(8, 8), np.random.default_rng(0)
    assert randaugmented(clip, rng, None) is clip
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(
    ("spec", "at_least"), [(SPEC, 30), ({"ops": 1, "magnitude": 9}, 15), ({"ops": 2, "magnitude": 27}, 30)]
)
def test_randaugment_is_torchvision_s(spec, at_least):
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import RandAugment

    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8))
    seen = set()
    for seed in range(40):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.default_rng(seed).integers(2**63)))
            augment = RandAugment(spec["ops"], spec["magnitude"], interpolation=InterpolationMode.BILINEAR)
            expected = augment(picture[0].permute(2, 0, 1)).permute(1, 2, 0)
        found = randaugmented(picture, np.random.default_rng(seed), spec)
        assert (found.shape, found.dtype) == (picture.shape, torch.uint8)
        assert torch.equal(found[0], expected)
        seen.add(found.numpy().tobytes())
    assert len(seen) > at_least


def test_all_frames_get_the_same_change():
    frame = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 24, 24, 3), dtype=np.uint8))
    for seed in range(30):
        view = randaugmented(frame.expand(4, -1, -1, -1), np.random.default_rng(seed), {"ops": 3, "magnitude": 15})
        assert all(torch.equal(other, view[0]) for other in view)


def test_ambient_randomness_neither_decides_nor_is_touched():
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8))
    views = []
    for ambient in (1, 2):
        torch.manual_seed(ambient)
        before = torch.get_rng_state()
        views.append(randaugmented(picture, np.random.default_rng(7), SPEC))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*views)


# --- sound ------------------------------------------------------------------------------------------------------------


def hidden(shape=(20, 30), *, seed=0, roll=False, freq_masks=0, freq_mask_bins=6, time_masks=0, time_mask_steps=9):
    """Return a spectrogram whose values are all different, and a random view of it."""
    log_mel = torch.from_numpy(np.random.default_rng(9).permutation(np.prod(shape)).reshape(shape).astype(np.float32))
    view = random_mel(
        log_mel,
        np.random.default_rng(seed),
        roll=roll,
        freq_masks=freq_masks,
        freq_mask_bins=freq_mask_bins,
        time_masks=time_masks,
        time_mask_steps=time_mask_steps,
    )
    return log_mel, view


def test_nothing_asked_for_is_the_same_spectrogram_in_a_tensor_of_its_own():
    log_mel, view = hidden()
    assert torch.equal(view, log_mel) and view.data_ptr() != log_mel.data_ptr()


def test_a_roll_turns_the_steps_round_and_loses_none():
    offsets = set()
    for seed in range(60):
        log_mel, view = hidden(seed=seed, roll=True)
        (offset,) = [
            k for k in range(30) if torch.equal(view, torch.cat([log_mel[:, 30 - k :], log_mel[:, : 30 - k]], 1))
        ]
        offsets.add(offset)
    assert len(offsets) > 20 and max(offsets) > 25


@pytest.mark.parametrize(("axis", "masks"), [(0, {"freq_masks": 1}), (1, {"time_masks": 1})])
def test_one_mask_is_one_band_at_the_mean_as_wide_as_allowed_at_most(axis, masks):
    bound, size = (6, 20) if axis == 0 else (9, 30)
    widths, starts = [], set()
    for seed in range(300):
        log_mel, view = hidden(seed=seed, **masks)
        changed = (view != log_mel).any(dim=1 - axis).nonzero().flatten()
        widths.append(len(changed))
        if len(changed):
            assert changed.tolist() == list(range(changed[0], changed[-1] + 1))
            starts.add(int(changed[0]))
        kept = torch.ones(size, dtype=torch.bool)
        kept[changed] = False
        assert torch.equal(
            view.index_select(axis, kept.nonzero().flatten()), log_mel.index_select(axis, kept.nonzero().flatten())
        )
        # 600 values of 0 to 599.
        assert (view.index_select(axis, changed) == 299.5).all()
    assert set(widths) == set(range(bound + 1))
    assert np.mean(widths) == pytest.approx(bound / 2, abs=0.5)  # uniform
    assert min(starts) == 0 and max(starts) > size - bound


def test_several_masks_hide_no_more_than_each_may():
    most, widest = 0, 0
    for seed in range(100):
        log_mel, view = hidden(seed=seed, freq_masks=2, time_masks=3)
        rows = (view == 299.5).all(dim=1).sum().item()
        columns = (view == 299.5).all(dim=0).sum().item()
        assert rows <= 2 * 6 and columns <= 3 * 9
        rest = (view != log_mel).sum().item()
        assert rest == 600 - (20 - rows) * (30 - columns)
        most, widest = max(most, rows), max(widest, columns)
    assert most > 6 and widest > 9


def test_the_mean_is_that_of_the_whole_spectrogram_however_much_is_hidden():
    """The second mask does not see what the first has left."""
    log_mel, view = hidden(seed=3, roll=True, freq_masks=3, time_masks=3)
    assert set(view[~torch.isin(view, log_mel)].tolist()) == {299.5}


def test_a_mask_that_may_be_wider_than_the_spectrogram_hides_all_of_it_at_most():
    views = [hidden((4, 5), seed=seed, freq_masks=1, freq_mask_bins=50)[1] for seed in range(60)]
    assert all(view.shape == (4, 5) for view in views)
    assert any((view == 9.5).all() for view in views)


def test_the_spectrogram_that_was_given_stays_as_it_is():
    expected, _ = hidden()
    for seed in range(10):
        log_mel, _ = hidden(seed=seed, roll=True, freq_masks=2, time_masks=2)
        assert torch.equal(log_mel, expected)
