import math
from dataclasses import replace

import numpy as np
import pytest
from recordings import SMALL, SPEC, chirp, librosa_mel, mel_of, read_whole, reason_of

from actrec.errors import BadItem
from actrec.media.probe import probe
from actrec.media.sound import log_mel, read_log_mel, read_sound

# librosa.load itself imports what Python 3.13 no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")


# --- samples --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [44100, 48000])
def test_the_order_of_mean_and_resampling_does_not_matter(tmp_path, make_sound, rate_hz):
    sound = chirp(2.0, rate_hz, 2)
    path = make_sound(tmp_path / "a.wav", sound, rate_hz)
    assert np.abs(read_sound(path, SPEC) - read_whole(sound, rate_hz)).max() < 1e-6


def test_channels_are_averaged_not_added(tmp_path, make_sound):
    """FFmpeg's own mixing of two equal channels is sqrt(2) times as loud as one."""
    sound = chirp(1.0, 8000)
    mono = read_sound(make_sound(tmp_path / "mono.wav", sound, 8000), SMALL)
    stereo = read_sound(make_sound(tmp_path / "stereo.wav", np.repeat(sound, 2, axis=0), 8000), SMALL)
    assert np.array_equal(mono, sound[0, :4000]) and np.array_equal(stereo, mono)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
@pytest.mark.parametrize("channels", [1, 2])
def test_all_sample_types_mean_the_same(tmp_path, make_sound, codec, channels):
    sound = chirp(0.5, 8000, channels)
    read = read_sound(make_sound(tmp_path / "a.wav", sound, 8000, codec=codec), SMALL)
    assert np.abs(read - sound.mean(axis=0)).max() < (1 / 127 if codec == "pcm_u8" else 1 / 32000)


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.m4a", "aac")])
def test_eight_channels_are_read(tmp_path, make_sound, name, codec):
    """Of eight planes PyAV reads a ninth, and crashes: AAC comes so."""
    sound = np.repeat(chirp(0.5, 8000), 8, axis=0) * np.arange(1, 9, dtype=np.float32)[:, None] / 8  # mean: 4.5 / 8
    path = make_sound(tmp_path / name, sound, 8000, codec=codec)
    assert probe(path).channels == 8
    expected = log_mel(np.pad(sound.mean(axis=0), (0, 4000 - sound.shape[1])), SMALL)
    loss_db = (
        20 * math.log10(36 / 32) if codec == "aac" else 0.0
    )  # its low-frequency channel, 4 / 36 of the sum, is mute
    assert (expected - mel_of(path, SMALL))[:, 1:-1].mean() == pytest.approx(loss_db, abs=0.2)


def test_channels_may_join_on_the_way(tmp_path, make_sound):
    mono, stereo = (
        make_sound(tmp_path / f"{channels}.mp3", chirp(0.5, 8000, channels), 8000, codec="libmp3lame")
        for channels in (1, 2)
    )
    path = tmp_path / "both.mp3"
    path.write_bytes(mono.read_bytes() + stereo.read_bytes()[stereo.read_bytes().index(b"\xff\xe3") :])
    spec = replace(SMALL, duration_s=2.0)
    whole, first, second = (read_sound(file, spec) for file in (path, mono, stereo))
    assert len(whole) > len(first) + len(second) - 600  # 576 samples are a packet, and one is without its forerunner
    assert np.abs(whole[:3000] - first[:3000]).max() < 1e-5
    offset = len(whole) - len(second)
    assert min(np.abs(whole[offset + d :][1200:3000] - second[1200:3000]).max() for d in range(-1300, 300)) < 1e-3


@pytest.mark.parametrize("codec", ["libmp3lame", "adpcm_ms"])
def test_wav_files_may_hold_more_than_samples(tmp_path, make_sound, codec):
    sound = chirp(0.5, 22050)
    path = make_sound(tmp_path / "a.wav", sound, 22050, codec=codec)
    assert probe(path).sample_rate_hz == 22050
    assert np.abs(mel_of(path, SMALL) - librosa_mel(path, SMALL)).mean() < 0.1


def test_a_long_head_does_not_hide_the_samples(tmp_path, make_sound):
    plain = make_sound(tmp_path / "a.wav", chirp(0.5, 8000), 8000).read_bytes()
    start = plain.index(b"data")
    path = tmp_path / "b.wav"
    path.write_bytes(plain[:start] + b"JUNK" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20) + plain[start:])
    assert np.array_equal(mel_of(path, SMALL), mel_of(tmp_path / "a.wav", SMALL))


