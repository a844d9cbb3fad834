"""The sections `data` and `demo`: where clips and labels come from."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.readers import CsvReader, NtuReader, Reader
from actrec.params.section import BelowRoot, Count, Frac, Name, Positive, PositiveFloat, Section


class SkeletonFiles(Section):
    """Where the skeletons are: a file below the root, or a folder of them. A clip's is the one of its name."""

    kind: Literal["pyskl", "ntu_text", "ntu_text_2d", "npz", "csv", "coco_json"] = Field(
        description="What the files are. pyskl: a pickle of pyskl or mmaction2. ntu_text: NTU RGB+D's .skeleton text, "
        "of which joints in space are taken; ntu_text_2d: of which their places in the colour picture are. npz: numpy "
        "arrays, <name>/keypoint. csv: a row a joint. coco_json: COCO's keypoints, a picture a frame."
    )
    path: BelowRoot = Field(
        description="A file below the root, or a folder with files of this kind, in it or in folders of it."
    )
    layout: Literal["coco17", "ntu25", "ma52_28", "utkinect20"] = Field(
        description="Which joints there are, in which order. coco17: COCO's. ntu25: those of NTU RGB+D, a Kinect v2. "
        "ma52_28: OpenPose's 18 and five of each hand, as MA-52 has them. utkinect20: those of a Kinect v1."
    )

    @model_validator(mode="after")
    def _text_has_its_own_layout(self) -> Self:
        if self.kind in ("ntu_text", "ntu_text_2d") and self.layout != "ntu25":
            raise ValueError(f"layout is {self.layout}; kind {self.kind} has the joints of ntu25")
        return self


class Coarse(Section):
    """A head more: what the classes of another head are kinds of."""

    of: Name = Field(description="The head of the fine classes, which data.reader labels.")
    head: Name = Field(description="What the new head is called, in model.heads too.")
    map: BelowRoot = Field(
        description="The table with the columns fine and coarse: ntu60_semantic, ntu60_by_8 or ma52, which come with "
        "the package, or a CSV file below the root."
    )


class Split(Section):
    """How clips without a given split are shared out: whole groups, classes kept in proportion."""

    train_frac: Annotated[float, Field(gt=0, le=1, description="The share of train; the three sum to 1.")]
    val_frac: Frac = Field(
        description="The share of val. Where all clips have a split and none is val, it is taken out of train instead: "
        "val_frac / (train_frac + val_frac) of that."
    )
    test_frac: Frac = Field(description="The share of test; 0: there need not be any.")
    seed: Count = Field(
        description="Orders groups of equal size before they are dealt out: another seed, another split."
    )

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train_frac + self.val_frac + self.test_frac
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train_frac + val_frac + test_frac must be 1, got {total:g}")
        return self


class Data(Section):
    """Where clips and labels come from."""

    name: Name = Field(
        description="What the data set is called: what stages make of it goes to data/interim/<name>/ and "
        "data/processed/<name>/."
    )
    root: Annotated[
        str,
        Field(
            min_length=1,
            description="The folder with the data, absolute or relative to the project; all files that `data` names "
            "are below it. The stage demo draws its own to data/raw/demo.",
        ),
    ]
    media: Literal["video", "image", "sound", "skeleton"] = Field(
        description="What each clip must have. video: a video. image: a picture, which is a clip of one frame. sound: "
        "a sound file, or a video whose sound is in itself or in a file of the same name beside it. skeleton: a "
        "skeleton and no file of its own; the reader gives names that data.skeletons has."
    )
    reader: Reader
    skeletons: SkeletonFiles | None = Field(
        description="Where the joints of people are: a file, or a folder of files. A clip's skeleton is the one of its "
        "name. null: there are none."
    )
    coarse: Coarse | None = Field(description="A head more: what the classes of another head are kinds of; null: none.")
    split: Split
    max_bad_frac: Frac = Field(
        description="The largest share of clips, or of their sound tracks or skeletons, that a stage may find "
        "unusable: with more it stops and lists them."
    )

    @property
    def shows_pairs(self) -> bool:
        """Whether a clip is about two people of a picture."""
        return self.reader.kind == "jrdb" or (self.reader.kind == "csv" and self.reader.people is not None)

    @property
    def is_shared_out(self) -> bool:
        """Whether only `split` says which clips are in which split."""
        reader = self.reader
        if isinstance(reader, CsvReader):
            return reader.split is None and isinstance(reader.file, str)
        return reader.kind == "folder" and reader.splits is None

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
    """The synthetic data set that the stage `demo` draws."""

    enabled: bool = Field(description="Draw it to data/raw/demo; false: the data are your own.")
    scene: Literal["solo", "carrying", "stills", "pairs"] = Field(
        description="solo: videos of a figure that walks with turning arms. carrying: it carries something meanwhile. "
        "stills: pictures of a figure that holds something up. pairs: panoramas of figures that walk, stand or sit "
        "together."
    )
    subjects: Annotated[
        int, Field(ge=3, description="Different figures, of pairs different places: at least one for each split.")
    ]
    takes: Positive = Field(
        description="Clips, of stills pictures, of each figure and class; of pairs pictures of each place."
    )
    clip_s: PositiveFloat = Field(
        description="Length of a clip in seconds, at least 0.5. Pictures, of stills and pairs, do not look at it."
    )
    size_px: Annotated[
        int,
        Field(
            ge=32,
            multiple_of=2,
            description="Side of the square picture in pixels; of pairs its height, half its width.",
        ),
    ]
    seed: Count = Field(description="Decides what figures look like and how they move: another seed, other clips.")
