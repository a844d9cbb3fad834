"""Data sets of pictures as Hugging Face has them, to folders: made here by its own library, without a network."""

import hashlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from actrec import hub_images, hub_sources
from actrec.errors import UserError
from actrec.hub_images import import_images

CARS = ["Audi S5 2012", "Ram C/V Cargo Van 2012"]
REVISION = "0123456789abcdef0123456789abcdef01234567"
NAMED = {"_type": "ClassLabel", "names": CARS}


def encoded(level: int, kind: str) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.full((8, 9, 3), level, np.uint8)).save(out, kind)
    return out.getvalue()


JPEGS = [encoded(level, "JPEG") for level in (10, 20, 30, 40)]
PNGS = [encoded(level, "PNG") for level in (50, 60)]


def write_parquet(
    path: Path, images: Sequence[bytes], labels: Sequence[Any], *, label_feature: Mapping[str, Any] = NAMED
) -> None:
    """Write a file as push_to_hub does: columns image {bytes, path} and label, with their kinds in the metadata."""
    about = {"info": {"features": {"image": {"_type": "Image"}, "label": dict(label_feature)}}}
    cells = [{"bytes": content, "path": None} for content in images]
    image_type = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(cells, image_type), "label": labels})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}), path)


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    """Return a folder as a download of such a data set has it."""
    folder = tmp_path / "cars"
    write_parquet(folder / "data/train-00000-of-00002-0a1b2c3d.parquet", JPEGS[:2], [0, 1])
    write_parquet(folder / "data/train-00001-of-00002-4e5f6a7b.parquet", JPEGS[2:], [0, 1])
    write_parquet(folder / "data/test-00000-of-00001.parquet", PNGS, [1, 0])
    write_parquet(folder / ".cache/train-00000-of-00001.parquet", PNGS, [1, 0])
    return folder


EXPECTED = {
    "train/Audi S5 2012/train-00000.jpg": JPEGS[0],
    "train/Ram C-V Cargo Van 2012/train-00001.jpg": JPEGS[1],
    "train/Audi S5 2012/train-00002.jpg": JPEGS[2],
    "train/Ram C-V Cargo Van 2012/train-00003.jpg": JPEGS[3],
    "test/Ram C-V Cargo Van 2012/test-00000.png": PNGS[0],
    "test/Audi S5 2012/test-00001.png": PNGS[1],
}


def pictures(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "source.json")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def record(out: Path) -> dict[str, Any]:
    return json.loads((out / "source.json").read_text(encoding="utf-8"))


def saved(folder: Path, images: Sequence[Any], labels: Sequence[Any], kinds: Mapping[str, Any]) -> Path:
    from datasets import Dataset, Features
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    part = Dataset.from_dict({"image": list(images), "label": list(labels)}, features=Features(dict(kinds)))
    part.save_to_disk(str(folder))
    return folder


def test_parquet_files_become_folders_of_the_pictures_own_bytes(cars: Path, tmp_path: Path) -> None:
    out = tmp_path / "raw/cars"
    assert import_images(str(cars), out) == {"test": 2, "train": 4}
    assert pictures(out) == EXPECTED
    assert sorted(path.name for path in out.parent.iterdir()) == ["cars"]
    about = record(out)
    assert (about["source"], about["revision"], about["splits"]) == (str(cars), None, {"test": 2, "train": 4})
    assert (about["classes"], about["renamed_classes"]) == (2, {"Ram C-V Cargo Van 2012": "Ram C/V Cargo Van 2012"})
    in_order = [*[name for name in EXPECTED if name[1] == "e" and name[2] == "s"], *list(EXPECTED)[:4]]
    lines = "".join(f"{name}\0{hashlib.sha256(EXPECTED[name]).hexdigest()}\n" for name in in_order)
    assert about["sha256"] == hashlib.sha256(lines.encode()).hexdigest()