# --- which part -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz", "off"),
    [
        ("a.wav", "pcm_s16le", 44100, 1e-5),
        ("a.flac", "flac", 48000, 1e-5),
        ("a.mp3", "libmp3lame", 44100, 1e-5),
        ("a.ogg", "libopus", 48000, 1e-5),
        ("a.m4a", "aac", 44100, 0.02),  # AAC makes up noise, and goes on from what it made up before
        ("a.ts", "aac", 44100, 0.02),
        ("a.avi", "libmp3lame", 44100, 1e-5),
    ],
)
def test_a_part_is_what_the_whole_has_there(tmp_path, make_sound, name, codec, rate_hz, off):
    """Only what is needed is decoded, and that gives the same samples, at the same place."""
    path = make_sound(tmp_path / name, chirp(9.0, rate_hz, 2), rate_hz, codec=codec)
    spec = replace(SPEC, crop="start", duration_s=20.0)
    whole = read_sound(path, spec)
    assert len(whole) / 16000 == pytest.approx(9.0, abs=0.06)
    part = read_sound(path, spec, start_s=5.0, end_s=7.0)
    assert len(part) == 32000
    inside = slice(800, -800)  # resampling sees past its ends what is not of the part
    assert np.abs(part[inside] - whole[80000:112000][inside]).max() < off

    middle = read_sound(path, replace(SPEC, duration_s=2.0))
    skipped = (len(whole) - 32000) // 2
    nearest = min(np.abs(middle - whole[skipped + d : skipped + d + 32000]).max() for d in range(-400, 401))
    assert nearest < off  # 400: a twentieth of a second, by which headers and packets are off


def test_the_end_may_lie_beyond_the_file(tmp_path, make_sound):
    path = make_sound(tmp_path / "a.wav", chirp(2.0, 8000), 8000)
    whole = read_sound(path, replace(SMALL, duration_s=9.0))
    assert np.array_equal(read_sound(path, replace(SMALL, duration_s=9.0), start_s=1.5, end_s=8.0), whole[12000:])
    assert np.array_equal(read_sound(path, replace(SMALL, duration_s=9.0), end_s=8.0), whole)


@pytest.mark.parametrize(("film_starts_s", "hears"), [(0.0, 1.0), (0.5, 1.5)])
def test_parts_go_by_the_clock_of_the_pictures(tmp_path, make_film, film_starts_s, hears):
    """The frames stage counts from the first picture; the sound may have begun before."""
    sound = chirp(4.0, 16000)
    path = make_film(tmp_path / "a.mkv", sound, 16000, codec="pcm_s16le", film_starts_s=film_starts_s)
    part = read_sound(path, SPEC, start_s=1.0, end_s=2.0)
    expected = sound[0, round(hears * 16000) : round((hears + 1) * 16000)]
    assert np.abs(part - expected).max() < 1e-4
    assert np.abs(read_sound(path, SPEC) - sound[0]).max() < 1e-4  # the whole file is the whole track


def test_where_the_sound_begins_later_the_part_begins_with_it(tmp_path, make_film):
    sound = chirp(2.0, 16000)
    path = make_film(tmp_path / "a.mkv", sound, 16000, codec="pcm_s16le", film_starts_s=0.0, sound_starts_s=1.0)
    assert np.abs(read_sound(path, SPEC, start_s=0.5, end_s=2.0) - sound[0, :16000]).max() < 1e-4


