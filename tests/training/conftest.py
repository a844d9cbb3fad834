import pytest
import torch
from tiny_runs import Bench, make_bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def both(tmp_path_factory) -> Bench:
    """Return the same with sound, which some clips lack."""
    return make_bench(tmp_path_factory.mktemp("both"), sound=True)


@pytest.fixture(autouse=True)
def as_left_by_others():
    """Let no test of this package see, or leave, torch settings of another one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
