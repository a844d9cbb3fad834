import gc
import os
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from tiny_runs import (
    AUGMENT,
    BOTH_IDENTITY,
    IDENTITY,
    MEL_SHAPE,
    PLAIN,
    SILENT,
    SPEC,
    make_features,
    make_folder,
    make_inputs,
    make_manifest,
    make_mels,
)

from actrec.errors import UserError
from actrec.media.clip import ClipSpec
from actrec.store.features import CachedFeatures, write_features
from actrec.training.labels import label_tensors
from actrec.training.modalities import open_modalities
from actrec.training.sources import Batches, CachedTokens, LiveClips
from actrec.training.views import plain_view


@pytest.fixture
def live(tmp_path):
    """Return a function that makes the live source of some clips."""

    def make(clips=None, *, augment=AUGMENT, seed=0, input_px=16, spec=SPEC):
        manifest = make_manifest()
        folder = make_folder(tmp_path / "frames", manifest, spec=spec)
        clips = manifest.of_split("train") if clips is None else clips
        labels = label_tensors(clips, manifest.classes, ())
        backbones = {"rgb": {"input_px": input_px, "crop_frac": 1.0}}
        readers = open_modalities({"rgb": folder}, backbones=backbones, augment=augment)
        return LiveClips(clips, readers, labels, seed=seed)

    return make


@pytest.fixture
def cached(tmp_path):
    """Return a function that makes the cached source of a split, and the features it reads."""

    def make(split="train", *, views=2, seed=0):
        manifest = make_manifest()
        features = make_features(tmp_path / "features.h5", manifest, views=views)
        clips = manifest.of_split(split)
        return CachedTokens(clips, features, label_tensors(clips, manifest.classes, ()), seed=seed), features

    return make


def test_a_random_view_is_the_clip_s_and_the_epoch_s_own(live):
    source, rows = live(), np.array([4, 1, 7])
    batch = source.training_batch(rows, 3)["rgb"]
    assert (batch.shape, batch.dtype) == ((3, 4, 16, 16, 3), torch.uint8)
    alone = source.training_batch(np.array([1]), 3)["rgb"]
    assert torch.equal(alone[0], batch[1])
    assert not torch.equal(source.training_batch(rows, 4)["rgb"], batch)
    assert not torch.equal(live(seed=1).training_batch(rows, 3)["rgb"], batch)


def test_a_random_view_does_not_depend_on_the_other_clips_of_the_split(live):
    train = make_manifest().of_split("train")
    with_all = live().training_batch(np.array([5]), 0)["rgb"]
    assert torch.equal(live(train[5:6]).training_batch(np.array([0]), 0)["rgb"], with_all)


def test_without_augmentation_a_random_view_is_the_plain_one(live):
    source, rows = live(augment=PLAIN), np.array([0, 2])
    assert torch.equal(source.training_batch(rows, 5)["rgb"], source.plain_batch(rows)["rgb"])


def test_colours_are_jittered_as_much_as_asked_for(live):
    rows, seen = np.array([0, 2]), set()
    for color_jitter in (0.0, 0.1, 0.4):
        source = live(augment={"rgb": {**PLAIN["rgb"], "color_jitter": color_jitter}})
        views = source.training_batch(rows, 5)["rgb"]
        assert torch.equal(views, source.plain_batch(rows)["rgb"]) == (color_jitter == 0)
        seen.add(views.numpy().tobytes())
    assert len(seen) == 3


def test_several_clips_of_a_video(live):
    """Training takes one of them by chance, evaluation all, clip by clip."""
    source = live(augment=PLAIN, spec=ClipSpec(4, 3, None, 16, "crop"))
    batch = source.plain_batch(np.array([0, 1]))
    assert (batch["rgb"].shape, batch["views"]) == ((6, 4, 16, 16, 3), 3)
    assert torch.equal(batch["rgb"][3:], source.plain_batch(np.array([1]))["rgb"])
    seen = [source.training_batch(np.array([1]), epoch)["rgb"][0] for epoch in range(20)]
    found = [next(i for i in range(3) if torch.equal(view, batch["rgb"][3 + i])) for view in seen]
    assert set(found) == {0, 1, 2}


def test_labels_go_with_their_clips(live, cached):
    rows = np.array([4, 0, 8])
    for source in (live(), cached()[0]):
        expected = source.labels["action"][[4, 0, 8]].tolist()
        assert source.training_batch(rows, 0)["labels"]["action"].tolist() == expected
        assert source.plain_batch(rows)["labels"]["action"].tolist() == expected
        assert expected == [1, 0, 2]


def test_plain_tokens_are_those_of_the_file(cached):
    source, features = cached("val")
    ids = [clip.clip_id for clip in source.clips]
    batch = source.plain_batch(np.array([3, 1]))
    assert batch["views"] == 1
    assert np.array_equal(batch["tokens"]["rgb"].numpy(), features.plain("rgb", [ids[3], ids[1]])[:, 0])


