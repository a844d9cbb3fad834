import os
import subprocess
import sys

import pytest

from actrec.errors import UserError
from actrec.models.hub import hub_folder, weights_file

REVISION = "0123456789abcdef0123456789abcdef01234567"
FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def fill(folder, names=FILES):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return the folder where the hub's cache has the revision; nothing may be asked of the network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def fail(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", fail)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    return tmp_path / "hub/models--owner--model/snapshots" / REVISION


def test_a_branch_is_no_revision(cache):
    for revision in ("main", REVISION[:7], REVISION.upper()):
        with pytest.raises(UserError, match=rf"revision is '{revision}' for owner/model; expected the 40 hexadecimal"):
            hub_folder("owner/model", revision)


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_what_is_cached_is_taken(cache, weights):
    fill(cache, (*FILES[:2], weights))
    assert hub_folder("owner/model", REVISION) == cache
    assert weights_file(cache) == cache / weights


def test_another_revision_in_the_cache_is_not_it(cache):
    fill(cache)
    with pytest.raises(UserError, match="could not be fetched"):
        hub_folder("owner/model", "f" * 40)


@pytest.mark.parametrize("name", FILES)
def test_what_cannot_be_had_is_said_with_the_way_out(cache, name):
    fill(cache)
    (cache / name).unlink()
    with pytest.raises(UserError, match=r"owner/model at 0123.*could not be fetched \(no network\)") as caught:
        hub_folder("owner/model", REVISION)
    text = str(caught.value)
    assert f"hf download owner/model --revision {REVISION} --local-dir DIR" in text
    assert "{kind: folder, path: DIR, sha256: …}" in text and "model.safetensors" in text


def test_what_is_fetched_is_taken(cache, tmp_path, monkeypatch):
    from huggingface_hub.errors import EntryNotFoundError

    asked, folder = [], fill(tmp_path / "fetched")

    def download(model_id, name, *, revision):
        asked.append((model_id, name, revision))
        if name == "model.safetensors":
            raise EntryNotFoundError("this model has none")
        return str(folder / name)

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url, timeout: asked.append((url, timeout)))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert hub_folder("owner/model", REVISION) == folder
    (url, timeout), *files = asked
    assert url.endswith(f"owner/model/resolve/{REVISION}/config.json") and timeout <= 10
    assert files == [("owner/model", name, REVISION) for name in (*FILES, "pytorch_model.bin")]


def test_the_safe_file_is_preferred_and_some_file_is_needed(tmp_path):
    folder = fill(tmp_path / "model", (*FILES, "pytorch_model.bin"))
    assert weights_file(folder) == folder / "model.safetensors"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(UserError, match=rf"{folder}: no weights. Expected one of model.safetensors, pytorch_model.bin"):
        weights_file(folder)


# Waits are added up, not waited for.
OFFLINE = f"""
import time
waits_s = []
time.sleep = waits_s.append
from actrec.errors import UserError
from actrec.models.hub import hub_folder
try:
    hub_folder("owner/model", {REVISION!r})
except UserError as error:
    print(error)
print("waited", sum(waits_s), "s")
"""


@pytest.mark.parametrize("settings", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}], ids=str)
def test_without_a_network_nothing_is_tried_again(tmp_path, settings):
    """With the library itself: switched to offline, and with an address where nobody answers."""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", **settings}
    done = subprocess.run([sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, check=True)
    assert "could not be fetched" in done.stdout and "hf download owner/model" in done.stdout
    assert done.stdout.endswith("\nwaited 0 s\n")  # the library's own retries wait for 23 s
