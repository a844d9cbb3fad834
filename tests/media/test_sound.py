import hashlib
import io
import math
import pickle
from dataclasses import asdict, replace

import numpy as np
import pytest
from recordings import SHARED, SMALL, SPEC, chirp, librosa_mel, mel_of, read_whole

from actrec.errors import BadItem, UserError
from actrec.media.probe import probe
from actrec.media.sound import MelFolder, SoundSpec, SoundTask, log_mel, make_mel_file, pack_mel_files, read_log_mel
from actrec.store import tree
from actrec.store.cas import Store

# librosa.load itself imports what Python 3.13 no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")


# --- agreement with librosa -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("length_s", [0.1, 3.0, 10.0, 40.0])
def test_it_agrees_with_librosa(tmp_path, make_sound, length_s, rate_hz, channels):
    path = make_sound(tmp_path / "a.wav", chirp(length_s, rate_hz, channels), rate_hz)
    mel = mel_of(path, SPEC)
    assert mel.shape == SPEC.shape == (128, 313) and mel.dtype == np.float32 and mel.flags.c_contiguous
    assert np.abs(mel - librosa_mel(path, SPEC)).mean() < 1e-3  # dB; the goal is 0.1


@pytest.mark.parametrize("pad", ["repeat", "silence"])
@pytest.mark.parametrize("crop", ["start", "middle"])
@pytest.mark.parametrize("length_s", [0.7, 2.5])
@pytest.mark.parametrize(
    ("n_fft", "hop_samples", "n_mels", "f_min_hz", "f_max_hz"),
    [(1024, 160, 64, 50.0, 7000.0), (401, 100, 40, 0.0, 4e3)],
)
def test_it_agrees_with_librosa_under_all_settings(
    tmp_path, make_sound, pad, crop, length_s, n_fft, hop_samples, n_mels, f_min_hz, f_max_hz
):
    spec = SoundSpec(16000, n_fft, hop_samples, n_mels, f_min_hz, f_max_hz, 1.3, pad, crop)
    path = make_sound(tmp_path / "a.wav", chirp(length_s, 44100, 2), 44100)
    mel = mel_of(path, spec)
    assert mel.shape == spec.shape
    assert np.abs(mel - librosa_mel(path, spec)).mean() < 1e-3


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.ogg", "libopus")])
def test_it_agrees_with_librosa_on_compressed_sound(tmp_path, make_sound, name, codec):
    spec = replace(SPEC, crop="start", duration_s=3.0)
    path = make_sound(tmp_path / name, chirp(4.0, 48000, 2), 48000, codec=codec)
    assert np.abs(mel_of(path, spec) - librosa_mel(path, spec)).mean() < 0.1


def test_a_video_s_track_sounds_like_what_went_in(tmp_path, make_film):
    """AAC costs some; librosa could read it through an ffmpeg program alone, which few have."""
    sound = chirp(4.0, 44100, 2)
    spec = replace(SPEC, crop="start", duration_s=3.0)
    mel = mel_of(make_film(tmp_path / "a.mp4", sound, 44100), spec)
    quiet = log_mel(read_whole(sound, 44100)[: spec.num_samples], spec)
    assert np.abs(mel - quiet)[4:].mean() < 1.0


def test_a_tone_is_where_it_should_be():
    """At the middle of a bin, with a Hann window: |X| = A n / 4 there, and half of that in both neighbours.

    Slaney: a mel is 200 / 3 Hz up to 1 kHz, and a 27th of a factor of 6.4 above. The filters are triangles of area 1
    that end at their neighbours' middles.
    """
    n, rate_hz, amplitude, bin_ = 2048, 16000, 0.5, 64  # 500 Hz
    spec = replace(SPEC, n_mels=40, pad="silence", duration_s=1.0)
    tone = amplitude * np.cos(2 * np.pi * bin_ / n * np.arange(rate_hz), dtype=np.float32)
    power = 10 ** (log_mel(tone, spec)[:, 10] / 10)
    top_mel = 15 + 27 * math.log(8000 / 1000) / math.log(6.4)
    hz = np.array(
        [mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27) for mel in np.linspace(0, top_mel, 42)]
    )
    expected = np.zeros(40)
    for k, part in ((bin_ - 1, 0.25), (bin_, 1.0), (bin_ + 1, 0.25)):
        f, x2 = k * rate_hz / n, part * (amplitude * n / 4) ** 2
        for m, (left, middle, right) in enumerate(zip(hz, hz[1:], hz[2:], strict=False)):
            weight = max(min((f - left) / (middle - left), (right - f) / (right - middle)), 0.0)
            expected[m] += x2 * weight * 2 / (right - left)
    heard = expected > 0
    assert heard.sum() in (2, 3)
    assert power[heard] == pytest.approx(expected[heard], rel=1e-3)
    assert power[~heard].max() < 1e-4 * expected.max()


# --- short and silent -----------------------------------------------------------------------------------------------


