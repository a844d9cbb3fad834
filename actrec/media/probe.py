"""Which files are media, and what their headers say. Nothing but the named file is ever read.

FFmpeg takes a text that names other files (a playlist, whatever its extension) for a video and reads those. So the
first bytes must be those of a known container, and then only that container's demuxer may open the file.
"""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from actrec.errors import BadItem
from actrec.media.facts import MediaFacts

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

HEAD_BYTES = 4096
_OPEN_TIMEOUT_S = 60.0

# Container -> the FFmpeg demuxers that may open it.
_DEMUXERS = {
    "mp4": "mov,mp4,m4a,3gp,3g2,mj2",
    "avi": "avi",
    "matroska": "matroska,webm",
    "mpegts": "mpegts",
    "mpegps": "mpeg",
    "mpegvideo": "mpegvideo",
    "flv": "flv",
    "gif": "gif",
    "asf": "asf",
    "ogg": "ogg",
}
IMAGES = frozenset({"jpeg", "png", "webp", "bmp", "tiff", "heif"})
SOUNDS = frozenset({"wav", "mp3", "flac"})

_PREFIXES = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\x00\x00\x01\xba", "mpegps"),
    (b"\x00\x00\x01\xb3", "mpegvideo"),
    (b"FLV\x01", "flv"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"OggS", "ogg"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"ID3", "mp3"),
    (b"\xff\xfb", "mp3"),
    (b"\xff\xf3", "mp3"),
    (b"\xff\xf2", "mp3"),
    (b"fLaC", "flac"),
)
_RIFF = {b"AVI ": "avi", b"WAVE": "wav", b"WEBP": "webp"}
_MOV_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STILL_BRANDS = (b"heic", b"heix", b"mif1", b"avif")
_PLAYLISTS = (b"#extm3u", b"ffconcat", b"<mpd", b"<smil", b"<asx", b"[playlist]", b"v=0", b"http:", b"https:", b"rtsp:")


def sniff(head: bytes) -> str:
    """Return the container that a file's first bytes announce: a video's, one of IMAGES, or one of SOUNDS.

    Args:
        head: The first HEAD_BYTES of the file, or all of a shorter one.

    Raises:
        BadItem: empty, playlist (a text that names other files), or not_media.
    """
    if not head:
        raise BadItem("empty", "the file has no bytes")
    if head[4:8] in _MOV_ATOMS:
        return "heif" if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS else "mp4"
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    for prefix, container in _PREFIXES:
        if head.startswith(prefix):
            return container
    if _is_transport_stream(head):
        return "mpegts"
    if _is_playlist(head):
        raise BadItem("playlist", "a text that names other files, not a video")
    raise BadItem("not_media", f"no known media container begins with {head[:8].hex(' ')}")


def _is_transport_stream(head: bytes) -> bool:
    """Tell whether packets of 188 bytes (or 192, as camcorders write them) each begin with the sync byte.

    Source: ISO/IEC 13818-1, section 2.4.3.2.
    """
    return any(
        len(head) > first + 2 * step and all(head[first + i * step] == 0x47 for i in range(3))
        for first, step in ((0, 188), (4, 192))
    )


