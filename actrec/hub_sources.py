"""Where data sets of pictures are opened: the Hugging Face hub, folders that its library saved, and parquet files."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actrec.errors import UserError

_ANSWER_TIMEOUT_S = 5.0
_BATCH_ROWS = 64
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
# train-00000-of-00002.parquet, and older ones with some digits of a digest after that.
_SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]+)?")


@dataclass(frozen=True, slots=True)
class HubSplit:
    """One split of a source: `rows` yields each picture and its label, `labels` are the different ones of them."""

    name: str
    num_rows: int
    labels: Sequence[Any]
    class_names: Sequence[str] | None
    rows: Callable[[], Iterator[tuple[Any, Any]]]


def library() -> Any:
    """Return Hugging Face's datasets.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(
            "the Python package datasets is not installed, which reads such data sets: pip install 'actrec[hub]'"
        ) from None
    return datasets


def open_splits(source: str, revision: str | None, columns: tuple[str, str]) -> list[HubSplit]:
    """Return the splits of a source, see `import_images`; `columns` are those of pictures and of classes.

    Raises:
        UserError: if it is not there, or not such a data set.
    """
    path = Path(source).expanduser()
    if not path.exists():
        return _from_parquet(source, _hub_folder(source, revision), columns)
    if revision is not None:
        raise UserError(f"revision is {revision}, but {source} is on this machine: a revision is for a hub id alone")
    if path.is_dir() and any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _from_saved(source, path, columns)
    return _from_parquet(source, path, columns)


def _hub_folder(source: str, revision: str | None) -> Path:
    """Return the folder with the parquet files of a hub data set, out of the hub's cache or fetched into it."""
    if not _HUB_ID.fullmatch(source):
        raise UserError(
            f"{source}: no such file or folder, and no hub id, which is owner/name, such as tanganke/stanford_cars"
        )
    if not revision or not re.fullmatch("[0-9a-f]{40}", revision):
        raise UserError(
            f"revision is {revision} for {source}; expected the 40 hexadecimal digits of a commit, which the data "
            "set's page lists under Files, History: a branch or tag may mean other pictures tomorrow"
        )
    from huggingface_hub import HfApi, snapshot_download

    wanted: dict[str, Any] = {"repo_type": "dataset", "revision": revision, "allow_patterns": "*.parquet"}
    try:
        # The download itself tries again for minutes where there is no network; this gives up at once.
        HfApi().dataset_info(source, revision=revision, timeout=_ANSWER_TIMEOUT_S)
        return Path(snapshot_download(source, **wanted))
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
    try:
        return Path(snapshot_download(source, **wanted, local_files_only=True))
    except Exception:
        raise UserError(
            f"{source} at {revision} is not on this machine and could not be fetched ({reason}). On a machine with a "
            f"network: hf download {source} --repo-type dataset --revision {revision} --local-dir DIR. Copy DIR to "
            "this machine and give that folder as the source"
        ) from None


def _from_saved(source: str, folder: Path, columns: tuple[str, str]) -> list[HubSplit]:
    datasets = library()
    try:
        saved = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise UserError(f"{source}: cannot be read as what save_to_disk writes ({error})") from None
    parts = dict(saved) if isinstance(saved, dict) else {str(saved.split or "train"): saved}
    return [_saved_split(source, name, part, columns) for name, part in parts.items()]


def _saved_split(source: str, name: str, part: Any, columns: tuple[str, str]) -> HubSplit:
    datasets = library()
    image, label = _checked(source, name, part.column_names, columns)
    names = _names_of(source, name, label, part.features[label])
    if isinstance(part.features[image], datasets.Image):
        part = part.cast_column(image, datasets.Image(decode=False))

    def rows() -> Iterator[tuple[Any, Any]]:
        return ((row[image], row[label]) for row in part.select_columns([image, label]))

    return HubSplit(name, len(part), part.unique(label), names, rows)


