"""What the setting `heatmaps` does to the maps that a backbone is shown; Gaussians by hand are in test_heatmap.py."""

import pytest
import torch
from posed_clips import NOSE, POSE, make_skeleton, peak, write_skeletons

from actrec.training.modalities import open_modalities

LEFT_SHOULDER = 5


@pytest.fixture
def shown(tmp_path):
    """Return a function of the setting `heatmaps` to maps (K, T, 32, 32).

    The first is of the nose, or of the limb from there to the left shoulder, which is level; both people share them.
    """
    skeleton = make_skeleton("a")
    skeleton.keypoint[:, :, NOSE], skeleton.keypoint[:, :, LEFT_SHOULDER] = (60, 60), (90, 60)
    folder = write_skeletons(tmp_path / "skeletons.pkl", [skeleton])

    def maps(**heatmaps):
        backbone = {**POSE, "heatmaps": heatmaps, "input_px": 32}
        return open_modalities({"pose": folder}, backbones={"pose": backbone}, augment={})["pose"].plain("a")[0]

    return maps


@pytest.mark.parametrize("of", ["joints", "limbs"])
@pytest.mark.parametrize("sigma_px", [0.6, 2.0])
def test_maps_are_as_wide_as_asked_for(shown, of, sigma_px):
    """The logarithm of a Gaussian is a parabola, whose second difference is -1/sigma^2 wherever the middle is."""
    maps = shown(of=of, sigma_px=sigma_px)
    x, y = peak(maps, 0)
    above, middle, below = maps[0, 0, y - 1 : y + 2, x].log().tolist()
    assert above - 2 * middle + below == pytest.approx(-1 / sigma_px**2, rel=1e-3)


def test_both_are_joints_and_then_limbs(shown):
    joints, limbs, both = (shown(of=of, sigma_px=0.6) for of in ("joints", "limbs", "both"))
    assert torch.equal(both, torch.cat([joints, limbs]))
    assert not torch.equal(joints, limbs)
