"""Two decoders, one result: where decord is used, PyAV gives the same frames; elsewhere PyAV decodes."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.media import decode
from actrec.media.decode import DecordFrames, PyavFrames, decoder_of, open_frames
from actrec.media.facts import MediaFacts
from actrec.media.probe import open_container, probe

MEDIA = Path(__file__).resolve().parents[3] / "shared/data/media"
needs_decord = pytest.mark.skipif(importlib.util.find_spec("decord") is None, reason="decord has no wheel here")
needs_media = pytest.mark.skipif(not MEDIA.is_dir(), reason="no ../shared/data/media here")
H264 = MediaFacts("mp4", "h264", "yuv420p", 96, 80, 0, 25.0, 50, 2.0, "", 0, 0)


def moving(num_frames, height=80, width=96):
    """Return frames of a texture that drifts, with noise of its own in each."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    frames = [
        np.stack([x * 3 + 5 * t, y * 4 - 3 * t, (x + y) * 2 + t], axis=-1) + rng.integers(0, 25, (height, width, 3))
        for t in range(num_frames)
    ]
    return (np.stack(frames) % 256).astype(np.uint8)


@needs_decord
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    "options",
    [
        {"g": "12", "bf": "3", "b_strategy": "0"},
        {"g": "10", "bf": "3", "x264-params": "b-pyramid=normal:weightp=2"},
        {"g": "250", "bf": "3", "refs": "4"},
    ],
    ids=["several groups of pictures", "B-pyramid", "one group"],
)
def test_both_decoders_give_the_same_frames(tmp_path, make_video, suffix, options):
    path = make_video(tmp_path / f"a{suffix}", moving(50), fps=25, options=options)
    decord, pyav = open_frames(path, probe(path)), PyavFrames(path, 0)
    assert isinstance(decord, DecordFrames)
    assert len(decord.times_s) == len(pyav.times_s) == 50
    np.testing.assert_allclose(decord.times_s, pyav.times_s, atol=1e-5)
    np.testing.assert_allclose(pyav.times_s, np.arange(50) / 25, atol=1e-3)
    rng = np.random.default_rng(1)
    for count in (1, 2, 7, 50):
        indices = np.sort(rng.permutation(50)[:count])
        frames = decord.read(indices)
        assert frames.shape == (count, 80, 96, 3) and frames.dtype == np.uint8
        np.testing.assert_array_equal(frames, pyav.read(indices))
    for source in (decord, pyav):
        np.testing.assert_array_equal(np.stack(list(source)), pyav.read(np.arange(50)))
    late = np.array([47])  # a frame alone is the frame in its row
    np.testing.assert_array_equal(decord.read(late)[0], pyav.read(np.arange(50))[47])


@needs_decord
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("x264", ["open-gop=1", "intra-refresh=1"])
def test_decord_does_not_seek_where_key_frames_are_no_true_starts(tmp_path, make_video, suffix, x264):
    """There it gives other frames than those asked for, without a word."""
    options = {"g": "10", "bf": "3", "b_strategy": "0", "sc_threshold": "0", "x264-params": x264}
    path = make_video(tmp_path / f"a{suffix}", moving(50), fps=25, options=options)
    assert DecordFrames(path).num_key_frames > 3
    source = open_frames(path, probe(path))
    assert isinstance(source, PyavFrames)
    whole = source.read(np.arange(50))
    indices = np.array([3, 9, 10, 11, 20, 39])
    np.testing.assert_array_equal(source.read(indices), whole[indices])


