"""Which clips are drawn, of which output, and what is said where there is nothing to draw."""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from noise_clips import CLASSES, Stored, manifest
from PIL import Image
from torch import nn

from actrec.data.manifest import Manifest
from actrec.explain.grad_cam import cam_pictures
from actrec.media.sound import MelFolder
from actrec.metrics.classification import Scores
from actrec.metrics.multi_label import MultiScores
from actrec.models.backbone import Backbone
from actrec.models.hog import Hog
from actrec.models.recogniser import MeanNeck, Recogniser
from actrec.models.resnet_frames import ResNetFrames
from actrec.models.resnet_mel import ResNetMel
from actrec.models.small3d import Small3d
from actrec.report import cams
from actrec.training.checkpoint import Checkpoint
from actrec.training.data import Inputs
from actrec.training.device import launch
from actrec.training.views import PLAIN, PlainViews

ASKED: dict[str, Any] = {"clips": 3, "worst_classes": 2, "clips_per_class": 2}


@pytest.fixture(autouse=True)
def one_thread():
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


class Sounds(MelFolder):
    """The same little noise of all clips."""

    def __init__(self, clip_ids: Sequence[str]) -> None:
        self.digests = {clip_id: clip_id for clip_id in clip_ids}

    def __getitem__(self, clip_id: str) -> np.ndarray:
        return np.random.default_rng(0).random((3, 16), np.float32)


class Ear(Backbone):
    """Takes a spectrogram for tokens."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch


def scores(count: int = 9, *, head: str = "bird", always: int = 0, ids: str = "clip") -> Scores:
    """Return what somebody says who takes all for one class, the surer the higher the clip's number."""
    said = np.linspace(0.5, 0.9, count)[:, None]
    probs = np.where(np.arange(3) == always, said, (1 - said) / 2)
    labels = np.arange(count) % 3
    return Scores("test", head, tuple(f"{ids}{n}" for n in range(count)), probs, labels, CLASSES)


def about(backbone: dict[str, Any], seed: int = 0) -> Checkpoint:
    return Checkpoint(
        model={"backbones": {"rgb": backbone}, "neck": {"kind": "mean"}, "heads": {}},
        classes={"bird": CLASSES},
        multi_label=(),
        clip_spec=None,
        sound_spec=None,
        layout="",
        parents=(),
        typical_s=1.0,
        weights_sha256={"rgb": ""},
        channels_last=True,
        seed=seed,
        epoch=1,
    )


def model(*outputs: str, kind: str = "small3d", frames: int = 1) -> Recogniser:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "small3d":
            backbone: Any = Small3d(width=4)
        else:
            backbone = ResNetFrames(
                depth=18, temporal="mean", clip_frames=frames, input_px=128, weights={"kind": "none"}
            )
        heads = {output: nn.Linear(backbone.width, 3) for output in outputs or ("bird",)}
        return Recogniser({"rgb": backbone}, MeanNeck(backbone.width), heads).eval()


def drawn(
    *,
    frames: int = 1,
    said: Any = None,
    seen: Recogniser | None = None,
    of: Manifest | None = None,
    seed: int = 0,
    view: PlainViews = PLAIN,
    input_px: int = 32,
    crop_frac: float = 1.0,
    stored_views: int = 1,
    features: Any = None,
    **asked: Any,
) -> dict[str, bytes]:
    listed = of or manifest()
    ids = [clip.clip_id for clip in listed.clips]
    folders: dict[str, Any] = {"rgb": Stored(ids, frames=frames, views=stored_views), "audio": Sounds(ids)}
    seen = seen or model(frames=frames)
    return cam_pictures(
        seen,
        about({"kind": "small3d", "input_px": input_px, "crop_frac": crop_frac}, seed),
        Inputs(listed, {name: folder for name, folder in folders.items() if name in seen.backbones}, features),
        said or [replace(scores(), split="val"), scores()],
        "test",
        view,
        **{**ASKED, **asked},
        fabric=launch(device="cpu", threads=1, precision="fp32"),
    )


