import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from actrec.errors import UserError
from actrec.store import features as features_module
from actrec.store.features import CachedFeatures, feature_identity, write_features

IDENTITY = {"rgb": {"weights_sha256": "a" * 64, "views": 3, "augment": {"flip_prob": 0.5}, "precision": "fp32"}}
IDS = ["c", "ä b/d", "a"]


def arrays():
    rng = np.random.default_rng(0)
    plain = rng.standard_normal((3, 2, 4, 5)).astype(np.float32)
    augmented = rng.standard_normal((2, 6, 4, 5)).astype(np.float32)
    return plain, augmented


def written(path: Path, **changes) -> Path:
    plain, augmented = arrays()
    content = {
        "identity": IDENTITY,
        "clip_ids": IDS,
        "plain": {"rgb": plain},
        "present": {"rgb": np.array([True, False, True])},
        "augmented_ids": IDS[:2],
        "augmented": {"rgb": augmented},
    }
    write_features(path, **{**content, **changes})
    return path


R3D = {"kind": "r3d_18", "weights": {"kind": "none"}, "frozen": True, "input_px": 112, "crop_frac": 1.0}
RGB_AUGMENT, AUDIO_AUGMENT = {"flip_prob": 0.5}, {"roll": True}


def features(**changes):
    augment = {"rgb": RGB_AUGMENT, "audio": AUDIO_AUGMENT}
    return {"enabled": True, "views": 1, "augment": augment, "precision": "bf16", "batch_size": 8, **changes}


def identity(**changes):
    settings = {
        "backbones": {"rgb": R3D},
        "weights_sha256": {"rgb": "a" * 64},
        "specs": {"rgb": {"clip_frames": 16}},
        "features": features(),
        "compute": {"threads": 2},
        "seed": 3,
    }
    return feature_identity(**{**settings, **changes})


def test_rows_are_found_by_clip_id(tmp_path):
    plain, augmented = arrays()
    cached = CachedFeatures(written(tmp_path / "f.h5"), IDENTITY)
    assert cached.modalities == ["rgb"] and cached.identity == IDENTITY
    assert np.array_equal(cached.plain("rgb", ["a", "c"]), plain[[2, 0]])
    assert np.array_equal(cached.augmented("rgb", ["ä b/d", "c"]), augmented[[1, 0]])


def test_which_clips_have_the_modality_is_told_by_clip_id(tmp_path):
    cached = CachedFeatures(written(tmp_path / "f.h5"), IDENTITY)
    found = cached.present("rgb", ["a", "ä b/d", "c"])
    assert found.tolist() == [True, False, True] and found.dtype == bool
    assert cached.present("rgb", ["ä b/d"]).tolist() == [False]
    with pytest.raises(UserError, match=r"made before 1 of the clips were there \(x …\)"):
        cached.present("rgb", ["c", "x"])


def test_two_modalities_of_different_shapes_are_kept_apart(tmp_path):
    plain, augmented = arrays()
    path = written(
        tmp_path / "f.h5",
        identity={"rgb": 1, "audio": 2},
        plain={"rgb": plain, "audio": plain[:, :1, :3, :2]},
        present={"rgb": np.ones(3, bool), "audio": np.array([False, True, False])},
        augmented={"rgb": augmented, "audio": augmented[:, :3, :3, :2]},
    )
    cached = CachedFeatures(path, {"rgb": 1, "audio": 2})
    assert cached.modalities == ["audio", "rgb"]
    assert np.array_equal(cached.plain("audio", ["a"]), plain[[2], :1, :3, :2])
    assert np.array_equal(cached.augmented("audio", ["c"]), augmented[[0], :3, :3, :2])
    assert np.array_equal(cached.plain("rgb", ["a"]), plain[[2]])
    assert cached.present("audio", IDS).tolist() == [False, True, False] and cached.present("rgb", IDS).all()


