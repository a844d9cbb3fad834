"""Prints what the code of each stage depends on, as dvc.yaml should list it: `python -m tools.deps`."""

from actrec.store.closure import files, is_only_docstring

STAGES = ("demo", "ingest", "skeletons", "frames", "mels", "features", "train", "evaluate")


# Tables that a module reads beside its code.
_TABLES = {"actrec/data/coarse.py": "actrec/data/maps", "actrec/data/public_sets.py": "actrec/data/lists"}


def code_deps(stage: str) -> list[str]:
    """Return the fewest paths that hold exactly the files on which the stage's results depend.

    A folder stands for all Python files below it if every one of them counts; else its files stand for themselves.
    """
    needed = set(files(f"pipeline.{stage}"))
    found: set[str] = {_TABLES[name] for file in needed if (name := file.as_posix()) in _TABLES}
    for file in needed:
        folder = file.parent
        is_package = len(folder.parts) > 1
        whole = is_package and {path for path in folder.rglob("*.py") if not is_only_docstring(path)} <= needed
        found.add((folder if whole else file).as_posix())
    return sorted(found)


if __name__ == "__main__":
    for name in STAGES:
        print(f"{name}:", *(f"\n  - {path}" for path in code_deps(name)))
