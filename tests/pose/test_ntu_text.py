"""NTU RGB+D's text, written here after the description of its layout, and pyskl's cleaning, worked by hand."""

from itertools import pairwise

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.pose.clean import Body, clean_bodies
from actrec.pose.layouts import LAYOUTS
from actrec.pose.ntu_text import read_ntu_text

NTU = LAYOUTS["ntu25"]
COLOUR = (1920, 1080)


def standing(x=0.0, *, sway=0.0, seed=0, width=0.3):
    """Return the joints (25, 3) of a body of 1.6 m at `x`; `sway` is how far it may be from there."""
    draw = np.random.default_rng(seed)
    y = np.linspace(-0.8, 0.8, 25)
    places = np.stack([x + width * np.linspace(-0.5, 0.5, 25), y, np.full(25, 3.0)], axis=1)
    return places + draw.uniform(-sway, sway, 3)


def joint_line(place):
    x, y, z = place
    u, v = 960 + 500 * x / z, 540 - 500 * y / z
    numbers = [x, y, z, u / 4, v / 3, u, v, 0.1, 0.2, 0.3, 0.4]
    return " ".join(f"{number:.6f}" for number in numbers) + " 2"


def body_text(body_id, places):
    head = f"{body_id} 0 1 1 0 0 0 0.02 -0.31 2"
    return [head, "25", *map(joint_line, places)]


def file_text(frames):
    """Return the text of frames, each {body id: joints (25, 3)}."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body_id, places in bodies.items():
            lines += body_text(body_id, places)
    return "\n".join(lines) + "\n"


@pytest.fixture
def read(tmp_path):
    def read_text(text, *, dims=3, max_persons=2, layout=NTU, name="S001C002P003R001A055"):
        path = tmp_path / f"{name}.skeleton"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_ntu_text(path, dims=dims, layout=layout, max_persons=max_persons)

    return read_text


ONE, TWO, THREE = "72057594037928948", "72057594037928949", "72057594037931101"


def test_one_body_comes_out_as_it_is(read):
    frames = [{ONE: standing(0.1 * t)} for t in range(5)]
    skeleton = read(file_text(frames))
    assert skeleton.name == "S001C002P003R001A055" and skeleton.img_shape is None and skeleton.label is None
    assert skeleton.keypoint.shape == (1, 5, 25, 3) and (skeleton.score == 1).all()
    np.testing.assert_allclose(skeleton.keypoint[0], np.stack([f[ONE] for f in frames]), atol=1e-3)


def test_two_bodies_stand_in_two_places_and_whoever_moves_more_is_first(read):
    frames = [{ONE: standing(-0.5), TWO: standing(0.5 + 0.02 * t)} for t in range(15)]
    skeleton = read(file_text(frames))
    assert skeleton.keypoint.shape == (2, 15, 25, 3)
    np.testing.assert_allclose(skeleton.keypoint[0, :, :, 0].mean(axis=1), 0.5 + 0.02 * np.arange(15), atol=2e-3)
    np.testing.assert_allclose(skeleton.keypoint[1, :, :, 0].mean(axis=1), -0.5, atol=2e-3)
    only = read(file_text(frames), max_persons=1)
    np.testing.assert_array_equal(only.keypoint[0], skeleton.keypoint[0])


def test_places_in_the_picture_are_there_on_request(read):
    frames = [{ONE: standing(0.0), TWO: standing(0.5, sway=0.3, seed=t)} for t in range(13)]
    deep, flat = read(file_text(frames)), read(file_text(frames), dims=2)
    assert flat.keypoint.shape == (2, 13, 25, 2) and flat.img_shape == (1080, 1920)
    x, y, z = np.moveaxis(deep.keypoint.astype(float), -1, 0)
    np.testing.assert_allclose(flat.keypoint[..., 0], 960 + 500 * x / z, atol=2)
    np.testing.assert_allclose(flat.keypoint[..., 1], 540 - 500 * y / z, atol=2)


def test_a_joint_without_a_place_in_the_picture_is_not_seen_there(read):
    lines = file_text([{ONE: standing()}]).split("\n")
    numbers = lines[6].split()
    lines[6] = " ".join([*numbers[:5], "-inf", "NaN", *numbers[7:]])
    text = "\n".join(lines)
    assert read(text).score.all()
    flat = read(text, dims=2)
    assert flat.score[0, 0].tolist() == [1, 1, 0] + [1] * 22 and not flat.keypoint[0, 0, 2].any()


def test_frames_without_anybody_are_left_out(read):
    """As in pyskl's own files."""
    bodies = [{ONE: standing(0.1 * t)} for t in range(4)]
    skeleton = read(file_text([{}, {}, bodies[0], bodies[1], {}, bodies[2], bodies[3], {}]))
    assert skeleton.keypoint.shape == (1, 4, 25, 3)
    np.testing.assert_allclose(skeleton.keypoint[0, :, 12, 0], [0, 0.1, 0.2, 0.3], atol=1e-3)


