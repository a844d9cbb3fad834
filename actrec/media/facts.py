"""What the header of a media file says."""

from dataclasses import dataclass
from typing import Literal

# Containers of still pictures.
STILLS = frozenset({"jpeg", "png", "webp", "bmp", "tiff", "heif"})
# (x, y, width, height) in pixels of the upright picture; x and y are the upper left corner.
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What the header of a media file says.

    Of the picture and the sound that a player would show. `video_codec` is "" of a file without pictures, and then the
    fields up to `num_frames` are empty or 0; `audio_codec` is "" of one without sound. `duration_s` is the stream's of
    the picture, or of the sound where there is no picture, else the container's. `num_frames` is 0 where the container
    does not tell; `width_px` x `height_px` are as stored, before the clockwise `rotation_deg` that a player applies.

    A still picture is one frame without duration. `video_codec` and `pixel_format` are Pillow's format (in lower case)
    and mode; `width_px` x `height_px` are upright, since EXIF can mirror as well: `rotation_deg` is 0.
    """

    container: str
    video_codec: str
    pixel_format: str
    width_px: int
    height_px: int
    rotation_deg: int
    fps: float
    num_frames: int
    duration_s: float
    audio_codec: str
    sample_rate_hz: int
    channels: int

    @property
    def has_video(self) -> bool:
        """Whether there are pictures; a cover of a sound file is none."""
        return bool(self.video_codec)

    @property
    def upright_px(self) -> tuple[int, int]:
        """Width and height as it is shown."""
        turned = self.rotation_deg in (90, 270)
        return (self.height_px, self.width_px) if turned else (self.width_px, self.height_px)

    @property
    def is_still(self) -> bool:
        """Whether the file is a still picture."""
        return self.container in STILLS

    @property
    def kind(self) -> Literal["picture", "video", "sound"]:
        """What the file is, in a word."""
        if self.is_still:
            return "picture"
        return "video" if self.has_video else "sound"

    @property
    def has_audio(self) -> bool:
        """Whether there is a sound track."""
        return bool(self.audio_codec)
