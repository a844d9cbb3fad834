"""Histograms of oriented gradients: descriptors of grey pictures, and the backbone that passes them on."""

import numpy as np
import torch

from actrec.models.backbone import Backbone

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_CLIP, _EPSILON = 0.2, 1e-5


class Hog(Backbone):
    """Descriptors (B, T, D) of B clips of T pictures, which are the tokens.

    Nothing is learned and no weights are read: what `weights_sha256` names is the release of the library that computes,
    so that features of another one count as other features.

    Args:
        orientations: See `descriptors`.
        cell_px: Likewise.
        block_cells: Likewise.
        input_px: The side of the pictures.
    """

    no_cam = "hog learns no maps and has no gradients, so that Grad-CAM has nothing to weigh"

    def __init__(self, *, orientations: int, cell_px: int, block_cells: int, input_px: int) -> None:
        blocks = input_px // cell_px - block_cells + 1
        super().__init__(width=(blocks * block_cells) ** 2 * orientations)
        self.weights_sha256 = f"numpy {np.__version__}"

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the descriptors, tokens (B, T, D), as they are."""
        return batch


def descriptors(pictures: torch.Tensor, *, orientations: int, cell_px: int, block_cells: int) -> torch.Tensor:
    """Return the descriptor of each picture's luma, float32 (…, D) with values in [0, 1].

    Gradients of cells are counted by direction, opposite ones alike, each with its length; blocks of cells, one cell
    apart, are normalised (L2-Hys: to length 1, cut off at 0.2, to length 1). The values are those of scikit-image's
    `hog` but for the last bits of float32; it takes three times as long, most of it in a loop over blocks.

    Args:
        pictures: uint8 RGB (…, H, W, 3), of at least one block; what is beyond the last whole cell only has a part in
            its neighbours' gradients.
        orientations: Bins of 180°, from horizontal gradients (vertical edges) on.
        cell_px: The side of a cell.
        block_cells: The side of a block.

    Returns:
        D = rows of blocks, columns of blocks, rows and columns of cells in them, orientations; in this order.

    Source: Dalal and Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005, section 6, without
    smoothing, and without sharing a gradient out among neighbouring bins and cells.
    """
    pixels = pictures.reshape(-1, *pictures.shape[-3:]).numpy().astype(np.float32)
    red, green, blue = (np.float32(weight) * pixels[..., channel] for channel, weight in enumerate(_LUMA))
    grey = (red + green + blue) / np.float32(255)
    histograms = _histograms(grey, orientations, cell_px)
    blocks = np.lib.stride_tricks.sliding_window_view(histograms, (block_cells, block_cells), axis=(1, 2))
    normalised = _to_length_1(np.minimum(_to_length_1(blocks), _CLIP))
    in_order = normalised.transpose(0, 1, 2, 4, 5, 3).astype(np.float32)
    return torch.from_numpy(in_order.reshape(*pictures.shape[:-3], -1))


def _histograms(grey: np.ndarray, orientations: int, cell_px: int) -> np.ndarray:
    """Return (n, rows, columns, orientations) of cells, of grey pictures (n, H, W)."""
    count, rows, columns = len(grey), grey.shape[1] // cell_px, grey.shape[2] // cell_px
    right, down = (np.zeros(grey.shape) for _ in range(2))
    right[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    right, down = (part[:, : rows * cell_px, : columns * cell_px] for part in (right, down))
    angle_deg = np.rad2deg(np.arctan2(down, right))
    angle_deg = np.where(angle_deg < 0, angle_deg + 180, angle_deg)
    bins = np.searchsorted(180 / orientations * np.arange(orientations + 1), angle_deg, side="right") - 1
    bins[bins == orientations] = 0  # 180° is 0°
    cells = np.arange(count * rows * columns).reshape(count, rows, columns)
    of_pixel = cells.repeat(cell_px, axis=1).repeat(cell_px, axis=2)
    lengths = np.sqrt(right**2 + down**2)
    places = of_pixel * orientations + bins
    total = np.bincount(places.ravel(), lengths.ravel(), minlength=count * rows * columns * orientations)
    return total.reshape(count, rows, columns, orientations) / cell_px**2


def _to_length_1(blocks: np.ndarray) -> np.ndarray:
    return blocks / np.sqrt((blocks**2).sum(axis=(3, 4, 5), keepdims=True) + _EPSILON**2)
