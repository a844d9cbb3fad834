"""tests/docs/effects.yaml: of each setting the tests that would fail if the code took no notice of it."""

from pathlib import Path

import pytest
from named_tests import functions_of
from ruamel.yaml import YAML

from tools.params_table import rows

EFFECTS = YAML(typ="safe", pure=True).load(Path(__file__).with_name("effects.yaml").read_text(encoding="utf-8"))
# A section has no effect but those of its settings.
_SECTIONS = ("the settings below", "{name: the settings below}")


def test_every_setting_is_there() -> None:
    assert list(EFFECTS) == [name for name, row in rows().items() if row.values not in _SECTIONS]


@pytest.mark.parametrize("name", EFFECTS)
def test_what_shows_its_effect_is_there(name: str) -> None:
    shown = [test.partition("::") for test in EFFECTS[name]]
    assert shown and all(test in functions_of(file) for file, _, test in shown), EFFECTS[name]
