import pytest

from actrec.data.problems import Problems
from actrec.data.readers import read_index
from actrec.data.skeleton_index import SkeletonIndex
from actrec.errors import UserError

FISH, FROG, HILL = "n01443537", "n01644900", "n09193705"


@pytest.fixture
def root(tmp_path):
    """Return a folder in the layout of Tiny ImageNet: three classes, two images of each in train, three in val."""
    for wnid in (FISH, FROG, HILL):
        for number in (0, 1):
            touch(tmp_path / f"train/{wnid}/images/{wnid}_{number}.JPEG")
        (tmp_path / f"train/{wnid}/{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    lines = [f"val_{i}.JPEG\t{wnid}\t0\t32\t44\t62\n" for i, wnid in enumerate((HILL, FISH, FROG))]
    for i in range(3):
        touch(tmp_path / f"val/images/val_{i}.JPEG")
    (tmp_path / "val/val_annotations.txt").write_text("".join(lines))
    touch(tmp_path / "test/images/test_0.JPEG")
    words = f"n00000001\tentity\n{FISH}\tgoldfish, Carassius auratus\n{FROG}\ttailed frog, bell toad\n{HILL}\talp\n"
    (tmp_path / "words.txt").write_text(words)
    return tmp_path


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def read(root, **settings):
    problems = Problems("here")
    reader = {"kind": "tiny_imagenet", "head": "class", "held_out": "val", "names": "wnid", **settings}
    index = read_index(root, reader, media="image", skeletons=SkeletonIndex(), problems=problems)
    problems.stop_if_any()
    assert index.heads == ("class",) and not index.multi_label
    return [(row.path, row.labels["class"], row.split) for row in index.rows]


def test_labels_come_from_folders_and_from_the_annotations(root):
    assert read(root) == [
        *((f"train/{w}/images/{w}_{i}.JPEG", w, "train") for w in (FISH, FROG, HILL) for i in (0, 1)),
        ("val/images/val_0.JPEG", HILL, "val"),
        ("val/images/val_1.JPEG", FISH, "val"),
        ("val/images/val_2.JPEG", FROG, "val"),
    ]


def test_val_may_be_what_is_tested(root):
    assert {(path.partition("/")[0], split) for path, _, split in read(root, held_out="test")} == {
        ("train", "train"),
        ("val", "test"),
    }


def test_classes_may_have_the_first_of_their_words(root):
    assert [name for _, name, split in read(root, names="words") if split == "val"] == [
        "alp",
        "goldfish",
        "tailed frog",
    ]
    with (root / "words.txt").open("a") as file:
        file.write("n99999999\talp\n")  # no class here
    assert "alp" in {name for _, name, _ in read(root, names="words")}


def test_classes_that_share_their_word_are_told_apart(root):
    (root / "words.txt").write_text(f"{FISH}\tcrane, bird\n{FROG}\tcrane\n{HILL}\talp\n")
    names = {name for _, name, _ in read(root, names="words")}
    assert names == {f"crane ({FISH})", f"crane ({FROG})", "alp"}


def test_a_class_without_words_is_listed(root):
    (root / "words.txt").write_text(f"{FISH}\tgoldfish\n{HILL}\t\n")
    with pytest.raises(UserError, match=rf"without words in words\.txt \(2\)(?s:.*){FROG}\n(?s:.*){HILL}"):
        read(root, names="words")
    (root / "words.txt").unlink()
    assert len(read(root)) == 9
    with pytest.raises(UserError, match=r"words\.txt: cannot be read"):
        read(root, names="words")


def test_images_without_an_annotation_are_passed_over_with_a_note(root, capsys):
    touch(root / "val/images/val_3.JPEG")
    assert len(read(root)) == 9
    assert "passed over 1 image of val/images" in capsys.readouterr().err
    (root / "val/images/val_3.JPEG").unlink()
    read(root)
    assert capsys.readouterr().err == ""


def test_lines_that_are_none_are_listed(root):
    with (root / "val/val_annotations.txt").open("a") as file:
        file.write("\nval_3.JPEG\nval_4.JPEG\t\t0\t0\t9\t9\n")
    with pytest.raises(UserError) as caught:
        read(root)
    assert "val_annotations.txt row 5: 'val_3.JPEG'" in str(caught.value) and "row 6" in str(caught.value)


@pytest.mark.parametrize("missing", ["train", "val"])
def test_another_layout_is_named(root, missing):
    (root / missing).rename(root / "elsewhere")
    with pytest.raises(UserError, match=rf"has no folder {missing}.*Set data\.root"):
        read(root)


def test_a_train_folder_without_images_is_named(root):
    (root / "train").rename(root / "elsewhere")
    (root / "train").mkdir()
    with pytest.raises(UserError, match=r"found no image\. Expected train/<wnid>/images/<image>"):
        read(root)
    touch(root / "train/a.jpg")
    with pytest.raises(UserError, match=r"in no class folder(?s:.*)train/a\.jpg"):
        read(root)
