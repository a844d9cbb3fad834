"""What the header of a media file says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What the header of a media file says.

    Of the stream that a player would show. `duration_s` is that stream's own, else the container's. `num_frames` is 0
    where the container does not tell; `width_px` x `height_px` are as stored, before the clockwise `rotation_deg` that
    a player applies.
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
    has_audio: bool