def size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image.size


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Record which rows of the scores are drawn, with which heat."""
    from actrec.explain import grad_cam

    found: dict[str, list[Any]] = {"said": [], "mistakes": []}

    def record(kind: str, draw: Any) -> Any:
        def recorded(clips: Any, own: Any, rows: Any, *, subtitle: str) -> bytes:
            found[kind].append((own.head, list(rows), clips, subtitle))
            return draw(clips, own, rows, subtitle=subtitle)

        return recorded

    monkeypatch.setattr(grad_cam, "said_grid", record("said", cams.said_grid))
    monkeypatch.setattr(grad_cam, "mistake_grid", record("mistakes", cams.mistake_grid))
    return found


# --- two pictures -----------------------------------------------------------------------------------------------------


def test_of_a_video_each_frame_has_its_own_heat(rows):
    found = drawn(frames=4)
    assert list(found) == ["grad_cam.png", "grad_cam_worst.png"]
    width = pytest.approx(110 * (4 * 1.5 + 3 * 0.06 + 0.24), abs=1)
    # Three clips of one row; four mistakes of two.
    assert size(found["grad_cam.png"]) == (width, pytest.approx(110 * (0.66 + 1.8 * 3 + 0.59), abs=1))
    assert size(found["grad_cam_worst.png"]) == (width, pytest.approx(110 * (0.66 + 1.8 * 8 + 0.78), abs=1))
    _, _, clips, subtitle = rows["said"][0]
    assert subtitle == "test · bird · Grad-CAM at layers.4, 4 x 4 places x 2 in time"
    assert {clip.heat.shape for clip in clips} == {(1, 4, 32, 32)}
    assert any(abs(clip.heat[0, 0] - clip.heat[0, 3]).max() > 0.01 for clip in clips)


def test_of_an_image_there_is_one_tile(rows):
    found = drawn()
    assert size(found["grad_cam.png"]) == (
        pytest.approx(110 * (2.2 * 3 + 2 * (0.06 + 0.24) - 2 * 0.06 + 0.24), abs=1),
        pytest.approx(110 * (0.66 + 2.2 + 0.46 + 0.59), abs=1),
    )
    assert size(found["grad_cam_worst.png"]) == (
        pytest.approx(110 * (2 * (4.5 + 0.12) + 0.24 + 0.24), abs=1),
        pytest.approx(110 * (0.66 + 2 * 1.8 + 0.78), abs=1),
    )
    assert rows["said"][0][3].endswith("4 x 4 places")
    _, own, clips, _ = rows["said"][0]
    stored = Stored([], frames=1)
    for row, clip in zip(own, clips, strict=True):
        assert (clip.frames == stored[f"clip{row}"][0].numpy()).all(), "the picture is that of the row"


def test_the_heat_is_of_the_class_said_and_of_the_true_one(rows):
    from actrec.explain.class_heat import class_heat
    from actrec.explain.rollout import on_frames

    seen = model()
    drawn(seen=seen, frames=4)
    (_, own, clips, _), (_, wrong, pairs, _) = rows["said"][0], rows["mistakes"][0]
    stored = Stored([], frames=4)

    def heat(row: int, *classes: int) -> np.ndarray:
        batch = {"rgb": stored[f"clip{row}"], "present": {"rgb": torch.tensor([True])}}
        return on_frames(class_heat(seen, batch, output="bird", classes=classes), clip_frames=4, size_px=32).numpy()

    for row, clip in zip(own, clips, strict=True):
        assert (clip.heat == heat(row, 0)).all()
    # Everything is taken for class 0: jays and owls are all wrong, the surest first.
    assert wrong == [7, 4, 8, 5]
    for row, clip in zip(wrong, pairs, strict=True):
        assert (clip.heat == heat(row, 0, row % 3)).all()


def test_the_same_seed_draws_the_same_clips_and_the_same_bytes(rows):
    first, again, other = drawn(), drawn(), drawn(seed=1)
    assert first == again
    assert first["grad_cam.png"] != other["grad_cam.png"] and first["grad_cam_worst.png"] == other["grad_cam_worst.png"]
    chosen = [own for _, own, _, _ in rows["said"]]
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(sorted(set(own)) == own and len(own) == 3 for own in chosen)


def test_there_are_not_more_clips_than_there_are(rows):
    drawn(of=manifest(5), said=[scores(5)], clips=99, clips_per_class=9, worst_classes=9)
    assert rows["said"][0][1] == [0, 1, 2, 3, 4]
    assert rows["mistakes"][0][1] == [4, 1, 2]


@pytest.mark.parametrize(("worst_classes", "clips_per_class", "wrong"), [(1, 2, [7, 4]), (2, 1, [7, 8])])
def test_so_many_mistakes_are_drawn_of_so_many_classes(rows, worst_classes, clips_per_class, wrong):
    """Jays are 1, 4 and 7, owls 2, 5 and 8; of both all are wrong."""
    drawn(clips=0, worst_classes=worst_classes, clips_per_class=clips_per_class)
    assert rows["mistakes"][0][1] == wrong


@pytest.mark.parametrize(
    ("asked", "files"), [({"clips": 0}, ["grad_cam_worst.png"]), ({"worst_classes": 0}, ["grad_cam.png"])]
)
def test_each_may_be_left_out(asked, files):
    assert list(drawn(**asked)) == files


# --- where the clips come from ----------------------------------------------------------------------------------------


def test_one_plain_view_of_many_is_shown(rows):
    several = drawn(view=PlainViews(flip=True), stored_views=3)
    assert several == drawn(), "the first one stored, which is the same noise, and not mirrored"
    assert {clip.frames.shape for clip in rows["said"][0][2]} == {(1, 32, 32, 3)}


def test_views_have_the_scale_that_is_asked_for_and_the_crop_of_the_backbone(rows):
    drawn(view=PlainViews(scale=1.5), crop_frac=0.75, input_px=16)
    (_, own, clips, _) = rows["said"][0]
    stored = Stored([], frames=1)[f"clip{own[0]}"][0].numpy()
    assert (clips[0].frames == stored[:, 4:28, 4:28]).all()


def test_where_features_are_cached_the_clips_are_looked_at():
    assert drawn(features=object()) == drawn()


def test_of_a_sample_its_first_clip_is_shown(rows):
    drawn(of=manifest(sample=True), said=[scores(3, ids="s")])
    stored = Stored([], frames=1)
    for row, clip in zip(rows["said"][0][1], rows["said"][0][2], strict=True):
        assert (clip.frames == stored[f"clip{3 * row}"][0].numpy()).all()


# --- outputs ----------------------------------------------------------------------------------------------------------


def test_several_heads_have_two_pictures_each():
    found = drawn(seen=model("bird", "age"), said=[scores(), scores(head="age", always=1)])
    assert list(found) == [f"grad_cam{which}_{head}.png" for head in ("bird", "age") for which in ("", "_worst")]
    assert found["grad_cam_bird.png"] != found["grad_cam_age.png"]


def test_streams_are_drawn_by_the_pictures_own_output(rows):
    backbones = {"rgb": Small3d(width=4), "audio": Ear(width=16)}
    heads = {f"{modality}/bird": nn.Linear(16, 3) for modality in backbones}
    said = [scores(head=head) for head in ("rgbaudio_1:1/bird", *heads)]
    found = drawn(seen=Recogniser(backbones, None, heads).eval(), said=said)
    assert list(found) == ["grad_cam.png", "grad_cam_worst.png"]
    assert rows["said"][0][0] == "rgb/bird"


def test_where_clips_may_have_several_classes_the_likeliest_is_shown(rows, capsys):
    labels = np.eye(3, dtype=int)[np.arange(9) % 3]
    several = MultiScores("test", "bird", scores().clip_ids, scores().probs, labels, CLASSES)
    found = drawn(said=[several])
    assert list(found) == ["grad_cam.png"] and rows["said"][0][0] == "bird"
    assert "no mistakes of bird to draw: its clips may have several classes" in capsys.readouterr().err


# --- nothing to draw --------------------------------------------------------------------------------------------------


def test_without_mistakes_there_is_no_picture_of_them(capsys):
    right = replace(scores(), labels=np.zeros(9, int))
    assert list(drawn(said=[right])) == ["grad_cam.png"]
    assert capsys.readouterr().err == "evaluate.grad_cam: no mistakes of bird in test to draw\n"


def test_maps_of_one_place_are_not_drawn(capsys):
    assert drawn(seen=model(kind="resnet")) == {}
    assert capsys.readouterr().err == (
        "evaluate.grad_cam: nothing to draw: network.layer4.1 has one place for the whole picture. "
        "Set model.backbones.rgb.input_px higher\n"
    )


def test_a_model_of_sound_says_so(capsys):
    ear = ResNetMel(depth=18, weights={"kind": "none"})
    listens = Recogniser({"audio": ear}, MeanNeck(512), {"bird": nn.Linear(512, 3)}).eval()
    assert drawn(seen=listens) == {}
    assert capsys.readouterr().err == "evaluate.grad_cam: nothing to draw: Grad-CAM is drawn over pictures alone\n"


def test_a_backbone_without_maps_says_why(capsys):
    hog = Hog(orientations=9, cell_px=8, block_cells=2, input_px=32)
    assert drawn(seen=Recogniser({"rgb": hog}, MeanNeck(hog.width), {"bird": nn.Linear(hog.width, 3)}).eval()) == {}
    assert capsys.readouterr().err == (
        "evaluate.grad_cam: nothing to draw: hog learns no maps and has no gradients, so that Grad-CAM has nothing to "
        "weigh\n"
    )


def test_nothing_is_printed_when_all_is_well(capfd):
    drawn()
    assert capfd.readouterr() == ("", "")
