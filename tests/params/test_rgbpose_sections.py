"""What params.yaml may say of streams and of what they are shown, where its sections contradict each other."""

from copy import deepcopy
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from actrec.errors import UserError
from actrec.outputs import file_name, fused_output, label_head, modality_of, stream_output
from actrec.params.load import load, plain

REPO = Path(__file__).resolve().parents[2]
RECIPE = YAML(typ="safe", pure=True).load((REPO / "recipes/rgbpose-demo.yaml").read_text(encoding="utf-8"))
RECIPE["evaluate"]["worst_clips"] = 0  # drawn for skeletons, which some of the models below do not see
NONE = {"kind": "none"}
RGB, POSE = "model.backbones.rgb", "model.backbones.pose"
# Streams that do not see each other: for what a joint backbone takes no part in.
APART = {"model.neck.laterals": NONE}
R3D = {"kind": "r3d_18", "weights": NONE, "frozen": False, "input_px": 64, "crop_frac": 1.0}
EAR = {"kind": "resnet", "depth": 18, "weights": NONE, "frozen": False}
EAR_AUGMENT = dict.fromkeys(("freq_masks", "freq_mask_bins", "time_masks", "time_mask_steps"), 0) | {"roll": False}
VIDEOMAE = {"kind": "videomae", "weights": {"kind": "none", "width": 8, "layers": 1, "attention_heads": 1}}
VIDEOMAE["weights"] |= {"patch_px": 16, "tubelet_frames": 2}
VIDEOMAE |= {"frozen": False, "input_px": 64, "crop_frac": 1.0, "token_grid": None}
MVIT = {**R3D, "kind": "mvit_v2_s"}
X3D = {"kind": "x3d", "shortcut_norm": False, "weights": NONE, "frozen": False, "input_frames": 4, "input_px": 64}
X3D |= {"crop_frac": 1.0, "token_grid": None}
X_SHIFT = {"kind": "x_shift", "blocks": [1, 1, 1, 1], "widths": [8, 8, 16, 16], "weights": NONE, "frozen": False}
X_SHIFT |= {"input_frames": 4, "input_px": 64, "crop_frac": 1.0, "token_grid": None}
MBT = {"kind": "mbt", "width": 8, "layers": 2, "attention_heads": 2, "bottleneck_tokens": 2, "fusion_layer": 0}
MBT |= {"dropout": 0.0}
PCAN = {
    "fine": "act",
    "coarse": "action",
    "calibration": True,
    "calibration_weight": 0.2,
    "false_negative_factors": [1.0, 0.1, 0.5],
    "diversity": True,
    "diversity_weight": 0.2,
    "tree": True,
    "tree_weight": 1.0,
    "rectification": True,
    "rectification_weights": {"rgb": 5.0, "pose": 1.0},
    "fine_width": 8,
    "coarse_width": 8,
    "momentum": 0.9,
    "temperature": 0.125,
    "doubt_scale": 0.125,
}
# What a model of pictures alone says besides.
SEES = {
    **{"model.backbones": {"rgb": RECIPE["model"]["backbones"]["rgb"]}, "model.neck": {"kind": "mean"}},
    **{"train.select_on": "act.top1", "frames.region": "whole"},
}
MELS = {"mels.enabled": True, "train.augment.audio": EAR_AUGMENT, "features.augment.audio": EAR_AUGMENT}
HEARS = {**MELS, "model.backbones.audio": EAR, "model.neck.ratios": [[1, 1, 1]]}
HEARS |= {"train.select_on": "rgbaudiopose_1:1:1/act.top1"}


def changed(changes):
    params = deepcopy(RECIPE)
    for path, value in changes.items():
        *parents, last = path.split(".")
        section = params
        for name in parents:
            section = section[name]
        section[last] = deepcopy(value)
    return params