def test_over_epochs_training_sees_each_cached_view_about_as_often(cached):
    source, features = cached("train", views=2)
    ids = [clip.clip_id for clip in source.clips]
    views = np.concatenate([features.plain("rgb", ids), features.augmented("rgb", ids)], axis=1)
    counts = np.zeros((len(ids), 3), int)
    for epoch in range(60):
        tokens = source.training_batch(np.arange(len(ids)), epoch)["tokens"]["rgb"].numpy()
        for row, found in enumerate(tokens):
            matches = [np.array_equal(found, view) for view in views[row]]
            assert sum(matches) == 1
            counts[row, matches.index(True)] += 1
    assert (counts.sum(axis=0) > 160).all()  # of 600, 200 expected each
    assert (counts > 5).all()


def test_a_cached_view_is_chosen_by_seed_epoch_and_clip(cached):
    source, _ = cached()
    batch = source.training_batch(np.array([2, 5, 9]), 1)["tokens"]["rgb"]
    assert torch.equal(source.training_batch(np.array([5]), 1)["tokens"]["rgb"][0], batch[1])
    every = np.arange(10)
    first = source.training_batch(every, 1)["tokens"]["rgb"]
    assert not torch.equal(source.training_batch(every, 2)["tokens"]["rgb"], first)
    assert not torch.equal(cached(seed=1)[0].training_batch(every, 1)["tokens"]["rgb"], first)


def test_without_random_views_there_is_no_choice(cached):
    source, _ = cached(views=0)
    rows = np.arange(10)
    assert torch.equal(source.training_batch(rows, 7)["tokens"]["rgb"], source.plain_batch(rows)["tokens"]["rgb"])


def test_clips_outside_train_have_plain_views_alone(cached):
    for split in ("val", "test"):
        source, features = cached(split)
        rows = np.arange(len(source))
        assert features.augmented("rgb", [clip.clip_id for clip in source.clips]).shape[1] == 0
        assert torch.equal(source.training_batch(rows, 7)["tokens"]["rgb"], source.plain_batch(rows)["tokens"]["rgb"])


@pytest.mark.parametrize("workers", ["0", "2"])
def test_batches_follow_the_order(live, cached, monkeypatch, workers):
    monkeypatch.setenv("ACTREC_LOADER_WORKERS", workers)
    order = np.array([3, 1, 4, 0, 9])
    for source in (live(augment=PLAIN), cached(views=0)[0]):
        batches = Batches(source)
        for first, chunks in ((0, [[3, 1], [4, 0], [9]]), (2, [[9]]), (3, [])):
            found = list(batches.training(order, batch_size=2, epoch=0, first=first))
            assert [b["labels"]["action"].tolist() for b in found] == [[row % 3 for row in chunk] for chunk in chunks]
        assert [len(b["labels"]["action"]) for b in batches.plain(batch_size=4)] == [4, 4, 2]


class Signed:
    """A source whose batches say which process made them."""

    def __init__(self, *, is_slow: bool) -> None:
        self.is_slow = is_slow

    def __len__(self) -> int:
        return 6

    def training_batch(self, rows, epoch=0):
        return {"process": torch.tensor([os.getpid()])}

    plain_batch = training_batch


@pytest.mark.parametrize(("is_slow", "workers", "expected"), [(True, "2", 2), (True, "0", 0), (False, "2", 0)])
def test_slow_batches_are_made_in_as_many_processes_as_asked_for(monkeypatch, is_slow, workers, expected):
    monkeypatch.setenv("ACTREC_LOADER_WORKERS", workers)
    source: Any = Signed(is_slow=is_slow)
    batches = Batches(source)
    for epoch in (0, 1):
        made_by = {b["process"].item() for b in batches.training(np.arange(6), batch_size=1, epoch=epoch)}
        assert len(made_by - {os.getpid()}) == expected and (os.getpid() in made_by) == (expected == 0)


def test_its_processes_end_with_it(monkeypatch):
    """At once, and not when Python next looks for what holds itself in a circle."""
    monkeypatch.setenv("ACTREC_LOADER_WORKERS", "2")
    source: Any = Signed(is_slow=True)
    gc.disable()
    try:
        batches = Batches(source)
        workers = {b["process"].item() for b in batches.training(np.arange(6), batch_size=1, epoch=0)}
        assert len(workers) == 2 and all(map(psutil.pid_exists, workers))
        del batches
        assert not any(map(psutil.pid_exists, workers))
    finally:
        gc.enable()


