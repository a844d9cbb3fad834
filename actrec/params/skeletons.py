"""The section `skeletons`: what becomes of the skeletons before training."""

from actrec.params.section import Positive, PositiveFloat, Section


class Skeletons(Section):
    """Skeletons to one pickle (persons, frames, joints, coordinates), of the `max_persons` that are seen most."""

    enabled: bool
    max_persons: Positive
    # For one file of data.skeletons.
    timeout_s: PositiveFloat
