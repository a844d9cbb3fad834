"""The skeletons that the skeletons stage wrote, by clip id."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from actrec.errors import UserError
from actrec.pose.box import Corners, compact_box
from actrec.pose.pyskl_file import load_pickle
from actrec.pose.skeleton import Skeleton


class PoseFolder:
    """Skeletons by clip id, read lazily: the file is mapped, not loaded.

    Args:
        path: data/processed/<dataset>/skeletons.pkl.

    Raises:
        UserError: if it is not there, or another file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        loaded = load_pickle(path)
        self.layout = loaded.layout
        self._skeletons = {skeleton.name: skeleton for skeleton in loaded.skeletons}

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """The sha256 of what each clip's skeleton is."""
        return {clip_id: skeleton.digest for clip_id, skeleton in self._skeletons.items()}

    @property
    def spec(self) -> dict[str, str]:
        """What all skeletons have in common, as features and checkpoints carry it."""
        return {"layout": self.layout.name}

    def __getitem__(self, clip_id: str) -> Skeleton:
        return self._skeletons[clip_id]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path}  # other processes map the file themselves

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])

    def region(self, clip_id: str) -> tuple[Corners, tuple[int, int]] | None:
        """Return the square around all persons of a clip, and the (height, width) of the picture whose pixels it is in.

        None if the clip has no skeleton.

        Raises:
            UserError: if skeletons are not in pixels.
        """
        skeleton = self._skeletons.get(clip_id)
        if skeleton is None:
            return None
        if skeleton.img_shape is None:
            raise UserError(
                f"{self._path}: the skeleton of {clip_id} is in metres, so nobody knows where it is in the picture. "
                "Give 2-D keypoints in data.skeletons (of raw NTU text: kind: ntu_text_2d), or set frames.region: whole"
            )
        box = compact_box(skeleton.keypoint.astype(np.float32), skeleton.score, skeleton.img_shape)
        return box, skeleton.img_shape
