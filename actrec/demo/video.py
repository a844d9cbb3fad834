"""Frames and sound to an mp4 whose bytes depend on nothing else."""

import io
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

# One thread, since x264 shares a picture out among more in ways that change its bytes; and nothing that differs from
# processor to processor: even on one, its fast rate control chooses by where memory happens to lie.
_X264 = {"preset": "veryfast", "crf": "20", "threads": "1", "x264-params": "cpu-independent=1"}


def encode_mp4(frames: NDArray[np.uint8], sound: NDArray[np.float32], *, fps: int, sample_rate_hz: int) -> bytes:
    """Return an mp4 file with H.264 pictures and mono AAC sound.

    Args:
        frames: (T, H, W, 3), H and W even.
        sound: (samples,) in [-1, 1].
        fps: Frames a second.
        sample_rate_hz: Of the sound.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        height, width = frames.shape[1:3]
        video = container.add_stream("libx264", rate=fps, options=_X264)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=sample_rate_hz, layout="mono")
        for stream in (video, audio):
            stream.codec_context.flags |= Flags.bitexact
        _encode_frames(container, video, frames, fps)
        _encode_sound(container, audio, sound)
    return buffer.getvalue()


def _encode_frames(container: OutputContainer, stream: VideoStream, frames: NDArray[np.uint8], fps: int) -> None:
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = number
        frame.time_base = Fraction(1, fps)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _encode_sound(container: OutputContainer, stream: AudioStream, sound: NDArray[np.float32]) -> None:
    frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
    frame.sample_rate = stream.codec_context.sample_rate
    frame.pts = 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
