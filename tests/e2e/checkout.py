"""A checkout of this project in a temporary folder, small enough to run it whole, and commands in it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from tools import deps

ROOT = Path(__file__).resolve().parents[2]
# Sixteen clips of ten frames, a network of width 4, two epochs: what costs time is importing torch.
TINY: dict[str, Any] = {
    "data": {"max_bad_frac": 0.2},
    "demo": {"subjects": 4, "takes": 1, "clip_s": 0.5, "size_px": 32},
    "frames": {"clip_frames": 4, "size_px": 24},
    "features": {"views": 2},
    "compute": {"device": "cpu", "threads": 1},
    "model": {"backbones": {"rgb": {"width": 4, "input_px": 16}}},
    "train": {"epochs": 2},
    "evaluate": {"bootstrap_samples": 50},
}
IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "tester"), ("EMAIL", "tester@localhost"))
}
CHECKED = "data/interim/checked.txt"
# Without `check`, which runs at each edit and changes nothing.
STAGES = [stage for stage in deps.STAGES if stage != "check"]
_TIMEOUT_S = 600

RunStages = Callable[..., None]


@dataclass(frozen=True)
class Done:
    """A finished command: all that it printed, and its exit status."""

    status: int
    text: str

    @property
    def started(self) -> list[str]:
        """The stages whose command DVC started, in order."""
        return re.findall(r"Running stage '(\w+)'", self.text)

    @property
    def ran(self) -> list[str]:
        """Those that make something: all that started but `check`."""
        return [stage for stage in self.started if stage in STAGES]

    @property
    def restored(self) -> list[str]:
        """The stages but `check` whose outs came out of DVC's run-cache."""
        found = re.findall(r"Stage '(\w+)' is cached - skipping run", self.text)
        return [stage for stage in found if stage in STAGES]


@dataclass(frozen=True)
class Checkout:
    """The project's folder, below a folder of its own that also holds its store and its user's home."""

    home: Path
    env: Mapping[str, str]

    @property
    def folder(self) -> Path:
        return self.home / "actrec"

    def __call__(self, *command: str, status: int | None = 0, env: Mapping[str, str] | None = None) -> Done:
        """Run a command in the folder; `status` is the exit status that it must have, None for any."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
        )
        assert status in (None, done.returncode), f"{command} ended with {done.returncode}:\n{done.stdout}"
        return Done(done.returncode, done.stdout)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the folder, in a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def repro(self, *arguments: str) -> Done:
        return self("dvc", "repro", *arguments)

    def exp_run(self, *arguments: str) -> Done:
        return self("dvc", "exp", "run", *arguments)

    def commit(self) -> None:
        self("git", "add", "--all", env=IDENTITY)
        self("git", "commit", "--quiet", "--message", "now", env=IDENTITY)

    def copy(self, home: Path) -> "Checkout":
        """Return another checkout with all this one has made, its store and DVC's cache included."""
        # cp keeps hard links between the three; copytree would not.
        subprocess.run(["cp", "--archive", str(self.home), str(home)], check=True)
        return checkout_at(home)

    def clone(self, home: Path, *options: str) -> "Checkout":
        """Return a `git clone` of this one, which shares DVC's cache and the store, as a team does on one machine."""
        home.mkdir()
        made = Checkout(home, {**_environment(home), "ACTREC_CACHE": self.env["ACTREC_CACHE"]})
        subprocess.run(
            ["git", "clone", "--quiet", *options, self.folder.as_uri(), str(made.folder)], env=made.env, check=True
        )
        made("dvc", "config", "--local", "cache.dir", str(self.folder / ".dvc/cache"))
        return made

    def with_env(self, **env: str) -> "Checkout":
        return replace(self, env={**self.env, **env})

    def without_identity(self) -> "Checkout":
        return replace(self, env={name: value for name, value in self.env.items() if name not in IDENTITY})

    def set_params(self, recipe: str = "demo", **changes: Any) -> None:
        """Write params.yaml: a recipe, made tiny, with `changes` a section."""
        make_params(self.folder / "recipes" / f"{recipe}.yaml", self.folder / "params.yaml", TINY, changes)

    def bytes_of(self, *paths: str) -> dict[str, bytes]:
        """Return the content of files, and of all files below folders."""
        found = [path for name in paths for path in [self.folder / name, *sorted((self.folder / name).rglob("*"))]]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found if path.is_file()}


def checkout_at(home: Path) -> Checkout:
    """Return the checkout that lies below a folder, with the variables of a user of its own."""
    return Checkout(home, _environment(home))


def new_checkout(home: Path) -> Checkout:
    """Return a checkout of what is on disk here, committed, with tiny settings."""
    made = checkout_at(home)
    made.folder.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, made.folder / name)
    made.set_params()
    made("git", "init", "--quiet")
    made.commit()
    return made


def make_params(recipe: Path, params: Path, *changes: Mapping[str, Any]) -> None:
    """Write a params file that differs from a recipe by `changes`, one after the other."""
    yaml = YAML()
    settings = yaml.load(recipe)
    for change in changes:
        _update(settings, change)
    yaml.dump(settings, params)


def fill_folders(folder: Path, clips: Path, *, copies: int = 1) -> None:
    """Fill a folder per class with the demo's clips; copies show the same and differ in bytes, by an unused box."""
    for clip in sorted(clips.glob("*.mp4")):
        subject, _, action = clip.stem.partition("_")
        (folder / action[:-3]).mkdir(parents=True, exist_ok=True)
        for number in range(copies):
            unused = (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
            (folder / action[:-3] / f"{subject}_{number:02d}.mp4").write_bytes(clip.read_bytes() + unused)


def fill_pictures(folder: Path, counts: Mapping[str, int]) -> None:
    """Fill a folder per class, or in a folder a split, with so many pictures each: a class has its own colour."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for number, name in enumerate(("amber", "blue", "coral", "dun")):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for take in range(count):
                pixels = rng.integers(0, 100, (90, 120, 3)) + 50 * np.array([number, 3 - number, 1])
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{take}.jpg")


def fill_wildlife(folder: Path, demo: Path) -> None:
    """Fill a folder with the demo's clips as camera traps leave them: a folder an event, and a table a split."""
    rows: dict[str, list[str]] = {split: ["video_path,species,activity"] for split in ("train", "val", "test")}
    lines = (demo / "clips.csv").read_text(encoding="utf-8").splitlines()[1:]
    for number, (path, action, subject, species) in enumerate(line.split(",") for line in lines):
        event = f"S1_C1_E{number}_V0001_ID1_T1"
        split = "train" if subject != "subject004" else ("val", "test")[number % 2]
        (folder / event).mkdir(parents=True, exist_ok=True)
        shutil.copy2(demo / path, folder / event / f"{event}_c0.mp4")
        rows[split].append(f"{event}/{event}_c0.mp4,{species},{action}")
    for split, lines in rows.items():
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _environment(home: Path) -> dict[str, str]:
    """Return the variables of a user who has set up nothing but this project, and whose git knows no name."""
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")}
    return {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(home / "user"),
        "XDG_CONFIG_HOME": str(home / "user/config"),
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "ACTREC_CACHE": str(home / "store"),
        # A pytest that runs here would else end with removing what earlier runs of this suite have left: minutes.
        "PYTEST_DEBUG_TEMPROOT": str(home),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **IDENTITY,
    }


def _update(params: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, Mapping) and isinstance(params.get(name), dict) and "kind" not in value:
            _update(params[name], value)
        else:
            params[name] = value