def _is_playlist(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").replace(b"\x00", b"").lstrip(b"\xff\xfe \t\r\n").lower()
    is_xml_list = text.startswith(b"<?xml") and any(tag in text for tag in (b"<mpd", b"<smil", b"<playlist"))
    return text.startswith(_PLAYLISTS) or is_xml_list


def open_container(path: Path) -> "InputContainer":
    """Return the opened file, to be closed by the caller; only its own demuxer, and no other file, is in reach.

    Raises:
        BadItem: from `sniff`; no_video for a picture or a sound file; unreadable or truncated from the demuxer.
    """
    return _open(path, _sniff_file(path))


def _sniff_file(path: Path) -> str:
    with path.open("rb") as file:
        return sniff(file.read(HEAD_BYTES))


def _open(path: Path, container: str) -> "InputContainer":
    import av

    if container not in _DEMUXERS:
        raise BadItem("no_video", f"a {'picture' if container in IMAGES else 'sound file'} ({container})")
    if container == "mp4" and not _has_index(path):
        raise BadItem("truncated", "moov atom not found: the file was cut short")
    options = {"format_whitelist": _DEMUXERS[container], "protocol_whitelist": "file"}
    try:
        # Tags in odd encodings are no reason to refuse a video.
        return av.open(str(path.absolute()), options=options, metadata_errors="replace", timeout=_OPEN_TIMEOUT_S)
    except Exception as error:
        raise _bad_item(error) from None


def _has_index(path: Path) -> bool:
    """Tell whether a QuickTime file has its `moov` atom, without which no frame can be found."""
    size = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, name = struct.unpack(">I4s", file.read(8))
            if name == b"moov":
                return True
            if length == 1:
                length = int.from_bytes(file.read(8), "big")
            if length < 8:  # 0: the last atom, up to the end of the file
                return False
            position += length
    return False


def video_stream(container: "InputContainer") -> "VideoStream":
    """Return the stream that a player would show; a cover picture is none.

    Raises:
        BadItem: no_video.
    """
    from av.stream import Disposition

    films = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not films:
        raise BadItem("no_video", "the file has no video stream")
    best = container.streams.best("video")
    return next((stream for stream in films if best is not None and stream.index == best.index), films[0])


def probe(path: Path) -> MediaFacts:
    """Return what the header says of the video in `path`; its first frame is decoded, for the rotation.

    Raises:
        BadItem: from `open_container` and `video_stream`; unreadable if no frame can be decoded; out_of_memory.
    """
    container_name = _sniff_file(path)
    with _open(path, container_name) as container:
        try:
            return _read_facts(container, container_name)
        except BadItem:
            raise
        except Exception as error:
            raise _bad_item(error) from None


def _read_facts(container: "InputContainer", container_name: str) -> MediaFacts:
    stream = video_stream(container)
    codec = stream.codec_context
    codec.thread_count = 1
    frame = _first_frame(container, stream)
    rate = stream.average_rate or stream.guessed_rate
    if stream.duration is not None and stream.time_base is not None:
        duration_s = float(stream.duration * stream.time_base)
    else:
        duration_s = (container.duration or 0) / 1e6
    return MediaFacts(
        container=container_name,
        video_codec=codec.codec.canonical_name,
        pixel_format=codec.pix_fmt or "",
        width_px=codec.width,
        height_px=codec.height,
        rotation_deg=clockwise(frame.rotation),
        fps=round(float(rate or 0), 6),
        num_frames=stream.frames,
        duration_s=round(max(duration_s, 0.0), 6),
        has_audio=bool(container.streams.audio),
    )


def clockwise(rotation_deg: int) -> int:
    """Return the turn clockwise, 0, 90, 180 or 270, for PyAV's angle, which goes against the clock.

    A matrix that is a little off a right angle means that angle.
    """
    return round(-rotation_deg / 90) * 90 % 360


def _first_frame(container: "InputContainer", stream: "VideoStream") -> "VideoFrame":
    from av.error import FFmpegError

    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except FFmpegError:
            continue  # as a player would: the next key frame may be whole
        if frames:
            return frames[0]  # pyright: ignore[reportReturnType]
    raise BadItem("unreadable", "no frame can be decoded")


def _bad_item(error: Exception) -> BadItem:
    """Return the reason for what PyAV raised; besides its own errors it lets many others through."""
    from av.error import FFmpegError

    match error:
        case MemoryError():
            return BadItem("out_of_memory", "the decoder asked for more memory than there is")
        # Not str(error): that has the absolute path, which is another on each machine.
        case FFmpegError() | OSError() if error.strerror:
            return BadItem("unreadable", error.strerror)
        case _:
            return BadItem("unreadable", f"{type(error).__name__}: {error}")