def test_plain_batches_are_all_clips_in_order(live, tmp_path):
    source, folder = live(), make_folder(tmp_path / "frames", make_manifest())
    stored = torch.stack([folder[clip.clip_id][0] for clip in source.clips])
    found = torch.cat([batch["rgb"] for batch in Batches(source).plain(batch_size=3)])
    assert torch.equal(found, plain_view(stored, input_px=16, crop_frac=1.0))


def test_a_mistyped_number_of_workers_is_refused(live, monkeypatch):
    monkeypatch.setenv("ACTREC_LOADER_WORKERS", "two")
    with pytest.raises(UserError, match="ACTREC_LOADER_WORKERS is 'two'"):
        Batches(live())


def test_features_of_clips_that_are_not_there(tmp_path):
    features = make_features(tmp_path / "features.h5", make_manifest(train=3))
    assert features.identity == IDENTITY
    with pytest.raises(UserError, match=r"features\.h5.*train05.*dvc repro features"):
        features.plain("rgb", ["train05"])


# --- pictures and sound -----------------------------------------------------------------------------------------------

WITH_SOUND, SILENT_ROW = 1, 2  # rows of train: train01, and train02, which is one of SILENT
TWO_VIEWS = ClipSpec(4, 2, None, 20, "crop")


@pytest.fixture
def hearing(tmp_path):
    """Return a function that makes the live source of the training clips with two views of each video, one of sound."""

    def make(*, augment=AUGMENT, seed=0, sound=True):
        inputs = make_inputs(tmp_path, make_manifest(), sound=sound, spec=TWO_VIEWS)
        return inputs.source("train", backbones={"rgb": {"input_px": 16, "crop_frac": 1.0}}, augment=augment, seed=seed)

    return make


def test_plain_views_of_different_counts_are_rows_that_belong_together(hearing, tmp_path):
    batch = hearing().plain_batch(np.array([WITH_SOUND, SILENT_ROW, 0]))
    assert batch["views"] == 2 and batch["labels"]["action"].tolist() == [1, 2, 0]
    assert (batch["rgb"].shape, batch["rgb"].dtype) == ((6, 4, 16, 16, 3), torch.uint8)
    assert (batch["audio"].shape, batch["audio"].dtype) == ((6, *MEL_SHAPE), torch.float32)
    assert batch["present"]["rgb"].tolist() == [True] * 6
    assert batch["present"]["audio"].tolist() == [True, True, False, False, True, True]
    pictures = make_folder(tmp_path / "frames 2", make_manifest(), spec=TWO_VIEWS)
    mels = make_mels(tmp_path / "mels", make_manifest())
    for row, clip_id in ((0, "train01"), (4, "train00")):
        assert torch.equal(batch["rgb"][row : row + 2], plain_view(pictures[clip_id], input_px=16, crop_frac=1.0))
        assert all(np.array_equal(batch["audio"][i].numpy(), mels[clip_id]) for i in (row, row + 1))
    assert torch.equal(batch["rgb"][2:4], plain_view(pictures["train02"], input_px=16, crop_frac=1.0))
    assert not batch["audio"][2:4].any()


def test_a_training_batch_says_who_has_sound_and_has_zeros_for_the_others(hearing, tmp_path):
    batch = hearing(augment=PLAIN).training_batch(np.array([SILENT_ROW, WITH_SOUND]), 0)
    assert (batch["rgb"].shape, batch["audio"].shape) == ((2, 4, 16, 16, 3), (2, *MEL_SHAPE))
    assert batch["present"]["rgb"].tolist() == [True, True]
    assert batch["present"]["audio"].tolist() == [False, True]
    assert not batch["audio"][0].any()
    mels = make_mels(tmp_path / "mels", make_manifest())
    assert np.array_equal(batch["audio"][1].numpy(), mels["train01"])


def test_a_random_view_of_the_sound_is_the_clip_s_and_the_epoch_s_own(hearing):
    source, rows = hearing(), np.array([0, SILENT_ROW, 8])
    batch = source.training_batch(rows, 3)["audio"]
    assert torch.equal(source.training_batch(rows[2:], 3)["audio"][0], batch[2])
    assert not torch.equal(source.training_batch(rows, 4)["audio"], batch)
    assert not torch.equal(hearing(seed=1).training_batch(rows, 3)["audio"], batch)
    assert not torch.equal(source.plain_batch(rows)["audio"][4], batch[2])


def test_sound_does_not_change_the_random_views_of_the_pictures(hearing):
    rows = np.arange(10)
    alone, both = (hearing(sound=sound).training_batch(rows, 2) for sound in (False, True))
    assert torch.equal(alone["rgb"], both["rgb"]) and "audio" not in alone and "audio" not in alone["present"]


