import pytest

from actrec.data.coarse import read_map, with_coarse
from actrec.data.problems import Problems
from actrec.data.readers import Index
from actrec.data.rows import Row
from actrec.errors import UserError


def row(number, **labels):
    return Row(f"row {number}", f"{number}", f"{number}.mp4", labels, "train", "")


@pytest.fixture
def add(tmp_path):
    """Return a function that adds a head by this table and returns the index: add(rows, "fine,coarse\\n…")."""

    def add(rows, table, multi_label=(), of="action"):
        (tmp_path / "kinds.csv").write_text(table, encoding="utf-8")
        problems = Problems("here")
        coarse = {"of": of, "head": "kind", "map": "kinds.csv"}
        index = Index(rows, ("action", "place"), frozenset(multi_label))
        made = with_coarse(index, coarse, root=tmp_path, problems=problems)
        problems.stop_if_any()
        return made

    return add


def test_each_row_with_a_label_gets_its_kind(add):
    rows = [row(1, action="run", place="x"), row(2, action="sit, slowly"), row(3, place="y")]
    made = add(rows, 'fine,coarse\nrun,moves\n"sit, slowly",rests\nfly,moves\n', ["place"])
    assert made.heads == ("action", "place", "kind") and made.multi_label == {"place"}
    assert [r.labels for r in made.rows] == [
        {"action": "run", "place": "x", "kind": "moves"},
        {"action": "sit, slowly", "kind": "rests"},
        {"place": "y"},
    ]
    assert rows[0].labels == {"action": "run", "place": "x"}


def test_the_kind_is_that_of_the_head_that_is_named(add):
    (made,) = add([row(1, action="x", place="y")], "fine,coarse\nx,moves\ny,indoors\n", of="place").rows
    assert made.labels == {"action": "x", "place": "y", "kind": "indoors"}


def test_classes_that_the_table_lacks_are_all_told(add):
    rows = [row(1, action="run"), row(2, action="hop"), row(3, action="fly"), row(4, action="hop")]
    with pytest.raises(UserError) as caught:
        add(rows, "fine,coarse\nrun,moves\n")
    text = str(caught.value)
    assert "a class that the table of data.coarse.map lacks (2)" in text
    assert "action 'hop': 2 clips, the first is row 2" in text and "action 'fly': 1 clip," in text


def test_without_the_section_nothing_changes(tmp_path):
    index = Index([row(1, action="run")], ("action",))
    assert with_coarse(index, None, root=tmp_path, problems=Problems("here")) is index


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", r"its first row is ''\. Expected: fine,coarse"),
        ("coarse,fine\na,b\n", "its first row is 'coarse,fine'"),
        ("fine,coarse\na\n", "row 2 is 'a'. Expected two names"),
        ("fine,coarse\na,\n", "row 2 is 'a,'"),
        ("fine,coarse\na,b,c\n", "row 2 is 'a,b,c'"),
        ("fine,coarse\na,b\n\na,c\n", "row 3 has 'a' once more"),
        (f"fine,coarse\n{'a' * 200_000},b\n", r"is not CSV: field larger than .*Expected: fine,coarse"),
    ],
)
def test_a_table_that_says_something_else_is_refused(add, table, expected):
    with pytest.raises(UserError, match=expected):
        add([], table)


def test_a_name_that_is_no_packaged_table_is_a_file(tmp_path):
    with pytest.raises(UserError, match=r"ntu61: cannot be read"):
        read_map(tmp_path, "ntu61")
