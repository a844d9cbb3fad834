"""The section `data.reader`: how clips and their labels are found below the data root."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.section import STAYS_BELOW, BelowRoot, Name, Positive, Section

HeadName = Annotated[
    Name, Field(description="The head that the classes are of: a name of your choice, by which model.heads has it.")
]
GroupRegex = Annotated[
    str | None,
    Field(
        description="Regular expression with a group in brackets, such as '(site\\d+)_', searched in each clip's path "
        "below the root, or in its skeleton's name: what the brackets match, several joined by _, says who or where "
        "was filmed, and ingest stops at a clip without a match. Clips of one group are never in two splits. null: "
        "nothing is searched."
    ),
]
ClassNames = Annotated[
    BelowRoot | None,
    Field(
        description="File below the root with a class name a line, that of number 0 first; or ntu60, ntu120, ma52, "
        "whose names come with the package. null: the numbers are the names."
    ),
]
ValName = Annotated[
    BelowRoot | None,
    Field(description="The same for val; null: there is none, and val is taken out of train, see data.split.val_frac."),
]
TestName = Annotated[
    BelowRoot | None, Field(description="The same for test; null: there is none. Then data.split.test_frac must be 0.")
]


class SplitNames(Section):
    """The name that each split has in the files."""

    train: BelowRoot = Field(
        description="The folder below the root, or the list in the file of skeletons, that is train."
    )
    val: ValName
    test: TestName


class FolderReader(Section):
    """A folder per class: `<root>/<class>/…` or, with `splits`, the folder of each split, and classes inside."""

    kind: Literal["folder"]
    head: HeadName
    splits: SplitNames | None = Field(
        description="The folder of each split. The same folder may stand for val and for nothing else: {train: train, "
        "val: test, test: null} chooses the epoch on the folder test, as some publications do. null: the folders below "
        "the root are the classes, and data.split shares the clips out."
    )
    group_regex: GroupRegex


class TinyImageNetReader(Section):
    """Tiny ImageNet: train/<wnid>/images/*, and val/images/* with val/val_annotations.txt; its test has no labels."""

    kind: Literal["tiny_imagenet"]
    head: HeadName
    held_out: Literal["val", "test"] = Field(
        description="The split that the folder val becomes. val: it chooses the epoch, and there is no test. test: val "
        "is taken out of train, by data.split."
    )
    names: Literal["wnid", "words"] = Field(
        description="What classes are called. wnid: such as n01443537. words: the first of the words that words.txt "
        "has for it."
    )


class SplitFiles(Section):
    """The file of each split."""

    train: BelowRoot = Field(description="The table or list of train, below the root.")
    val: ValName
    test: TestName


class PeopleColumns(Section):
    """Columns that say which two people of a picture, A and B, a row is about."""

    boxes: Annotated[
        list[Annotated[list[str], Field(min_length=4, max_length=4)]],
        Field(
            min_length=2,
            max_length=2,
            description="The four columns of A's box and those of B's, in pixels: x, y, width, height, or what "
            "`corners` says. Empty cells: nobody has seen them, and the row is set aside.",
        ),
    ]
    corners: bool = Field(
        description="true: the four columns are left, top, right, bottom. false: x, y, width, height."
    )
    ids: Annotated[list[str], Field(min_length=2, max_length=2)] | None = Field(
        description="The columns with who A is and who B is; null: people are told apart by their boxes."
    )
    persons: str | None = Field(
        description="Column with how many people are in the picture, a number that model.backbones.geometry looks at; "
        "null: as many as the rows of that picture are about."
    )
    wraps: bool = Field(
        description="true: pictures are panoramas all round, whose left and right edges meet. false: they end there."
    )


class CsvReader(Section):
    """A table with a row a clip, or one a split; each setting names the column to read, null where there is none."""

    kind: Literal["csv"]
    file: Annotated[str | SplitFiles, STAYS_BELOW] = Field(
        description="The table below the root, with a row a clip and commas, semicolons or tabs between cells; or a "
        "table for each split."
    )
    path: str = Field(
        description="Column with the path of the clip's file below the root; where data.media is skeleton, with the "
        "name of the skeleton."
    )
    heads: Annotated[
        dict[Name, str],
        Field(
            min_length=1,
            description="{head: the column with its classes}, heads being names of your choice, by which model.heads "
            "has them. A clip with an empty cell has no label for that head; it needs one for some head.",
        ),
    ]
    multi_label: dict[Name, Annotated[str, Field(min_length=1)]] = Field(
        description="{head: separator}, such as {tags: ';'}: heads whose cells name several classes, and what stands "
        "between these. {}: none."
    )
    id: str | None = Field(
        description="Column with a name of each clip that no other has; null: its path, and behind it the part of the "
        "file, or the people, that it is about."
    )
    split: str | None = Field(
        description="Column with train, val or test; a clip with an empty cell gets its split from data.split, as all "
        "do with null, unless `file` names a table for each split."
    )
    group: str | None = Field(
        description="Column with who or where was filmed: clips of one group are never in two splits. null: there is "
        "none, or group_regex finds it."
    )
    group_regex: GroupRegex
    sample: str | None = Field(
        description="Column with what a clip is a segment of: clips of one sample are judged as one, by the mean of "
        "their probabilities, and never in two splits. null: there is none, or sample_regex finds it."
    )
    sample_regex: str | None = Field(
        description="As group_regex: what the brackets match in a clip's path is its sample. null: nothing is searched."
    )
    start_s: str | None = Field(
        description="Column with the second of its file at which a clip begins, or, of people in a video, at which "
        "their boxes hold; null, or an empty cell: at the beginning."
    )
    end_s: str | None = Field(
        description="Column with the second of its file at which a clip ends; null, or an empty cell: at the end."
    )
    people: PeopleColumns | None = Field(
        description="Columns that say which two people of a picture a clip is about; of a video it is what is to be "
        "seen of them at start_s. null: clips are about all that they show."
    )

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
    """Kinetics / mmaction2 lists: a line a clip, `path label_number`."""

    kind: Literal["list"]
    head: HeadName
    files: SplitFiles
    media: BelowRoot = Field(
        description="The folder below the root that the paths in the lists start from; . for the root itself."
    )
    class_names: ClassNames


class KeepAll(Section):
    """Samples without a skeleton are clips like others."""

    kind: Literal["keep"]


class WithoutPublished(Section):
    """The samples that the authors list as having no skeleton (302 of NTU60, 535 of NTU120) are left out."""

    kind: Literal["published"]


class WithoutListed(Section):
    """The samples that a file names are left out."""

    kind: Literal["list"]
    file: BelowRoot = Field(
        description="Text file below the root with the name of a sample a line, such as S001C002P003R002A013."
    )


class WithoutSkeleton(Section):
    """The samples of which data.skeletons has nothing are left out."""

    kind: Literal["skeletons"]


Missing = Annotated[KeepAll | WithoutPublished | WithoutListed | WithoutSkeleton, Field(discriminator="kind")]


class NtuReader(Section):
    """NTU RGB+D: files named SsssCcccPpppRrrrAaaa, as `<name>_rgb.avi`."""

    kind: Literal["ntu"]
    head: HeadName
    dataset: Literal["ntu60", "ntu120"] = Field(
        description="Which actions there are: A001 to A060, or A001 to A120. Files of others are passed over."
    )
    protocol: Literal["xsub", "xview", "xset"] = Field(
        description="What parts training from evaluation, as the papers have it. xsub: subjects. xview: cameras, of "
        "ntu60. xset: setups, of ntu120."
    )
    held_out: Literal["val", "test"] = Field(
        description="The split that the half which the protocol evaluates on becomes. val: it chooses the epoch, and "
        "there is no test. test: val is taken out of train in whole subjects, by data.split."
    )
    media: BelowRoot = Field(
        description="The folder below the root with the videos, in it or in folders of it; . for the root itself. "
        "Where data.media is skeleton, names come from data.skeletons instead."
    )
    missing: Missing = Field(description="What becomes of samples that have no skeleton.")

    @model_validator(mode="after")
    def _protocol_is_published(self) -> Self:
        published = {"ntu60": ("xsub", "xview"), "ntu120": ("xsub", "xset")}[self.dataset]
        if self.protocol not in published:
            raise ValueError(f"protocol is {self.protocol}; {self.dataset} has {' and '.join(published)}")
        return self


class JrdbReader(Section):
    """JRDB's stitched panoramas with the interactions of JRDB-Social: a pair of people a row, a group a scene."""

    kind: Literal["jrdb"]
    head: HeadName
    images: BelowRoot = Field(
        description="The folder below the root with the panoramas of each scene, as <scene>/000000.jpg."
    )
    labels: BelowRoot = Field(description="The folder below the root with the labels of each scene, as <scene>.json.")
    classes: Annotated[
        dict[str, str],
        Field(
            min_length=1,
            description="{relation: the class that it becomes}; a class may be made of several relations, and others "
            "are left out.",
        ),
    ]
    frame_interval: Positive = Field(
        description="One in so many pictures of a scene is taken, from its first on; 1: all."
    )
    several: Literal["skip", "first"] = Field(
        description="What becomes of pairs with several of these classes. skip: they are left out. first: they are of "
        "the one that comes first in `classes`."
    )


class SkeletonReader(Section):
    """Names, labels and splits out of the pickle that data.skeletons names."""

    kind: Literal["skeletons"]
    head: HeadName
    splits: SplitNames | None = Field(
        description="Which list of names in the file each split is. null: all its skeletons are clips, and data.split "
        "shares them out."
    )
    class_names: ClassNames
    group_regex: GroupRegex


Reader = Annotated[
    FolderReader | CsvReader | ListReader | NtuReader | TinyImageNetReader | JrdbReader | SkeletonReader,
    Field(discriminator="kind", description="How clips and their labels are found below the root."),
]
