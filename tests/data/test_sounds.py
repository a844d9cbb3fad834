import pytest

from actrec.data.problems import Problems
from actrec.data.sounds import sounds_beside
from actrec.errors import UserError


def beside(root, *names):
    """Return what is beside these files, by names below the root."""
    problems = Problems("here")
    found = sounds_beside({name: root / name for name in names}, root=root, problems=problems)
    problems.stop_if_any()
    return {path: sound.relative_to(root).as_posix() for path, sound in found.items()}


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_the_sound_has_the_same_folder_and_name(tmp_path):
    touch(tmp_path, "a/x.mp4", "a/x.wav", "a/y.mp4", "b/y.wav", "a/y2.wav", "a/z.1.mp4", "a/z.1.FLAC", "a/z.wav")
    assert beside(tmp_path, "a/x.mp4", "a/y.mp4", "a/z.1.mp4") == {"a/x.mp4": "a/x.wav", "a/z.1.mp4": "a/z.1.FLAC"}


def test_of_several_wav_goes_before_ogg_flac_and_mp3(tmp_path):
    touch(tmp_path, "x.mp4", "x.mp3", "x.Flac", "x.m4a", "x.txt")
    assert beside(tmp_path, "x.mp4") == {"x.mp4": "x.Flac"}
    touch(tmp_path, "x.OGG")
    assert beside(tmp_path, "x.mp4") == {"x.mp4": "x.OGG"}
    touch(tmp_path, "x.wav")
    assert beside(tmp_path, "x.mp4") == {"x.mp4": "x.wav"}


def test_a_silent_file_is_not_its_own_sound(tmp_path):
    touch(tmp_path, "x.ogg", "y.ogg", "y.mp3")
    assert beside(tmp_path, "x.ogg", "y.ogg") == {"y.ogg": "y.mp3"}


def test_nothing_outside_the_root_is_read(tmp_path):
    touch(tmp_path, "root/x.mp4", "secret.wav", "root/y.mp4", "root/y.wav/z")
    (tmp_path / "root/x.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(UserError) as caught:
        beside(tmp_path / "root", "x.mp4", "y.mp4")
    assert "leads out of data.root (1)" in str(caught.value) and "x.mp4: x.wav" in str(caught.value)
    assert "no regular file (1)" in str(caught.value)
