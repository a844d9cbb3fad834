"""The section `skeletons`: what becomes of the skeletons before training."""

from pydantic import Field

from actrec.params.section import Positive, Section, TimeoutS


class Skeletons(Section):
    """Skeletons to one pickle (persons, frames, joints, coordinates)."""

    enabled: bool = Field(
        description="Read skeletons, which model.backbones.pose and frames.region: persons need; false: the stage has "
        "nothing to do."
    )
    max_persons: Positive = Field(
        description="People kept of each clip: those who are seen in most frames, of equals those who move most."
    )
    timeout_s: TimeoutS
