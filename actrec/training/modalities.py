"""What a model is shown of a clip: each modality reads its arrays by clip id, plain or at random."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch

from actrec.media.clip import ClipFolder
from actrec.media.sound import MelFolder
from actrec.models.hog import descriptors
from actrec.pose.box import apply_crop, in_square
from actrec.pose.folder import PoseFolder
from actrec.pose.heatmap import joint_heatmaps, limb_heatmaps
from actrec.pose.sampling import sample_test, sample_train
from actrec.training.pair_geometry import PairGeometry
from actrec.training.views import (
    PLAIN,
    Crop,
    PlainViews,
    cut,
    jittered,
    plain_view,
    randaugmented,
    random_crop,
    random_mel,
    scaled_px,
)

# The side of the square in which crops of skeletons are drawn where there are no pictures beside them.
_SPACE_PX = 256


class Modality(Protocol):
    """One modality of all clips. `digests` names the content of each clip that has it."""

    digests: Mapping[str, str]
    # Whether a view takes longer to make than a backbone to look at: several processes are worth their while.
    is_slow: bool

    def parts(self, clip_id: str) -> tuple[str, ...]:
        """Return the ids of what a clip can be looked at in parts as, by the same calls: their tokens are its own."""
        ...

    def plain(self, clip_id: str) -> torch.Tensor:
        """Return the plain views of a clip (views, …)."""
        ...

    def random(self, clip_id: str, rng: np.random.Generator, view: int | None = None) -> torch.Tensor:
        """Return a random view (…), of stored view number `view` or of any."""
        ...

    def absent(self) -> torch.Tensor:
        """Return zeros in the shape of `plain`, to stand where a clip lacks the modality; no model looks at them."""
        ...


class RgbClips:
    """Pictures: uint8 (views, T, S, S, 3) from the frames stage; for hog their descriptors, float32 (views, T, D).

    Args:
        folder: Holds them, (clips_per_video, clip_frames, size_px, size_px, 3) a clip.
        backbone: The section `model.backbones.rgb`: S is its input_px. If it has input_frames, so many are chosen of
            those stored: at random for training, as `sample_test` says for plain views; otherwise T is clip_frames.
        augment: See `random_crop`, `jittered` and `randaugmented`.
        views: What is shown plainly.
    """

    def __init__(
        self,
        folder: ClipFolder,
        *,
        backbone: Mapping[str, Any],
        augment: Mapping[str, Any],
        views: PlainViews = PLAIN,
    ) -> None:
        self._folder, self._augment, self._views = folder, augment, views
        self._backbone = backbone
        self._input_px, self._input_frames = backbone["input_px"], backbone.get("input_frames")
        self._plain_px = scaled_px(self._input_px, views.scale)
        self.digests: Mapping[str, str] = folder.digests
        self.is_slow = backbone.get("kind") == "hog"

    def parts(self, clip_id: str) -> tuple[str, ...]:
        """Return the people of a pair, whom others may share; the clip itself if the backbone sees frames together."""
        return self._folder.parts(clip_id) if _sees_frames_singly(self._backbone) else (clip_id,)

    def plain(self, clip_id: str) -> torch.Tensor:
        """Return all stored views, or so many samples of their frames, and perhaps their mirror images."""
        return plain_pictures(self._folder[clip_id], self._backbone, self._views)

    def random(self, clip_id: str, rng: np.random.Generator, view: int | None = None) -> torch.Tensor:
        """Return a random crop, uint8 (T, S, S, 3), or its descriptors."""
        stored = self._folder[clip_id]
        # Spawned from the generator, not drawn: the crop of a clip's skeleton is drawn by the same numbers.
        (in_time,) = rng.spawn(1)
        clip = stored[in_time.integers(len(stored)) if view is None else view]
        if self._input_frames:
            clip = clip[torch.from_numpy(sample_train(len(clip), self._input_frames, in_time))]
        crop = random_crop(rng, *clip.shape[1:3], **_place(self._augment))
        shown = jittered(cut(clip, crop, self._input_px), rng, self._augment["color_jitter"])
        return _as_taken(randaugmented(shown, rng, self._augment["randaugment"]), self._backbone)

    def absent(self) -> torch.Tensor:
        """Return a black clip."""
        spec, side = self._folder.spec, self._plain_px
        clips, frames = (
            (self._views.clips, self._input_frames) if self._input_frames else (spec.clips_per_video, spec.clip_frames)
        )
        black = torch.zeros((clips * (1 + self._views.flip), frames, side, side, 3), dtype=torch.uint8)
        return _as_taken(black, self._backbone)


def plain_pictures(stored: torch.Tensor, backbone: Mapping[str, Any], views: PlainViews) -> torch.Tensor:
    """Return the plain views of a stored clip (clips, T, H, W, 3): what `RgbClips.plain` says."""
    if input_frames := backbone.get("input_frames"):
        stored = stored[0][torch.from_numpy(sample_test(stored.shape[1], input_frames, views.clips))]
    px = scaled_px(backbone["input_px"], views.scale)
    shown = plain_view(stored, input_px=px, crop_frac=backbone["crop_frac"])
    return _as_taken(torch.cat([shown, shown.flip(3)]) if views.flip else shown, backbone)


def _sees_frames_singly(backbone: Mapping[str, Any]) -> bool:
    """Tell whether the token of a frame is the same whichever frames are beside it."""
    match backbone:
        case {"kind": "hog"} | {"kind": "resnet", "temporal": "mean"}:
            return True
        case _:
            return False


def _as_taken(pictures: torch.Tensor, backbone: Mapping[str, Any]) -> torch.Tensor:
    match backbone:
        case {"kind": "hog", "orientations": orientations, "cell_px": cell_px, "block_cells": block_cells}:
            return descriptors(pictures, orientations=orientations, cell_px=cell_px, block_cells=block_cells)
        case _:
            return pictures


class PoseClips:
    """Skeletons as heat-maps float32 (views, K, T, S, S), made on the fly.

    A skeleton is looked at in the square around all persons of its clip, as pictures beside it are, see `compact_box`.

    Args:
        folder: Holds the skeletons.
        backbone: The section `model.backbones.pose`: S is its input_px, T its input_frames, `heatmaps` what K are.
        augment: See `random_crop`.
        views: What is shown plainly.
        space_px: The side of the pictures beside them, so that both are cropped alike.
    """

    is_slow = False

    def __init__(
        self,
        folder: PoseFolder,
        *,
        backbone: Mapping[str, Any],
        augment: Mapping[str, float],
        views: PlainViews = PLAIN,
        space_px: int = _SPACE_PX,
    ) -> None:
        self._folder, self._augment, self._views, self._space_px = folder, augment, views, space_px
        self._input_px, self._input_frames = backbone["input_px"], backbone["input_frames"]
        self._heatmaps, self._layout = backbone["heatmaps"], folder.layout
        self._plain_px = scaled_px(self._input_px, views.scale)
        self.digests: Mapping[str, str] = folder.digests

    def parts(self, clip_id: str) -> tuple[str, ...]:
        """Return the clip itself."""
        return (clip_id,)

    def plain(self, clip_id: str) -> torch.Tensor:
        """Return so many samples of the clip's frames, float32 (views, K, T, S, S), and perhaps their mirror images."""
        whole = Crop(0, 0, self._space_px, self._space_px, mirrored=False)
        keypoint, score = in_square(self._folder[clip_id], self._space_px)
        frames = sample_test(keypoint.shape[1], self._input_frames, self._views.clips)
        mirror = [whole, whole._replace(mirrored=True)] if self._views.flip else [whole]
        views = [self._maps(keypoint, score, own, crop, self._plain_px) for crop in mirror for own in frames]
        return torch.from_numpy(np.stack(views))

    def random(self, clip_id: str, rng: np.random.Generator, view: int | None = None) -> torch.Tensor:
        """Return the heat-maps of a random crop, float32 (K, T, S, S)."""
        _, in_time = rng.spawn(2)
        crop = random_crop(rng, self._space_px, self._space_px, **_place(self._augment))
        keypoint, score = in_square(self._folder[clip_id], self._space_px)
        frames = sample_train(keypoint.shape[1], self._input_frames, in_time)
        return torch.from_numpy(self._maps(keypoint, score, frames, crop, self._input_px))

    def absent(self) -> torch.Tensor:
        """Return empty maps."""
        channels = {"joints": len(self._layout.joints), "limbs": len(self._layout.limbs)}
        count = channels.get(self._heatmaps["of"], sum(channels.values()))
        views = self._views.clips * (1 + self._views.flip)
        return torch.zeros((views, count, self._input_frames, self._plain_px, self._plain_px))

    def _maps(
        self, keypoint: np.ndarray, score: np.ndarray, frames: np.ndarray, crop: Crop, size_px: int
    ) -> np.ndarray:
        part = (crop.top, crop.left, crop.height, crop.width)
        places, seen = apply_crop(
            keypoint[:, frames], score[:, frames], part, to_px=size_px, flip=crop.mirrored, swap=self._layout.swap
        )
        kinds, how = self._heatmaps["of"], (size_px, self._heatmaps["sigma_px"])
        joints = [joint_heatmaps(places, seen, *how)] if kinds != "limbs" else []
        limbs = [limb_heatmaps(places, seen, *how, self._layout.limbs)] if kinds != "joints" else []
        return np.concatenate([*joints, *limbs])


