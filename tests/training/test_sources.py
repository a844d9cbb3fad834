import numpy as np
import pytest
import torch
from tiny_runs import AUGMENT, IDENTITY, PLAIN, SPEC, make_clip, make_features, make_folder, make_manifest

from actrec.errors import UserError
from actrec.media.clip import ClipSpec
from actrec.training.sources import NO_LABEL, Batches, CachedTokens, LiveClips, label_tensors
from actrec.training.views import plain_view


@pytest.fixture
def live(tmp_path):
    """Return a function that makes the live source of some clips."""

    def make(clips=None, *, augment=AUGMENT, seed=0, input_px=16, spec=SPEC):
        manifest = make_manifest()
        folder = make_folder(tmp_path / "frames", manifest, spec=spec)
        clips = manifest.of_split("train") if clips is None else clips
        labels = label_tensors(clips, manifest.classes)
        return LiveClips(clips, folder, labels, input_px=input_px, augment=augment, seed=seed)

    return make


@pytest.fixture
def cached(tmp_path):
    """Return a function that makes the cached source of a split, and the features it reads."""

    def make(split="train", *, views=2, seed=0):
        manifest = make_manifest()
        features = make_features(tmp_path / "features.h5", manifest, views=views)
        clips = manifest.of_split(split)
        return CachedTokens(clips, features, label_tensors(clips, manifest.classes), seed=seed), features

    return make


def test_labels_are_numbers_of_classes():
    clips = [
        make_clip("1", "train", {"a": "y", "b": "p"}),
        make_clip("2", "train", {"b": "q"}),
        make_clip("3", "train", {"a": "x"}),
    ]
    labels = label_tensors(clips, {"a": ("x", "y"), "b": ("p", "q")})
    assert {head: values.tolist() for head, values in labels.items()} == {"a": [1, NO_LABEL, 0], "b": [0, 1, NO_LABEL]}
    assert all(values.dtype == torch.int64 for values in labels.values())


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


def test_plain_batches_are_all_clips_in_order(live):
    source = live()
    stored = torch.stack([source._folder[clip.clip_id][0] for clip in source.clips])
    found = torch.cat([batch["rgb"] for batch in Batches(source).plain(batch_size=3)])
    assert torch.equal(found, plain_view(stored, input_px=16))


def test_a_mistyped_number_of_workers_is_refused(live, monkeypatch):
    monkeypatch.setenv("ACTREC_LOADER_WORKERS", "two")
    with pytest.raises(UserError, match="ACTREC_LOADER_WORKERS is 'two'"):
        Batches(live())


def test_features_of_clips_that_are_not_there(tmp_path):
    features = make_features(tmp_path / "features.h5", make_manifest(train=3))
    assert features.identity == IDENTITY
    with pytest.raises(UserError, match=r"features\.h5.*train05.*dvc repro features"):
        features.plain("rgb", ["train05"])
