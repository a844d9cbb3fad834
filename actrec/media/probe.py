"""Which files are media, and what their headers say. Nothing but the named file is ever read.

FFmpeg takes a text that names other files (a playlist, whatever its extension) for a video and reads those. So the
first bytes must be those of a known container, and then only that container's demuxer may open the file.
"""

import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from actrec.errors import BadItem
from actrec.media.facts import STILLS, MediaFacts
from actrec.media.still import probe_still

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

AnyStream = TypeVar("AnyStream", "AudioStream", "VideoStream")
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
    "wav": "wav",
    "mp3": "mp3",
    "flac": "flac",
}
UNKNOWN_CODEC = "unknown"

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
    *((bytes((0xFF, second)), "mp3") for second in (0xFA, 0xFB, 0xF2, 0xF3, 0xE2, 0xE3)),  # MPEG 1, 2, 2.5; layer 3
    (b"fLaC", "flac"),
)
_RIFF = {b"AVI ": "avi", b"WAVE": "wav", b"WEBP": "webp"}
_MOV_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STILL_BRANDS = (b"heic", b"heix", b"mif1", b"avif")
_PLAYLISTS = (b"#extm3u", b"ffconcat", b"<mpd", b"<smil", b"<asx", b"[playlist]", b"v=0", b"http:", b"https:", b"rtsp:")


def sniff(head: bytes) -> str:
    """Return the container that a file's first bytes announce: of a video, of a sound, or of a picture.

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
    raise BadItem("not_media", f"neither video, sound nor picture: its first bytes are {head[:16]!r}")


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


def open_container(path: Path, *, for_sound: bool = False) -> "InputContainer":
    """Return the opened file, to be closed by the caller; only its own demuxer, and no other file, is in reach.

    Args:
        path: Any file.
        for_sound: No picture is decoded, which FFmpeg else does to learn of them: that takes 2 ms. Then no more is to
            be asked about the pictures than whether there are some.

    Raises:
        BadItem: from `sniff`; no_video for a picture; unreadable or truncated from the demuxer.
    """
    return _open(path, _sniff_file(path), {"codec_whitelist": _sound_decoders()} if for_sound else {})


@cache
def _sound_decoders() -> str:
    import av

    return ",".join(sorted(name for name in av.codecs_available if _decodes_sound(name)))


def _decodes_sound(name: str) -> bool:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        return Codec(name, "r").type == "audio"
    except UnknownCodecError:
        return False  # it can be written only


def _sniff_file(path: Path) -> str:
    with path.open("rb") as file:
        return sniff(file.read(HEAD_BYTES))


def _open(path: Path, container: str, settings: dict[str, str]) -> "InputContainer":
    import av

    if container not in _DEMUXERS:
        raise BadItem("no_video", f"a picture ({container})")
    if container == "mp4" and not _has_index(path):
        raise BadItem("truncated", "moov atom not found: the file was cut short")
    options = {"format_whitelist": _DEMUXERS[container], "protocol_whitelist": "file", **settings}
    if container == "wav":  # else FFmpeg searches megabytes of samples for hidden DTS: ten times the time of decoding
        options["probesize"] = str(HEAD_BYTES)
    try:
        # Tags in odd encodings are no reason to refuse a video.
        return av.open(str(path.absolute()), options=options, metadata_errors="replace", timeout=_OPEN_TIMEOUT_S)
    except Exception as error:
        raise bad_item(error) from None


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
    if film := film_stream(container):
        return film
    raise BadItem("no_video", "the file has no video stream")


def film_stream(container: "InputContainer") -> "VideoStream | None":
    """Return what `video_stream` does, or None if there is none."""
    from av.stream import Disposition

    return _best(container, [s for s in container.streams.video if not s.disposition & Disposition.attached_pic])


def audio_stream(container: "InputContainer") -> "AudioStream | None":
    """Return the sound track that a player would play, or None if there is none."""
    return _best(container, list(container.streams.audio))


def _best(container: "InputContainer", streams: "list[AnyStream]") -> "AnyStream | None":
    if not streams:
        return None
    best = container.streams.best(streams[0].type)
    return next((stream for stream in streams if best is not None and stream.index == best.index), streams[0])


def probe(path: Path) -> MediaFacts:
    """Return what the header says of the video, the sound or the still picture in `path`.

    Its first frame is decoded, for the rotation, and of a still picture all there is; of a sound the first samples.

    Raises:
        BadItem: from `open_container`, or `probe_still`; no_video if there is neither picture nor sound; unreadable if
            neither a frame nor, in a file without pictures, a sample can be decoded; out_of_memory.
    """
    container_name = _sniff_file(path)
    if container_name in STILLS:
        return probe_still(path, container_name)
    with _open(path, container_name, {}) as container:
        try:
            return _read_facts(container, container_name)
        except BadItem:
            raise
        except Exception as error:
            raise bad_item(error) from None


def _read_facts(container: "InputContainer", container_name: str) -> MediaFacts:
    film, track = film_stream(container), audio_stream(container)
    shown = film or track
    if shown is None:
        raise BadItem("no_video", "the file has neither pictures nor sound")
    first = _first_frame(container, shown)
    if shown.duration is not None and shown.time_base is not None:
        duration_s = float(shown.duration * shown.time_base)
    else:
        duration_s = (container.duration or 0) / 1e6
    return MediaFacts(
        container=container_name,
        **(_NO_PICTURE if film is None else _picture_facts(film, first)),
        duration_s=round(max(duration_s, 0.0), 6),
        **_sound_facts(track),
    )


_NO_PICTURE: dict[str, Any] = {
    "video_codec": "",
    "pixel_format": "",
    "width_px": 0,
    "height_px": 0,
    "rotation_deg": 0,
    "fps": 0.0,
    "num_frames": 0,
}


def _picture_facts(film: "VideoStream", first: Any) -> dict[str, Any]:
    codec = film.codec_context
    return {
        "video_codec": codec.codec.canonical_name,
        "pixel_format": codec.pix_fmt or "",
        "width_px": codec.width,
        "height_px": codec.height,
        "rotation_deg": clockwise(first.rotation),
        "fps": round(float(film.average_rate or film.guessed_rate or 0), 6),
        "num_frames": film.frames,
    }


def _sound_facts(track: "AudioStream | None") -> dict[str, Any]:
    if track is None:
        return {"audio_codec": "", "sample_rate_hz": 0, "channels": 0}
    codec: Any = track.codec_context
    if codec is None:  # the file has sound, but no decoder here knows it: that is for the one who reads it to say
        return {"audio_codec": UNKNOWN_CODEC, "sample_rate_hz": 0, "channels": 0}
    return {"audio_codec": codec.codec.canonical_name, "sample_rate_hz": codec.sample_rate, "channels": codec.channels}


def clockwise(rotation_deg: int) -> int:
    """Return the turn clockwise, 0, 90, 180 or 270, for PyAV's angle, which goes against the clock.

    A matrix that is a little off a right angle means that angle.
    """
    return round(-rotation_deg / 90) * 90 % 360


def _first_frame(container: "InputContainer", stream: "VideoStream | AudioStream") -> "VideoFrame | AudioFrame":
    from av.error import FFmpegError

    codec: Any = stream.codec_context
    if codec is None:
        raise BadItem("unreadable", "no decoder here knows its codec")
    codec.thread_count = 1
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except FFmpegError:
            continue  # as a player would: the next key frame may be whole
        if frames:
            return frames[0]  # pyright: ignore[reportReturnType]
    raise BadItem("unreadable", f"no {'frame' if stream.type == 'video' else 'sound'} can be decoded")


def bad_item(error: Exception) -> BadItem:
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