class LogMels:
    """Sound: log-Mel spectrograms float32 (F, T) in dB from the mels stage; one view a clip.

    Args:
        folder: Holds them.
        augment: See `random_mel`.
    """

    is_slow = False

    def __init__(self, folder: MelFolder, *, augment: Mapping[str, Any]) -> None:
        self._folder, self._augment = folder, augment
        self.digests: Mapping[str, str] = folder.digests

    def parts(self, clip_id: str) -> tuple[str, ...]:
        """Return the clip itself."""
        return (clip_id,)

    def plain(self, clip_id: str) -> torch.Tensor:
        """Return the spectrogram, float32 (1, F, T)."""
        return torch.as_tensor(self._folder[clip_id])[None]

    def random(self, clip_id: str, rng: np.random.Generator, view: int | None = None) -> torch.Tensor:
        """Return the spectrogram with bands hidden, float32 (F, T)."""
        return random_mel(torch.as_tensor(self._folder[clip_id]), rng, **self._augment)

    def absent(self) -> torch.Tensor:
        """Return zeros."""
        return torch.zeros((1, *self._folder.spec.shape))


Folder = ClipFolder | MelFolder | PoseFolder | PairGeometry
Folders = Mapping[str, Folder]


def drawn_by(modality: str) -> str:
    """Return by whose name the random views of a modality are drawn: a skeleton is cropped as its pictures are."""
    return "rgb" if modality == "pose" else modality


