"""Stage ingest: the user's files to the manifest, a row a clip; what cannot be used goes to a list beside it."""

from functools import partial
from pathlib import Path

from actrec.console import Debug, run, say
from actrec.data import manifest, quarantine
from actrec.data.checks import check_root, check_rows
from actrec.data.collect import make_manifest, set_aside, summary, warnings
from actrec.data.csv_reader import Columns, read_csv
from actrec.data.folder_reader import read_folders
from actrec.data.list_reader import read_lists
from actrec.data.problems import Problems
from actrec.data.rows import Row
from actrec.params import load
from actrec.params.schema import CsvReader, FolderReader, ListReader, Reader
from actrec.store.cas import store_root
from actrec.store.digests import Memory, digest_files, inspect_files
from actrec.store.files import write_atomic
from pipeline import paths


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write the manifest of all usable clips, and the list of the others."""
    data = load(params).data
    root, fractions = Path(data.root), data.split.model_dump(exclude={"seed", "train_frac"})
    check_root(root)
    problems = Problems(str(root))
    rows, heads = read_rows(data.reader, root, problems)
    with Memory(store_root()) as memory:
        found = check_rows(rows, root=root, hasher=partial(digest_files, memory=memory), problems=problems, **fractions)
        problems.stop_if_any()
        inspected = inspect_files(found.values(), memory=memory)
    usable, bad = set_aside(rows, {path: inspected[file] for path, file in found.items()})
    bad_list = paths.quarantine(data.name, "ingest")
    write_atomic(bad_list, quarantine.dump(bad))
    limits = {"max_bad_frac": data.max_bad_frac, "total": len(rows), "listed_in": bad_list}
    quarantine.check_losses(manifest.Manifest((), heads), bad, **limits)
    made, note = make_manifest(usable, rows=rows, heads=heads, problems=problems, **data.split.model_dump())
    write_atomic(paths.manifest(data.name), manifest.dump(made))
    for line in filter(None, (note, *warnings(made), summary(made, num_bad=len(bad)))):
        say(f"ingest: {line}")


def read_rows(reader: Reader, root: Path, problems: Problems) -> tuple[list[Row], tuple[str, ...]]:
    """Return the rows that the reader of params.yaml finds, and its heads in their order."""
    match reader:
        case CsvReader():
            columns = Columns(**reader.model_dump(exclude={"kind", "file"}))
            return read_csv(root / reader.file, columns=columns, problems=problems), tuple(reader.heads)
        case FolderReader():
            settings = reader.model_dump(exclude={"kind"})
            return read_folders(root, problems=problems, **settings), (reader.head,)
        case ListReader():
            settings = reader.model_dump(exclude={"kind"})
            return read_lists(root, problems=problems, **settings), (reader.head,)


if __name__ == "__main__":
    run(main)
