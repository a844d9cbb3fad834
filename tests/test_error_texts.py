"""The dozen mistakes that users make: each is made for real, and told with what, where, expected, got and a remedy."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from actrec.data import quarantine
from actrec.data.manifest import load_manifest
from actrec.errors import UserError
from actrec.pose.folder import PoseFolder
from actrec.report.curves import read_history
from actrec.store.features import CachedFeatures, write_features
from actrec.store.tree import read_index
from actrec.training.checkpoint import load_model
from pipeline import check

REPO = Path(__file__).resolve().parents[1]
YAML_FILE = YAML(typ="safe", pure=True)
BAD = Path("data/interim/mine/quarantine_ingest.csv")
POSE = {"kind": "pose_conv3d", "blocks": [1, 1, 1], "width": 4, "temporal_stride": 1, "frozen": False}
POSE |= {"heatmaps": {"of": "joints", "sigma_px": 0.6}, "weights": {"kind": "none"}, "token_grid": None}
POSE |= {"input_frames": 4, "input_px": 16}


pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Be in an empty folder, with a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ACTREC_WORKERS", "1")
    return tmp_path


def write_params(recipe="demo", **changes):
    """Write a recipe as params.yaml, with some settings changed: data__root="raw" is data.root."""
    params = YAML_FILE.load((REPO / f"recipes/{recipe}.yaml").read_text(encoding="utf-8"))
    for name, value in changes.items():
        *parents, last = name.split("__")
        section = params
        for part in parents:
            section = section[part]
        section[last] = value
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        YAML_FILE.dump(params, file)


def write_clips(*lines, split=None, group=None, **changes):
    """Write a table of clips below raw/, and params.yaml that reads it."""
    Path("raw").mkdir(exist_ok=True)
    Path("raw/clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = {"data__reader__split": split, "data__reader__group": group}
    write_params(data__name="mine", data__root="raw", demo__enabled=False, **columns, **changes)


# --- 1, 2: settings ---------------------------------------------------------------------------------------------------


def test_a_bad_key_names_the_nearest(typed):
    write_params(train__ephocs=3)
    code, said = typed("python -m pipeline.ingest")
    assert (code, said) == (1, "error: params.yaml: train.ephocs is not a setting. Did you mean train.epochs?\n")


def test_a_key_that_dvc_has_added_is_told_too(typed):
    """What `dvc exp run -S +train.foo=1` writes; nothing is near it."""
    write_params(train__qqq=1)
    code, said = typed("python -m pipeline.ingest")
    assert code == 1 and "train.qqq is not a setting. Known: accumulate, augment, backbone_lr_factor, " in said


@pytest.mark.parametrize(
    ("value", "expected"), [("abc", "is 'abc': input should be a valid number"), (-1, "is -1: input should be greater")]
)
def test_a_bad_value_is_told_with_what_is_expected(typed, value, expected):
    write_params(train__lr=value)
    code, said = typed("python -m pipeline.train")
    assert code == 1 and said.startswith(f"error: params.yaml: train.lr {expected}")


def test_all_mistakes_are_told_at_once(typed):
    write_params(train__lr="abc", train__epochs=0, frames__enabled="yes")
    code, said = typed("python -m pipeline.demo")
    assert code == 1 and len(said.splitlines()) == 3
    assert all(name in said for name in ("train.lr is 'abc'", "train.epochs is 0", "frames.enabled is 'yes'"))


# --- 3 to 7: the user's clips -----------------------------------------------------------------------------------------


def test_a_table_without_the_column(typed):
    write_clips("file,class", "a.mp4,run", data__reader__path="video", data__reader__heads={"action": "klass"})
    code, said = typed("python -m pipeline.ingest")
    assert code == 1
    assert "raw/clips.csv: no column 'video'; no column 'klass' (did you mean 'class'?). Found: file, class." in said
    assert "data.reader in params.yaml" in said


def test_missing_files_are_counted_and_found_elsewhere(typed):
    Path("raw/clips").mkdir(parents=True)
    for name in ("a", "b"):
        (Path("raw/clips") / f"{name}.mp4").write_bytes(b"a file")
    write_clips("path,action", "a.mp4,run", "b.mp4,run", "c.mp4,sit")
    code, said = typed("python -m pipeline.ingest")
    assert code == 1
    assert "error: - a missing file (3). Paths start from data.root. 2 of these 3 exist under raw/clips: set" in said
    assert "set data.root to that; tables are sought below it too." in said
    assert all(f"row {row}: {name}.mp4" in said for row, name in ((2, "a"), (3, "b"), (4, "c")))


@pytest.fixture
def clips(project, make_clip):
    """Return the rows of twelve clips of six people, of which one file was cut short."""
    rows = []
    for i in range(12):
        make_clip(Path("raw") / f"{i}.mp4", i)
        rows.append(f"{i}.mp4,{('run', 'sit')[i % 2]},p{i // 2}")
    content = Path("raw/7.mp4").read_bytes()
    Path("raw/7.mp4").write_bytes(content[: len(content) // 3])
    return ["path,action,who", *rows]


def test_an_unreadable_video_below_the_limit_is_set_aside_and_listed(typed, clips):
    write_clips(*clips, group="who", data__max_bad_frac=0.1)
    code, said = typed("python -m pipeline.ingest")
    assert (
        code == 0
        and "ingest: 11 clips" in said
        and "; 1 bad file, listed in data/interim/mine/quarantine_ingest.csv\n" in said
    )
    (bad,) = quarantine.load(BAD)
    assert bad.path == "7.mp4" and bad.reason in ("truncated", "unreadable") and bad.message


def test_unreadable_videos_above_the_limit_stop_the_run(typed, clips):
    write_clips(*clips, group="who", data__max_bad_frac=0.01)
    code, said = typed("python -m pipeline.ingest")
    assert code == 1
    assert "1 of 12 clips are unusable (8.3%), more than data.max_bad_frac (1.0%) allows." in said
    assert "raise data.max_bad_frac" in said and "  7.mp4: " in said and f"all 1 in {BAD}" in said


def test_a_leak_is_told_with_its_counts(typed):
    rows = [f"{i}.mp4,run,rec_017,{'test' if i < 2 else 'train'}" for i in range(8)]
    Path("raw").mkdir()
    for i in range(8):
        Path(f"raw/{i}.mp4").write_bytes(b"x" * (i + 1))
    write_clips("path,action,who,part", *rows, group="who", split="part")
    code, said = typed("python -m pipeline.ingest")
    assert code == 1 and "a group in two splits, so that scores would be too high (1). Move all its rows" in said
    assert "'rec_017': 2 in test, 6 in train" in said


def test_a_class_of_one_group_is_told_with_what_helps(typed, clips):
    rows = [row.replace("sit,p0", "vigilance,p0") for row in clips]
    write_clips(*rows, group="who", data__max_bad_frac=0.5)
    code, said = typed("python -m pipeline.ingest")
    assert code == 0
    for split in ("val", "test"):
        (line,) = (line for line in said.splitlines() if line.startswith(f"ingest: {split} has no clip of"))
        assert "vigilance" in line and "add clips of them from a group of their own, or merge them" in line


def test_fewer_groups_than_splits(typed, clips):
    write_clips(*(row.replace(",p1", ",p0") for row in clips[:5]), group="who")
    code, said = typed("python -m pipeline.ingest")
    assert code == 1 and "a split without clips (2)" in said and "a group of clips" in said
    few = "3 splits need as many groups, and there is only p0"
    assert [line.split(maxsplit=1)[1] for line in said.splitlines()[-2:]] == [f"val: {few}", f"test: {few}"]


# --- 8: weights -------------------------------------------------------------------------------------------------------


def test_weights_that_cannot_be_fetched_are_named_with_their_place(project, monkeypatch):
    """No network, for real: every connection goes through a proxy that is not there."""
    import torch

    from actrec.models.weights import load_weights

    monkeypatch.setenv("TORCH_HOME", str(project))
    for name, value in {"https_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as caught:
        weights = {"kind": "torchvision", "name": "IMAGENET1K_V1"}
        load_weights(torch.nn.Identity(), weights, architecture="resnet18", drop=())
    said = str(caught.value)
    assert said.startswith("the weights resnet18 IMAGENET1K_V1 are not on this machine and could not be fetched (")
    assert "Fetch https://" in said and f"put the file at {project / 'hub/checkpoints/resnet18-'}" in said
    assert "weights: {kind: none}" in said


def test_weights_that_are_not_here_are_told_before_anything_else(project, monkeypatch, capsys):
    """And no more than told: a machine may be there to decode alone."""
    monkeypatch.setenv("TORCH_HOME", str(project / "torch"))
    write_params("images", data__root=".", model__backbones__rgb__weights={"kind": "torchvision", "name": "DEFAULT"})
    check.main(Path("params.yaml"))
    place = project / "torch/hub/checkpoints/resnet18-f37072fd.pth"
    said = capsys.readouterr().err.replace("\n", " ")
    assert said.startswith("check: model.backbones.rgb.weights: resnet18-f37072fd.pth is not on this machine")
    assert f"put https://download.pytorch.org/models/{place.name} at {place} before" in said
    place.parent.mkdir(parents=True)
    place.touch()
    check.main(Path("params.yaml"))
    assert capsys.readouterr().err == ""


# --- 9, 10: what earlier runs have left -------------------------------------------------------------------------------


def test_features_of_other_settings_are_told_setting_by_setting(project):
    def identity(clip_frames, depth):
        spec = {"clip_frames": clip_frames, "size_px": 224, "resize": "crop"}
        return {"rgb": {"backbone": {"kind": "resnet", "depth": depth}, "spec": spec, "views": 1}}

    rows = {"rgb": np.zeros((1, 1, 1, 2), np.float32)}
    plain = {"clip_ids": ["a"], "plain": rows, "present": {"rgb": np.array([True])}}
    path = Path("features.h5")
    write_features(path, identity=identity(16, 18), **plain, augmented_ids=[], augmented={"rgb": rows["rgb"][:0]})
    with pytest.raises(UserError) as caught:
        CachedFeatures(path, identity(32, 50))
    assert str(caught.value) == (
        "features.h5: features of something else: rgb.backbone.depth is 18, wanted 50; rgb.spec.clip_frames is 16, "
        "wanted 32. Make them again: dvc repro features"
    )


def test_an_interrupted_run_of_other_settings_is_never_taken_up(project):
    """There is nothing to warn of: each lr has a state of its own, and what starts says whether it goes on."""
    from types import SimpleNamespace

    from actrec.params import load
    from actrec.store.cas import Store
    from actrec.training.announce import start_text
    from pipeline.model import run_key

    about, inputs = SimpleNamespace(weights_sha256={}), SimpleNamespace(digest=lambda splits: "0" * 64)
    states = []
    for lr in (0.01, 0.5, 0.01):
        write_params(train__lr=lr)
        key = run_key(load("params.yaml"), about, inputs, device="cpu")  # pyright: ignore[reportArgumentType]
        states.append(Store(project / "cache").unfinished(key))
    assert states[0] == states[2] != states[1]
    params = YAML_FILE.load(Path("params.yaml").read_text(encoding="utf-8"))
    manifest = SimpleNamespace(heads=["action"], classes={"action": ("a",)}, of_split=lambda split: [])
    for goes_on, said in ((True, "train: going on with an interrupted run on cpu"), (False, "train: starting on cpu")):
        text = start_text(params, manifest, goes_on=goes_on, device="cpu")  # pyright: ignore[reportArgumentType]
        assert text.splitlines()[-1] == said


# --- 11: memory -------------------------------------------------------------------------------------------------------

PETABYTE = 1 << 50  # more than a process can address


def torch_on_the_cpu():
    import torch

    torch.empty(PETABYTE, dtype=torch.uint8)


def torch_on_a_gpu():
    """What CUDA says, in torch's own class; a GPU is not at hand wherever this runs."""
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 16.00 GiB")


