"""The experiment as data: `load` reads and checks params.yaml, `schema` says what may stand in it."""

from actrec.params.load import load
from actrec.params.schema import Params

__all__ = ["Params", "load"]
