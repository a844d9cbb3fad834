"""Where the weights of a network come from."""

from typing import Annotated, Literal

from pydantic import Field

from actrec.params.section import Section, Sha256


class NoWeights(Section):
    """Random weights from the seed."""

    kind: Literal["none"]


class TorchvisionWeights(Section):
    """Published weights, by their name in torchvision's enum: KINETICS400_V1, IMAGENET1K_V2, …"""

    kind: Literal["torchvision"]
    name: str


class FileWeights(Section):
    """A local checkpoint. The digest makes its content, not only its path, a part of the experiment."""

    kind: Literal["file"]
    path: str
    sha256: Sha256


class HubWeights(Section):
    """A model of the Hugging Face hub, at one revision: the 40 digits of a commit."""

    kind: Literal["hub"]
    id: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class FolderWeights(Section):
    """The same as a local folder: config.json, preprocessor_config.json, and the weights, whose digest this is."""

    kind: Literal["folder"]
    path: str
    sha256: Sha256


Weights = Annotated[NoWeights | TorchvisionWeights | FileWeights, Field(discriminator="kind")]
OwnWeights = Annotated[NoWeights | FileWeights, Field(discriminator="kind")]
