import numpy as np
import pytest
import torch
from torch.nn import functional

from actrec.training.views import jitter_color, plain_view, random_view


def coordinates(height, width, *, frames=2):
    """Return a clip whose pixels say where they are: red the row, green the column, blue the frame."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    clip = torch.zeros((frames, height, width, 3), dtype=torch.uint8)
    clip[..., 0], clip[..., 1] = rows, columns
    clip[..., 2] = torch.arange(frames)[:, None, None]
    return clip


def view_of(clip, rng, *, input_px, min_area_frac=0.5, flip_prob=0.0, color_jitter=0.0):
    return random_view(
        clip, rng, input_px=input_px, min_area_frac=min_area_frac, flip_prob=flip_prob, color_jitter=color_jitter
    )


@pytest.fixture
def crops(monkeypatch):
    """Return the list of what was cut out, before it is resized."""
    found = []
    real = functional.interpolate
    monkeypatch.setattr(functional, "interpolate", lambda x, *a, **k: found.append(x) or real(x, *a, **k))
    return found


def test_a_plain_view_of_the_same_size_is_the_clip_itself():
    clips = torch.randint(0, 256, (2, 3, 8, 8, 3), dtype=torch.uint8)
    assert torch.equal(plain_view(clips, input_px=8), clips)


def test_a_plain_view_resizes_each_frame_by_itself():
    clips = torch.randint(0, 256, (2, 3, 12, 12, 3), dtype=torch.uint8)
    view = plain_view(clips, input_px=8)
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
    assert torch.equal(view, plain_view(clip, input_px=16))


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