# --- sound that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -4e6])
@pytest.mark.parametrize("rate_hz", [8000, 22050])
@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_f64le"])
def test_samples_that_are_no_numbers_are_a_fault(tmp_path, make_sound, value, rate_hz, codec):
    sound = chirp(2.0, rate_hz, 2)
    sound[1, rate_hz // 4] = value
    path = make_sound(tmp_path / "a.wav", sound, rate_hz, codec=codec)
    assert reason_of(path) == "nonfinite_audio"
    assert read_log_mel(path, SMALL, start_s=1.0) is not None  # they lie outside of what is used


def test_beyond_full_scale_is_no_fault(tmp_path, make_sound):
    assert np.isfinite(mel_of(make_sound(tmp_path / "a.wav", 1e4 * chirp(1.0, 8000), 8000), SMALL)).all()


def test_too_little_is_a_fault(tmp_path, make_sound):
    path = make_sound(tmp_path / "a.wav", chirp(1.0, 8000), 8000)
    assert reason_of(path, start_s=2.0) == "too_short"
    assert reason_of(path, start_s=0.5, end_s=0.5) == "too_short"
    assert reason_of(path, start_s=1.0 - 127 / 8000) == "too_short"  # a hop is 128 samples
    assert read_log_mel(path, SMALL, start_s=1.0 - 128 / 8000) is not None
    for length in (1, 2, 10, 100):
        assert reason_of(make_sound(tmp_path / "b.wav", chirp(1.0, 44100)[:, :length], 44100)) == "too_short"


def test_a_file_without_sound_is_refused(tmp_path, make_clip):
    assert reason_of(make_clip(tmp_path / "a.mp4")) == "unreadable"


@pytest.mark.parametrize("name", ["a.m4a", "a.flac"])
def test_what_was_cut_short_says_so(tmp_path, make_sound, name):
    path = make_sound(tmp_path / name, chirp(4.0, 16000), 16000, codec="flac" if name == "a.flac" else "aac")
    if name == "a.m4a":
        path = moved_to_front(path, tmp_path / "front.m4a")
    spec = replace(SPEC, duration_s=2.0)
    assert read_log_mel(path, spec) is not None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert reason_of(path, spec) == "truncated"
    assert read_log_mel(path, spec, end_s=1.0) is not None  # that part is whole


def moved_to_front(source, target):
    """Copy an MP4 so that its index comes first, as files for streaming have it."""
    import av

    with av.open(str(source)) as old, av.open(str(target), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(old.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target


@pytest.mark.parametrize(("num_damaged", "reason"), [(1, None), (20, "unreadable")])
def test_a_few_damaged_packets_are_skipped_many_are_a_fault(tmp_path, make_sound, num_damaged, reason):
    import av

    path = make_sound(tmp_path / "a.m4a", chirp(4.0, 16000), 16000, codec="aac")  # 63 packets
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos or 0, packet.size) for packet in container.demux(audio=0) if packet.size]
    for position, size in packets[10 : 10 + num_damaged]:
        content[position : position + size] = b"\xff" * size
    path.write_bytes(content)
    spec = replace(SMALL, duration_s=4.0)
    if reason:
        assert reason_of(path, spec) == reason
    else:
        assert read_log_mel(path, spec) is not None


@pytest.mark.parametrize("name", ["list.mp4", "list.wav", "list.m3u8"])
@pytest.mark.parametrize("kind", ["hls", "ffconcat"])
def test_a_playlist_never_opens_the_file_it_names(tmp_path, make_film, name, kind):
    other = make_film(tmp_path / "other.ts", chirp(1.0, 16000), 16000)
    assert read_log_mel(other, SMALL) is not None  # it could have been read
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n"
    (tmp_path / name).write_text(text if kind == "hls" else "ffconcat version 1.0\nfile other.ts\n")
    assert reason_of(tmp_path / name) == "playlist"


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_f32le"), ("a.m4a", "aac"), ("a.mp3", "libmp3lame"), ("a.ogg", "libopus")]
)
def test_damage_gives_a_spectrogram_or_a_reason(tmp_path, make_sound, name, codec):
    """Property: whatever the bytes, all values are finite, or there is a reason."""
    rate_hz = 48000
    whole = np.frombuffer(make_sound(tmp_path / name, chirp(1.0, rate_hz), rate_hz, codec=codec).read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    path = tmp_path / f"broken {name}"
    for _ in range(30):
        broken = whole.copy()
        broken[rng.integers(8, len(broken), 12)] = rng.integers(0, 256, 12)
        path.write_bytes(broken[: rng.integers(len(broken) // 2, len(broken) + 1)].tobytes())
        try:
            mel = read_log_mel(path, SMALL)
            assert mel is None or (mel.shape == (20, 32) and np.isfinite(mel).all())
        except BadItem as error:
            assert error.reason in (
                "unreadable", "truncated", "too_short", "nonfinite_audio", "not_media", "out_of_memory", "no_video"
            )  # fmt: skip
