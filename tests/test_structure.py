"""What holds for the code as a whole: who imports whom, what dvc.yaml declares, how long things are."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from actrec import paths
from actrec.params.schema import Params
from tools.deps import STAGES, code_deps

REPO = Path(__file__).resolve().parents[1]
CODE = sorted(path for name in ("actrec", "pipeline", "tools", "benchmarks") for path in (REPO / name).rglob("*.py"))
TESTS = sorted((REPO / "tests").rglob("*.py"))
DVC = YAML(typ="safe", pure=True).load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def named(path):
    return path.relative_to(REPO).as_posix()


# --- imports ------------------------------------------------------------------------------------------------------

# From the door inwards. A package imports those of later rows, and those named beside it.
LAYERS = [
    (
        *("pipeline", "cli", "recipes", "predict", "fuse", "skeletons", "__main__"),
        *("sweep", "compare", "export", "hub_images", "hub_sources"),
    ),
    ("explain",),
    ("training", "report", "demo"),
    ("models", "store"),
    ("media", "pose", "data", "metrics"),
]
BESIDE = {
    "__main__": {"cli"},
    "cli": {"recipes", "predict", "fuse", "skeletons", "sweep", "compare", "export", "hub_images"},
    "recipes": {"compare"},  # settings by dotted names
    "sweep": {"compare", "recipes"},
    "hub_images": {"hub_sources"},
    "skeletons": {"predict"},
    "data": {"media"},  # a manifest row holds what the header says
}
AT_THE_DOOR, READ_THERE = {"pipeline", "cli", "recipes", "sweep", "compare"}, {"params", "paths"}
ANYONE = {"errors", "console", "outputs", "metric_names", "cells", "words"}


def package_of(module):
    """Return the part of the project that a module belongs to: actrec.store.cas is of `store`."""
    first, *rest = module.split(".")
    return first if first == "pipeline" else rest[0] if rest else "actrec"


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each imported module of the project, with its line; `from actrec import x` is actrec.x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "actrec":
            modules = [f"actrec.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        else:
            continue
        yield from ((m, node.lineno) for m in modules if m.split(".")[0] in ("actrec", "pipeline"))


def allowed(package):
    if package in ANYONE:
        return ANYONE
    if package in READ_THERE:
        return ANYONE | {package}
    row = next(i for i, layer in enumerate(LAYERS) if package in layer)
    inner = {name for layer in LAYERS[row + 1 :] for name in layer}
    at_the_door = READ_THERE if package in AT_THE_DOOR else set()
    return inner | BESIDE.get(package, set()) | at_the_door | ANYONE | {package}


@pytest.mark.parametrize(
    "path", [path for path in CODE if path.parts[len(REPO.parts)] not in ("benchmarks", "tools")], ids=named
)
def test_imports_go_one_way(path):
    module = ".".join(path.relative_to(REPO).with_suffix("").parts)
    package = package_of(module)
    if package in ("deps", "actrec", "__init__"):
        return
    wrong = [
        f"line {line}: {name}"
        for name, line in imported(ast.parse(path.read_text(encoding="utf-8")))
        if package_of(name) not in allowed(package)
    ]
    assert not wrong, f"{module} may import {sorted(allowed(package))}"


def test_the_direction_is_checked():
    """The check itself finds what it is for."""
    tree = ast.parse("def f():\n    from actrec.training.fit import Run\n    from actrec import errors\nimport numpy")
    assert list(imported(tree)) == [("actrec.training.fit", 2), ("actrec.errors", 3)]
    assert "training" not in allowed("store") and "training" in allowed("pipeline")
    assert "params" not in allowed("training") and "paths" not in allowed("store") and "media" not in allowed("metrics")


HEAVY = (
    "torch",
    "torchvision",
    "sklearn",
    "scipy",
    "av",
    "decord",
    "h5py",
    "matplotlib",
    "transformers",
    "lightning_fabric",
)
IMPORTS = f"""
import importlib, json, sys
found = {{}}
for module in sys.argv[1:]:
    importlib.import_module(module)
    found[module] = sorted(set({HEAVY!r}) & set(sys.modules))
print(json.dumps(found))
"""


def test_nothing_heavy_is_loaded_at_the_door():
    modules = ["actrec", "actrec.cli", "actrec.recipes", "actrec.predict", *(f"pipeline.{name}" for name in STAGES)]
    command = [sys.executable, "-c", IMPORTS, *modules]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {module: [] for module in modules}


DISABLED = f"""
import sys
from pathlib import Path
from pipeline import demo, features, mels
params = Path("params.yaml")
demo.main(params)
mels.main(params)
features.main(params)
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""