def numpy_itself():
    np.empty(PETABYTE, np.uint8)


@pytest.mark.parametrize("take_all", [torch_on_the_cpu, torch_on_a_gpu, numpy_itself])
@pytest.mark.parametrize(
    ("stage", "remedy"),
    [
        (
            "train",
            "Set a smaller train.batch_size (4 with train.accumulate: 4 takes steps of as many clips as 16 with 1)",
        ),
        ("features", "Set a smaller features.batch_size"),
        ("evaluate", "Set a smaller evaluate.batch_size"),
        ("mels", "Close other programs"),
    ],
)
def test_too_little_memory_is_no_bug(typed, monkeypatch, take_all, stage, remedy):
    monkeypatch.setattr(f"pipeline.{stage}.load", lambda path: take_all())
    code, said = typed(f"python -m pipeline.{stage}")
    first, second = said.splitlines()
    assert code == 1 and first.startswith("error: out of memory: ") and "llocate" in first
    assert second.startswith(f"error: {remedy}") and second.endswith("; then run the same again")


# --- 12: files that would run something, and other odd ones -----------------------------------------------------------


class Evil:
    """What a hostile pickle holds: a call, which leaves a file behind if it is made."""

    def __reduce__(self):
        return eval, ("open('called', 'w')",)


def write_skeletons(content):
    Path("raw").mkdir(exist_ok=True)
    Path("raw/all.pkl").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=4))
    reader = {"kind": "skeletons", "head": "action", "class_names": None, "group_regex": None, "splits": None}
    source = {"kind": "pyskl", "path": "all.pkl", "layout": "coco17"}
    changes = {"data__name": "mine", "data__root": "raw", "data__media": "skeleton", "data__reader": reader}
    augment = {"pose": {"min_area_frac": 1.0, "flip_prob": 0.0}}
    changes |= {"train__augment": augment, "features__augment": augment, "model__backbones": {"pose": POSE}}
    write_params(data__skeletons=source, skeletons__enabled=True, demo__enabled=False, **changes)


