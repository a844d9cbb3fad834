"""The sections `data` and `demo`: where clips and labels come from."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.section import Count, Frac, Name, Positive, PositiveFloat, Section


class SplitNames(Section):
    """The name that each split has in the files; null where there is none. Where val has none, train gives some."""

    train: str
    val: str | None
    test: str | None


class FolderReader(Section):
    """A folder per class: `<root>/<class>/…` or, with `splits`, the folder of each split, and classes inside.

    The same folder may stand for val and for nothing else: `{train: train, val: test, test: null}` chooses the epoch on
    the folder test, as some publications do.
    """

    kind: Literal["folder"]
    head: Name
    splits: SplitNames | None
    # A regular expression with one group, searched in the path below the root: who or where was filmed.
    group_regex: str | None


class TinyImageNetReader(Section):
    """Tiny ImageNet: train/<wnid>/images/*, and val/images/* with val/val_annotations.txt; its test has no labels.

    `held_out`: the split that the folder val becomes. With test, val is taken out of train by data.split. `names`: wnid
    (n01443537), or the first of the words that words.txt has for it.
    """

    kind: Literal["tiny_imagenet"]
    head: Name
    held_out: Literal["val", "test"]
    names: Literal["wnid", "words"]


class SplitFiles(Section):
    """The file of each split; null where there is none."""

    train: str
    val: str | None
    test: str | None


class PeopleColumns(Section):
    """Rows are about certain people of a picture: the columns of a box each, such as those of a pair, A then B.

    `boxes`: four columns a person, x, y, width, height in pixels; with `corners` left, top, right, bottom. `ids`: a
    column a person with who it is; null: rows are told apart by their boxes. `persons`: the column with how many are in
    the picture; null: those whom any row of that picture is about. `wraps`: pictures are panoramas all round.
    """

    boxes: Annotated[list[Annotated[list[str], Field(min_length=4, max_length=4)]], Field(min_length=2, max_length=2)]
    corners: bool
    ids: Annotated[list[str], Field(min_length=2, max_length=2)] | None
    persons: str | None
    wraps: bool


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
    # A clip is a pair of people; a pair in a video is what is to be seen of it at start_s.
    people: PeopleColumns | None

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
    # A file below the root, or ntu60, ntu120, ma52: the names that come with the package.
    class_names: str | None


class KeepAll(Section):
    """Samples without a skeleton are clips like others."""

    kind: Literal["keep"]


class WithoutPublished(Section):
    """The samples that the authors list as having no skeleton (302 of NTU60, 535 of NTU120) are left out."""

    kind: Literal["published"]


class WithoutListed(Section):
    """The samples that a file below the root names, one a line, are left out."""

    kind: Literal["list"]
    file: str


class WithoutSkeleton(Section):
    """The samples of which data.skeletons has nothing are left out."""

    kind: Literal["skeletons"]


Missing = Annotated[KeepAll | WithoutPublished | WithoutListed | WithoutSkeleton, Field(discriminator="kind")]


class NtuReader(Section):
    """NTU RGB+D: files named SsssCcccPpppRrrrAaaa, as `<name>_rgb.avi`, in any folder below `media`.

    `held_out` says which split the half that the protocol evaluates on becomes. With test, val is taken out of train in
    whole subjects, by data.split.
    """

    kind: Literal["ntu"]
    head: Name
    dataset: Literal["ntu60", "ntu120"]
    protocol: Literal["xsub", "xview", "xset"]
    held_out: Literal["val", "test"]
    media: str
    missing: Missing

    @model_validator(mode="after")
    def _protocol_is_published(self) -> Self:
        published = {"ntu60": ("xsub", "xview"), "ntu120": ("xsub", "xset")}[self.dataset]
        if self.protocol not in published:
            raise ValueError(f"protocol is {self.protocol}; {self.dataset} has {' and '.join(published)}")
        return self


class JrdbReader(Section):
    """JRDB's stitched panoramas with the interactions of JRDB-Social: a pair of people a row, a group a scene.

    `classes`: relations and the class that each becomes; others are left out. `frame_interval`: every so many pictures
    of a scene. `several`: of pairs with several of these, skip them or take the first of `classes`.
    """

    kind: Literal["jrdb"]
    head: Name
    images: str
    labels: str
    classes: Annotated[dict[str, str], Field(min_length=1)]
    frame_interval: Positive
    several: Literal["skip", "first"]


class SkeletonReader(Section):
    """Names, labels and splits out of the pickle that data.skeletons names; `splits` null: data.split chooses them."""

    kind: Literal["skeletons"]
    head: Name
    splits: SplitNames | None
    # A file below the root, or ntu60, ntu120, ma52; null: numbers are names.
    class_names: str | None
    # Searched in the clip's name: who or where was filmed.
    group_regex: str | None


Reader = Annotated[
    FolderReader | CsvReader | ListReader | NtuReader | TinyImageNetReader | JrdbReader | SkeletonReader,
    Field(discriminator="kind"),
]


class SkeletonFiles(Section):
    """Where the skeletons are: a file below the root, or a folder of them. A clip's is the one of its name."""

    kind: Literal["pyskl", "ntu_text", "ntu_text_2d", "npz", "csv", "coco_json"]
    path: str
    layout: Literal["coco17", "ntu25", "ma52_28", "utkinect20"]

    @model_validator(mode="after")
    def _text_has_its_own_layout(self) -> Self:
        if self.kind in ("ntu_text", "ntu_text_2d") and self.layout != "ntu25":
            raise ValueError(f"layout is {self.layout}; kind {self.kind} has the joints of ntu25")
        return self


class Coarse(Section):
    """A head more: what the classes of the head `of` are kinds of, by a table with the columns fine and coarse.

    `map` is ntu60_semantic, ntu60_by_8 or ma52, which come with the package, or a file below the root.
    """

    of: Name
    head: Name
    map: str


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
    # What each clip must have; an image is a clip of one frame. Sound may also be in a file of the same name beside a
    # video; of skeletons alone the reader gives names that data.skeletons has.
    media: Literal["video", "image", "sound", "skeleton"]
    reader: Reader
    skeletons: SkeletonFiles | None
    coarse: Coarse | None
    split: Split
    max_bad_frac: Frac

    @property
    def shows_pairs(self) -> bool:
        """Whether a clip is about two people of a picture."""
        return self.reader.kind == "jrdb" or (self.reader.kind == "csv" and self.reader.people is not None)

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that clips have labels of, the reader's first."""
        own = tuple(self.reader.heads) if isinstance(self.reader, CsvReader) else (self.reader.head,)
        return (*own, self.coarse.head) if self.coarse else own

    @model_validator(mode="after")
    def _skeletons_are_there(self) -> Self:
        kind = self.reader.kind
        if self.media == "skeleton" and self.skeletons is None:
            raise ValueError("media is skeleton, but skeletons is null: say where they are")
        if self.media == "skeleton" and kind == "folder":
            raise ValueError("media is skeleton, but reader.kind is folder, which looks for videos: take csv or list")
        if kind == "tiny_imagenet" and self.media != "image":
            raise ValueError("reader.kind is tiny_imagenet, which has pictures: set media: image")
        if kind == "skeletons" and (
            self.media != "skeleton" or self.skeletons is None or self.skeletons.kind != "pyskl"
        ):
            raise ValueError("reader.kind is skeletons: that needs media: skeleton, and skeletons.kind: pyskl")
        if isinstance(self.reader, NtuReader) and self.reader.missing.kind == "skeletons" and self.skeletons is None:
            raise ValueError("reader.missing.kind is skeletons, but skeletons is null: take published")
        return self

    @model_validator(mode="after")
    def _pairs_are_of_a_moment(self) -> Self:
        if self.reader.kind == "jrdb" and self.media != "image":
            raise ValueError("reader.kind is jrdb, which has pictures: set media: image")
        own = self.reader
        if isinstance(own, CsvReader) and own.people and own.start_s is None and self.media == "video":
            raise ValueError(
                "reader.people is about a moment of a video, but reader.start_s is null: name the column of times"
            )
        return self

    @model_validator(mode="after")
    def _coarse_has_a_head_to_start_from(self) -> Self:
        if self.coarse is None:
            return self
        *labelled, head = self.heads
        if self.coarse.of not in labelled:
            raise ValueError(f"coarse.of is '{self.coarse.of}'; reader labels {labelled}")
        if head in labelled:
            raise ValueError(f"coarse.head is '{head}', which reader labels already: choose another name")
        if isinstance(self.reader, CsvReader) and self.coarse.of in self.reader.multi_label:
            raise ValueError(f"coarse.of is '{self.coarse.of}', of which clips may have several classes: take another")
        return self


class Demo(Section):
    """The data set that the first stage makes."""

    enabled: bool
    # What figures do: walk with turning arms, perhaps carry something meanwhile; stills are pictures, not videos.
    scene: Literal["solo", "carrying", "stills", "pairs"]
    subjects: Annotated[int, Field(ge=3)]
    takes: Positive
    clip_s: PositiveFloat
    size_px: Annotated[int, Field(ge=32, multiple_of=2)]
    seed: Count