def test_the_clip_is_repeated_or_followed_by_silence(tmp_path, make_sound):
    path = make_sound(tmp_path / "a.wav", chirp(0.1, 8000), 8000)  # 800 samples, of 4000
    silence = mel_of(path, SMALL)
    assert silence.shape == (20, 1 + 4000 // 128)
    # Column i looks at samples 128 i - 128 to 128 i + 128.
    assert np.allclose(silence[:, 8:], -100) and (silence[:, :7] > -60).all()
    again = mel_of(path, replace(SMALL, pad="repeat"))
    assert (again > -60).all()
    assert np.allclose(again[:, 2:6], again[:, 27:31], atol=1e-3)  # 4 x 800 samples are 25 hops


def antiphase(length):
    tone = 0.5 * np.sin(np.arange(length, dtype=np.float32))
    return np.stack([tone, -tone])


@pytest.mark.parametrize(
    ("sound", "is_silent"),
    [
        (np.zeros((1, 8000), np.float32), True),
        (np.full((2, 8000), 0.9e-5, np.float32), True),
        (np.full((1, 8000), 1.1e-5, np.float32), False),
        (antiphase(8000), True),
    ],
)
def test_silence_is_no_spectrogram(tmp_path, make_sound, sound, is_silent):
    assert (read_log_mel(make_sound(tmp_path / "a.wav", sound, 8000), SMALL) is None) is is_silent


def test_the_smallest_step_of_16_bits_is_sound(tmp_path, make_sound):
    sound = np.zeros((1, 8000), np.float32)
    sound[0, 100] = 1 / 32768
    assert read_log_mel(make_sound(tmp_path / "a.wav", sound, 8000, codec="pcm_s16le"), SMALL) is not None


# --- files ----------------------------------------------------------------------------------------------------------


def task_of(path, spec=SMALL):
    return SoundTask(path, hashlib.sha256(path.read_bytes()).hexdigest(), spec, None, None)


def test_the_file_is_a_plain_array(tmp_path, make_sound):
    path = make_sound(tmp_path / "a.wav", chirp(1.0, 44100, 2), 44100)
    content = make_mel_file(task_of(path))
    assert content == make_mel_file(task_of(path))
    (tmp_path / "a.npy").write_bytes(content)
    mel = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert mel.dtype == np.float32 and np.array_equal(mel, mel_of(path, SMALL))


def test_of_silence_there_is_no_file(tmp_path, make_sound):
    assert make_mel_file(task_of(make_sound(tmp_path / "a.wav", np.zeros((1, 8000), np.float32), 8000))) == b""


def test_another_file_than_ingest_saw_stops_the_run(tmp_path, make_sound):
    path = make_sound(tmp_path / "a.wav", chirp(1.0, 8000), 8000)
    task = task_of(path)
    make_sound(path, chirp(1.0, 8000, seed=1), 8000)
    with pytest.raises(UserError, match=r"a\.wav: changed since ingest read it\. Run: dvc repro ingest"):
        make_mel_file(task)
    path.unlink()
    with pytest.raises(UserError, match=r"a\.wav: cannot be read"):
        make_mel_file(task)


def fill(number):
    if number < 0:
        return b""
    if number == 0:
        raise BadItem("truncated", "half of it")
    return npy(np.full((2, 3), number, np.float32))


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("is_sharded", [False, True])
def test_the_folder_gives_back_what_was_made(tmp_path, monkeypatch, is_sharded):
    monkeypatch.setattr(tree, "MAX_SINGLE_FILES", 3 if is_sharded else 5000)
    monkeypatch.setattr(tree, "_CLIPS_A_SHARD", 2)
    numbers = {"c": 3, "a/b": 1, "silence": -1, "z": 26, "broken": 0, "B": 2}
    jobs = [tree.Job(clip_id, f"{number & 0xFF:064x}", number) for clip_id, number in numbers.items()]
    maker = tree.Maker("mels", ".npy", fill, pack_mel_files, "v1", 30.0, (), "silent")
    store, about = Store(tmp_path / "store"), {"spec": asdict(SMALL)}
    built = tree.build(tmp_path / "out", jobs, maker, about=about, store=store, workers=1, absent={"mute": "no_track"})
    folder = MelFolder(tmp_path / "out", tree.read_index(tmp_path / "out"))
    assert len(list((tmp_path / "out").rglob("*.npy"))) == 4 or is_sharded
    for copy in (folder, pickle.loads(pickle.dumps(folder))):
        for clip_id, number in numbers.items():
            assert (clip_id in copy.digests) is (number > 0)
            if number > 0:
                mel = copy[clip_id]
                assert mel.dtype == np.float32 and mel.flags.writeable
                assert np.array_equal(mel, np.full((2, 3), number))
    assert folder.absent == built.absent == {"mute": "no_track", "silence": "silent", "broken": "truncated"}
    assert folder.spec == SMALL
    assert folder.digests["c"] == hashlib.sha256(fill(3)).hexdigest()
    assert set(folder.digests) == {"c", "a/b", "z", "B"}


# --- real files -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data here")
def test_all_real_sound_goes_through():
    found = {"mel": 0, "silent": 0}
    files = [path for path in (SHARED / "media").rglob("*") if path.is_file()]
    files += (SHARED / "esc10").rglob("*.ogg")
    for path in files:
        try:
            has_audio = probe(path).has_audio
        except BadItem:
            continue
        if has_audio:
            mel = read_log_mel(path, SPEC)
            found["silent" if mel is None else "mel"] += 1
            assert mel is None or (mel.shape == (128, 313) and np.isfinite(mel).all() and mel.min() > -100.1), path.name
    assert found["mel"] > 110 and found["silent"] == 1  # reproduce_seek_bug.wav holds zeros alone


@pytest.mark.skipif(not (SHARED / "esc10").is_dir(), reason="no ../shared/data/esc10 here")
def test_real_recordings_agree_with_librosa():
    for path in sorted((SHARED / "esc10").rglob("*.ogg"))[::10]:
        assert np.abs(mel_of(path, SPEC) - librosa_mel(path, SPEC)).mean() < 0.1, path.name
