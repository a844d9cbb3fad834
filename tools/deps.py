"""Prints what the code of each stage depends on, as dvc.yaml should list it: `python -m tools.deps`."""

from actrec.store.closure import files, is_only_docstring

STAGES = ("check", "demo", "ingest", "skeletons", "frames", "mels", "features", "train", "evaluate")

# What decides a result besides imported code: tables that a module reads, and what may stand in params.yaml, which
# counts for the stage that checks it and for no other.
_BESIDE = {
    "actrec/data/coarse.py": "actrec/data/maps",
    "actrec/data/public_sets.py": "actrec/data/lists",
    "pipeline/check.py": "actrec/params",
}


def code_deps(stage: str) -> list[str]:
    """Return the fewest paths that hold exactly the files on which the stage's results depend.

    A folder stands for all Python files below it if every one of them counts; else its files stand for themselves.
    """
    needed = set(files(f"pipeline.{stage}"))
    found: set[str] = {_BESIDE[name] for file in needed if (name := file.as_posix()) in _BESIDE}
    for file in needed:
        folder = file.parent
        is_package = len(folder.parts) > 1
        whole = is_package and {path for path in folder.rglob("*.py") if not is_only_docstring(path)} <= needed
        found.add((folder if whole else file).as_posix())
    return sorted(found)


if __name__ == "__main__":
    for name in STAGES:
        print(f"{name}:", *(f"\n  - {path}" for path in code_deps(name)))