def open_modalities(
    folders: Folders,
    *,
    backbones: Mapping[str, Mapping[str, Any]],
    augment: Mapping[str, Mapping[str, Any]],
    views: PlainViews = PLAIN,
) -> dict[str, Modality]:
    """Return how each modality is read.

    Args:
        folders: What the stages before have left, a modality; of pairs also what the manifest says of them.
        backbones: The section `model.backbones`.
        augment: Of the random views of each modality; {} where none are asked for.
        views: What is shown plainly.
    """
    found: dict[str, Modality] = {}
    for modality, folder in folders.items():
        how: dict[str, Any] = {"augment": augment.get(modality, {})}
        match folder:
            case ClipFolder():
                found[modality] = RgbClips(folder, backbone=backbones[modality], views=views, **how)
            case PoseFolder():
                pictures = folders.get("rgb")
                space = {"space_px": pictures.spec.size_px} if isinstance(pictures, ClipFolder) else {}
                found[modality] = PoseClips(folder, backbone=backbones[modality], views=views, **space, **how)
            case MelFolder():
                found[modality] = LogMels(folder, **how)
            case PairGeometry():
                found[modality] = folder
    return found


def _place(augment: Mapping[str, float]) -> dict[str, float]:
    return {name: augment[name] for name in ("min_area_frac", "flip_prob")}