def test_stages_that_are_switched_off_load_nothing_heavy(tmp_path):
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))
    params["demo"]["enabled"] = params["features"]["enabled"] = False
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    program = f"import sys; sys.path.insert(0, {str(REPO)!r})\n{DISABLED}"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert (tmp_path / paths.features("demo")).read_text() == '{"enabled": false}\n'
    assert json.loads((tmp_path / paths.DEMO / "index.json").read_text())["enabled"] is False


# --- dvc.yaml against the code ------------------------------------------------------------------------------------


def names(entries):
    """Return the paths of a list of dvc.yaml, whose items may have settings of their own."""
    found = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return [name.replace("${data.name}", "NAME") for name in found]


def made_by(stage):
    return names(DVC[stage].get("outs", [])) + names(DVC[stage].get("metrics", []))


def test_the_stages_are_those_of_the_pipeline():
    assert tuple(DVC) == STAGES
    assert {path.stem for path in (REPO / "pipeline").glob("*.py")} == {*STAGES, "__init__", "model", "recorded"}
    assert {DVC[stage]["cmd"] for stage in DVC} == {f"python -m pipeline.{stage}" for stage in STAGES}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_decides_its_results(stage):
    """Missing: stale results reported as fresh. Too many: needless reruns."""
    declared = [name for name in names(DVC[stage]["deps"]) if name.startswith(("actrec/", "pipeline/"))]
    assert declared == code_deps(stage), f"as `python -m tools.deps` prints for {stage}"


