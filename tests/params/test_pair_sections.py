"""What params.yaml may say of images and of pairs of people, and what it says where it may not."""

import pytest
from changed_recipes import with_changes

from actrec.errors import UserError
from actrec.params.load import checked

GEOMETRY = {"kind": "spatial", "weights": {"kind": "none"}, "frozen": True}
SMALL3D = {
    "kind": "small3d",
    "width": 8,
    "weights": {"kind": "none"},
    "frozen": False,
    "input_px": 32,
    "crop_frac": 1.0,
}
GRAD_CAM = {"clips": 1, "worst_classes": 1, "clips_per_class": 1}


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("relation-demo", {"frames.region": "whole"}, "frames.region: boxes is what clips of pairs need"),
        ("images-demo", {"frames.region": "boxes"}, "frames.region: boxes is what clips of pairs need"),
        ("relation-demo", {"frames.clip_frames": 1}, "a crop for each of two people"),
        ("relation-demo", {"frames.resize": "keep"}, "a crop for each of two people"),
        (
            "images-demo",
            {"model.backbones.geometry": GEOMETRY, "model.neck": {"kind": "concat"}},
            "data.reader must give pairs",
        ),
        ("images-demo", {"model.neck": {"kind": "concat"}, "evaluate.contributions": True}, "compares modalities"),
        ("relation-demo", {"evaluate.contributions": True}, "which relation cannot"),
        ("relation-demo", {"evaluate.grad_cam": GRAD_CAM}, "pairs are crops"),
        ("relation-demo", {"model.backbones.rgb": SMALL3D}, "relation looks at each person alone"),
        ("images-demo", {"model.backbones.rgb": SMALL3D, "model.neck": {"kind": "concat"}}, "does not have one"),
        ("images-demo", {"evaluate.worst_clips": 3}, "data no pairs"),
        ("images-hog", {"features.enabled": False}, "fitted to cached features"),
        ("images-hog", {"train.mixup_alpha": 0.2}, "svm takes no steps"),
        ("images-demo", {"model.backbones.rgb.crop_frac": 0.0}, "greater than 0"),
        ("images-demo", {"evaluate.views.scales": []}, "at least 1 item"),
    ],
)
def test_what_cannot_be(recipe, changes, message):
    with pytest.raises(UserError, match=message):
        checked(with_changes(recipe, changes), "params.yaml")


@pytest.mark.parametrize("recipe", ["relation-demo", "relation-resnet50", "images-demo", "images-hog", "cars-448"])
def test_recipes_are_taken_as_they_stand(recipe):
    assert checked(with_changes(recipe, {}), "params.yaml").recipe == recipe
