from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from tiny_runs import ABOUT, make_model

from actrec.media.clip import read_clip
from actrec.media.probe import probe
from actrec.training.views import plain_view
from actrec.training.windows import predict_files, split_windows

WHOLE = [(None, None)]


@pytest.mark.parametrize(
    ("duration_s", "window_s", "typical_s", "expected"),
    [
        # Without a stated length: as long as training clips, but only where a video is half as long again.
        (1.6, None, 1.6, WHOLE),
        (2.3, None, 1.6, WHOLE),
        (3.0, None, 2.0, [(0, 2), (1, 3)]),
        (4.0, None, 2.0, [(0, 2), (2, 4)]),
        (4.5, None, 2.0, [(0, 2), (2, 4), (2.5, 4.5)]),
        # A stated length holds for all that is at least as long.
        (2.0, 2.0, 9.0, [(0, 2)]),
        (1.9, 2.0, 9.0, WHOLE),
        (2.1, 2.0, 9.0, [(0, 2), (0.1, 2.1)]),
        (1.0, 0.25, 9.0, [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)]),
        # Of unknown length, or no typical one.
        (0.0, 2.0, 2.0, WHOLE),
        (60.0, None, 0.0, WHOLE),
        # A third of a second has no exact float: three of them are not four.
        (1.0, 1 / 3, 9.0, [(0, 0.333), (0.333, 0.667), (0.667, 1.0)]),
    ],
)
def test_windows_by_hand(duration_s, window_s, typical_s, expected):
    assert split_windows(duration_s, window_s, typical_s) == expected


@pytest.mark.parametrize("duration_s", [3.1, 7.77, 60.0, 61.3])
def test_windows_cover_the_video(duration_s):
    windows = split_windows(duration_s, 2.0, 9.0)
    assert windows[0][0] == 0 and windows[-1][1] == duration_s
    assert all(end - start == pytest.approx(2.0, abs=2e-3) for start, end in windows)
    assert all(after[0] <= before[1] for before, after in pairwise(windows))
    assert windows == sorted(set(windows))


def predictions(paths, *, window_s=None, about=ABOUT):
    model = make_model(seed=3).eval()
    for name, weights in model.named_parameters():  # untrained it says nearly the same of all: tokens are about 0.001
        if name.startswith("heads.") and name.endswith("weight"):
            weights.data *= 1000
    found = predict_files(paths, model, about, window_s=window_s, device=torch.device("cpu"), workers=1)
    return model, list(found)


def test_a_short_video_is_one_clip(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mp4", 9, num_frames=8)
    model, (row,) = predictions([path])
    views = plain_view(read_clip(path, probe(path), ABOUT.clip_spec), input_px=16, crop_frac=1.0)
    with torch.inference_mode():
        probs = model({"rgb": views, "present": {"rgb": torch.ones(1, dtype=torch.bool)}})["action"].softmax(dim=1)[0]
    best = int(probs.argmax())
    assert (row.path, row.start_s, row.end_s, row.head, row.status) == (str(path), None, None, "action", "ok")
    assert (row.predicted, row.prob) == ("abc"[best], pytest.approx(float(probs[best]), abs=1e-4))
    shares = {name: float(prob) for name, prob in (part.split(":") for part in row.top5.split("|"))}
    assert shares == {name: pytest.approx(float(p), abs=1e-4) for name, p in zip("abc", probs, strict=True)}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_a_long_video_is_looked_at_in_windows(tmp_path, make_video):
    """Each window sees its own frames: of a video that changes, windows differ."""
    frames = np.zeros((24, 16, 16, 3), np.uint8)
    frames[8:16, :8], frames[16:, :, 8:] = 255, 255
    path = make_video(tmp_path / "a.mp4", frames, fps=10)
    model, rows = predictions([path], window_s=0.8)
    assert [(row.start_s, row.end_s) for row in rows] == [(0, 0.8), (0.8, 1.6), (1.6, 2.4)]
    for row in rows:
        clip = read_clip(path, probe(path), ABOUT.clip_spec, start_s=row.start_s, end_s=row.end_s)
        with torch.inference_mode():
            batch = {
                "rgb": plain_view(clip, input_px=16, crop_frac=1.0),
                "present": {"rgb": torch.ones(1, dtype=torch.bool)},
            }
            probs = model(batch)["action"].softmax(dim=1)[0]
        assert row.prob == pytest.approx(float(probs.max()), abs=1e-4)
    assert all(abs(one.prob - other.prob) > 0.01 for one, other in combinations(rows, 2))


def test_bad_files_are_listed_and_the_others_go_on(tmp_path, make_clip):
    good, later = make_clip(tmp_path / "b.mp4", 3), make_clip(tmp_path / "d.mp4", 5)
    text, empty = tmp_path / "a.mp4", tmp_path / "c.mp4"
    text.write_text("#EXTM3U\n/etc/passwd\n")
    empty.touch()
    paths = [text, good, empty, later]
    _, rows = predictions(paths)
    assert [row.path for row in rows] == [str(path) for path in paths]
    assert [row.status == "ok" for row in rows] == [False, True, False, True]
    assert rows[0].status.startswith("playlist: ") and rows[2].status.partition(": ")[0] != "ok"
    assert (rows[0].predicted, rows[0].prob, rows[0].head, rows[0].top5) == ("", None, "", "")


def test_a_file_that_breaks_half_way_is_listed_window_by_window(tmp_path, make_video):
    rng = np.random.default_rng(0)
    path = make_video(tmp_path / "a.avi", rng.integers(0, 256, (60, 64, 64, 3), np.uint8), codec="mpeg4", fps=10)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : len(content) - 8000] = bytes(len(content) - 8000 - middle)
    path.write_bytes(content)
    _, rows = predictions([path], window_s=2.0)
    assert [(row.start_s, row.end_s) for row in rows] == [(0, 2), (2, 4), (4, 6)]
    assert {row.status.partition(":")[0] for row in rows} == {"frame_mismatch"}


def test_no_videos_no_rows():
    assert predictions([])[1] == []