def test_clips_outside_train_have_no_random_views(tmp_path):
    cached = CachedFeatures(written(tmp_path / "f.h5"), IDENTITY)
    assert cached.augmented("rgb", ["a"]).shape == (1, 0, 4, 5)
    assert cached.augmented("rgb", ["a", "c"]).shape == (2, 0, 4, 5)
    none = written(tmp_path / "g.h5", augmented={"rgb": arrays()[1][:, :0]})
    assert CachedFeatures(none, None).augmented("rgb", ["c"]).shape == (1, 0, 4, 5)


def test_half_precision_is_read_as_float32(tmp_path):
    plain, _ = arrays()
    cached = CachedFeatures(written(tmp_path / "f.h5", plain={"rgb": plain.astype(np.float16)}), None)
    found = cached.plain("rgb", IDS)
    assert found.dtype == np.float32
    assert np.array_equal(found, plain.astype(np.float16).astype(np.float32))


def test_two_writes_give_the_same_bytes_also_in_another_process(tmp_path):
    first, second = written(tmp_path / "one.h5"), written(tmp_path / "two.h5")
    assert first.read_bytes() == second.read_bytes()
    script = "import sys; from pathlib import Path; import test_features as t; t.written(Path(sys.argv[1]))"
    here = Path(__file__).parent
    environment = {"PYTHONPATH": f"{here}:{here.parents[1]}", "PATH": ""}
    subprocess.run([sys.executable, "-c", script, tmp_path / "three.h5"], check=True, env=environment)
    assert (tmp_path / "three.h5").read_bytes() == first.read_bytes()


def test_the_order_of_modalities_does_not_matter(tmp_path):
    plain, augmented = arrays()
    for name, order in (("one", ("rgb", "audio")), ("two", ("audio", "rgb"))):
        present = dict.fromkeys(order, np.ones(3, bool))
        values = {
            "plain": dict.fromkeys(order, plain),
            "augmented": dict.fromkeys(order, augmented),
            "present": present,
        }
        written(tmp_path / name, **values)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert CachedFeatures(tmp_path / "one", None).modalities == ["audio", "rgb"]


def test_an_older_file_is_replaced_whole(tmp_path):
    path = written(tmp_path / "sub/f.h5")
    written(path, identity={"views": 1})
    assert CachedFeatures(path, None).identity == {"views": 1}
    assert [file.name for file in path.parent.iterdir()] == ["f.h5"]


def test_what_fails_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch):
    path = written(tmp_path / "f.h5")
    before = path.read_bytes()
    with pytest.raises(UserError, match="rows are missing"):
        written(path, clip_ids=IDS[:2])
    for number, expected in ((28, r"f\.h5: the disk is full.*cache --prune"), (5, "Input/output")):
        error = OSError(f"Can't write data (errno = {number}, error message = '{_text(number)}')")
        monkeypatch.setattr(features_module, "publish", _raising(error))
        with pytest.raises((UserError, OSError), match=expected):
            written(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _text(number):
    import os

    return os.strerror(number)


def _raising(error):
    def publish(*_):
        raise error

    return publish


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"precision": "bf16"}, "rgb.precision is fp32, wanted bf16"),
        ({"views": 1}, "rgb.views is 3, wanted 1"),
        ({"weights_sha256": "b" * 64}, f"rgb.weights_sha256 is {'a' * 64}, wanted {'b' * 64}"),
        ({"augment": {"flip_prob": 0.1}}, "rgb.augment.flip_prob is 0.5, wanted 0.1"),
        ({"augment": None}, "rgb.augment is {'flip_prob': 0.5}, wanted None"),
        ({"more": None}, "rgb.more is absent, wanted None"),
        ({"views": 1, "precision": "bf16"}, "rgb.precision is fp32, wanted bf16; rgb.views is 3, wanted 1"),
    ],
)
def test_features_of_something_else_are_refused_with_both_values(tmp_path, change, text):
    path = written(tmp_path / "f.h5")
    with pytest.raises(UserError, match=rf"f\.h5: features of something else: {text}\. .*dvc repro features"):
        CachedFeatures(path, {"rgb": {**IDENTITY["rgb"], **change}})


