"""What decides on a module's results: the files that it imports, and those that these import."""

from importlib.metadata import version
from pathlib import Path

import pytest

from actrec.store import closure
from actrec.store.closure import code_version, files, imports


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a function that writes the files of a project which then takes the place of this one."""
    monkeypatch.setattr(closure, "_ROOT", tmp_path)
    code_version.cache_clear()

    def write(**sources):
        for name, source in sources.items():
            path = tmp_path / (name.replace("__init__", "§").replace("_", "/").replace("§", "__init__") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        code_version.cache_clear()

    yield write
    code_version.cache_clear()


def names(module):
    return [path.as_posix() for path in files(module)]


def test_a_chain_of_imports_is_followed(project):
    project(
        pipeline_a="import numpy\nfrom actrec.b import f\n",
        actrec_b="import actrec.media.c\n",
        actrec_media_c="def f():\n    from actrec import d\n    return d\n",
        actrec_d="import pipeline.a\n",
        actrec_unrelated="",
    )
    assert names("pipeline.a") == ["actrec/b.py", "actrec/d.py", "actrec/media/c.py", "pipeline/a.py"]
    assert names("actrec.media.c") == ["actrec/b.py", "actrec/d.py", "actrec/media/c.py", "pipeline/a.py"]


@pytest.mark.parametrize(
    "statement",
    [
        "import actrec.media.c",
        "import os, actrec.media.c as c",
        "from actrec.media.c import f",
        "from actrec.media import c, other",
        "from actrec.media.c import *",
        "def f():\n    if True:\n        import actrec.media.c",
        "try:\n    pass\nexcept ImportError:\n    import actrec.media.c",
        "if TYPE_CHECKING:\n    import os\nelse:\n    import actrec.media.c",
    ],
)
def test_every_way_to_import(project, statement):
    project(pipeline_a=statement + "\n", actrec_media_c="x = 1\n")
    assert names("pipeline.a") == ["actrec/media/c.py", "pipeline/a.py"]


def test_imports_for_annotations_do_not_count(project):
    project(
        pipeline_a="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from actrec.b import B\n",
        actrec_b="x = 1\n",
    )
    assert names("pipeline.a") == ["pipeline/a.py"]


def test_a_package_counts_if_it_does_anything(project):
    project(
        pipeline_a="import actrec.media.c\nimport actrec.data.d\n",
        actrec_media_c="x = 1\n",
        actrec_data_d="x = 1\n",
    )
    root = closure._ROOT
    (root / "actrec/__init__.py").write_text('"""Nothing."""\n')
    (root / "actrec/data/__init__.py").write_text("")
    (root / "actrec/media/__init__.py").write_text('"""Something."""\nfrom actrec.e import x\n')
    (root / "actrec/e.py").write_text("x = 1\n")
    assert names("pipeline.a") == [
        "actrec/data/d.py",
        "actrec/e.py",
        "actrec/media/__init__.py",
        "actrec/media/c.py",
        "pipeline/a.py",
    ]


def test_what_only_checks_and_talks_does_not_count(project):
    project(
        pipeline_a="from actrec import errors, console, parameters\nfrom actrec.params import load\n",
        actrec_errors="x = 1\n",
        actrec_console="x = 1\n",
        actrec_params_load="import actrec.e\n",
        actrec_parameters="x = 1\n",
        actrec_e="x = 1\n",
    )
    assert names("pipeline.a") == ["actrec/parameters.py", "pipeline/a.py"]


@pytest.mark.parametrize("statement", ["from . import b", "from .b import f", "from ..actrec.b import f"])
def test_relative_imports_are_refused(project, statement):
    project(pipeline_a=f"\n{statement}\n", pipeline_b="f = 1\n")
    with pytest.raises(ValueError, match=r"a\.py: relative import in line 2"):
        imports("pipeline.a")


def test_the_version_follows_every_file_of_the_closure(project):
    sources = {"pipeline_a": "import actrec.b\n", "actrec_b": "x = 1\n", "actrec_c": "x = 1\n"}
    project(**sources)
    first = code_version("pipeline.a")
    project(actrec_c="x = 2\n")
    assert code_version("pipeline.a") == first
    project(actrec_b="x = 2\n")
    second = code_version("pipeline.a")
    project(pipeline_a="import actrec.b  # edited\n")
    third = code_version("pipeline.a")
    project(**sources)
    assert code_version("pipeline.a") == first
    assert len({first, second, third}) == 3


def test_the_version_follows_a_file_that_moved(project):
    project(pipeline_a="from actrec import b\n", actrec_b="x = 1\n")
    first = code_version("pipeline.a")
    (closure._ROOT / "actrec/b.py").unlink()
    (closure._ROOT / "actrec/b").mkdir()
    (closure._ROOT / "actrec/b/__init__.py").write_text("x = 1\n")
    code_version.cache_clear()
    assert code_version("pipeline.a") != first


def test_the_version_follows_releases_of_tools(project, monkeypatch):
    project(pipeline_a="x = 1\n")
    without, with_numpy = code_version("pipeline.a"), code_version("pipeline.a", "numpy")
    absent = code_version("pipeline.a", "no-such-package")
    monkeypatch.setattr(closure, "version", lambda tool: version(tool) + ".1")
    code_version.cache_clear()
    assert len({without, with_numpy, absent, code_version("pipeline.a", "numpy")}) == 4


def test_this_project_s_clips_depend_on_what_reads_them():
    assert [path.as_posix() for path in files("actrec.media.clip")] == [
        f"actrec/media/{name}.py" for name in ("clip", "decode", "facts", "probe", "sampling", "still", "unchanged")
    ]
    assert all((Path(closure._ROOT) / path).is_file() for path in files("pipeline.train"))
