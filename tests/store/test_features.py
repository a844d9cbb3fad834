import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from actrec.errors import UserError
from actrec.store import features
from actrec.store.features import CachedFeatures, feature_identity, write_features

IDENTITY = {"weights_sha256": {"rgb": "a" * 64}, "views": 3, "augment": {"flip_prob": 0.5}, "precision": "fp32"}
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
        "augmented_ids": IDS[:2],
        "augmented": {"rgb": augmented},
    }
    write_features(path, **{**content, **changes})
    return path


def identity(**changes):
    settings = {
        "backbones": {"rgb": {"kind": "r3d_18", "weights": {"kind": "none"}, "frozen": True, "input_px": 112}},
        "weights_sha256": {"rgb": "a" * 64},
        "clip_spec": {"clip_frames": 16},
        "features": {"enabled": True, "views": 1, "augment": {"flip_prob": 0.5}, "precision": "bf16", "batch_size": 8},
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
    assert [clip_id in cached for clip_id in ("c", "a", "x")] == [True, True, False]


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
        values = {"plain": dict.fromkeys(order, plain), "augmented": dict.fromkeys(order, augmented)}
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
        monkeypatch.setattr(features, "publish", _raising(error))
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
        ({"precision": "bf16"}, "precision is fp32, wanted bf16"),
        ({"views": 1}, "views is 3, wanted 1"),
        ({"weights_sha256": {"rgb": "b" * 64}}, f"'{'a' * 64}'.*wanted .*'{'b' * 64}'"),
        ({"more": 1}, "more is None, wanted 1"),
    ],
)
def test_features_of_something_else_are_refused_with_both_values(tmp_path, change, text):
    path = written(tmp_path / "f.h5")
    with pytest.raises(UserError, match=rf"f\.h5: features of something else: .*{text}.*dvc repro features"):
        CachedFeatures(path, {**IDENTITY, **change})


def test_all_differences_are_listed(tmp_path):
    with pytest.raises(UserError, match=r"precision is fp32, wanted bf16; views is 3, wanted 1\."):
        CachedFeatures(written(tmp_path / "f.h5"), {**IDENTITY, "precision": "bf16", "views": 1})


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


@pytest.mark.parametrize("part", ["plain/rgb", "augmented/rgb", "clip_ids", "augmented_ids", "plain", "augmented"])
def test_a_file_with_a_part_missing_is_refused(tmp_path, part):
    path = written(tmp_path / "f.h5")
    with h5py.File(path, "a") as file:
        del file[part]
    with pytest.raises(UserError, match=r"not a whole feature file|rows are missing"):
        CachedFeatures(path, IDENTITY)


@pytest.mark.parametrize("part", ["plain/rgb", "augmented/rgb"])
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
    other = {"enabled": True, "views": 1, "augment": {"flip_prob": 0.1}, "precision": "bf16", "batch_size": 8}
    assert identity(features=other) == identity(seed=4) == identity()
    backbone = {"kind": "r3d_18", "weights": {"kind": "file", "path": "x"}, "frozen": True, "input_px": 112}
    assert identity(backbones={"rgb": backbone}) == identity()


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": {"rgb": "b" * 64}},
        {"clip_spec": {"clip_frames": 8}},
        {"compute": {"threads": 4}},
        {"backbones": {"rgb": {"kind": "r3d_18", "frozen": True, "input_px": 128}}},
        {"features": {"views": 1, "augment": {}, "precision": "fp32", "batch_size": 8}},
        {"features": {"views": 2, "augment": {}, "precision": "bf16", "batch_size": 8}},
        {"features": {"views": 1, "augment": {}, "precision": "bf16", "batch_size": 9}},
    ],
)
def test_what_has_influence_is_in_the_identity(change):
    assert identity(**change) != identity()


def test_the_seed_counts_for_random_views_and_random_weights():
    views = {"features": {"views": 2, "augment": {"flip_prob": 0.5}, "precision": "bf16", "batch_size": 8}}
    for changes in (views, {"weights_sha256": {"rgb": ""}}):
        assert identity(**changes, seed=3) != identity(**changes, seed=4)
    less = {"features": {**views["features"], "augment": {"flip_prob": 0.1}}}
    assert identity(**less) != identity(**views)


def test_a_digest_is_of_the_values_of_some_clips(tmp_path):
    plain, augmented = arrays()
    cached = CachedFeatures(written(tmp_path / "f.h5"), None)
    changed = plain.copy()
    changed[0, 1, 2, 3] += 1e-6
    other = CachedFeatures(written(tmp_path / "g.h5", plain={"rgb": changed}), None)
    assert cached.digest(IDS[1:]) == other.digest(IDS[1:])
    assert cached.digest(IDS) != other.digest(IDS)
    assert cached.digest(IDS[:1]) != cached.digest(IDS[1:2]) != cached.digest(IDS[:2])
    random = CachedFeatures(written(tmp_path / "h.h5", augmented={"rgb": augmented + 1}), None)
    assert random.digest(["c"]) != cached.digest(["c"]) and random.digest(["a"]) == cached.digest(["a"])
    identity = CachedFeatures(written(tmp_path / "i.h5", identity={}), None)
    assert identity.digest(["c"]) != cached.digest(["c"])
