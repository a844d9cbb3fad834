"""What each process takes: nothing is left out, nothing is taken twice, and every process has equally many steps."""

import numpy as np
import pytest
from tiny_runs import AUGMENT, BACKBONE

from actrec.training.ranks import Ranks, Rows, own_rows
from actrec.training.settings import Steps

SIZES = (1, 2, 3, 5)


def everybody(size):
    return [Ranks(rank, size) for rank in range(size)]


def batches(order, batch_size):
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("num_clips", [1, 2, 7, 10, 12])
@pytest.mark.parametrize("batch_size", [5, 6, 8])
def test_the_parts_of_a_batch_are_the_batch(num_clips, batch_size, size):
    order = np.random.default_rng(0).permutation(num_clips)
    steps = Steps(num_clips, batch_size, accumulate=1)
    parts = [batches(r.order(order, batch_size), r.batch_size(batch_size)) for r in everybody(size)]
    assert {len(own) for own in parts} == {len(steps)}
    for step, batch in enumerate(batches(order, batch_size)):
        counts = [r.clips_in(steps.clips_in(step)) for r in everybody(size)]
        assert sum(counts) == len(batch) and max(counts) - min(counts) <= 1
        found = [own[step][:count] for own, count in zip(parts, counts, strict=True)]
        assert np.concatenate(found).tolist() == batch.tolist()
        # Nobody comes with an empty batch; what stands in is the batch's first clip.
        assert all(own[step].tolist() == [batch[0]] for own, count in zip(parts, counts, strict=True) if not count)


def test_by_hand():
    """Batches of 4: [3 1 0 2] [4]. The second process has nothing of the last."""
    order = np.array([3, 1, 0, 2, 4])
    assert [Ranks(rank, 2).order(order, 4).tolist() for rank in (0, 1)] == [[3, 1, 4], [0, 2, 4]]
    assert [Ranks(rank, 2).clips_in(1) for rank in (0, 1)] == [1, 0]
    assert [Ranks(rank, 2).order(order, 3).tolist() for rank in (0, 1)] == [[3, 1, 2], [0, 4]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("num_clips", [1, 2, 3, 4, 10, 11])
def test_rows_joined_and_cut_are_all_rows_in_order(num_clips, size):
    rows = [r.rows(num_clips) for r in everybody(size)]
    assert len({len(own) for own in rows}) == 1  # what is gathered must have one shape
    assert np.concatenate(rows)[:num_clips].tolist() == list(range(num_clips))
    assert max(own.max() for own in rows) == num_clips - 1


def test_some_rows_of_a_source_are_its_clips(bench):
    source = bench.inputs.source("train", backbones={"rgb": BACKBONE}, augment=AUGMENT, seed=0)
    rows = np.array([7, 2, 2])
    part = Rows(source, rows)
    assert len(part) == 3 and [clip.clip_id for clip in part.clips] == ["train07", "train02", "train02"]
    assert part.labels["action"].tolist() == [1, 2, 2] and part.is_slow
    mine, whole = part.plain_batch(np.array([2, 0])), source.plain_batch(np.array([2, 7]))
    assert mine["rgb"].equal(whole["rgb"]) and mine["labels"]["action"].equal(whole["labels"]["action"])
    mine, whole = part.training_batch(np.array([0]), 3), source.training_batch(np.array([7]), 3)
    assert mine["rgb"].equal(whole["rgb"])  # a random view knows only seed, epoch and clip


def test_alone_a_process_looks_at_the_source_itself(bench):
    source = bench.inputs.source("train", backbones={"rgb": BACKBONE}, augment=AUGMENT, seed=0)
    assert own_rows(source, Ranks()) is source
    assert len(own_rows(source, Ranks(1, 3))) == 4