OUTS = {
    "check": {paths.CHECKED},
    "demo": {paths.DEMO},
    "ingest": {paths.manifest("NAME"), paths.quarantine("NAME", "ingest")},
    "frames": {paths.frames("NAME"), paths.quarantine("NAME", "frames")},
    "skeletons": {paths.skeletons("NAME"), paths.quarantine("NAME", "skeletons")},
    "mels": {paths.mels("NAME"), paths.sound("NAME"), paths.quarantine("NAME", "mels")},
    "features": {paths.features("NAME")},
    "train": {paths.BEST, paths.LAST, paths.HISTORY},
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_writes_where_dvc_looks(stage):
    outs = {Path(name) for name in made_by(stage)}
    if stage == "evaluate":
        assert {paths.METRICS, paths.SCORES} < outs and all(path.parent == paths.RESULTS for path in outs)
    else:
        assert outs == OUTS[stage]


def test_no_two_stages_write_the_same():
    outs = [name for stage in STAGES for name in made_by(stage)]
    assert len(outs) == len(set(outs))


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_reads_an_earlier_one_has_made(stage):
    earlier = {name for before in STAGES[: STAGES.index(stage)] for name in made_by(before)}
    given = ("actrec/", "pipeline/", "${data.root}", paths.PARAMS.name)
    read = [name for name in names(DVC[stage]["deps"]) if not name.startswith(given)]
    assert set(read) <= earlier
    # And every path that its code asks `paths` for is declared one way or the other.
    asked = {name for name in _asked_paths(REPO / f"pipeline/{stage}.py") if name in {*earlier, *made_by(stage)}}
    assert asked <= {*read, *made_by(stage)}


def _asked_paths(file: Path) -> Iterator[str]:
    """Yield what calls such as paths.manifest(…) and paths.quarantine(…, "frames") stand for."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="paths"), attr=name), args=[_, *rest]) if all(
                isinstance(argument, ast.Constant) for argument in rest
            ):
                yield getattr(paths, name)("NAME", *(ast.literal_eval(argument) for argument in rest)).as_posix()


# --- the settings that a stage reads ------------------------------------------------------------------------------

# Read, and rightly not among the stage's params:
UNDECLARED = {
    # It depends on the whole file.
    "check": {"data.root", "model.backbones", "model.backbones.published"},
    # Where the files lie changes no tensor: those are keyed by the files' bytes.
    "frames": {"data.root"},
    "skeletons": {"data.root"},
    "mels": {"data.root"},
    # The whole model is built, with heads that are not used: what identifies the features is model.backbones alone.
    "features": {"model"},
    # What identifies the cached features: a change of it makes another features.h5, which is a dep.
    # And what the run says of itself before the first epoch, which names settings that it does not depend on.
    "train": {"features", ""},
    # The first again; and run.json, which records all settings, whichever of them the results depend on.
    "evaluate": {"features", ""},
}


class Reads(ast.NodeVisitor):
    """Collects the settings that one function reads: `p.train.lr` for a parameter `p: Params`, or through an alias."""

    def __init__(self, function: ast.FunctionDef) -> None:
        annotated = [arg.arg for arg in function.args.args if isinstance(arg.annotation, ast.Name)]
        kinds = {arg.arg: arg.annotation.id for arg in function.args.args if isinstance(arg.annotation, ast.Name)}
        self.aliases = {name: "" for name in annotated if kinds[name] == "Params"}
        self.found: set[str] = set()
        self.calls: set[str] = set()
        self.strings = [node.value for node in ast.walk(function) if isinstance(node, ast.Constant)]
        for statement in function.body:
            self.visit(statement)

    def chain(self, node: ast.AST) -> str | None:
        """Return the setting that an expression stands for, None if it is none."""
        match node:
            case ast.Name(id=name):
                return self.aliases.get(name)
            case ast.Attribute(value=value, attr=attr):
                parent = self.chain(value)
                return None if parent is None else f"{parent}.{attr}".lstrip(".")
            case ast.Call(func=ast.Name(id="load")):
                return ""
        return None

    def visit_Assign(self, node: ast.Assign) -> None:
        targets, values = node.targets, [node.value]
        if isinstance(targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            targets, values = targets[0].elts, node.value.elts
        for target, value in zip(targets, values, strict=False):
            setting = self.chain(value)
            if isinstance(target, ast.Name) and setting is not None:
                self.aliases[target.id] = setting
            else:
                self.visit(value)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name):
            self.calls.add(node.func.id)
            if node.func.id == "getattr" and self.chain(node.args[0]) == "":
                self.found |= {text for text in self.strings if text in Params.model_fields}
                return
        passed = [arg for arg in node.args if self.chain(arg) == "" and not isinstance(arg, ast.Call)]
        if passed and isinstance(node.func, ast.Name) and node.func.id == "plain":
            self.found.add("")  # all of it
        for part in (node.func, *(arg for arg in node.args if arg not in passed), *node.keywords):
            self.visit(part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        setting = self.chain(node)
        if setting is None:
            self.generic_visit(node)
        else:
            self.found.add(setting)


def functions(name):
    tree = ast.parse((REPO / f"pipeline/{name}.py").read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def settings_read(stage):
    """Return all settings that a stage's script reads, itself or through pipeline/model.py."""
    own, shared = functions(stage), functions("model")
    found, waiting, seen = set(), list(own), set()
    while waiting:
        name = waiting.pop()
        if name in seen or (name not in own and name not in shared):
            continue
        seen.add(name)
        reads = Reads(own.get(name) or shared[name])
        found |= reads.found
        waiting += reads.calls
    return found


def covered(setting, declared):
    return any(setting == name or setting.startswith(name + ".") for name in declared)


@pytest.mark.parametrize("stage", STAGES)
def test_the_settings_that_a_stage_reads_are_its_params(stage):
    read, declared = settings_read(stage), DVC[stage].get("params", [])
    assert read, "nothing found: the check has lost its way"
    undeclared = {setting for setting in read if not covered(setting, declared)}
    excused = UNDECLARED.get(stage, set())
    assert {setting for setting in undeclared if setting not in excused and not covered(setting, excused)} == set()
    assert excused <= undeclared, "no longer read, or declared now"
    idle = {name for name in declared if not any(s == "" or covered(s, [name]) or covered(name, [s]) for s in read)}
    assert not idle, "declared, but never read"


def test_the_settings_are_found():
    """The check itself, on a function that reads settings in all the ways known to it."""
    source = """
def f(p: Params, other: int):
    q, r = p.frames, g(p.seed)
    data = load(path).data
    x = plain(p.train, without=["lr"]), q.sampling.kind, data.split.model_dump(exclude={"seed"})
    return {name: plain(getattr(p, name)) for name in ("model", "compute")}, other.evaluate, h(p, x)
"""
    (function,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    reads = Reads(function)
    assert reads.found == {"seed", "train", "frames.sampling.kind", "data.split.model_dump", "model", "compute"}
    assert {"g", "h", "plain"} <= reads.calls


# --- size and neighbourhood ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*CODE, *TESTS], ids=named)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= (60 if path.parent.name == "pipeline" and path.stem in STAGES else 400)
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno
        and node.end_lineno - node.lineno >= 60
    ]
    assert not long


def test_no_file_names_a_machine_or_a_package_index():
    if not shutil.which("git") or not (REPO / ".git").exists():
        pytest.skip("not a git checkout: what is tracked is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    pattern = re.compile(r"/(?:work|root)/|(?<!emit-)index[-_]url|pypi\.org|pythonhosted")
    found = []
    for name in filter(None, listed.split("\0")):
        path = REPO / name
        if path == Path(__file__).resolve() or not path.is_file():
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{name}:{number}: {line}" for number, line in enumerate(lines, start=1) if pattern.search(line)]
    assert not found
