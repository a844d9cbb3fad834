"""What all sections of params.yaml share: complete, strict, and closed; and the types of their values.

What a setting means is said once, in the `description` of its field: recipes/schema.json and docs/params.md show it.
What a section is as a whole, and so what a `kind` stands for, is said by its docstring; a field that is just such a
section needs no words of its own.
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Frac = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


def _stays_below(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        raise ValueError(
            f"'{name}' leads out of data.root, and what lies there can change without a stage running again. Put the "
            "file below data.root"
        )
    return name


# A file or folder of the user's; of what need not be text, STAYS_BELOW looks at text alone.
STAYS_BELOW = AfterValidator(_stays_below)
BelowRoot = Annotated[str, STAYS_BELOW]

# Settings that several sections have.
AttentionHeads = Annotated[Positive, Field(description="Attention heads of each layer; they divide width.")]
Dropout = Annotated[
    BelowOne, Field(description="Share of numbers that training sets to 0 at random, in [0, 1); 0: none.")
]
TimeoutS = Annotated[
    PositiveFloat,
    Field(
        description="Seconds that a worker may take over one item (a clip, a sound track, a file of skeletons) before "
        "it is killed; after a second attempt the item is set aside."
    ),
]


class Section(BaseModel):
    """A part of params.yaml: complete, frozen, and closed to unknown keys."""

    # Strict but for int -> float: `lr: abc` and `epochs: "3"` are mistakes, `lr: 1` is not.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ByModality(Section):
    """A setting a modality. The modalities that a recipe names are those it uses; the others are not in the file."""

    @model_serializer(mode="wrap")
    def _only_used(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {modality: value for modality, value in handler(self).items() if value is not None}

    @property
    def used(self) -> Mapping[str, Any]:
        """The settings of the modalities that are there, by name."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
