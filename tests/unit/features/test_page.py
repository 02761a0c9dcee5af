"""The tables of docs/features.md say what the code says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

import onetape.features as features
from onetape.features import CrossSection, Estimator, Timeframed
from onetape.features.estimator import Expression

PAGE = Path(__file__).parents[3] / "docs" / "features.md"
SHIPPED = [
    kind
    for name in features.__all__
    if isinstance(kind := getattr(features, name), type)
    and issubclass(kind, Estimator)
    # What features are made of, one on other bars, one over all instruments: told on their own.
    and kind not in (Estimator, Timeframed, CrossSection)
]


def read_rows() -> dict[str, list[str]]:
    """Cells of the rows of features, by class."""
    lines = PAGE.read_text(encoding="utf-8").partition("## Beside")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    assert {len(each) for each in rows} == {7}
    return {each[0].strip("`").partition("(")[0]: each for each in rows}


def sign(kind: type[Estimator]) -> str:
    fields = [each for each in msgspec.structs.fields(kind) if each.name != "inputs"]
    texts = [
        each.name if each.default is msgspec.NODEFAULT else f"{each.name}={each.default!r}"
        for each in fields
    ]
    return f"`{kind.__name__}({', '.join(texts)})`"


def test_page_has_a_row_for_every_feature_and_no_other() -> None:
    assert set(read_rows()) == {kind.__name__ for kind in SHIPPED}


@pytest.mark.parametrize("kind", SHIPPED)
def test_row_tells_signature_outputs_inputs_and_warm_up(kind: type[Estimator]) -> None:
    signature, value, inputs, first, _, nan, source = read_rows()[kind.__name__]
    assert signature == sign(kind)
    outputs = [
        choice
        for each in msgspec.structs.fields(kind)
        if each.name == "output"
        for choice in get_args(each.type)
    ]
    assert re.findall(r'`"(\w+)"`', value) == outputs
    assert nan
    assert source
    if not issubclass(kind, Expression):
        assert inputs == ", ".join(list(inspect.signature(kind.update).parameters)[1:])
        told = inspect.cleandoc(kind.warm_up.__doc__ or "").partition("\n")[0]
        assert first == told.rstrip(".").partition(": ")[0]


@pytest.mark.parametrize("kind", SHIPPED)
def test_docstring_has_a_nan_policy(kind: type[Estimator]) -> None:
    assert "NaN policy:" in (kind.__doc__ or "")
