"""What is shown of a clip's skeleton: the same part of the scene as of its pictures, at times of its own."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from posed_clips import (
    AUGMENT,
    BACKBONES,
    FRAMES,
    LEFT_WRIST,
    NOSE,
    PLAIN,
    POSE,
    RGB,
    RIGHT_WRIST,
    SHAPE,
    SPEC,
    cut_like_the_stage,
    dot,
    make_picture,
    make_skeleton,
    open_project,
    peak,
    write_pictures,
    write_project,
    write_skeletons,
)

from actrec.errors import UserError
from actrec.models.recogniser import build
from actrec.pose.layouts import LAYOUTS
from actrec.pose.sampling import sample_test
from actrec.pose.skeleton import Skeleton
from actrec.training.extract import Views
from actrec.training.modalities import open_modalities
from actrec.training.sources import Batches
from actrec.training.views import PlainViews, random_crop

COCO = LAYOUTS["coco17"]


@pytest.fixture
def readers(tmp_path):
    """Return a function that writes one clip and returns how it is read: readers(rgb=…, pose=…, views=…, …)."""

    def make(*, rgb=None, pose=None, augment=AUGMENT, spec=SPEC, skeleton=None, only=("rgb", "pose"), **settings):
        skeleton = skeleton or make_skeleton("a")
        posed = write_skeletons(tmp_path / "skeletons.pkl", [skeleton])
        clip = cut_like_the_stage(make_picture(skeleton), posed, "a", spec).expand(spec.clips_per_video, -1, -1, -1, -1)
        folders = {"rgb": write_pictures(tmp_path / "frames", {"a": clip}, spec), "pose": posed}
        backbones = {"rgb": {**RGB, **(rgb or {})}, "pose": {**POSE, **(pose or {})}}
        own = {m: folders[m] for m in only}
        return open_modalities(own, backbones=backbones, augment=augment, **settings)

    return make


# --- the same place ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rgb_px", "pose_px"), [(64, 16), (32, 56), (56, 56), (112, 56)])
def test_a_joint_s_heat_map_is_where_the_picture_shows_the_joint(readers, rgb_px, pose_px):
    """Through cut, crop, resizing and mirror; in a mirror image the left wrist is a right one."""
    skeleton = make_skeleton("a")
    skeleton.keypoint[:, :, NOSE], skeleton.keypoint[:, :, LEFT_WRIST] = (108, 28), (38, 104)
    both = readers(rgb={"input_px": rgb_px}, pose={"input_px": pose_px}, skeleton=skeleton)
    off, counts = [], {"shown": 0, "outside": 0, "mirrored": 0}
    for seed in range(150):
        pictures, maps = (both[m].random("a", np.random.default_rng(seed)) for m in ("rgb", "pose"))
        mirrored = random_crop(np.random.default_rng(seed), 72, 72, min_area_frac=0.3, flip_prob=0.5).mirrored
        for channel, joint in ((0, NOSE), (1, RIGHT_WRIST if mirrored else LEFT_WRIST)):
            bright, highest = dot(pictures, channel), peak(maps, joint)
            if bright == "cut off":
                continue
            if bright is None:
                assert highest is None
                counts["outside"] += 1
                continue
            assert highest is not None
            expected = (np.array(bright) + 0.5) * pose_px / rgb_px - 0.5
            off.append(highest - expected)
            counts["shown"] += 1
            counts["mirrored"] += mirrored
    assert counts["shown"] > 100 and counts["outside"] > 20 and counts["mirrored"] > 50
    # Half a pixel of the maps is what the highest whole pixel may be off; on average nothing is.
    assert np.abs(off).max() < 0.75
    assert np.abs(np.mean(off, axis=0)).max() < 0.12


def test_plain_views_show_the_same_whole_square(readers):
    both = readers(rgb={"input_px": 64}, pose={"input_px": 32}, views=PlainViews(flip=True))
    pictures, maps = (both[m].plain("a") for m in ("rgb", "pose"))
    assert pictures.shape == (2, 2, 64, 64, 3) and maps.shape == (2, 17, 8, 32, 32)
    for view, wrist in ((0, LEFT_WRIST), (1, RIGHT_WRIST)):
        for channel, joint in ((0, NOSE), (1, wrist)):
            expected = (np.array(dot(pictures[view], channel)) + 0.5) / 2 - 0.5
            assert np.abs(peak(maps[view], joint) - expected).max() < 0.75


def test_the_part_is_that_of_the_picture_whatever_else_is_random(readers):
    """Stored views, frames and light are drawn by other numbers."""
    spec = replace(SPEC, clips_per_video=3)
    many = readers(rgb={"input_frames": None}, spec=spec, augment={**AUGMENT, "rgb": {**AUGMENT["rgb"], **LIGHT}})
    found = [many["rgb"].random("a", np.random.default_rng(seed)) for seed in range(12)]
    one = readers()
    for seed, view in enumerate(found):
        expected = dot(one["rgb"].random("a", np.random.default_rng(seed)), 1)
        assert view.shape[0] == SPEC.clip_frames
        if expected in (None, "cut off"):
            assert dot(view, 1) == expected
        else:
            assert np.abs(np.array(dot(view, 1)) - expected).max() < 0.2


LIGHT = {"color_jitter": 0.1}


def test_alone_skeletons_are_shown_in_the_same_square(readers):
    pose, both = readers(only=["pose"], augment=PLAIN)["pose"], readers(augment=PLAIN)["pose"]
    torch.testing.assert_close(pose.plain("a"), both.plain("a"), rtol=0, atol=1e-4)
    assert not torch.equal(
        readers(only=["pose"])["pose"].random("a", np.random.default_rng(0)), pose.random("a", np.random.default_rng(0))
    )


# --- times of their own -----------------------------------------------------------------------------------------------


def test_frames_are_drawn_for_each_by_itself(readers):
    """The joint's score tells its frame, the picture's blue the number of its: both are drawn of twelve, in thirds."""
    skeleton = make_skeleton("a")
    skeleton.score[:, :, NOSE] = np.arange(1, FRAMES + 1) / FRAMES
    spec = replace(SPEC, clip_frames=FRAMES)
    both = readers(skeleton=skeleton, spec=spec, rgb={"input_frames": 4}, pose={"input_frames": 4}, augment=PLAIN)
    both["rgb"]._folder = {
        "a": torch.arange(FRAMES, dtype=torch.uint8)[None, :, None, None, None].expand(1, -1, 8, 8, 3)
    }
    seen = {"rgb": [], "pose": []}
    for seed in range(60):
        pictures, maps = (both[m].random("a", np.random.default_rng(seed)) for m in ("rgb", "pose"))
        seen["rgb"].append(pictures[:, 0, 0, 0].tolist())
        shares = maps[NOSE].amax(dim=(1, 2)) / maps[LEFT_WRIST].amax(dim=(1, 2))
        seen["pose"].append((shares / shares.max()).tolist())
    frames = np.array(seen["rgb"])
    assert (frames // 3 == np.arange(4)).all() and len({tuple(row) for row in frames.tolist()}) > 30
    for row in seen["pose"]:
        assert row == sorted(row)
    # The last frame of the skeleton is one of 9, 10, 11, the first one of 0, 1, 2.
    first = np.array([row[0] for row in seen["pose"]])
    choices = [(f + 1) / (last + 1) for f in range(3) for last in range(9, 12)]
    assert all(np.abs(np.array(choices) - value).min() < 2e-3 for value in first)
    nearest = np.array([np.abs(np.array(choices) - value).argmin() // 3 for value in first])
    assert 0.1 < (nearest == frames[:, 0]).mean() < 0.6  # by chance a third


def test_plain_views_are_so_many_samples_and_their_mirror_images(readers):
    skeleton = make_skeleton("a")
    skeleton.score[:] = np.arange(1, FRAMES + 1)[None, :, None] / FRAMES
    pose = readers(skeleton=skeleton, pose={"input_frames": 4}, views=PlainViews(clips=3, flip=True))["pose"]
    maps = pose.plain("a").numpy()
    assert maps.shape == (6, 17, 4, 8, 8) and maps.dtype == np.float32
    frames = sample_test(FRAMES, 4, 3)
    heights = maps[:3].max(axis=(1, 3, 4))
    assert heights / (frames + 1) == pytest.approx(np.full((3, 4), heights[0, 0] / (frames[0, 0] + 1)), rel=2e-3)
    # Windows reach one pixel further to one side, so that what is at their rim differs: below 0.0112.
    for one, mirrored in zip(maps[:3], maps[3:], strict=True):
        assert np.abs(one[list(COCO.swap), ..., ::-1] - mirrored).max() < 0.0113
        assert np.abs(one[..., ::-1] - mirrored).max() > 0.5


@pytest.mark.parametrize("clips", [1, 3])
def test_pictures_of_several_samples_and_their_mirror_images(readers, clips):
    rgb = readers(views=PlainViews(clips=clips, flip=True, scale=1.5))["rgb"]
    stored = (
        torch.arange(8, dtype=torch.uint8)[None, :, None, None, None] + torch.arange(72, dtype=torch.uint8)[:, None]
    )
    rgb._folder = {"a": stored.expand(1, 8, 72, 72, 3).contiguous()}
    views = rgb.plain("a")
    assert views.shape == (2 * clips, 2, 48, 48, 3)
    assert torch.equal(views[clips:], views[:clips].flip(3))
    frames = views[:clips, :, 0, 0, 0].float() - views[0, 0, 0, 0, 0]
    assert (frames - torch.from_numpy(sample_test(8, 2, clips) - sample_test(8, 2, clips)[0, 0])).abs().max() <= 1
    assert views[0, 0, 0, -1, 0] > views[0, 0, 0, 0, 0] + 60


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["joints", "limbs", "both"])
@pytest.mark.parametrize("views", [PlainViews(), PlainViews(clips=3, flip=True, scale=1.5)])
def test_what_stands_for_an_absent_clip_has_the_shape_of_a_plain_one(readers, of, views):
    both = readers(pose={"heatmaps": {"of": of, "sigma_px": 0.6}}, views=views)
    for reader in both.values():
        absent, plain = reader.absent(), reader.plain("a")
        assert (absent.shape, absent.dtype) == (plain.shape, plain.dtype) and not absent.any() and plain.any()
    assert both["pose"].absent().shape[1] == {"joints": 17, "limbs": 17, "both": 34}[of]
    assert both["pose"].absent().shape[-1] == (12 if views.scale == 1.5 else 8)


@pytest.mark.parametrize("layout", ["coco17", "ntu25"])
@pytest.mark.parametrize("of", ["joints", "limbs", "both"])
def test_a_model_of_these_settings_takes_these_maps(tmp_path, layout, of):
    joints = len(LAYOUTS[layout].joints)
    keypoint = np.random.default_rng(0).uniform(10, 90, (1, 9, joints, 2)).astype(np.float16)
    skeleton = Skeleton("a", keypoint, np.ones((1, 9, joints), np.float16), (100, 100))
    folder = write_skeletons(tmp_path / "skeletons.pkl", [skeleton], layout=layout)
    backbone = {**POSE, "heatmaps": {"of": of, "sigma_px": 0.6}}
    maps = open_modalities({"pose": folder}, backbones={"pose": backbone}, augment={})["pose"].plain("a")
    neck = {"kind": "late", "ratios": [], "laterals": {"kind": "none"}, "pcan": None}
    head = {"kind": "linear", "dropout": 0.0}
    model = build(
        {"backbones": {"pose": backbone}, "neck": neck, "heads": {"act": head}},
        **{"classes": {"act": ("a", "b")}, "multi_label": (), "clip_frames": 0, "channels_last": False, "seed": 0},
        layout=folder.layout,
    ).eval()
    assert model({"pose": maps, "present": {"pose": torch.ones(1, dtype=torch.bool)}})["pose/act"].shape == (1, 2)
    assert maps.shape[1] == {"joints": joints, "limbs": joints - (layout == "ntu25"), "both": 2 * joints - 1}.get(
        of if layout == "ntu25" else "", {"joints": 17, "limbs": 17, "both": 34}[of]
    )


def test_skeletons_in_space_are_seen_from_ahead(tmp_path):
    """In metres, y up: the head above the base of the spine, the feet below; the hand at x = 0.6 on the right."""
    names = LAYOUTS["ntu25"].joints
    keypoint = np.zeros((1, 6, 25, 3), np.float16)
    places = {"head": (0, 0.9), "spine_base": (0, 0.1), "left_foot": (-0.1, -0.8), "right_hand": (0.6, 0.3)}
    for joint, (x, y) in places.items():
        keypoint[:, :, names.index(joint)] = (x, y, 2.5)
    folder = write_skeletons(
        tmp_path / "skeletons.pkl",
        [Skeleton("a", keypoint, keypoint.any(axis=-1).astype(np.float16), None)],
        layout="ntu25",
    )
    backbone = {**POSE, "input_px": 40}
    maps = open_modalities({"pose": folder}, backbones={"pose": backbone}, augment={})["pose"].plain("a")[0]
    # The square's side is 1.25 * 1.7 m round (0.25, 0.05) m, so a metre is 40 / 2.125 = 18.8 px.
    for joint, (x, y) in places.items():
        found = np.array(peak(maps, names.index(joint)))
        expected = 20 + 18.8 * np.array([x - 0.25, 0.05 - y]) - 0.5
        assert np.abs(found - expected).max() < 0.8, joint
    assert peak(maps, names.index("left_thumb")) is None
    with pytest.raises(UserError, match=r"skeletons\.pkl: the skeleton of a is in metres.*frames\.region: whole"):
        folder.region("a")


# --- the folder of skeletons ------------------------------------------------------------------------------------------


def test_a_digest_is_of_all_that_a_skeleton_says_and_of_nothing_else(tmp_path):
    names = ("a", "b", "c")

    def digests(**changed):
        skeletons = [replace(make_skeleton(name), **(changed if name == "b" else {})) for name in names]
        return dict(write_skeletons(tmp_path / "skeletons.pkl", skeletons).digests)

    first = digests()
    assert list(first) == list(names) and len(set(first.values())) == 3 and digests(label=3) == first
    moved, unsure = make_skeleton("b").keypoint.copy(), make_skeleton("b").score.copy()
    moved[1, 5, 3, 0] += 1
    unsure[0, 2, 4] = 0.5
    shorter = {"keypoint": moved[:, :5], "score": unsure[:, :5]}
    for change in ({"keypoint": moved}, {"score": unsure}, {"img_shape": (121, 160)}, shorter):
        other = digests(**change)
        assert {name for name in names if other[name] != first[name]} == {"b"}


def test_another_process_maps_the_file_itself(tmp_path):
    folder = write_skeletons(tmp_path / "skeletons.pkl", [make_skeleton(name) for name in "abcdef"])
    sent = pickle.dumps(folder)
    assert len(sent) < 500 < (tmp_path / "skeletons.pkl").stat().st_size
    again = pickle.loads(sent)
    assert again.layout is COCO and again.digests == folder.digests and again.spec == {"layout": "coco17"}
    assert np.array_equal(again["c"].keypoint, make_skeleton("c").keypoint)


def test_the_region_is_the_square_around_everybody(tmp_path):
    keypoint = np.full((2, 2, 17, 2), 50, np.float16)
    keypoint[0, 0, 3], keypoint[1, 1, 5], keypoint[1, 0, 7] = (30, 40), (69, 60), (159, 1)
    score = np.ones((2, 2, 17), np.float16)
    score[1, 0, 7] = 0
    keypoint[1, 0, 7] = 0
    folder = write_skeletons(tmp_path / "skeletons.pkl", [Skeleton("a", keypoint, score, SHAPE)])
    # 39 px wide; 39 * 1.25 = 48.75, so 49; round (50, 50.5).
    assert folder.region("a") == ((26, 26, 75, 75), SHAPE)
    assert folder.region("b") is None


# --- sources ----------------------------------------------------------------------------------------------------------


def test_clips_without_a_skeleton_are_left_out_where_skeletons_are_looked_at(tmp_path):
    write_project(tmp_path, without_skeleton=("val0", "val1"))
    ids = [f"{split}{i}" for split, count in (("test", 2), ("train", 4), ("val", 4)) for i in range(count)]
    for modalities, missing in ((("rgb", "pose"), 2), (("pose",), 2), (("rgb",), 0)):
        inputs = open_project(tmp_path, *modalities)
        kept = [clip.clip_id for clip in inputs.manifest.clips]
        assert kept == [i for i in ids if not missing or i not in ("val0", "val1")]
        assert list(inputs.folders) == list(modalities)
        assert (inputs.layout is COCO) == ("pose" in modalities) and (inputs.clip_spec is None) == (
            modalities == ("pose",)
        )


def test_no_clip_is_left(tmp_path):
    write_project(tmp_path, without_skeleton=tuple(f"{s}{i}" for s in ("train", "val", "test") for i in range(4)))
    with pytest.raises(UserError, match="no clip can be used"):
        open_project(tmp_path)


def test_the_digest_of_the_data_is_of_the_skeletons_too(tmp_path):
    write_project(tmp_path)
    first = open_project(tmp_path)
    skeletons = [make_skeleton(clip.clip_id) for clip in first.manifest.clips]
    before, alone = first.digest(["train"]), open_project(tmp_path, "rgb").digest(["train"])
    assert before != alone
    skeletons[2].keypoint[0, 0, 0, 0] += 1  # train0
    write_skeletons(tmp_path / "skeletons.pkl", skeletons)
    assert open_project(tmp_path).digest(["train"]) != before and open_project(tmp_path).digest(
        ["val"]
    ) == first.digest(["val"])
    assert open_project(tmp_path, "rgb").digest(["train"]) == alone


def test_skeletons_beside_pictures_of_another_size_are_other_features(tmp_path):
    """Their random crops are of whole pixels of the pictures."""
    write_project(tmp_path)
    assert open_project(tmp_path).specs == {
        "rgb": {"clip_frames": 8, "clips_per_video": 1, "frame_stride": None, "size_px": 72}
        | {"resize": "crop", "region": "persons", "pad_frac": 0.0},
        "pose": {"layout": "coco17", "beside_px": 72},
    }
    assert open_project(tmp_path, "pose").specs == {"pose": {"layout": "coco17", "beside_px": None}}


LARGE = {"rgb": {**RGB, "input_px": 64}, "pose": {**POSE, "input_px": 32}}


def noses_in_place(pictures, maps):
    """Return how many of these views show the nose, each where its heat-map has it."""
    found = [(dot(view, 0), peak(heat, NOSE)) for view, heat in zip(pictures, maps, strict=True)]
    seen = [(np.array(bright), highest) for bright, highest in found if bright not in (None, "cut off")]
    assert all(np.abs(highest - ((bright + 0.5) / 2 - 0.5)).max() < 0.75 for bright, highest in seen)
    return len(seen)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_clip_s_pictures_and_skeleton_come_together_through_the_loader(tmp_path, monkeypatch, workers):
    monkeypatch.setenv("ACTREC_LOADER_WORKERS", workers)
    write_project(tmp_path)
    source = open_project(tmp_path).source("train", backbones=LARGE, augment=AUGMENT, seed=0)
    shown = 0
    for epoch in range(6):
        (batch,) = Batches(source).training(np.array([2, 0, 3, 1]), batch_size=4, epoch=epoch)
        assert batch["labels"]["act"].tolist() == [2, 0, 3, 1]
        assert all(present.all() for present in batch["present"].values())
        shown += noses_in_place(batch["rgb"], batch["pose"])
    assert shown > 8


def test_cached_views_of_a_clip_s_pictures_and_skeleton_are_of_the_same_part(tmp_path):
    write_project(tmp_path)
    inputs = open_project(tmp_path)
    both, shown = open_modalities(inputs.folders, backbones=LARGE, augment=AUGMENT), 0
    for clip in inputs.manifest.clips:
        pictures, maps = (Views(modality, both[modality], 12, 0).of(clip.clip_id) for modality in ("rgb", "pose"))
        assert len(pictures) == len(maps) == 12
        shown += noses_in_place(pictures, maps)
    assert shown > 20


def test_views_of_evaluation_are_rows_that_belong_together(tmp_path):
    write_project(tmp_path)
    views = PlainViews(clips=2, flip=True)
    source = open_project(tmp_path).source("val", backbones=BACKBONES, augment={}, seed=0, views=views)
    batch = source.plain_batch(np.array([1, 3]))
    assert batch["views"] == 4 and batch["rgb"].shape[0] == 8 == batch["pose"].shape[0]
    pose = open_modalities(
        {"pose": open_project(tmp_path).folders["pose"]}, backbones=BACKBONES, augment={}, views=views
    )
    torch.testing.assert_close(batch["pose"][4:], pose["pose"].plain("val3"), rtol=0, atol=1e-4)
    assert torch.equal(batch["rgb"][6:], batch["rgb"][4:6].flip(3))