def test_all_differences_are_listed(tmp_path):
    path = written(tmp_path / "f.h5", identity={"rgb": 1, "audio": 2})
    with pytest.raises(UserError, match=r"audio is 2, wanted absent; rgb is 1, wanted 3\. Make them again"):
        CachedFeatures(path, {"rgb": 3})


def test_an_identity_is_compared_as_it_is_stored(tmp_path):
    path = written(tmp_path / "f.h5", identity={"size": (1, 2)})
    assert CachedFeatures(path, {"size": (1, 2)}).identity == {"size": [1, 2]}


def test_there_is_none(tmp_path):
    with pytest.raises(UserError, match=r"f\.h5: not a whole feature file.*dvc repro -f features"):
        CachedFeatures(tmp_path / "f.h5", None)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.95])
def test_a_cut_file_is_refused(tmp_path, keep):
    path = written(tmp_path / "f.h5")
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep > 1 or keep == 0 else int(len(content) * keep)])
    with pytest.raises(UserError, match="not a whole feature file"):
        CachedFeatures(path, IDENTITY)


@pytest.mark.parametrize(
    "part", ["plain/rgb", "present/rgb", "augmented/rgb", "clip_ids", "augmented_ids", "plain", "present", "augmented"]
)
def test_a_file_with_a_part_missing_is_refused(tmp_path, part):
    path = written(tmp_path / "f.h5")
    with h5py.File(path, "a") as file:
        del file[part]
    with pytest.raises(UserError, match=r"not a whole feature file|rows are missing"):
        CachedFeatures(path, IDENTITY)


@pytest.mark.parametrize("part", ["plain/rgb", "present/rgb", "augmented/rgb"])
def test_a_file_with_rows_missing_is_refused(tmp_path, part):
    path = written(tmp_path / "f.h5")
    with h5py.File(path, "a") as file:
        values = file[part][:]
        del file[part]
        file[part] = values[:-1]
    with pytest.raises(UserError, match="rows are missing"):
        CachedFeatures(path, IDENTITY)


def test_a_foreign_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["plain"] = [1, 2]
        file.attrs["identity"] = "{}"
    with pytest.raises(UserError, match="not a whole feature file"):
        CachedFeatures(tmp_path / "f.h5", None)


@pytest.mark.parametrize("kind", ["soft", "external link", "external group", "external data", "virtual", "loop"])
@pytest.mark.parametrize("part", ["plain/rgb", "augmented/rgb"])
def test_no_other_file_is_read(tmp_path, kind, part):
    """HDF5 can refer to any file on the machine: by links, from within a data set, and for a whole group."""
    path, other = written(tmp_path / "f.h5"), written(tmp_path / "secret.h5")
    plain, _ = arrays()
    group = part.partition("/")[0]
    with h5py.File(path, "a") as file:
        if kind == "loop":
            file[f"{group}/again"] = file[group]
        else:
            file.move(part, "elsewhere")
        match kind:
            case "soft":
                file[part] = h5py.SoftLink("/elsewhere")
            case "external link":
                file[part] = h5py.ExternalLink(str(other), part)
            case "external group":
                del file[group]
                file[group] = h5py.ExternalLink(str(other), group)
            case "external data":
                raw = tmp_path / "raw"
                raw.write_bytes(plain.tobytes())
                file.create_dataset(part, plain.shape, "f4", external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
            case "virtual":
                layout = h5py.VirtualLayout(plain.shape, "f4")
                layout[:] = h5py.VirtualSource(str(other), "plain/rgb", plain.shape)
                file.create_virtual_dataset(part, layout)
    with pytest.raises(UserError, match=r"not stored in the file itself|recursion"):
        CachedFeatures(path, IDENTITY)


def test_clips_that_came_later(tmp_path):
    cached = CachedFeatures(written(tmp_path / "f.h5"), IDENTITY)
    with pytest.raises(UserError, match=r"f\.h5: made before 2 of the clips were there \(x, y …\).*dvc repro features"):
        cached.plain("rgb", ["a", "x", "y"])


# --- identity and digest ----------------------------------------------------------------------------------------------


def test_what_has_no_influence_is_not_in_the_identity():
    other = features(augment={"rgb": {"flip_prob": 0.1}})
    assert identity(features=other) == identity(seed=4) == identity()
    backbone = {**R3D, "weights": {"kind": "file", "path": "x"}}
    assert identity(backbones={"rgb": backbone}) == identity()


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": {"rgb": "b" * 64}},
        {"specs": {"rgb": {"clip_frames": 8}}},
        {"compute": {"threads": 4}},
        {"backbones": {"rgb": {**R3D, "input_px": 128}}},
        {"backbones": {"rgb": {**R3D, "crop_frac": 0.875}}},
        {"features": features(precision="fp32")},
        {"features": features(views=2)},
        {"features": features(batch_size=9)},
    ],
)
def test_what_has_influence_is_in_the_identity(change):
    assert identity(**change) != identity()


