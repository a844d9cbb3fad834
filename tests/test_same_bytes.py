"""One matrix: any number of workers, with and without the store, undisturbed and killed: the same bytes in every cell.

The cells are made by one process, see killed_stages.py: importing torch takes longer than most of them.
"""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from killed_stages import KILLED_AT, LOADER_WORKERS, STORES, TRAIN_KILLED_AT, WORKERS, cell_name

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).with_name("killed_stages.py")
STAGES = tuple(KILLED_AT)
UNDISTURBED, KILLED = "undisturbed", "killed"
FIRST = cell_name(WORKERS[0], STORES[0], UNDISTURBED)
FIRST_TRAINED = cell_name(LOADER_WORKERS[0], UNDISTURBED)
CELLS = [cell_name(*cell) for cell in product(WORKERS, STORES, (UNDISTURBED, KILLED))]
TRAINED = [cell_name(*cell) for cell in product(LOADER_WORKERS, (UNDISTURBED, *TRAIN_KILLED_AT))]
NUM_CLIPS = 24
Cells = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """Return what every run of the matrix has left."""
    folder = tmp_path_factory.mktemp("cells")
    done = subprocess.run([sys.executable, PROGRAM, folder], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def is_killed(cell: str) -> bool:
    return cell.endswith(KILLED)


def is_off(cell: str) -> bool:
    return ", off," in cell


def test_the_first_cell_is_what_the_others_are_compared_with(cells: Cells) -> None:
    """An item a clip, and everything that the stages say they make."""
    made = {stage: list(left["digests"]) for stage, left in cells["stages"][FIRST].items()}
    assert sum(name.endswith(".pt") for name in made["frames"]) == NUM_CLIPS
    assert sum(name.endswith(".npy") for name in made["mels"]) == NUM_CLIPS
    assert [Path(name).name for name in made["skeletons"]] == ["quarantine_skeletons.csv", "skeletons.pkl"]
    assert [Path(name).name for name in made["features"]] == ["features.h5"]
    assert list(cells["train"][FIRST_TRAINED]["digests"]) == ["models/best.pt", "models/last.pt", "results/history.csv"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_stage_leaves_the_same_bytes(cells: Cells, stage: str, cell: str) -> None:
    assert cells["stages"][cell][stage]["digests"] == cells["stages"][FIRST][stage]["digests"]


@pytest.mark.parametrize("cell", CELLS)
def test_no_half_made_file_is_left(cells: Cells, cell: str) -> None:
    """What is half made has a hidden name: nothing else is in the folders, see `digests`, and nothing hidden stays."""
    left = {stage: cells["stages"][cell][stage]["hidden"] for stage in STAGES}
    assert left == {stage: [] for stage in STAGES}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("cell", [cell for cell in CELLS if is_killed(cell)])
def test_it_was_killed_half_way(cells: Cells, stage: str, cell: str) -> None:
    """Some items were whole when the signal came, and not all."""
    total = cells["stages"][FIRST][stage]["stored"]
    assert 0 < cells["stages"][cell][stage]["stored_when_killed"] < total
    assert total == NUM_CLIPS or stage == "features"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("cell", [cell for cell in CELLS if not is_off(cell)])
def test_the_store_holds_each_item_once(cells: Cells, stage: str, cell: str) -> None:
    """What was whole when the signal came is not made again under another key."""
    assert cells["stages"][cell][stage]["stored"] == cells["stages"][FIRST][stage]["stored"]


@pytest.mark.parametrize("cell", TRAINED)
def test_training_ends_with_the_same_bytes(cells: Cells, cell: str) -> None:
    assert cells["train"][cell]["digests"] == cells["train"][FIRST_TRAINED]["digests"]
    assert cells["train"][cell]["states"] == 0, "nothing is left to go on with"


@pytest.mark.parametrize("cell", TRAINED)
def test_training_leaves_no_half_made_file(cells: Cells, cell: str) -> None:
    assert cells["train"][cell]["hidden"] == []


@pytest.mark.parametrize("workers", LOADER_WORKERS)
def test_training_was_killed_where_it_says(cells: Cells, workers: int) -> None:
    states = {how: cells["train"][cell_name(workers, how)]["states_when_killed"] for how in TRAIN_KILLED_AT}
    assert states == {"before the first state": 0, "between two epochs": 1, "between best.pt and last.pt": 1}
