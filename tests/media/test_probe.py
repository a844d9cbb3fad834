import struct
from pathlib import Path

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.media.facts import STILLS, MediaFacts
from actrec.media.probe import (
    HEAD_BYTES,
    audio_stream,
    clockwise,
    film_stream,
    open_container,
    probe,
    sniff,
    video_stream,
)

MEDIA = Path(__file__).resolve().parents[3] / "shared/data/media"


def reason_of(action, *args) -> str:
    with pytest.raises(BadItem) as caught:
        action(*args)
    return caught.value.reason


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\x00\x00\x00\x20ftypisom", "mp4"),
        (b"\x00\x00\x00\x08wide\x00\x00", "mp4"),
        (b"\x00\x00\x10\x00moov\x00\x00", "mp4"),
        (b"\x00\x00\x00\x1cftypheic", "heif"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "avi"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "wav"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp"),
        (b"\x1a\x45\xdf\xa3\x01", "matroska"),
        ((b"\x47" + bytes(187)) * 3, "mpegts"),
        (b"\x00\x00\x00\x00" + (b"\x47" + bytes(191)) * 3, "mpegts"),
        (b"\x00\x00\x01\xba\x44", "mpegps"),
        (b"\x00\x00\x01\xb3\x44", "mpegvideo"),
        (b"FLV\x01\x05", "flv"),
        (b"GIF89a\x01", "gif"),
        (bytes.fromhex("3026b2758e66cf11a6d900aa"), "asf"),
        (b"OggS\x00\x02", "ogg"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n\x00", "png"),
        (b"ID3\x04", "mp3"),
        (b"\xff\xfb\x90\x64", "mp3"),
        (b"\xff\xe3\x18\xc4", "mp3"),  # MPEG 2.5, as 8 kHz needs it
        (b"fLaC\x00", "flac"),
    ],
)
def test_first_bytes_name_the_container(head, container):
    assert sniff(head) == container


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:1,\nother.ts\n",
        "\ufeff#EXTM3U\nother.ts\n",
        "ffconcat version 1.0\nfile other.mp4\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011">',
        "<MPD/>",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
        "[playlist]\nFile1=x.mp4\n",
        "  \n#extm3u",
    ],
)
def test_texts_that_name_other_files_are_playlists(text):
    assert reason_of(sniff, text.encode()) == "playlist"


@pytest.mark.parametrize(
    ("head", "reason"), [(b"", "empty"), (b"path,label\n", "not_media"), (b"\x47" * 100, "not_media")]
)
def test_everything_else_is_refused(head, reason):
    assert reason_of(sniff, head) == reason


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.MOV", "list.ts"])
@pytest.mark.parametrize("kind", ["hls", "ffconcat"])
def test_a_playlist_never_opens_the_file_it_names(tmp_path, make_clip, name, kind):
    other = make_clip(tmp_path / "other.ts")
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n"
    (tmp_path / name).write_text(text if kind == "hls" else "ffconcat version 1.0\nfile other.ts\n")
    assert probe(other).container == "mpegts"  # it could have been read
    assert reason_of(probe, tmp_path / name) == "playlist"
    assert reason_of(open_container, tmp_path / name) == "playlist"


def test_only_the_announced_demuxer_may_open(tmp_path, make_clip):
    """FFmpeg itself would take this for a transport stream."""
    import av

    path = tmp_path / "a.flv"
    path.write_bytes(b"FLV\x01" + make_clip(tmp_path / "a.ts", num_frames=40).read_bytes())
    with av.open(str(path)) as container:
        assert container.format.name == "mpegts"
    assert reason_of(probe, path) == "unreadable"