@pytest.mark.parametrize("workers", ["0", "1"])
def test_both_come_through_the_loader(hearing, monkeypatch, workers):
    monkeypatch.setenv("ACTREC_LOADER_WORKERS", workers)
    source = hearing()
    batches = Batches(source)
    for found, expected in (
        (next(iter(batches.plain(batch_size=7))), source.plain_batch(np.arange(7))),
        (
            next(iter(batches.training(np.array([2, 1, 0]), batch_size=3, epoch=5))),
            source.training_batch(np.array([2, 1, 0]), 5),
        ),
    ):
        for modality in ("rgb", "audio"):
            assert torch.equal(found[modality], expected[modality])
            assert torch.equal(found["present"][modality], expected["present"][modality])


@pytest.fixture
def cached_both(tmp_path):
    """Return cached tokens of both, with two plain views of the pictures and one of the sound, and the file's values.

    Each token says what it is: clip, view (the plain ones first) and modality.
    """
    manifest = make_manifest()
    ids = [clip.clip_id for clip in manifest.clips]
    train = [clip.clip_id for clip in manifest.of_split("train")]
    first = ids.index(train[0])

    def tokens(rows, views, *, modality):
        return np.array([[[[row, view, modality]] for view in views] for row in rows], np.float32)

    rows, train_rows = range(len(ids)), range(first, first + len(train))
    write_features(
        tmp_path / "both.h5",
        identity=BOTH_IDENTITY,
        clip_ids=ids,
        plain={"rgb": tokens(rows, (0, 1), modality=0), "audio": tokens(rows, (0,), modality=1)},
        present={"rgb": np.ones(len(ids), bool), "audio": np.array([i not in SILENT for i in ids])},
        augmented_ids=train,
        augmented={"rgb": tokens(train_rows, (2, 3), modality=0), "audio": tokens(train_rows, (1,), modality=1)},
    )
    clips = manifest.of_split("train")
    features = CachedFeatures(tmp_path / "both.h5", BOTH_IDENTITY)
    return CachedTokens(clips, features, label_tensors(clips, manifest.classes, ()), seed=0), first


def test_cached_plain_views_of_different_counts_are_rows_that_belong_together(cached_both):
    source, first = cached_both
    batch = source.plain_batch(np.array([WITH_SOUND, SILENT_ROW]))
    clip, silent = first + WITH_SOUND, first + SILENT_ROW
    assert batch["views"] == 2 and "rgb" not in batch and "audio" not in batch
    assert batch["tokens"]["rgb"].squeeze(1).tolist() == [[clip, 0, 0], [clip, 1, 0], [silent, 0, 0], [silent, 1, 0]]
    assert batch["tokens"]["audio"].squeeze(1).tolist() == [[clip, 0, 1]] * 2 + [[silent, 0, 1]] * 2
    assert batch["present"]["rgb"].tolist() == [True] * 4
    assert batch["present"]["audio"].tolist() == [True, True, False, False]
    assert batch["labels"]["action"].tolist() == [1, 2]


def test_cached_views_are_chosen_by_chance_in_each_modality_by_itself(cached_both):
    source, first = cached_both
    rows, seen = np.array([7, SILENT_ROW, 0]), set()
    for epoch in range(60):
        batch = source.training_batch(rows, epoch)
        assert batch["present"]["audio"].tolist() == [True, False, True] and batch["present"]["rgb"].all()
        rgb, audio = (batch["tokens"][m].squeeze(1) for m in ("rgb", "audio"))
        for tokens, modality in ((rgb, 0), (audio, 1)):
            assert tokens[:, 0].tolist() == (first + rows).tolist() and (tokens[:, 2] == modality).all()
        seen |= set(zip(rgb[:, 1].tolist(), audio[:, 1].tolist(), strict=True))
    assert seen == {(i, j) for i in range(4) for j in range(2)}


class SixViews:
    """Cached features of pictures, skeletons and sound: a view's token is its number, of all six."""

    modalities = ("audio", "pose", "rgb")

    def present(self, modality, ids):
        return np.ones(len(ids), bool)

    def plain(self, modality, ids):
        return np.zeros((len(ids), 1, 1, 1), np.float32)

    def augmented(self, modality, ids):
        return np.arange(1, 6, dtype=np.float32).reshape(1, 5, 1, 1).repeat(len(ids), axis=0)


def test_of_pictures_and_skeletons_the_same_cached_view_is_chosen():
    """They were drawn with the same numbers: a mirrored picture goes with a mirrored skeleton."""
    features: Any = SixViews()
    clips = make_manifest().of_split("train")
    source, seen = CachedTokens(clips, features, {}, seed=0), set()
    for epoch in range(40):
        tokens = source.training_batch(np.arange(len(clips)), epoch)["tokens"]
        assert torch.equal(tokens["rgb"], tokens["pose"])
        seen |= set(zip(tokens["rgb"].flatten().tolist(), tokens["audio"].flatten().tolist(), strict=True))
    assert seen == {(i, j) for i in range(6) for j in range(6)}