def test_a_pickle_that_would_run_something(typed):
    write_skeletons([{"frame_dir": "a", "label": 0, "keypoint": Evil()}])
    code, said = typed("python -m pipeline.ingest")
    assert code == 1 and not Path("called").exists()
    assert "raw/all.pkl: cannot be used as data.skeletons of kind pyskl: expected plain data and numpy" in said
    assert "got 'builtins.eval'. " in said
    assert "Nothing of it was run. If you trust it, write it anew where it was made, of dict, list, str, int" in said


def test_skeletons_of_another_layout(typed):
    shape = (1, 3, 25)
    content = {"keypoint": np.ones((*shape, 2), np.float16), "keypoint_score": np.ones(shape, np.float16)}
    write_skeletons([{"frame_dir": "a", "label": 0, "img_shape": (54, 96), "total_frames": 3, **content}])
    code, said = typed("python -m pipeline.ingest")
    assert code == 1 and "expected 17 joints, those of coco17, got 25 (in 1x3x25x2). Set data.skeletons.layout" in said


def test_a_checkpoint_that_would_run_something(typed):
    import torch

    torch.save({"format": 4, "about": Evil()}, "evil.pt")
    Path("clip.mp4").write_bytes(b"a file")
    code, said = typed("actrec predict clip.mp4 --checkpoint evil.pt")
    assert code == 1 and not Path("called").exists()
    assert said == (
        "error: evil.pt: not a checkpoint of this version of actrec (it holds the Python object eval, and nothing of "
        "it was run). Train one: dvc repro\n"
    )