@needs_decord
def test_transport_streams_go_to_pyav(tmp_path, make_video):
    """decord mixes up the frames of these even where it need not seek."""
    path = make_video(tmp_path / "a.ts", moving(30), fps=25, options={"bf": "2"})
    assert isinstance(open_frames(path, probe(path)), PyavFrames)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_frames_are_in_the_order_in_which_they_are_shown(tmp_path, make_video, suffix):
    """Frame t is all of brightness 16 + 4 t."""
    frames = np.stack([np.full((80, 80, 3), 16 + 4 * t, np.uint8) for t in range(40)])
    path = make_video(tmp_path / f"a{suffix}", frames, fps=20, options={"g": "8", "bf": "3", "crf": "10"})
    brightness = open_frames(path, probe(path)).read(np.arange(40)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(brightness, 16 + 4 * np.arange(40), atol=2)


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_frames_are_upright(tmp_path, make_video, rotation_deg, decoder):
    """What was filmed lying, red at its top left, is shown turned clockwise."""
    if decoder == "decord":
        pytest.importorskip("decord")
    frames = np.zeros((4, 32, 64, 3), np.uint8)
    frames[:, :16, :32, 0] = 255
    path = make_video(tmp_path / "a.mov", frames, rotation_deg=rotation_deg)
    source = DecordFrames(path) if decoder == "decord" else PyavFrames(path, rotation_deg)
    shown = source.read(np.array([0, 2]))
    assert shown.shape == ((2, 64, 32, 3) if rotation_deg in (90, 270) else (2, 32, 64, 3))
    row, column = {0: (0, 0), 90: (0, 1), 180: (1, 1), 270: (1, 0)}[rotation_deg]
    _, height, width, _ = shown.shape
    quarters = shown[..., 0].reshape(2, 2, height // 2, 2, width // 2).mean(axis=(2, 4))
    is_red = quarters > 128
    assert is_red[:, row, column].all() and is_red.sum() == 2


@needs_decord
@pytest.mark.parametrize(
    ("facts", "decoder"),
    [
        (H264, "decord"),
        (replace(H264, pixel_format="yuvj420p"), "decord"),
        (replace(H264, container="matroska", num_frames=0), "decord"),
        (replace(H264, height_px=74), "decord"),
        (replace(H264, width_px=72), "pyav"),  # it would fail
        (replace(H264, height_px=48, rotation_deg=90), "pyav"),
        (replace(H264, container="avi"), "pyav"),
        (replace(H264, container="mpegts", num_frames=0), "pyav"),
        (replace(H264, container="flv"), "pyav"),
        (replace(H264, video_codec="hevc"), "pyav"),
        (replace(H264, pixel_format="yuv444p"), "pyav"),
        (replace(H264, pixel_format="yuv420p10le"), "pyav"),
        (replace(H264, num_frames=55), "pyav"),  # more than are shown: an edit list
        (replace(H264, num_frames=51), "decord"),
    ],
)
def test_decord_gets_what_it_was_proven_on(facts, decoder):
    assert decoder_of(facts) == decoder


def test_without_decord_everything_goes_to_pyav(monkeypatch):
    monkeypatch.setattr(decode, "_has_decord", lambda: False)
    assert decoder_of(H264) == "pyav"


def test_avi_is_read_from_its_first_frame_on(tmp_path, make_video):
    """Seeking in AVI gives wrong frames with decord."""
    frames = np.stack([np.full((32, 32, 3), 16 + 4 * t, np.uint8) for t in range(40)])
    path = make_video(tmp_path / "a.avi", frames, codec="mpeg4", options={"g": "12", "bf": "2", "qscale": "1"})
    source = open_frames(path, probe(path))
    assert isinstance(source, PyavFrames) and len(source.times_s) == 40
    brightness = source.read(np.array([3, 17, 31, 39])).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(brightness, 16 + 4 * np.array([3, 17, 31, 39]), atol=3)


@pytest.mark.parametrize(("promised", "is_fine"), [(20, True), (22, True), (18, True), (23, False), (17, False)])
def test_a_header_that_promises_other_frames(tmp_path, make_clip, promised, is_fine):
    path = make_clip(tmp_path / "a.mp4", num_frames=20)
    facts = replace(probe(path), duration_s=promised / 10)
    if is_fine:
        assert len(open_frames(path, facts).times_s) == 20
    else:
        with pytest.raises(BadItem, match=f"promises {promised} frames, 20 found") as caught:
            open_frames(path, facts)
        assert caught.value.reason == "frame_mismatch"


def test_without_a_promise_there_is_nothing_to_compare(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mp4", num_frames=20)
    assert len(open_frames(path, replace(probe(path), duration_s=0.0)).times_s) == 20


def test_pyav_says_which_frame_is_missing(tmp_path, make_video):
    path = make_video(tmp_path / "a.ts", moving(30), fps=25, codec="mpeg2video", options={"g": "5", "bf": "0"})
    source = PyavFrames(path, 0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 188 * 188])
    with pytest.raises(BadItem, match=r"frame 2\d could not be decoded") as caught:
        source.read(np.arange(20, 30))
    assert caught.value.reason == "truncated"
    with pytest.raises(BadItem, match=r"frame 1\d could not be decoded"):
        list(source)


def test_all_frames_are_one_walk_through_the_file(tmp_path, make_video, monkeypatch):
    path = make_video(tmp_path / "a.avi", moving(100), fps=25, codec="mpeg4")
    source, opened = open_frames(path, probe(path)), []
    monkeypatch.setattr(decode, "open_container", lambda file: opened.append(file) or open_container(file))
    assert len(list(source)) == 100 and opened == [path]


@needs_decord
@pytest.mark.parametrize("decoder", [DecordFrames, lambda path: PyavFrames(path, 0)], ids=["decord", "pyav"])
def test_messages_are_the_same_every_time(tmp_path, make_video, decoder):
    """They stand in quarantine.csv, whose bytes must not depend on the machine or the hour."""
    path = make_video(tmp_path / "a.mp4", moving(30), fps=25)
    content = bytearray(path.read_bytes())
    content[1000 : len(content) - 3000] = bytes(len(content) - 4000)
    path.write_bytes(content)

    def message():
        try:
            decoder(path).read(np.arange(30))
        except Exception as error:
            return str(error)
        return ""

    first = message()
    assert first and first == message()
    assert str(tmp_path) not in first and "/src/" not in first


# --- real files ---------------------------------------------------------------------------------------------------


def real_videos():
    for path in sorted(MEDIA.rglob("*")):
        if path.is_file():
            try:
                yield path, probe(path)
            except BadItem:
                continue


@needs_decord
@needs_media
def test_both_decoders_agree_on_every_real_file_that_decord_gets():
    turned = set()
    names = []
    for path, facts in real_videos():
        if decoder_of(facts) != "decord" or path.name == "corrupted.mp4":
            continue
        decord, pyav = open_frames(path, facts), PyavFrames(path, facts.rotation_deg)
        assert isinstance(decord, DecordFrames), path.name
        assert len(decord.times_s) == len(pyav.times_s), path.name
        np.testing.assert_allclose(decord.times_s, pyav.times_s, atol=1e-5, err_msg=path.name)
        indices = np.unique(np.linspace(0, len(pyav.times_s) - 1, 6).astype(int))
        np.testing.assert_array_equal(decord.read(indices), pyav.read(indices), err_msg=path.name)
        turned.add(facts.rotation_deg)
        names.append(path.name)
    assert turned == {0, 90, 180, 270} and len(names) > 10


@needs_media
def test_a_real_edit_list_goes_to_pyav():
    path = MEDIA / "torchcodec/discard_first_keyframe.mp4"
    facts = probe(path)
    assert decoder_of(facts) == "pyav"
    source = open_frames(path, facts)
    assert len(source.times_s) == round(facts.duration_s * facts.fps) < facts.num_frames
    assert len(source.read(np.arange(len(source.times_s)))) == len(source.times_s)
