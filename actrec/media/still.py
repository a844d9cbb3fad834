"""Still pictures through Pillow: upright, 8-bit RGB, and of no other format than their first bytes announce.

Pillow knows many formats, some of which start other programs or are rarely looked after: it gets the one that `sniff`
found. What it cannot show right is refused, not guessed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from actrec.errors import BadItem
from actrec.media.facts import MediaFacts

if TYPE_CHECKING:
    from PIL.Image import Image

# As RGB in Pillow's memory, 4 bytes a pixel, 400 MB; a picture that is to be turned needs that twice.
MAX_PIXELS = 100_000_000

_FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF", "heif": "AVIF"}
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC = 274, 258, 262  # tags of TIFF 6.0, sections 4 and 8; EXIF has the first
_WHITE_IS_ZERO = 0


class _Shown(NamedTuple):
    """An upright picture of mode RGB, and the format and mode that it had in the file."""

    picture: Image
    file_format: str
    mode: str


def probe_still(path: Path, container: str) -> MediaFacts:
    """Return what is known of the picture in `path`; all of it is decoded, since its header may promise too much.

    Args:
        path: A file.
        container: What `sniff` says of it.

    Raises:
        BadItem: too_large above MAX_PIXELS, truncated, out_of_memory, or unreadable.
    """
    picture, file_format, mode = _read(path, container)
    return MediaFacts(container, file_format.lower(), mode, *picture.size, 0, 0.0, 1, 0.0, "", 0, 0)


class StillFrames:
    """A still picture as a video of one frame; the first one of a file that has several.

    It is turned and mirrored as EXIF says. Grey, palettes, CMYK (without its colour profile, as all profiles are
    passed over) and YCbCr become RGB by Pillow's formulas, and transparent pixels black, half transparent ones darker.
    Of 16 bits a colour the upper 8 are taken; 16-bit grey g becomes g / 257, rounded, 32-bit integers too where they
    are no more than 65535, and floating-point grey g from 0 to 1 becomes 255 g.

    Args:
        path: A file.
        container: What `sniff` says of it.

    Raises:
        BadItem: see `probe_still`.
    """

    def __init__(self, path: Path, container: str) -> None:
        self.times_s = np.zeros(1)
        self._frame = np.array(_read(path, container).picture)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return frames (n, H, W, 3) uint8 RGB for `indices`, of which 0 alone is there."""
        return self._frame[None][indices]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the one frame (H, W, 3)."""
        yield self._frame


def _read(path: Path, container: str) -> _Shown:
    from PIL import Image

    try:
        # Odd tags are no reason to refuse a picture, and the limit of pixels is our own. Of a file that it opens by
        # name Pillow maps bare pixels into memory, and takes the sides of a TIFF that is to be turned for each other.
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file:
            picture = Image.open(file, formats=(_FORMATS[container],))
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise _too_large()
            file_format, mode = picture.format or "", picture.mode
            picture.load()
            return _Shown(_upright(_to_rgb(picture), picture), file_format, mode)
    except BadItem:
        raise
    except Image.DecompressionBombError:
        raise _too_large() from None  # Pillow stops above 179 million by itself
    except MemoryError:
        raise BadItem("out_of_memory", "the decoder asked for more memory than there is") from None
    except Exception as error:  # Pillow lets through whatever its many decoders raise
        raise _bad_picture(error, container) from None


def _upright(shown: Image, picture: Image) -> Image:
    """Return `shown` turned and mirrored as the EXIF data of `picture` say. Source: TIFF 6.0, section 8."""
    from PIL.Image import Transpose

    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF data raise whatever; a viewer would show such a picture as it lies
        return shown
    turned = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return shown.transpose(turned[orientation]) if orientation in turned else shown


def _to_rgb(picture: Image) -> Image:
    from PIL import Image

    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return Image.fromarray(_grey(picture)).convert("RGB")
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    colours = picture.convert("RGBA")
    shown = Image.new("RGB", picture.size)
    shown.paste(colours, mask=colours)
    return shown


def _grey(picture: Image) -> np.ndarray:
    """Return the 8-bit grey (H, W) of a picture of 16 or 32 bits, black where it is transparent.

    Raises:
        BadItem: unreadable, for values outside of the range that they are taken to have.
    """
    values = np.asarray(picture).astype(np.float32)
    tags = getattr(picture, "tag_v2", {})  # of a TIFF
    if picture.mode == "F":
        full = 1
    elif picture.mode == "I":
        full = 65535
    else:
        full = 2 ** tags.get(_BITS_PER_SAMPLE, (16,))[0] - 1  # microscopes write 12 bits
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # of 16 bits Pillow does not turn them round
            values = full - values
    if isinstance(key := picture.info.get("transparency"), int):
        values = np.where(values == key, 0, values)
    if not (values.min() >= 0 and values.max() <= full):
        raise BadItem("unreadable", f"grey from {values.min():g} to {values.max():g}, expected 0 to {full}")
    return (values * (255 / full)).round().astype(np.uint8)


def _too_large() -> BadItem:
    return BadItem("too_large", f"more than {MAX_PIXELS:,} pixels: make it smaller")


def _bad_picture(error: Exception, container: str) -> BadItem:
    from PIL import UnidentifiedImageError

    match error:
        case UnidentifiedImageError() | KeyError():  # its text has the path, which is another on each machine
            return BadItem(
                "unreadable", f"Pillow reads no {container} in it: its header is damaged, or of another kind"
            )
        case OSError() if error.strerror:
            return BadItem("unreadable", error.strerror)
        case _:
            text = str(error)
            return BadItem("truncated" if "truncated" in text.lower() else "unreadable", text or type(error).__name__)