def test_weights_that_would_run_something(project):
    import torch

    from actrec.models.weights import read_tensors

    torch.save(Evil(), "evil.pth")
    with pytest.raises(UserError, match=r"evil\.pth: .* \(it holds the Python object eval, .*state_dict\(\)"):
        read_tensors(Path("evil.pth"))
    assert not Path("called").exists()


def test_no_sound_in_any_clip(typed, clips):
    recipe = YAML_FILE.load((REPO / "recipes/sound.yaml").read_text(encoding="utf-8"))
    write_clips(*clips, group="who", data__max_bad_frac=0.1, mels={**recipe["mels"], "enabled": True})
    assert typed("python -m pipeline.ingest")[0] == 0
    code, said = typed("python -m pipeline.mels")
    assert code == 1 and "none of 11 clips has sound that can be used (0 silent, 0 set aside; 11 clips without" in said
    assert "data/interim/mine/sound.csv" in said and "set mels.enabled to false" in said


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("manifest.csv", load_manifest),
        ("quarantine_mels.csv", quarantine.load),
        ("video_frames", read_index),
        ("skeletons.pkl", PoseFolder),
        ("features.h5", lambda path: CachedFeatures(path, {})),
        ("history.csv", read_history),
        ("best.pt", load_model),
    ],
)
def test_what_no_stage_has_written_yet_is_told_with_the_command(project, name, read):
    """As it happens to who runs stages by hand, or removes what one has written."""
    with pytest.raises(UserError, match=rf"^{name}.*: dvc repro"):
        read(Path(name))