@pytest.fixture
def written(tmp_path):
    """Return a function that writes the recipe with some settings changed, {path: value}, and returns its path."""

    def write(changes):
        with (tmp_path / "p.yaml").open("w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump(changed(changes), file)
        return tmp_path / "p.yaml"

    return write


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # --- modalities
        ({**SEES, "model.backbones": {}}, "model.backbones is empty: it needs rgb, audio, pose or geometry"),
        ({"model.backbones": {}}, "train.select_on names the head 'rgbpose_1:1/act'; the model has"),
        ({"skeletons.enabled": False}, "model.backbones.pose needs skeletons.enabled: true"),
        ({"frames.enabled": False}, "model.backbones.rgb needs frames.enabled: true"),
        ({**HEARS, "mels.enabled": False}, "model.backbones.audio needs mels.enabled: true"),
        ({"data.media": "skeleton"}, "model.backbones.rgb needs pictures: set data.media: video"),
        (
            {"train.augment": {"rgb": RECIPE["train"]["augment"]["rgb"]}},
            "train.augment lacks ['pose']: each modality of model.backbones needs its own",
        ),
        ({"features.augment": {}}, "features.augment lacks ['pose', 'rgb']: each modality"),
        ({**SEES, "evaluate.contributions": True}, "evaluate.contributions compares modalities"),
        (
            {"evaluate.attention_clips": 1},
            "evaluate.attention_clips draws the attention of videomae alone: set it to 0",
        ),
        (
            {**SEES, "evaluate.worst_clips": 1},
            "evaluate.worst_clips draws skeletons or the boxes of pairs",
        ),
        ({"data.skeletons": None}, "skeletons.enabled needs data.skeletons: say where they are, or set it to false"),
        (
            {"evaluate.submission": {"fine": "act", "coarse": "body", "output": "rgbpose_1:1"}},
            "evaluate.submission asks for ['rgbpose_1:1/body']; the model has rgbpose_1:1/act, rgbpose_1:1/action, ",
        ),
        (
            {"evaluate.submission": {"fine": "act", "coarse": "action", "output": ""}},
            "evaluate.submission asks for ['act', 'action']; the model has rgbpose_1:1/act",
        ),
        # --- labels
        (
            {"train.select_on": "act.top1"},
            "train.select_on names the head 'act'; the model has rgbpose_1:1/act, rgbpose_1:1/action, rgbpose_2:1/act",
        ),
        (
            {"train.select_on": "rgbpose_3:1/act.top1"},
            "train.select_on names the head 'rgbpose_3:1/act'; the model has",
        ),
        ({"data.coarse": None}, "model.heads has ['action'] that data does not label; it labels ['act']"),
        (
            {"data.coarse": None, "data.reader.heads": {"act": "act", "action": "action"}}
            | {"data.reader.multi_label": {"act": ","}},
            "train.select_on is act.mean_per_class_acc, but clips may have several act classes: choose one of",
        ),
        # --- neck
        (
            {"model.neck": {"kind": "mean"}, "train.select_on": "act.top1"},
            "model.neck: mean takes one modality, model.backbones has ['pose', 'rgb']. Take mbt or late",
        ),
        (
            {"model.heads.act.loss_weight": {"rgb": 1.0}},
            "model.heads.act.loss_weight is a number a modality, which neck late alone has heads for: give one number, "
            "or one for each of ['pose', 'rgb']",
        ),
        (
            {"model.heads.action.loss_weight": {"rgb": 1.0, "pose": 1.0, "audio": 1.0}},
            "model.heads.action.loss_weight is a number a modality",
        ),
        ({**SEES, "model.heads.act.loss_weight": {"rgb": 1.0}}, "model.heads.act.loss_weight is a number a modality"),
        (
            {"model.neck.ratios": [[1, 1], [1, 1, 1], [0, 0]]},
            "model.neck.ratios has [[1.0, 1.0, 1.0], [0.0, 0.0]]: expected a number for each of ['rgb', 'pose']",
        ),
        ({"evaluate.contributions": True}, "evaluate.contributions asks the neck; model.neck is late. Set it to false"),
        (
            {RGB: X_SHIFT},
            "model.neck.laterals: rgbpose_conv3d joins rgb slow_only and pose pose_conv3d, got x_shift and pose_conv3d",
        ),
        (
            {"model.neck.laterals": {"kind": "pose_guided"}},
            "model.neck.laterals: pose_guided joins rgb x_shift and pose x_shift, got slow_only and pose_conv3d",
        ),
        (
            {"model.backbones": {"pose": RECIPE["model"]["backbones"]["pose"]}, "model.neck.ratios": [[1]]}
            | {"train.select_on": "pose/act.top1"},
            "model.neck.laterals: rgbpose_conv3d joins rgb slow_only and pose pose_conv3d, got None and pose_conv3d",
        ),
        # --- PCAN
        (
            {"model.neck.pcan": PCAN, "train.mixup_alpha": 0.2},
            "train.mixup_alpha mixes classes, and model.neck.pcan learns from single ones: set it to 0",
        ),
        (
            {"model.neck.pcan": {**PCAN, "coarse": "body"}},
            "model.neck.pcan names the heads ['body']; model.heads has ['act', 'action']",
        ),
        (
            {"model.neck.pcan": PCAN, "data.coarse": None, "train.select_on": "pose/action.top1"}
            | {"data.reader.heads": {"act": "a", "action": "b"}, "data.reader.multi_label": {"act": ","}},
            "model.neck.pcan takes heads of one class a clip; clips may have several act ones",
        ),
        (
            {"model.neck.pcan": {**PCAN, "rectification_weights": {"rgb": 5.0}}},
            "model.neck.pcan.rectification_weights lacks ['pose']: it needs ['rgb', 'pose']",
        ),
        # --- views
        (
            {"frames.clip_frames": 3},
            "model.backbones.rgb.input_frames is 4, chosen of those that are stored: set frames.clips_per_video: 1 and "
            "frames.clip_frames to at least that, got 1 and 3",
        ),
        ({"frames.clips_per_video": 2}, "model.backbones.rgb.input_frames is 4, chosen of those that are stored"),
        (
            {**APART, RGB: R3D, "frames.clips_per_video": 2},
            "a skeleton is shown beside one clip of pictures: set frames.clips_per_video: 1, got 2",
        ),
        (
            {**APART, RGB: R3D, "evaluate.views.clips": 10},
            "evaluate.views.clips is 10, but model.backbones.rgb has no input_frames to choose: set it to 1",
        ),
        (
            {**HEARS, "evaluate.views.clips": 2},
            "evaluate.views.clips is 2, but model.backbones.audio has no input_frames",
        ),
        *(
            (
                {**APART, "features.enabled": True, f"evaluate.views.{name}": value},
                "evaluate.views of cached features are",
            )
            for name, value in (("clips", 2), ("flip", True), ("scales", [1.5]))
        ),
        (
            {**APART, RGB: VIDEOMAE, "evaluate.views.scales": [1.5]},
            "evaluate.views.scales: videomae takes pictures of one",
        ),
        (
            {**APART, RGB: MVIT, "evaluate.views.scales": [0.5]},
            "evaluate.views.scales: mvit_v2_s takes pictures of one size",
        ),
        (
            {**SEES, "frames.region": "persons", "skeletons.enabled": False},
            "frames.region: persons needs skeletons.enabled: true; or set it to whole",
        ),
        ({"frames.region": "whole"}, "pictures and skeletons are cropped alike: set frames.region: persons"),
        *(
            (
                {**APART, RGB: {**backbone, "crop_frac": 0.875}},
                "pictures and skeletons are cropped alike: set model.backbones.rgb.crop_frac to 1",
            )
            for backbone in (RECIPE["model"]["backbones"]["rgb"], R3D, X3D, X_SHIFT)
        ),
        (
            {"train.augment.pose.min_area_frac": 0.5},
            "train.augment: pictures and skeletons are cropped alike, so rgb and pose need the same min_area_frac and "
            "flip_prob, got (0.6, 0.0) and (0.5, 0.0)",
        ),
        ({"features.augment.rgb.flip_prob": 0.5}, "features.augment: pictures and skeletons are cropped alike"),
        # --- frozen
        (
            {**APART, "features.enabled": True, f"{RGB}.frozen": True},
            "features.enabled caches frozen backbones: set model.backbones.pose.frozen: true as well",
        ),
        (
            {**APART, "train.freeze.epochs": 1, f"{RGB}.frozen": True, f"{POSE}.frozen": True},
            "train.freeze.epochs is for backbones that thaw; all of model.backbones are frozen",
        ),
        (
            {f"{POSE}.frozen": True},
            "model.neck.laterals: streams that see each other learn together and cannot be cached one by one. Set "
            "model.backbones.rgb.frozen and pose.frozen to false, or laterals: {kind: none}",
        ),
        # --- single settings
        ({f"{POSE}.temporal_stride": 3}, "model.backbones.pose.temporal_stride is 3: input should be 1 or 2"),
        ({f"{POSE}.width": 7}, "model.backbones.pose.width is 7: input should be a multiple of 2"),
        ({f"{POSE}.blocks": [1, 1]}, "model.backbones.pose.blocks is [1, 1]: list should have at least 3 items"),
        ({f"{RGB}.blocks": [1, 1, 1]}, "model.backbones.rgb.blocks is [1, 1, 1]: list should have at least 4 items"),
        (
            {f"{POSE}.heatmaps.of": "bones"},
            "model.backbones.pose.heatmaps.of is 'bones': input should be 'joints', 'limbs'",
        ),
        ({"model.neck.laterals.kernel": 4}, "model.neck.laterals.kernel is 4: input should be 1, 3, 5, 7 or 9"),
        ({"model.neck.laterals.rgb_drop": 1.0}, "model.neck.laterals.rgb_drop is 1.0: input should be less than 1"),
        ({"model.neck.ratios": [[-1, 2]]}, "model.neck.ratios[0][0] is -1: input should be greater than or equal to 0"),
        ({"frames.region": "faces"}, "frames.region is 'faces': input should be 'whole', 'persons' or 'boxes'"),
    ],
)
def test_what_cannot_be(written, changes, expected):
    path = written(changes)
    with pytest.raises(UserError) as caught:
        load(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {expected}")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        APART,
        HEARS,
        {**HEARS, "model.backbones.audio": {**EAR, "frozen": True}},
        {**APART, "features.enabled": True, f"{RGB}.frozen": True, f"{POSE}.frozen": True},
        {**APART, RGB: R3D, "evaluate.views.flip": True, "evaluate.views.scales": [1.25]},
        {**APART, RGB: X3D, "evaluate.views.clips": 10},
        {"model.neck.pcan": PCAN},
        {"model.neck.pcan": {**PCAN, "rectification": False, "rectification_weights": {}}},
        {"model.heads.act.loss_weight": {"rgb": 1.0, "pose": 0.5}},
        {"model.neck.ratios": [], "train.select_on": "rgb/action.loss"},
        {"model.neck": MBT, "train.select_on": "act.top1", "evaluate.contributions": True},
        SEES,
        {**SEES, "frames.region": "persons"},
        {**SEES, "evaluate.submission": {"fine": "act", "coarse": "action", "output": ""}},
        {"evaluate.submission": {"fine": "act", "coarse": "action", "output": "rgbpose_1:2"}},
    ],
)
def test_what_can_be(written, changes):
    params = load(written(changes))
    for path, value in changes.items():
        section = plain(params)
        for name in path.split("."):
            section = section[name]
        assert section == value


