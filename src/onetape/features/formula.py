"""Features as people write them: `Ema(5).of(Rsi(14))`."""

from __future__ import annotations

import msgspec

from onetape.features.estimator import (
    Combined,
    CombinedWithNumber,
    Composed,
    Estimator,
    list_arguments,
)
from onetape.features.registry import Bound
from onetape.features.timeframe import Timeframed

_TURNED = {"number -": "-", "number /": "/"}


def render_formula(feature: Estimator | str) -> str:
    """The expression that makes `feature`; the name itself for that of a column."""
    match feature:
        case str():
            return feature
        case Composed(outer=Combined(operation=operation), parts=(left, right)):
            return f"({render_formula(left)} {operation} {render_formula(right)})"
        case Composed(outer=CombinedWithNumber(operation=operation, number=number), parts=(part,)):
            inner = render_formula(part)
            if operation in _TURNED:
                return f"({number:g} {_TURNED[operation]} {inner})"
            return f"({inner} {operation} {number:g})"
        case Composed(outer=outer, parts=parts) | Bound(feature=outer, parts=parts):
            return f"{render_formula(outer)}.of({', '.join(map(render_formula, parts))})"
        case Timeframed(feature=inside, timeframe=timeframe):
            return f"Timeframed({render_formula(inside)}, {timeframe})"
        case _:
            return _render_plain(feature)


def _render_plain(feature: Estimator) -> str:
    values = [
        f"{field.name}={value!r}" if at else repr(value)
        for at, field in enumerate(
            each for each in msgspec.structs.fields(type(feature)) if each.name != "inputs"
        )
        if (value := getattr(feature, field.name)) != field.default
    ]
    name = type(feature).__name__
    if list_arguments(type(feature).update) != feature.inputs and type(feature).__mro__[1] is (
        Estimator
    ):
        values.append(f"inputs={feature.inputs!r}")
    return f"{name}({', '.join(values)})"