@pytest.mark.parametrize(
    ("name", "codec", "container", "video_codec"),
    [
        ("a.mp4", "libx264", "mp4", "h264"),
        ("b.AVI", "mpeg4", "avi", "mpeg4"),
        ("c.mkv", "libx264", "matroska", "h264"),
        ("d.ts", "libx264", "mpegts", "h264"),
        ("é ü.mov", "libx264", "mp4", "h264"),
    ],
)
def test_facts_are_what_was_written(tmp_path, make_video, name, codec, container, video_codec):
    lower = tmp_path / name.lower()
    make_video(lower, np.zeros((12, 32, 48, 3), np.uint8), fps=8, codec=codec)
    facts = probe(lower.rename(tmp_path / name))
    assert (facts.container, facts.video_codec, facts.pixel_format) == (container, video_codec, "yuv420p")
    assert (facts.width_px, facts.height_px, facts.rotation_deg) == (48, 32, 0)
    assert facts.fps == pytest.approx(8)
    assert facts.duration_s == pytest.approx(1.5, abs=0.13)
    assert facts.num_frames in (0, 12)
    assert not facts.has_audio


def test_a_video_s_sound_track_is_noticed(tmp_path, make_clip):
    facts = probe(make_clip(tmp_path / "a.mp4", num_frames=10, with_audio=True))
    assert facts.has_video and facts.has_audio
    assert (facts.audio_codec, facts.sample_rate_hz, facts.channels) == ("aac", 16000, 1)
    facts = probe(make_clip(tmp_path / "silent film.mp4", num_frames=10))
    assert facts.has_video and not facts.has_audio
    assert (facts.audio_codec, facts.sample_rate_hz, facts.channels) == ("", 0, 0)


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_rotation_is_clockwise(tmp_path, make_clip, rotation_deg):
    assert probe(make_clip(tmp_path / "a.mov", rotation_deg=rotation_deg)).rotation_deg == rotation_deg


@pytest.mark.parametrize(
    ("counter_clockwise", "expected"), [(-90, 90), (90, 270), (180, 180), (-180, 180), (1, 0), (-89, 90)]
)
def test_clockwise(counter_clockwise, expected):
    assert clockwise(counter_clockwise) == expected


@pytest.mark.parametrize(
    ("name", "encoder", "container", "codec", "rate_hz", "layout"),
    [
        ("a.wav", "pcm_s16le", "wav", "pcm_s16le", 8000, "mono"),
        ("a.flac", "flac", "flac", "flac", 48000, "stereo"),
        ("a.mp3", "libmp3lame", "mp3", "mp3", 22050, "stereo"),
        ("a.ogg", "libopus", "ogg", "opus", 48000, "mono"),
        ("a.m4a", "aac", "mp4", "aac", 16000, "mono"),
        ("a.mp4", "aac", "mp4", "aac", 16000, "stereo"),
        ("a.mkv", "libopus", "matroska", "opus", 48000, "mono"),
    ],
)
def test_facts_of_a_sound_file(tmp_path, make_sound, name, encoder, container, codec, rate_hz, layout):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2 if layout == "stereo" else 1, rate_hz)).astype(np.float32)
    facts = probe(make_sound(tmp_path / name, noise, rate_hz, codec=encoder))
    assert facts.duration_s == pytest.approx(1, abs=0.07)
    assert facts == MediaFacts(container, "", "", 0, 0, 0, 0.0, 0, facts.duration_s, codec, rate_hz, len(noise))
    assert facts.has_audio and not facts.has_video


def test_a_cover_picture_is_no_video(tmp_path, make_sound):
    """The FLAC picture block is written by hand: type 3, no texts, and a PNG of one pixel (RFC 9639, section 8.8)."""
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
        "0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
    )
    block = struct.pack(">II9sIIIIII", 3, 9, b"image/png", 0, 1, 1, 24, 0, len(png)) + png
    plain = make_sound(tmp_path / "a.flac", np.full((1, 800), 0.25, np.float32), 8000, codec="flac").read_bytes()
    path = tmp_path / "cover.flac"
    head = plain[:4] + bytes([plain[4] & 0x7F]) + plain[5:42]  # the marker and STREAMINFO, no longer the last block
    path.write_bytes(head + struct.pack(">I", 6 << 24 | len(block)) + block + plain[42:])
    with open_container(path) as container:
        assert len(container.streams.video) == 1
    facts = probe(path)
    assert (facts.video_codec, facts.audio_codec, facts.num_frames) == ("", "flac", 0)
    with open_container(path) as container:
        assert reason_of(video_stream, container) == "no_video"


