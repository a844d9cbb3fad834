from math import inf

import pytest

from actrec.training.schedule import best_epoch, epochs_without_gain, lr_factor
from actrec.training.settings import Steps


def factor(schedule, progress, *, step=0.25, epochs=10, scores=(), lower_is_better=False):
    return lr_factor(
        {"warmup_epochs": 0, "warmup_from_frac": 0.0, **schedule},
        progress=progress,
        step=step,
        epochs=epochs,
        scores=scores,
        lower_is_better=lower_is_better,
    )


@pytest.mark.parametrize("kind", ["none", "cosine", "step", "plateau"])
def test_warm_up_is_linear_and_does_not_begin_with_0(kind):
    rest = {"final_frac": 0.0, "every_epochs": 100, "factor": 0.1, "patience_epochs": 9}
    schedule = {"kind": kind, "warmup_epochs": 2, **rest}
    # 4 steps an epoch, so 8 of warm-up; the last of these has the full rate, and so has the one after.
    found = [factor(schedule, i / 4) for i in range(9)]
    assert found == pytest.approx([1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1, 1])


def test_warm_up_shorter_than_an_epoch():
    schedule = {"kind": "none", "warmup_epochs": 0.6}
    assert [factor(schedule, i / 4) for i in range(4)] == pytest.approx([0.25 / 0.6, 0.5 / 0.6, 1, 1])


def test_warm_up_from_a_tenth():
    """Over two epochs of 4 steps: .1 and then .9 / 8 more with each step."""
    found = [factor({"kind": "none", "warmup_epochs": 2, "warmup_from_frac": 0.1}, i / 4) for i in range(9)]
    assert found == pytest.approx([0.2125, 0.325, 0.4375, 0.55, 0.6625, 0.775, 0.8875, 1, 1])


def test_constant():
    assert [factor({"kind": "none"}, i) for i in (0, 3.5, 9.75)] == [1, 1, 1]


def test_cosine():
    # Half way 1/2, at thirds 3/4 and 1/4 (cos 60 degrees = 1/2); final_frac lifts the foot.
    schedule = {"kind": "cosine", "warmup_epochs": 1, "final_frac": 0.0}
    assert [factor(schedule, p) for p in (1, 4, 5.5, 7, 10)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    schedule["final_frac"] = 0.2
    assert [factor(schedule, p) for p in (1, 4, 5.5, 7, 10)] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])


def test_a_warm_up_as_long_as_the_phase():
    assert factor({"kind": "cosine", "warmup_epochs": 10, "final_frac": 0.0}, 9.75) == 1


def test_step():
    schedule = {"kind": "step", "every_epochs": 3, "factor": 0.1}
    found = [factor(schedule, p) for p in (0, 2.75, 3, 5.99, 6, 9)]
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.001])


@pytest.mark.parametrize(
    ("scores", "exponent"),
    [
        ([], 0),
        ([0.5], 0),
        ([0.5, 0.5], 0),  # one epoch without a gain
        ([0.5, 0.5, 0.4], 1),  # two
        ([0.5, 0.5, 0.6, 0.6], 0),  # a gain between: counted anew
        ([0.5, 0.4, 0.4, 0.4], 1),
        ([0.5, 0.4, 0.4, 0.4, 0.4], 2),
        ([0.5, 0.4, 0.4, 0.6, 0.1, 0.1], 2),
    ],
)
def test_plateau(scores, exponent):
    schedule = {"kind": "plateau", "patience_epochs": 2, "factor": 0.5}
    assert factor(schedule, len(scores), scores=scores) == 0.5**exponent
    losses = [-score for score in scores]
    assert factor(schedule, len(scores), scores=losses, lower_is_better=True) == 0.5**exponent


def test_an_unknown_schedule_is_a_bug():
    with pytest.raises(ValueError, match="linear"):
        factor({"kind": "linear"}, 0)


@pytest.mark.parametrize(
    ("scores", "min_delta", "waited"),
    [
        ([], 0, 0),
        ([0.1, 0.2, 0.3], 0, 0),
        ([0.3, 0.3, 0.2], 0, 2),
        ([0.3, 0.35, 0.39], 0.1, 2),  # little gains do not count, each against the best that counted
        ([0.3, 0.35, 0.41], 0.1, 0),
        ([0.3, 0.2, 0.5, 0.4], 0, 1),
    ],
)
def test_epochs_without_gain(scores, min_delta, waited):
    assert epochs_without_gain(scores, min_delta=min_delta, lower_is_better=False) == waited
    losses = [-score for score in scores]
    assert epochs_without_gain(losses, min_delta=min_delta, lower_is_better=True) == waited


def test_of_equal_epochs_the_one_with_the_lowest_loss_is_best_then_the_first():
    assert best_epoch([0.1, 0.7, 0.2, 0.7], [0.1, 0.9, 0.1, 0.8], lower_is_better=False) == 3
    assert best_epoch([0.1, 0.7, 0.2, 0.7], [0.1, 0.8, 0.1, 0.8], lower_is_better=False) == 1
    assert best_epoch([0.9, 0.3, 0.3, inf], [0.9, 0.3, 0.3, inf], lower_is_better=True) == 1


def test_steps_share_out_the_clips():
    # 11 clips in batches of 4: 4, 4, 3. Updates after 2 steps and at the end.
    steps = Steps(num_clips=11, batch_size=4, accumulate=2)
    assert len(steps) == 3
    assert [steps.clips_in(i) for i in range(3)] == [4, 4, 3]
    assert [steps.share(i) for i in range(3)] == [0.5, 0.5, 1]
    assert [steps.is_update(done) for done in (1, 2, 3)] == [False, True, True]


def test_a_smaller_last_batch_has_a_smaller_share():
    # 10 clips in batches of 4: 4, 4, 2, one update.
    steps = Steps(num_clips=10, batch_size=4, accumulate=3)
    assert [steps.share(i) for i in range(3)] == [0.4, 0.4, 0.2]
    assert [steps.is_update(done) for done in (1, 2, 3)] == [False, False, True]


@pytest.mark.parametrize(("num_clips", "accumulate"), [(1, 1), (7, 1), (8, 5), (23, 2), (24, 3)])
def test_shares_of_an_update_make_one(num_clips, accumulate):
    steps, update = Steps(num_clips, batch_size=2, accumulate=accumulate), 0.0
    for i in range(len(steps)):
        update += steps.share(i)
        if steps.is_update(i + 1):
            assert update == pytest.approx(1)
            update = 0.0
    assert update == 0
