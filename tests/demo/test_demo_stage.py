"""`python -m pipeline.demo`, as DVC runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from actrec.demo.pairs import write_pairs
from actrec.demo.stills import write_stills
from actrec.demo.write import write_dataset

RECIPE = Path(__file__).parents[2] / "recipes" / "demo.yaml"


# As `python -m pipeline.demo` does, and then says which heavy packages that took.
CODE = """
import runpy, sys
sys.argv = ["demo"]
try:
    runpy.run_module("pipeline.demo", run_name="__main__", alter_sys=True)
finally:
    print(*sorted({"numpy", "av", "torch"} & set(sys.modules)))
"""


def run_stage(folder: Path, *, padding: str = "", **settings: object) -> tuple[str, str]:
    """Return what the stage, with these settings in section demo, printed and said."""
    yaml = YAML()
    params = yaml.load(RECIPE.read_text(encoding="utf-8"))
    params["demo"].update(settings)
    folder.mkdir()
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    ended = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=folder,
        env={**os.environ, "PADDING": padding},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip(), ended.stderr


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    settings = {"scene": "solo", "subjects": 3, "takes": 1, "clip_s": 0.5, "size_px": 96, "seed": 0}
    # A large environment moves the stack: x264's fast code for rate control made other bytes of the same frames then.
    _, said = run_stage(tmp_path / "stage", padding="x" * 7003, enabled=True, **settings)
    assert "SYNTHETIC" in said
    made = tmp_path / "stage" / "data" / "raw" / "demo"
    write_dataset(tmp_path / "here", **settings)
    names = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    assert len(names) == 12 + 5
    assert [n for n in names if (made / n).read_bytes() != (tmp_path / "here" / n).read_bytes()] == []


def test_two_processes_draw_the_same_pictures(tmp_path: Path) -> None:
    settings = {"subjects": 3, "takes": 1, "size_px": 64, "seed": 1}
    heavy, said = run_stage(tmp_path / "stage", padding="x" * 7003, enabled=True, scene="stills", **settings)
    assert heavy == "numpy"
    assert "24 pictures" in said and "SYNTHETIC" in said
    made = tmp_path / "stage" / "data" / "raw" / "demo"
    write_stills(tmp_path / "here", **settings)
    names = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    assert len(names) == 24 + 3
    assert [n for n in names if (made / n).read_bytes() != (tmp_path / "here" / n).read_bytes()] == []


def test_two_processes_draw_the_same_pairs(tmp_path: Path) -> None:
    settings = {"subjects": 3, "takes": 2, "size_px": 64, "seed": 0}
    heavy, said = run_stage(tmp_path / "stage", padding="x" * 7003, enabled=True, scene="pairs", **settings)
    assert heavy == "numpy"
    made = tmp_path / "stage" / "data" / "raw" / "demo"
    pictures, pairs = write_pairs(tmp_path / "here", **settings)
    assert f"6 pictures with {pairs} pairs" in said and pictures == 6
    names = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    assert len(names) == 6 + 3
    assert [n for n in names if (made / n).read_bytes() != (tmp_path / "here" / n).read_bytes()] == []


def test_without_demo_there_is_a_note_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    heavy, said = run_stage(tmp_path / "stage", enabled=False)
    assert (heavy, said) == ("", "")
    (only,) = (p for p in (tmp_path / "stage" / "data").rglob("*") if p.is_file())
    assert only == tmp_path / "stage" / "data" / "raw" / "demo" / "index.json"
    assert json.loads(only.read_text()) == {"enabled": False}
