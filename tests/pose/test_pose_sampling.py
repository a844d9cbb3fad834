"""Which frames a pose model looks at: cases worked out by hand, and what holds for all of them."""

from collections import Counter

import numpy as np
import pytest

from actrec.pose.sampling import sample_test, sample_train


class Drawn(np.random.Generator):
    """Draws what it is given."""

    def __init__(self, *, permutation=None, integers=None):
        super().__init__(np.random.PCG64(0))
        self._permutation, self._integers, self.asked = permutation, integers, None

    def permutation(self, x, *args):
        self.asked = x
        return np.array(self._permutation)

    def integers(self, low, *args, **kwargs):
        self.asked = np.array(low).tolist()
        return np.array(self._integers) if np.ndim(low) else self._integers


@pytest.mark.parametrize(
    ("start", "expected"), [(0, [0, 1, 2, 0, 1, 2, 0]), (1, [1, 2, 0, 1, 2, 0, 1]), (2, [2, 0, 1, 2, 0, 1, 2])]
)
def test_too_few_frames_go_round(start, expected):
    rng = Drawn(integers=start)
    assert sample_train(3, 7, rng).tolist() == expected
    assert rng.asked == 3


@pytest.mark.parametrize(
    ("skipped", "expected"),
    [  # Three of five, so two of the four slots: before the first, second, third wanted frame, and after it.
        ((0, 1), [1, 3, 4]),
        ((1, 0), [1, 3, 4]),
        ((0, 2), [1, 2, 4]),
        ((0, 3), [1, 2, 3]),
        ((1, 2), [0, 2, 4]),
        ((1, 3), [0, 2, 3]),
        ((2, 3), [0, 1, 3]),
    ],
)
def test_less_than_twice_as_many_are_thinned_out(skipped, expected):
    rng = Drawn(permutation=[*skipped, *(slot for slot in range(4) if slot not in skipped)])
    assert sample_train(5, 3, rng).tolist() == expected
    assert rng.asked == 4


def test_one_frame_of_each_part():
    """11 frames in 4 parts: they begin at 0, 11/4, 22/4 and 33/4 without fractions."""
    rng = Drawn(integers=[1, 0, 2, 1])
    assert sample_train(11, 4, rng).tolist() == [1, 2, 7, 9]
    assert rng.asked == [2, 3, 3, 3]


def test_as_many_frames_as_wanted_are_all_of_them():
    assert sample_train(6, 6, np.random.default_rng(0)).tolist() == [0, 1, 2, 3, 4, 5]
    assert sample_test(6, 6, 2).tolist() == [[0, 1, 2, 3, 4, 5]] * 2


def clips_of(num_frames, clip_frames):
    rng = np.random.default_rng(num_frames)
    yield from (sample_train(num_frames, clip_frames, rng) for _ in range(20))
    yield from sample_test(num_frames, clip_frames, 10)


@pytest.mark.parametrize("clip_frames", [1, 8, 32])
@pytest.mark.parametrize("num_frames", [1, 2, 7, 8, 9, 15, 16, 17, 31, 63, 64, 100, 301])
def test_what_holds_for_all(num_frames, clip_frames):
    for indices in clips_of(num_frames, clip_frames):
        assert (indices.shape, indices.dtype) == ((clip_frames,), np.int64)
        assert indices.min() >= 0 and indices.max() < num_frames
        steps = np.diff(indices)
        if num_frames < clip_frames:
            assert set((steps % num_frames).tolist()) <= {1 % num_frames}
        elif num_frames < 2 * clip_frames:
            assert set(steps.tolist()) <= {1, 2} and indices[0] <= 1
        else:
            assert (steps > 0).all()
            bounds = [i * num_frames // clip_frames for i in range(clip_frames + 1)]
            assert np.histogram(indices, bins=bounds)[0].tolist() == [1] * clip_frames


def test_each_start_is_as_likely():
    rng = np.random.default_rng(1)
    counts = Counter(int(sample_train(4, 9, rng)[0]) for _ in range(4000))
    assert sorted(counts) == [0, 1, 2, 3]
    assert all(abs(count - 1000) < 5 * np.sqrt(4000 * 0.25 * 0.75) for count in counts.values())


def test_each_way_to_thin_out_is_as_likely():
    rng = np.random.default_rng(2)
    counts = Counter(tuple(sample_train(5, 3, rng).tolist()) for _ in range(6000))
    assert len(counts) == 6
    assert all(abs(count - 1000) < 5 * np.sqrt(6000 / 6 * 5 / 6) for count in counts.values())


def test_each_frame_of_a_part_is_as_likely_and_parts_are_independent():
    rng = np.random.default_rng(3)
    drawn = np.stack([sample_train(6, 2, rng) for _ in range(9000)])
    counts = Counter(map(tuple, drawn.tolist()))
    assert set(counts) == {(a, b) for a in (0, 1, 2) for b in (3, 4, 5)}
    assert all(abs(count - 1000) < 5 * np.sqrt(9000 / 9 * 8 / 9) for count in counts.values())


def test_training_depends_on_the_generator_alone():
    drawn = [sample_train(90, 8, np.random.default_rng(7)).tolist() for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert sample_train(90, 8, np.random.default_rng(8)).tolist() != drawn[0]


@pytest.mark.parametrize(
    ("num_frames", "num_clips", "starts"),
    [(5, 1, [0]), (5, 2, [0, 2]), (5, 5, [0, 1, 2, 3, 4]), (10, 4, [0, 2, 5, 7]), (3, 5, [0, 1, 2, 0, 1])],
)
def test_clips_of_too_few_frames_start_evenly(num_frames, num_clips, starts):
    found = sample_test(num_frames, 12, num_clips)
    assert found[:, 0].tolist() == starts
    assert all(row.tolist() == [(row[0] + i) % num_frames for i in range(12)] for row in found)


@pytest.mark.parametrize(("num_frames", "clip_frames"), [(41, 32), (63, 32), (64, 32), (103, 32), (300, 48), (19, 8)])
def test_frames_for_evaluation_are_those_of_mmaction2(num_frames, clip_frames):
    """Its rule told in its own numpy calls, from the same seed, with the generator that they use."""
    random, expected = np.random.RandomState(255), []
    for _ in range(10):
        if num_frames < 2 * clip_frames:
            skipped = random.choice(clip_frames + 1, num_frames - clip_frames, replace=False)
            expected.append([i + sum(slot <= i for slot in skipped) for i in range(clip_frames)])
        else:
            bounds = [i * num_frames // clip_frames for i in range(clip_frames + 1)]
            offsets = random.randint(np.diff(bounds))
            expected.append([first + offset for first, offset in zip(bounds[:-1], offsets, strict=True)])
    assert sample_test(num_frames, clip_frames, 10).tolist() == expected


@pytest.mark.parametrize("num_frames", [5, 41, 103])
def test_evaluation_depends_on_nothing_else(num_frames):
    alone = sample_test(num_frames, 32, 10)
    np.random.seed(1)  # the state that is not to matter
    before = np.random.get_state()[1].copy()
    sample_test(77, 16, 3)
    assert np.array_equal(sample_test(num_frames, 32, 10), alone)
    assert np.array_equal(np.random.get_state()[1], before)
    if num_frames >= 32:
        assert np.array_equal(sample_test(num_frames, 32, 3), alone[:3])
        assert len(np.unique(alone, axis=0)) == 10
