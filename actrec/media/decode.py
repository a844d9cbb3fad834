"""Pixels of chosen frames, at native resolution and upright.

Two decoders, chosen by what the file says, never by trial: decord seeks, so it is fast where few frames of many are
wanted, but its seeking returns wrong frames for some codecs, and its FFmpeg of 2021 converts others differently
(docs/adr/0003-decoders.md). It gets what it was proven on: plain 8-bit H.264 in MP4 and Matroska whose key frames are
true starting points. PyAV reads everything else, from the first frame on, and H.264 too where decord has no wheel.
Still pictures, videos of one frame, are for Pillow (`actrec.media.still`).
"""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from actrec.errors import BadItem
from actrec.media.facts import MediaFacts
from actrec.media.probe import HEAD_BYTES, open_container, sniff, video_stream
from actrec.media.still import StillFrames

_DECORD_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
_DECORD_CONTAINERS = ("mp4", "matroska")  # in AVI it seeks wrong, in transport streams it reads wrong without seeking
_DECORD_FAILS_UP_TO_PX = 72  # where 16, 24, 48 or 72 pixels are shown side by side; of 80 to 1300 it reads all
_NAL_IDR = 5
_FRAMES_AT_ONCE = 32


class FrameSource(Protocol):
    """A video, or a still picture, whose frames can be fetched by number."""

    times_s: np.ndarray

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return frames (n, H, W, 3) uint8 RGB for ascending, distinct `indices`."""
        ...

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield all frames (H, W, 3) in order; few are in memory at a time."""
        ...


def open_frames(path: Path, facts: MediaFacts) -> FrameSource:
    """Return the file's frames through the decoder that reads this kind of file right.

    Raises:
        BadItem: frame_mismatch, if clearly fewer or more frames are there than the header promises; of a still picture
            see `StillFrames`.
    """
    if facts.is_still:
        return StillFrames(path, facts.container)
    source = _open_decord(path) if decoder_of(facts) == "decord" else None
    source = source or PyavFrames(path, facts.rotation_deg)
    promised = facts.duration_s * facts.fps
    found = len(source.times_s)
    if promised and abs(found - promised) > max(2, 0.1 * promised):
        raise BadItem("frame_mismatch", f"the header promises {promised:.0f} frames, {found} found")
    return source


def decoder_of(facts: MediaFacts) -> str:
    """Return which decoder reads such a file here: 'decord' or 'pyav', of a still picture 'pillow'."""
    if facts.is_still:
        return "pillow"
    seeks_right = (
        facts.video_codec == "h264"
        and facts.pixel_format in _DECORD_PIXEL_FORMATS
        and facts.container in _DECORD_CONTAINERS
        and min(facts.width_px, facts.height_px) > _DECORD_FAILS_UP_TO_PX
        # An edit list hides frames that decord counts: then the header's numbers disagree.
        and (not facts.num_frames or abs(facts.num_frames - facts.duration_s * facts.fps) < 1.5)
    )
    return "decord" if seeks_right and _has_decord() else "pyav"


@cache
def _has_decord() -> bool:
    return importlib.util.find_spec("decord") is not None  # asked for each clip, and it searches the disk each time


def _open_decord(path: Path) -> "DecordFrames | None":
    """Return the file through decord, or None if it would land on wrong frames there.

    It seeks to what the container calls key frames. With open groups of pictures or intra refresh those are no true
    starting points: of 60 random choices of frames 20 to 58 came out wrong. With one key frame there is no seeking.
    """
    with path.open("rb") as file:
        sniff(file.read(HEAD_BYTES))  # decord follows playlists; what probe accepted may have been replaced since
    source = DecordFrames(path)
    return source if source.num_key_frames == 1 or _starts_anew_at_key_frames(path) else None


def _starts_anew_at_key_frames(path: Path) -> bool:
    """Tell whether every key frame is an instantaneous decoder refresh (IDR): nothing after refers to before.

    Source: ISO/IEC 14496-10 section 7.4.1.2.4; the packets' form, 14496-15 section 5.3.3.
    """
    with open_container(path) as container:
        stream = video_stream(container)
        header = stream.codec_context.extradata or b""
        if header[:1] != b"\x01":
            return False
        length_bytes = (header[4] & 3) + 1
        return all(_holds_idr(bytes(packet), length_bytes) for packet in container.demux(stream) if packet.is_keyframe)


def _holds_idr(packet: bytes, length_bytes: int) -> bool:
    position = 0
    while position + length_bytes < len(packet):
        start = position + length_bytes
        if packet[start] & 0x1F == _NAL_IDR:
            return True
        position = start + int.from_bytes(packet[position:start], "big")
    return False


class DecordFrames:
    """Frames by seeking, through decord; it applies rotation itself."""

    def __init__(self, path: Path) -> None:
        import decord

        decord.logging.set_level(decord.logging.FATAL)
        with _decord_errors("cannot be opened"):
            # One thread: several processes scale 1.74-2.04x on two processors, multi-threaded ones 0.93-1.44x.
            self._reader: Any = decord.VideoReader(str(path), num_threads=1)
            starts = np.asarray(self._reader.get_frame_timestamp(range(len(self._reader))), np.float64)[:, 0]
            self.num_key_frames = len(self._reader.get_key_indices())
        self.times_s = starts - starts[0]

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return frames (n, H, W, 3) uint8 RGB for ascending, distinct `indices`."""
        with _decord_errors("a frame cannot be decoded"):
            return self._reader.get_batch(indices.tolist()).asnumpy()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield all frames (H, W, 3) in order; few are in memory at a time."""
        for first in range(0, len(self.times_s), _FRAMES_AT_ONCE):
            yield from self.read(np.arange(first, min(first + _FRAMES_AT_ONCE, len(self.times_s))))


@contextmanager
def _decord_errors(what: str) -> Iterator[None]:
    """Say `what` for any error of decord's.

    Its own text holds the time of day and its source paths, and which of its threads speaks first changes from run to
    run, while quarantine.csv must have the same bytes each time.
    """
    import decord

    try:
        yield
    except decord.DECORDError:
        raise BadItem("decoder_error", f"decord: {what}") from None


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
        return np.stack(list(self._decoded(indices.tolist())))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield all frames (H, W, 3) in order; one is in memory at a time."""
        return self._decoded(range(len(self.times_s)))

    def _decoded(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()  # one for all frames: making one a frame costs 2.5x (facts/perf)
        quarter_turns = -self._rotation_deg // 90  # np.rot90 turns against the clock
        missing = iter(wanted)
        awaited = next(missing, None)
        with open_container(self._path) as container:
            stream = video_stream(container)
            stream.thread_type = "NONE"
            for number, frame in enumerate(container.decode(stream)):
                if number == awaited:
                    yield np.rot90(reformatter.reformat(frame, format="rgb24").to_ndarray(), quarter_turns)
                    awaited = next(missing, None)
                if awaited is None:
                    return
        raise BadItem("truncated", f"frame {awaited} could not be decoded")