def _from_parquet(source: str, path: Path, columns: tuple[str, str]) -> list[HubSplit]:
    below = path.rglob("*.parquet") if path.is_dir() else [path]
    files = sorted(file for file in below if not any(part.startswith(".") for part in file.relative_to(path).parts))
    if not files:
        raise UserError(
            f"{source}: no parquet files there, and not what save_to_disk writes. Of another kind of data set, with "
            f"the Python package datasets: load_dataset('{source}').save_to_disk('DIR'), then give DIR as the source"
        )
    shards: dict[str, list[Path]] = {}
    for file in files:
        shards.setdefault(_split_of(file), []).append(file)
    return [_parquet_split(source, name, own, columns) for name, own in shards.items()]


def _split_of(file: Path) -> str:
    """Return the split that a parquet file is a part of: train-00000-of-00001.parquet, train/0000.parquet, or train."""
    if shard := _SHARD.fullmatch(file.stem):
        return shard["split"]
    return file.parent.name if file.stem.isdigit() else file.stem


def _parquet_split(source: str, name: str, files: Sequence[Path], columns: tuple[str, str]) -> HubSplit:
    from pyarrow import ArrowException, parquet

    _check_shards(source, name, files)
    try:
        parts = [parquet.ParquetFile(file) for file in files]
    except (ArrowException, OSError) as error:
        raise UserError(f"{source}: split {name} has a parquet file that cannot be read ({error})") from None
    schema = parts[0].schema_arrow
    if other := [file.name for file, part in zip(files, parts, strict=True) if not part.schema_arrow.equals(schema)]:
        raise UserError(f"{source}: {other[0]} has other columns than {files[0].name}: give the folder of one data set")
    image, label = _checked(source, name, schema.names, columns)
    names = _names_of(source, name, label, library().Features.from_arrow_schema(schema)[label])

    def rows() -> Iterator[tuple[Any, Any]]:
        for part in parts:
            for batch in part.iter_batches(_BATCH_ROWS, columns=[image, label]):
                yield from zip(batch[image].to_pylist(), batch[label].to_pylist(), strict=True)

    found: set[Any] = set()
    for part in parts:
        found |= set(part.read(columns=[label])[label].unique().to_pylist())
    num_rows = sum(part.metadata.num_rows for part in parts)
    return HubSplit(name, num_rows, sorted(found, key=str), names, rows)


def _check_shards(source: str, name: str, files: Sequence[Path]) -> None:
    """Raise UserError unless the files of a split are all of one data set's: none missing, none twice."""
    folders = {file.parent for file in files}
    if len(folders) > 1:
        listed = ", ".join(sorted(folder.as_posix() for folder in folders))
        raise UserError(f"{source}: split {name} is in several folders, {listed}: give one of them as the source")
    shards = [shard for file in files if (shard := _SHARD.fullmatch(file.stem))]
    numbers = sorted(int(shard["number"]) for shard in shards)
    total = max((int(shard["total"]) for shard in shards), default=0)
    if shards and numbers != list(range(total)):
        raise UserError(
            f"{source}: split {name} has the files {', '.join(file.name for file in files)}; expected each of {total} "
            "once. Fetch the missing ones and run again"
        )


def _checked(source: str, split: str, there: Sequence[str], columns: tuple[str, str]) -> tuple[str, str]:
    if missing := [column for column in columns if column not in there]:
        raise UserError(
            f"{source}: split {split} has no column {' and no '.join(missing)}; it has {', '.join(there)}. Name those "
            "of pictures and classes: --image-column NAME --label-column NAME"
        )
    return columns


def _names_of(source: str, split: str, column: str, feature: Any) -> list[str] | None:
    """Return the names that the numbers in a column stand for; None if its values are names themselves."""
    dtype = str(getattr(feature, "dtype", type(feature).__name__))
    if not re.fullmatch(r"u?int\d+|(large_)?string", dtype):
        raise UserError(
            f"{source}: split {split} has {dtype} in the column {column}; expected a class, as a number or a name. "
            "Name the column of classes: --label-column NAME"
        )
    return getattr(feature, "names", None)
