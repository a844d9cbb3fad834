"""Files below a folder, by what they are called."""

import pytest

from actrec.errors import UserError
from actrec.media.suffixes import IMAGE, SOUND, VIDEO, find_files


def test_files_are_found_by_their_suffix_at_any_depth(tmp_path):
    names = ["b.mp4", "a/z.MKV", "a/b/c/d.webm", "a.avi", "é ü.Mov"]
    for name in [*names, "a/readme.md", "x.mp4.txt", "mp4", "cover.jpg", "b.wav"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    assert find_files(tmp_path, VIDEO, wanted="video") == sorted(tmp_path / name for name in names)
    assert find_files(tmp_path, SOUND, wanted="sound") == [tmp_path / "b.wav"]
    assert find_files(tmp_path, (*SOUND, *IMAGE), wanted="either") == [tmp_path / "b.wav", tmp_path / "cover.jpg"]


def test_a_file_that_is_named_is_tried_whatever_its_name(tmp_path):
    (tmp_path / "readme.md").touch()
    assert find_files(tmp_path / "readme.md", VIDEO, wanted="video") == [tmp_path / "readme.md"]


def test_nothing_to_find(tmp_path):
    with pytest.raises(UserError, match=r"gone: no such file or folder"):
        find_files(tmp_path / "gone", VIDEO, wanted="video")
    (tmp_path / "a.wav").touch()
    with pytest.raises(UserError, match=r"no video in it; looked for .*\.avi .*\.mp4"):
        find_files(tmp_path, VIDEO, wanted="video")


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    """Such as .Trash, and the ._clip.mp4 that macOS leaves beside clip.mp4 on foreign disks."""
    for name in (".Trash/b.mp4", "c/._a.mp4", "c/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_files(tmp_path, VIDEO, wanted="video") == [tmp_path / "c/a.mp4"]