def test_what_save_to_disk_writes_gives_the_same(cars: Path, tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image

    kinds = Features({"image": Image(), "label": ClassLabel(names=CARS)})
    parts = {
        name: Dataset.from_dict(
            {"image": [{"bytes": content, "path": None} for content in images], "label": labels}, features=kinds
        )
        for name, images, labels in (("test", PNGS, [1, 0]), ("train", JPEGS, [0, 1, 0, 1]))
    }
    DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    assert import_images(str(tmp_path / "saved"), tmp_path / "a") == {"test": 2, "train": 4}
    assert pictures(tmp_path / "a") == EXPECTED
    import_images(str(cars), tmp_path / "b")
    assert record(tmp_path / "a")["sha256"] == record(tmp_path / "b")["sha256"]


def test_splits_are_chosen_by_name(cars: Path, tmp_path: Path) -> None:
    assert import_images(str(cars), tmp_path / "out", splits=["train"]) == {"train": 4}
    assert not (tmp_path / "out/test").exists()
    with pytest.raises(UserError, match=r"no split val; it has test, train"):
        import_images(str(cars), tmp_path / "other", splits=["val"])


def test_pixels_alone_become_png(tmp_path: Path) -> None:
    from datasets import Array3D, Value
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    kinds = {"image": Array3D((4, 5, 3), "uint8"), "label": Value("string")}
    folder = saved(tmp_path / "saved", pixels, ["cat", "dog"], kinds)
    assert import_images(str(folder), tmp_path / "out") == {"train": 2}
    for number, name in enumerate(("cat", "dog")):
        with Image.open(tmp_path / f"out/train/{name}/train-0000{number}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), pixels[number])


def test_numbers_that_are_no_picture_are_refused(tmp_path: Path) -> None:
    from datasets import List, Value

    kinds = {"image": List(Value("float32")), "label": Value("int64")}
    folder = saved(tmp_path / "saved", [[0.5, 0.25]], [3], kinds)
    with pytest.raises(UserError, match=r"split train, row 0 is no picture.*--image-column"):
        import_images(str(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_columns_are_named(cars: Path, tmp_path: Path) -> None:
    asked = r"split t\w+ has no column img; it has image, label\..*--image-column NAME --label-column NAME"
    with pytest.raises(UserError, match=asked):
        import_images(str(cars), tmp_path / "out", image_column="img")
    with pytest.raises(UserError, match=r"has dict in the column image; expected a class|Image.* in the column image"):
        import_images(str(cars), tmp_path / "out", label_column="image")
    table = parquet.read_table(next((cars / "data").glob("test*")))
    parquet.write_table(table.rename_columns(["picture", "model"]), tmp_path / "test.parquet")
    counts = import_images(
        str(tmp_path / "test.parquet"), tmp_path / "out", image_column="picture", label_column="model"
    )
    # The metadata names other columns now: the numbers stand for themselves.
    assert counts == {"test": 2}
    assert sorted(pictures(tmp_path / "out")) == ["test/0/test-00001.png", "test/1/test-00000.png"]


@pytest.mark.parametrize("names", [["a/b", "a:b"], ["Cat", "cat"], ["dog", "dog."]])
def test_classes_that_would_share_a_folder_are_an_error(tmp_path: Path, names: list[str]) -> None:
    write_parquet(tmp_path / "t.parquet", JPEGS[:2], [0, 1], label_feature={"_type": "ClassLabel", "names": names})
    with pytest.raises(UserError, match=r"would share the folder"):
        import_images(str(tmp_path / "t.parquet"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Ram C/V Cargo Van", "Ram C-V Cargo Van"),
        ("../..", "-.-"),
        (".hidden", "-hidden"),
        ("a\\b*?", "a-b--"),
        (" Geo Metro 1993. ", "Geo Metro 1993"),
        ("caf\u0065\u0301", "café"),
        ("挥手", "挥手"),
    ],
)
def test_a_class_is_a_folder_on_every_system(name: str, folder: str) -> None:
    assert hub_images._folders([name]) == {name: folder}


@pytest.mark.parametrize("name", ["", "...", " ", "x" * 201])
def test_a_class_that_can_name_no_folder_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match=r"cannot name a folder"):
        hub_images._folders([name])


@pytest.mark.parametrize("label", [-1, 2, None])
def test_rows_without_a_class_are_an_error_that_says_which_split(tmp_path: Path, label: int | None) -> None:
    write_parquet(tmp_path / "in/train.parquet", JPEGS[:1], [0])
    write_parquet(tmp_path / "in/test.parquet", JPEGS[:1], pa.array([label], pa.int64()))
    with pytest.raises(UserError, match=rf"split test has rows whose label is {label}.*--split NAME"):
        import_images(str(tmp_path / "in"), tmp_path / "out")
    assert import_images(str(tmp_path / "in"), tmp_path / "out", splits=["train"]) == {"train": 1}


def test_what_is_no_picture_is_kept_for_ingest_to_say_so(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [b"not a picture"], [0])
    import_images(str(tmp_path / "train.parquet"), tmp_path / "out")
    assert pictures(tmp_path / "out") == {"train/Audi S5 2012/train-00000.jpg": b"not a picture"}


def test_a_data_set_cannot_have_a_file_of_this_machine_copied(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(JPEGS[0])
    cells = pa.array([{"bytes": None, "path": str(tmp_path / "secret.jpg")}])
    parquet.write_table(pa.table({"image": cells, "label": ["a"]}), tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"row 0 names a file .* in place of a picture"):
        import_images(str(tmp_path / "train.parquet"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_of_a_split_is_noticed(cars: Path, tmp_path: Path) -> None:
    next((cars / "data").glob("train-00001*")).unlink()
    with pytest.raises(UserError, match=r"split train has the files train-00000\S+; expected each of 2 once"):
        import_images(str(cars), tmp_path / "out")


def test_two_data_sets_below_a_folder_are_not_mixed(cars: Path, tmp_path: Path) -> None:
    write_parquet(cars / "small/train-00000-of-00001.parquet", PNGS, [0, 1])
    with pytest.raises(UserError, match=r"split train is in several folders, .*/data, .*/small: give one"):
        import_images(str(cars), tmp_path / "out")


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00001.parquet", "train"),
        ("data/train-00000-of-00002-0a1b2c3d4e5f6a7b.parquet", "train"),
        ("default/validation/0000.parquet", "validation"),
        ("test.parquet", "test"),
    ],
)
def test_the_split_of_a_file(path: str, split: str) -> None:
    assert hub_sources._split_of(Path(path)) == split


# --- the folder that is made --------------------------------------------------------------------------------------


def test_the_same_import_again_does_nothing(
    cars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    counts = import_images(str(cars), out)
    monkeypatch.setattr(hub_images, "open_splits", None)  # nothing is read
    assert import_images(str(cars), out) == counts
    assert "holds this import already: 2 pictures of test, 4 pictures of train" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"which is another one: give another folder"):
        import_images(str(cars), out, splits=["train"])
    next(out.glob("train/*/*.jpg")).unlink()
    with pytest.raises(UserError, match=r"it has 2 pictures of test, 3 pictures of train; source.json says"):
        import_images(str(cars), out)


@pytest.mark.parametrize("content", ["picture.jpg", "source.json"])
def test_a_folder_of_another_is_left_alone(cars: Path, tmp_path: Path, content: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / content).write_text("mine")
    with pytest.raises(UserError, match=r"is no import of pictures: give a folder that is new or empty"):
        import_images(str(cars), out)
    assert pictures(tmp_path / "out") == ({"picture.jpg": b"mine"} if content == "picture.jpg" else {})
    (out / content).unlink()
    assert import_images(str(cars), out) == {"test": 2, "train": 4}


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("full")])
def test_an_interrupted_import_leaves_nothing_and_starts_again(
    cars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    done = []

    def write(path: Path, content: bytes | str, **options: Any) -> None:
        done.append(path)
        if len(done) == 4:
            raise error
        write_atomic(path, content, **options)

    write_atomic = hub_images.write_atomic
    monkeypatch.setattr(hub_images, "write_atomic", write)
    out = tmp_path / "raw/cars"
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        import_images(str(cars), out)
    assert list(out.parent.iterdir()) == []
    # As a kill leaves it:
    (out.parent / ".cars.importing/train/Stale").mkdir(parents=True)
    (out.parent / ".cars.importing/train/Stale/train-00000.jpg").write_bytes(b"old")
    assert import_images(str(cars), out) == {"test": 2, "train": 4}
    assert pictures(out) == EXPECTED
    assert [path.name for path in out.parent.iterdir()] == ["cars"]


# --- the hub ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", [None, "main", REVISION[:8], REVISION.upper()])
def test_a_hub_id_needs_a_commit(tmp_path: Path, revision: str | None) -> None:
    with pytest.raises(UserError, match=r"revision is \S+ for tanganke/stanford_cars; expected the 40 hex"):
        import_images("tanganke/stanford_cars", tmp_path / "out", revision=revision)


def test_a_revision_of_a_local_folder_means_nothing(cars: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a revision is for a hub id alone"):
        import_images(str(cars), tmp_path / "out", revision=REVISION)


def test_a_source_that_is_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file or folder, and no hub id"):
        import_images("/nowhere/at/all", tmp_path / "out", revision=REVISION)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no parquet files there.*save_to_disk\('DIR'\)"):
        import_images(str(tmp_path / "empty"), tmp_path / "out")


class Hub:
    """Stands for the hub: it answers, or there is no network; some of it may be in the cache."""

    def __init__(self, folder: Path | None, *, online: bool) -> None:
        self.folder, self.online, self.asked = folder, online, []

    def dataset_info(self, name: str, **settings: Any) -> None:
        self.asked.append((name, settings["revision"]))
        if not self.online:
            raise ConnectionError("no network")

    def snapshot_download(self, name: str, *, local_files_only: bool = False, **settings: Any) -> str:
        assert settings == {"repo_type": "dataset", "revision": REVISION, "allow_patterns": "*.parquet"}
        if self.folder is None or not (self.online or local_files_only):
            raise FileNotFoundError(name)
        return str(self.folder)

    def replace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub

        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot_download)


@pytest.mark.parametrize("online", [True, False])
def test_a_hub_data_set_is_fetched_or_taken_from_the_cache(
    cars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: bool
) -> None:
    hub = Hub(cars, online=online)
    hub.replace(monkeypatch)
    import_images("tanganke/stanford_cars", tmp_path / "out", revision=REVISION)
    assert pictures(tmp_path / "out") == EXPECTED
    assert hub.asked == [("tanganke/stanford_cars", REVISION)]
    about = record(tmp_path / "out")
    assert (about["source"], about["revision"]) == ("tanganke/stanford_cars", REVISION)


def test_without_a_network_the_error_says_what_to_fetch_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(None, online=False).replace(monkeypatch)
    command = (
        rf"\(no network\).*hf download tanganke/stanford_cars --repo-type dataset --revision {REVISION} --local-dir DIR"
    )
    with pytest.raises(UserError, match=command):
        import_images("tanganke/stanford_cars", tmp_path / "out", revision=REVISION)


def test_without_the_library_the_error_names_the_extra(
    cars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'actrec\[hub\]'"):
        import_images(str(cars), tmp_path / "out")
