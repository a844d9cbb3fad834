"""Where the weights of a network come from."""

from typing import Annotated, Literal

from pydantic import Field

from actrec.params.section import Section

START = "What the network starts from."
Sha256 = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the file with the weights, 64 hexadecimal digits: so its content, not only its path, "
        "is a part of the experiment. Another file is refused.",
    ),
]
# What torchvision publishes for its networks that are backbones here, and in which file; the best last. Asking
# torchvision itself would load torch.
PUBLISHED = {
    "r3d_18": {"KINETICS400_V1": "r3d_18-b3b3357e.pth"},
    "mc3_18": {"KINETICS400_V1": "mc3_18-a90a0ba3.pth"},
    "r2plus1d_18": {"KINETICS400_V1": "r2plus1d_18-91a641e6.pth"},
    "s3d": {"KINETICS400_V1": "s3d-d76dad2f.pth"},
    "mvit_v2_s": {"KINETICS400_V1": "mvit_v2_s-ae3be167.pth"},
    "swin3d_t": {"KINETICS400_V1": "swin3d_t-7615ae03.pth"},
    "resnet18": {"IMAGENET1K_V1": "resnet18-f37072fd.pth"},
    "resnet34": {"IMAGENET1K_V1": "resnet34-b627a593.pth"},
    "resnet50": {"IMAGENET1K_V1": "resnet50-0676ba61.pth", "IMAGENET1K_V2": "resnet50-11ad3fa6.pth"},
    "resnet101": {"IMAGENET1K_V1": "resnet101-63fe2227.pth", "IMAGENET1K_V2": "resnet101-cd907fc2.pth"},
    "resnet152": {"IMAGENET1K_V1": "resnet152-394f9c45.pth", "IMAGENET1K_V2": "resnet152-f82ba261.pth"},
}
# What torchvision calls the best of them; they have this name too.
_BEST = "DEFAULT"


class NoWeights(Section):
    """Random weights from the seed."""

    kind: Literal["none"]


class TorchvisionWeights(Section):
    """Published weights of torchvision, fetched where torch's cache lacks them."""

    kind: Literal["torchvision"]
    name: str = Field(
        description="The name of the weights in torchvision's enum for the network, such as KINETICS400_V1 or "
        "IMAGENET1K_V2."
    )

    def file_of(self, network: str) -> str:
        """Return the name of the file that torchvision publishes for a network of PUBLISHED."""
        files = PUBLISHED[network]
        return [*files.values()][-1] if self.name == _BEST else files[self.name]


class FileWeights(Section):
    """A local checkpoint."""

    kind: Literal["file"]
    path: str = Field(
        description="The file, absolute or relative to the project: safetensors, or a state dict that torch.save has "
        "written. Those that torchvision, mmaction2, pyskl, SlowFast and pytorchvideo publish fit the networks that "
        "they are of; of a model that actrec has trained the same part is taken."
    )
    sha256: Sha256


class HubWeights(Section):
    """A model of the Hugging Face hub, fetched where its cache lacks it."""

    kind: Literal["hub"]
    id: str = Field(description="The name of the model on the hub, such as MCG-NJU/videomae-base-finetuned-kinetics.")
    revision: Annotated[
        str,
        Field(
            pattern=r"^[0-9a-f]{40}$",
            description="The 40 hexadecimal digits of a commit: a branch may mean other weights tomorrow.",
        ),
    ]


class FolderWeights(Section):
    """A local folder with a model of the Hugging Face hub."""

    kind: Literal["folder"]
    path: str = Field(
        description="The folder, absolute or relative to the project, with config.json, preprocessor_config.json, and "
        "model.safetensors or else pytorch_model.bin."
    )
    sha256: Sha256


Weights = Annotated[NoWeights | TorchvisionWeights | FileWeights, Field(discriminator="kind", description=START)]
OwnWeights = Annotated[NoWeights | FileWeights, Field(discriminator="kind", description=START)]


def refuse_unpublished(weights: NoWeights | TorchvisionWeights | FileWeights, network: str) -> None:
    """Refuse weights by a name that torchvision does not have for its `network`."""
    if isinstance(weights, TorchvisionWeights) and weights.name not in (*PUBLISHED[network], _BEST):
        known = [*PUBLISHED[network]]
        raise ValueError(
            f"weights.name is {weights.name}, but torchvision publishes {' and '.join(known)} for {network}: set it to "
            f"{known[-1]}, or take weights: {{kind: none}}"
        )