def test_windows_line_ends_and_a_missing_last_one_are_taken(read):
    text = file_text([{ONE: standing()}])
    plain = read(text).keypoint
    np.testing.assert_array_equal(read(text.replace("\n", "\r\n")).keypoint, plain)
    np.testing.assert_array_equal(read(text.rstrip("\n")).keypoint, plain)
    np.testing.assert_array_equal(read(text + " \n\n").keypoint, plain)


def changed(line, new, frames=2):
    lines = file_text([{ONE: standing(), TWO: standing(1)}] * frames).split("\n")
    lines[line - 1 : line] = [] if new is None else [new]
    return "\n".join(lines)


GOOD_LINE = joint_line((0, 0, 3))
BAD_TEXTS = {
    "nothing": ("", "malformed", "line 1: expected the number of frames, got the end of the file"),
    "words": ("hello\n", "malformed", "line 1: expected the number of frames, got 'hello'"),
    "a negative count": ("-3\n", "malformed", "line 1"),
    "a count beyond reason": ("9" * 5000 + "\n", "malformed", "line 1"),
    "no frames": ("0\n", "empty", "line 1: expected at least one frame"),
    "nobody in any": ("3\n0\n0\n0\n", "no_body", "none of 3 frames has a body"),
    "fewer frames than announced": ("3\n0\n0\n", "malformed", "line 4: expected the number of bodies, got the end"),
    "more frames than announced": ("1\n0\n0\n", "malformed", "line 3: expected the end of the file after 1 frames"),
    "bytes": (b"1\n\xff\xfe\n", "malformed", "byte 2: expected plain text, got 0xff"),
    "a body of nine numbers": (changed(3, "7 0 0 0 0 0 0 0 0"), "malformed", "line 3: expected a body: 10 numbers"),
    "a body without id": (changed(3, "x 0 0 0 0 0 0 0 0 0"), "malformed", "line 3"),
    "20 joints": (changed(4, "20"), "malformed", "line 4: expected 25 joints, got '20'"),
    "a word for a joint": (changed(9, "a b c 0 0 0 0 0 0 0 0 2"), "malformed", "line 9: expected a joint: 12 numbers"),
    "eleven numbers": (changed(29, "0 " * 11), "malformed", "line 29"),
    "thirteen numbers": (changed(29, GOOD_LINE + " 7"), "malformed", "line 29"),
    "a lost line": (changed(20, None), "malformed", "line 29: expected a joint: 12 numbers, x y z first, got '7205"),
    "a place that is none": (changed(10, "NaN" + GOOD_LINE[8:]), "not_finite", "line 10: expected x y z in metres"),
    "a place without end": (changed(10, "0 0 inf 0 0 0 0 0 0 0 0 2"), "not_finite", "line 10"),
    "a body twice": (
        changed(30, f"{ONE} 0 0 0 0 0 0 0 0 0"),
        "malformed",
        f"line 30: body {ONE} is in this frame twice",
    ),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_malformed_text_is_refused_by_its_line(case, read):
    text, reason, words = BAD_TEXTS[case]
    with pytest.raises(BadItem) as error:
        read(text)
    assert error.value.reason == reason and words in error.value.message


def test_a_text_that_is_cut_anywhere_is_refused(read):
    """Whole lines are missing: one that is cut in a number may be a number all the same."""
    lines = file_text([{ONE: standing()}] * 2).split("\n")
    for count in range(len(lines) - 1):
        with pytest.raises(BadItem, match="malformed"):
            read("\n".join(lines[:count]) + "\n")


def test_another_layout_is_refused(read):
    with pytest.raises(BadItem, match="wrong_layout"):
        read(file_text([{ONE: standing()}]), layout=LAYOUTS["coco17"])


# --- cleaning -----------------------------------------------------------------------------------------------------


def body(frames, *, sway=0.0, width=0.3, wide_in=0, seed=1):
    """Return a body in these frames; in the first `wide_in` of them it lies, wider than high."""
    joints = [
        standing(sway=sway, seed=seed * 1000 + t, width=8.0 if t < wide_in else width) for t, _ in enumerate(frames)
    ]
    return Body(np.array(frames), np.stack(joints))


def spans(slots):
    """Return the runs of each slot: (body, first frame, end)."""
    found = []
    for slot in slots:
        edges = [0, *(np.nonzero(np.diff(slot))[0] + 1).tolist(), len(slot)]
        runs = [(int(slot[a]), a, b) for a, b in pairwise(edges)]
        found.append([run for run in runs if run[0] >= 0])
    return found


def test_short_tracks_are_noise_unless_all_are_short():
    long, short = body(range(20)), body(range(5, 16), sway=0.5)
    assert spans(clean_bodies([short, long])[0]) == [[(1, 0, 20)]]  # 11 frames
    twelve = body(range(5, 17), sway=0.5)
    assert spans(clean_bodies([twelve, long])[0]) == [[(1, 0, 20)], [(0, 5, 17)]]
    assert spans(clean_bodies([short, body(range(8))])[0]) == [[(1, 0, 8)], [(0, 5, 16)]]
    assert spans(clean_bodies([short])[0]) == [[(0, 5, 16)]]


def test_what_is_wider_than_high_is_no_person():
    """Bad in 14 of 20 frames, 0.7, it goes; in 13, 0.65, it stays. The limit is 0.69754."""
    person = body(range(20))
    assert spans(clean_bodies([person, body(range(20), sway=0.9, wide_in=14)])[0]) == [[(0, 0, 20)]]
    kept, _, _ = clean_bodies([person, body(range(20), sway=0.9, wide_in=13)])
    assert spans(kept) == [[(1, 0, 20)], [(0, 0, 20)]]
    # Nobody upright: the rule would leave nobody.
    lying = [body(range(20), wide_in=20, seed=seed) for seed in (1, 2)]
    assert len(spans(clean_bodies(lying)[0])) == 2
    # Alone, it is a person who lies down.
    assert spans(clean_bodies([body(range(20), wide_in=20)])[0]) == [[(0, 0, 20)]]


def test_motion_counts_only_while_upright():
    """A body that swings only while it lies comes after one that always moves a little."""
    still_but_lying = Body(
        np.arange(20), np.stack([standing(x=5.0 * (t % 2) * (t < 10), width=8.0 if t < 10 else 0.3) for t in range(20)])
    )
    moving = body(range(20), sway=0.2)
    assert [runs[0][0] for runs in spans(clean_bodies([still_but_lying, moving])[0])] == [1, 0]


def test_tracks_that_follow_each_other_are_one_person():
    """By falling motion: 0 takes slot 0; 1 follows it there; 2 overlaps both and takes slot 1; 3 finds no room."""
    bodies = [
        body(range(0, 20), sway=0.9, seed=1),
        body(range(20, 40), sway=0.6, seed=2),
        body(range(10, 30), sway=0.3, seed=3),
        body(range(12, 28), sway=0.1, seed=4),
    ]
    motions = [float(b.joints.reshape(-1, 3).var(axis=0).sum()) for b in bodies]
    assert motions == sorted(motions, reverse=True)
    slots, first, end = clean_bodies(bodies)
    assert spans(slots) == [[(0, 0, 20), (1, 20, 40)], [(2, 10, 30)]] and (first, end) == (0, 40)


def test_a_slot_is_free_before_its_first_body():
    """pyskl drops the third one: there slot 1 is taken from frame 0 on."""
    bodies = [body(range(40), sway=0.9), body(range(20, 40), sway=0.5), body(range(0, 15), sway=0.2)]
    assert spans(clean_bodies(bodies)[0]) == [[(0, 0, 40)], [(2, 0, 15), (1, 20, 40)]]


def test_empty_ends_are_cut_and_the_first_slot_is_the_one_that_begins():
    late, early = body(range(18, 40), sway=0.9), body(range(5, 25))
    slots, first, end = clean_bodies([late, early])
    assert spans(slots) == [[(1, 5, 25)], [(0, 18, 40)]] and (first, end) == (5, 40)


def test_a_body_that_is_lost_for_a_while_stays_at_its_own_frames():
    gap = [*range(0, 10), *range(15, 25)]
    slots, _, _ = clean_bodies([body(gap, sway=0.9), body(range(25))])
    assert spans(slots) == [[(0, 0, 10), (0, 15, 25)], [(1, 0, 25)]]


def test_bodies_of_a_file_are_cleaned_on_the_frames_that_have_any(read):
    """Two people, a curtain, a flicker, and an empty frame before and amid: 30 frames remain, of two."""
    frames = [{}, {}]
    for t in range(30):
        bodies = {ONE: standing(-0.6, sway=0.2, seed=t), TWO: standing(0.6, sway=0.05, seed=100 + t)}
        bodies["3"] = standing(0, width=9.0, sway=0.5, seed=t)
        if 4 <= t < 10:
            bodies["4"] = standing(2.0, sway=1, seed=t)
        frames += [bodies, {}] if t == 7 else [bodies]
    skeleton = read(file_text(frames))
    assert skeleton.keypoint.shape == (2, 30, 25, 3) and skeleton.score.all()
    np.testing.assert_allclose(skeleton.keypoint[..., 0].mean(axis=(1, 2)), [-0.6, 0.6], atol=0.06)