def wav_bytes(format_tag, data):
    """Return a WAV file of 16-bit mono samples at 16 kHz, whatever its header calls them."""
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, format_tag, 1, 16000, 32000, 2, 16)
    body += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_sound_that_cannot_be_decoded_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(1, bytes(3200)))
    assert probe(path).audio_codec == "pcm_s16le"
    path.write_bytes(wav_bytes(0x1234, bytes(3200)))
    assert reason_of(probe, path) == "unreadable"
    path.write_bytes(wav_bytes(1, b""))
    assert reason_of(probe, path) == "unreadable"


def test_a_file_without_picture_and_sound_is_refused(tmp_path):
    import av

    path = tmp_path / "subtitles.mkv"
    with av.open(str(path), "w") as container:
        packet = av.Packet(b"a word")
        packet.stream, packet.pts, packet.dts = container.add_mux_stream("subrip"), 0, 0
        container.start_encoding()
        container.mux(packet)
    assert reason_of(probe, path) == "no_video"


def test_a_file_cut_short_says_so(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mp4", num_frames=20)
    whole = path.read_bytes()
    (start,) = (i for i in range(len(whole)) if whole[i : i + 4] == b"moov")
    path.write_bytes(whole[: start - 4])
    with pytest.raises(BadItem, match="moov") as caught:
        probe(path)
    assert caught.value.reason == "truncated"


def test_messages_do_not_hold_the_machine_s_paths(tmp_path):
    path = tmp_path / "a.avi"
    path.write_bytes(b"RIFF" + struct.pack("<I", 100) + b"AVI " + bytes(200))
    with pytest.raises(BadItem) as caught:
        probe(path)
    assert caught.value.reason == "unreadable"
    assert str(tmp_path) not in caught.value.message


def test_damage_gives_facts_or_a_reason(tmp_path, make_clip):
    """Property: whatever the bytes, `probe` returns or raises BadItem."""
    whole = np.frombuffer(make_clip(tmp_path / "a.mp4", num_frames=8, with_audio=True).read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    path = tmp_path / "b.mp4"
    for _ in range(60):
        broken = whole.copy()
        broken[rng.integers(8, len(broken), 12)] = rng.integers(0, 256, 12)
        path.write_bytes(broken[: rng.integers(len(broken) // 2, len(broken) + 1)].tobytes())
        try:
            facts = probe(path)
            assert facts.has_video or facts.has_audio
        except BadItem as error:
            assert error.reason in ("unreadable", "truncated", "no_video", "out_of_memory")


def test_the_best_stream_is_the_one_probed(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mp4")
    with open_container(path) as container:
        best = container.streams.best("video")
        assert best is not None and video_stream(container).index == best.index
        assert audio_stream(container) is None


def test_opened_for_its_sound_no_picture_is_decoded(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mp4", num_frames=10, with_audio=True)
    with open_container(path, for_sound=True) as container:
        assert container.streams.video[0].codec_context.pix_fmt is None
        track = audio_stream(container)
        assert track is not None and film_stream(container) is not None
        assert sum(frame.samples for frame in container.decode(track)) >= 16000


@pytest.mark.skipif(not MEDIA.is_dir(), reason="no ../shared/data/media here")
def test_real_files_give_facts_or_the_right_reason():
    files = sorted(path for path in MEDIA.rglob("*") if path.is_file())
    assert len(files) > 50
    turned = {"video_90.mov": 90, "video_180.mov": 180, "video_270.mov": 270, "nasa_13013_rotated.mp4": 270}
    for path in files:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if path.name == "LICENSE":
            assert reason_of(probe, path) == "not_media"
        elif sniff(head) in STILLS:
            facts = probe(path)
            assert facts.is_still and facts.width_px > 0 and facts.fps == 0, path.name
            assert reason_of(open_container, path) == "no_video"
        elif path.suffix in (".wav", ".mp3"):
            facts = probe(path)
            assert not facts.has_video and facts.sample_rate_hz > 0 and facts.channels > 0, path.name
        else:
            facts = probe(path)
            assert facts.width_px > 0 and facts.fps > 0, path.name
            assert facts.rotation_deg == turned.get(path.name, 0), path.name
