"""The sections `data` and `demo`: where clips and labels come from."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.section import Count, Frac, Name, Positive, PositiveFloat, Section


class FolderReader(Section):
    """A folder per class: `<root>/<class>/…` or, with `splits: true`, `<root>/<train|val|test>/<class>/…`."""

    kind: Literal["folder"]
    head: Name
    splits: bool
    # A regular expression with one group, searched in the path below the root: who or where was filmed.
    group_regex: str | None


class SplitFiles(Section):
    """The file of each split; null where there is none."""

    train: str
    val: str | None
    test: str | None


class CsvReader(Section):
    """A table with a row a clip, or one a split; each setting names the column to read, null where there is none.

    Where there is no column of groups or samples, `group_regex` and `sample_regex` may find them in the path: what all
    groups of the expression match, joined by "_". `multi_label`: the heads whose cells name several classes, and by
    what these are parted.
    """

    kind: Literal["csv"]
    file: str | SplitFiles
    path: str
    heads: Annotated[dict[Name, str], Field(min_length=1)]
    multi_label: dict[Name, Annotated[str, Field(min_length=1)]]
    id: str | None
    split: str | None
    group: str | None
    group_regex: str | None
    # Clips of one sample are judged as one: their probabilities are averaged.
    sample: str | None
    sample_regex: str | None
    start_s: str | None
    end_s: str | None

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        for name, column, regex in (
            ("group", self.group, self.group_regex),
            ("sample", self.sample, self.sample_regex),
        ):
            if column is not None and regex is not None:
                raise ValueError(f"{name} and {name}_regex are both set: give one, and null for the other")
        if self.split is not None and isinstance(self.file, SplitFiles):
            raise ValueError("file names a table for each split, so there is no column of splits: set split: null")
        return self


class ListReader(Section):
    """Kinetics / mmaction2 lists: a line a clip, `path label_number`; `class_names` holds one name a line."""

    kind: Literal["list"]
    head: Name
    files: SplitFiles
    media: str
    class_names: str | None


Reader = Annotated[FolderReader | CsvReader | ListReader, Field(discriminator="kind")]


class Split(Section):
    """How clips without a given split are shared out: whole groups, classes kept in proportion."""

    train_frac: Annotated[float, Field(gt=0, le=1)]
    val_frac: Frac
    test_frac: Frac
    seed: Count

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train_frac + self.val_frac + self.test_frac
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train_frac + val_frac + test_frac must be 1, got {total:g}")
        return self


class Data(Section):
    """Where clips and labels come from."""

    name: Name
    root: Annotated[str, Field(min_length=1)]
    # What each file must have. Sound may also be in a file of the same name beside a video.
    media: Literal["video", "sound"]
    reader: Reader
    split: Split
    max_bad_frac: Frac


class Demo(Section):
    """The data set that the first stage makes."""

    enabled: bool
    subjects: Annotated[int, Field(ge=3)]
    takes: Positive
    clip_s: PositiveFloat
    size_px: Annotated[int, Field(ge=32, multiple_of=2)]
    seed: Count