def test_the_seed_counts_for_random_views_and_random_weights():
    views = {"features": features(views=2)}
    for changes in (views, {"weights_sha256": {"rgb": ""}}):
        assert identity(**changes, seed=3) != identity(**changes, seed=4)
    less = {"features": features(views=2, augment={"rgb": {"flip_prob": 0.1}})}
    assert identity(**less) != identity(**views)


def both(**changes):
    settings = {
        "backbones": {"rgb": {"kind": "r3d_18", "frozen": True}, "audio": {"kind": "resnet", "frozen": True}},
        "weights_sha256": {"rgb": "a" * 64, "audio": "c" * 64},
        "specs": {"rgb": {"clip_frames": 16}, "audio": {"n_mels": 128}},
        "features": features(views=2),
    }
    return identity(**{**settings, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": {"rgb": "a" * 64, "audio": "b" * 64}},
        {"specs": {"rgb": {"clip_frames": 16}, "audio": {"n_mels": 64}}},
        {"features": features(views=2, augment={"rgb": RGB_AUGMENT, "audio": {"roll": False}})},
        {"backbones": {"rgb": {"kind": "r3d_18", "frozen": True}, "audio": {"kind": "resnet", "depth": 50}}},
    ],
)
def test_what_is_changed_of_the_sound_does_not_touch_the_pictures(change):
    before, after = both(), both(**change)
    assert after["rgb"] == before["rgb"] and after["audio"] != before["audio"]


def test_a_modality_that_joins_leaves_the_others_as_they_are():
    alone = {"backbones": {"rgb": {"kind": "r3d_18", "frozen": True}}, "features": features(views=2)}
    assert identity(**alone)["rgb"] == both()["rgb"]


def test_a_digest_is_of_the_values_of_some_clips(tmp_path):
    plain, augmented = arrays()
    cached = CachedFeatures(written(tmp_path / "f.h5"), None)
    changed = plain.copy()
    changed[0, 1, 2, 3] += 1e-6
    other = CachedFeatures(written(tmp_path / "g.h5", plain={"rgb": changed}), None)
    assert cached.digest(IDS[1:]) == other.digest(IDS[1:])
    assert cached.digest(IDS) != other.digest(IDS)
    assert cached.digest(IDS[:1]) != cached.digest(IDS[1:2]) != cached.digest(IDS[:2])
    heard = CachedFeatures(written(tmp_path / "p.h5", present={"rgb": np.array([True, True, True])}), None)
    assert heard.digest(IDS[1:2]) != cached.digest(IDS[1:2]) and heard.digest(IDS[:1]) == cached.digest(IDS[:1])
    random = CachedFeatures(written(tmp_path / "h.h5", augmented={"rgb": augmented + 1}), None)
    assert random.digest(["c"]) != cached.digest(["c"]) and random.digest(["a"]) == cached.digest(["a"])
    identity = CachedFeatures(written(tmp_path / "i.h5", identity={}), None)
    assert identity.digest(["c"]) != cached.digest(["c"])