@pytest.mark.parametrize(
    ("changes", "submission", "outputs"),
    [
        ({}, ("act", "action", "rgbpose_1:2"), ("rgbpose_1:2/act", "rgbpose_1:2/action")),
        ({}, ("act", "action", "rgb"), ("rgb/act", "rgb/action")),
        ({}, ("action", "act", "pose"), ("pose/action", "pose/act")),
        (SEES, ("act", "action", ""), ("act", "action")),
        (SEES, ("action", "act", ""), ("action", "act")),
    ],
)
def test_what_is_handed_in_is_of_the_output_and_the_heads_that_are_named(written, changes, submission, outputs):
    asked = dict(zip(("fine", "coarse", "output"), submission, strict=True))
    assert load(written({**changes, "evaluate.submission": asked})).evaluate.submission.outputs == outputs


# --- names ------------------------------------------------------------------------------------------------------------

FUSED = [f"rgbpose_{ratio}/{head}" for ratio in ("1:1", "2:1", "1:2") for head in ("act", "action")]
STREAMS = [f"{modality}/{head}" for modality in ("rgb", "pose") for head in ("act", "action")]


def test_the_outputs_of_a_model(written):
    assert load(written({})).model.outputs == (*FUSED, *STREAMS)
    assert load(written({"model.neck.ratios": [], "train.select_on": "rgb/act.top1"})).model.outputs == tuple(STREAMS)
    assert load(written(SEES)).model.outputs == ("act", "action")
    three = load(written({**HEARS, "model.neck.ratios": [[1, 1, 1], [4, 2, 1]]})).model.outputs
    assert three[:4] == tuple(f"rgbaudiopose_{r}/{head}" for r in ("1:1:1", "4:2:1") for head in ("act", "action"))
    assert [name.partition("/")[0] for name in three[4:]] == ["rgb", "rgb", "audio", "audio", "pose", "pose"]


def test_names_are_put_together_and_taken_apart():
    assert stream_output("rgb", "action") == "rgb/action"
    assert fused_output(("rgb", "pose"), (2.0, 1.0), "action") == "rgbpose_2:1/action"
    assert fused_output(("rgb", "pose"), (0.25, 1), "v1.0") == "rgbpose_0.25:1/v1.0"
    parts = {
        "action": ("", "action", "action"),
        "pose/action": ("pose", "action", "pose_action"),
        "rgbpose_2:1/action": ("rgbpose_2:1", "action", "rgbpose_2-1_action"),
    }
    for name, expected in parts.items():
        assert (modality_of(name), label_head(name), file_name(name)) == expected
