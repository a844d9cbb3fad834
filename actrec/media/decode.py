"""Pixels of chosen frames, at native resolution and upright.

Two decoders, chosen by what the header says, never by trial: decord seeks, so it is fast where few frames of many are
wanted, but its seeking returns wrong frames for some codecs, and its FFmpeg of 2021 converts others differently
(docs/adr/0003-decoders.md). It gets what it was proven on: plain 8-bit H.264 outside AVI. PyAV reads everything else,
from the first frame on, and H.264 too where decord has no wheel.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from actrec.errors import BadItem
from actrec.media.facts import MediaFacts
from actrec.media.probe import open_container, video_stream

_DECORD_PIXEL_FORMATS = ("yuv420p", "yuvj420p")


class FrameSource(Protocol):
    """A video file whose frames can be fetched by number."""

    times_s: np.ndarray

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return frames (n, H, W, 3) uint8 RGB for ascending, distinct `indices`."""
        ...


def open_frames(path: Path, facts: MediaFacts) -> FrameSource:
    """Return the file's frames through the decoder that reads this kind of file right.

    Raises:
        BadItem: frame_mismatch, if clearly fewer or more frames are there than the header promises.
    """
    source = DecordFrames(path) if decoder_of(facts) == "decord" else PyavFrames(path, facts.rotation_deg)
    promised = facts.duration_s * facts.fps
    found = len(source.times_s)
    if promised and abs(found - promised) > max(2, 0.1 * promised):
        raise BadItem("frame_mismatch", f"the header promises {promised:.0f} frames, {found} are there")
    return source


def decoder_of(facts: MediaFacts) -> str:
    """Return which decoder reads such a file here: 'decord' or 'pyav'."""
    seeks_right = (
        facts.video_codec == "h264"
        and facts.pixel_format in _DECORD_PIXEL_FORMATS
        and facts.container != "avi"
        # An edit list hides frames that decord counts: then the header's numbers disagree.
        and (not facts.num_frames or abs(facts.num_frames - facts.duration_s * facts.fps) < 1.5)
    )
    return "decord" if seeks_right and importlib.util.find_spec("decord") else "pyav"


class DecordFrames:
    """Frames by seeking, through decord; it applies rotation itself."""

    def __init__(self, path: Path) -> None:
        import decord

        decord.logging.set_level(decord.logging.FATAL)
        with _decord_errors():
            # One thread: several processes scale 1.74-2.04x on two processors, multi-threaded ones 0.93-1.44x.
            self._reader: Any = decord.VideoReader(str(path), num_threads=1)
            starts = np.asarray(self._reader.get_frame_timestamp(range(len(self._reader))), np.float64)[:, 0]
        self.times_s = starts - starts[0]

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return frames (n, H, W, 3) uint8 RGB for ascending, distinct `indices`."""
        with _decord_errors():
            return self._reader.get_batch(indices.tolist()).asnumpy()


@contextmanager
def _decord_errors() -> Iterator[None]:
    """Turn decord's error, which holds the time of day and its own source paths, into the same text each time."""
    import decord

    try:
        yield
    except decord.DECORDError as error:
        failed_check = str(error).strip().splitlines()[0].rpartition("Check failed: ")[2]
        raise BadItem("decoder_error", f"decord: {failed_check}") from None


class PyavFrames:
    """Frames in the order of the file, through PyAV: slower, and right for every codec."""

    def __init__(self, path: Path, rotation_deg: int) -> None:
        self._path, self._rotation_deg = path, rotation_deg
        with open_container(path) as container:
            stream = video_stream(container)
            packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
            base = stream.time_base
            pts = sorted(packet.pts if packet.pts is not None else packet.dts or 0 for packet in packets)
        if not pts:
            raise BadItem("truncated", "no frame in the file")
        self.times_s = (np.array(pts, np.float64) - pts[0]) * float(base or 1)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return frames (n, H, W, 3) uint8 RGB for ascending, distinct `indices`."""
        from av.video.reformatter import VideoReformatter

        wanted, frames = set(indices.tolist()), []
        reformatter = VideoReformatter()  # one for all frames: making one a frame costs 2.5x (facts/perf)
        with open_container(self._path) as container:
            stream = video_stream(container)
            stream.thread_type = "NONE"
            for number, frame in enumerate(container.decode(stream)):
                if number in wanted:
                    frames.append(reformatter.reformat(frame, format="rgb24").to_ndarray())
                if len(frames) == len(wanted):
                    break
        if len(frames) < len(wanted):
            raise BadItem("truncated", f"frame {int(indices[len(frames)])} could not be decoded")
        quarter_turns = -self._rotation_deg // 90  # np.rot90 turns against the clock
        return np.ascontiguousarray(np.rot90(np.stack(frames), quarter_turns, axes=(1, 2)))
