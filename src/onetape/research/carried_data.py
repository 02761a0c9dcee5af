"""Numbers that a strategy brings along: a change of the market data can't move them."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import OnetapeError
from onetape.features.estimator import Estimator
from onetape.marketdata.timeline import Timeline
from onetape.research.session_probe import modules_of
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.sdk import Strategy

NUMBERS_MIN = 16
"""Fewer numbers than this are params."""

RUN_MIN = 8
"""So many values in a row that equal those of a column are no coincidence."""

_BROKEN_CODE = (
    ArithmeticError, AttributeError, LookupError, OnetapeError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
_DISTINCT_MIN = 5
_DEPTH_MAX = 4

Numbers = npt.NDArray[np.float64]


class CarriedData(msgspec.Struct, frozen=True):
    """A table of numbers in a strategy, `where` as its author would find it.

    `column` and `instrument` name the market data that it holds, `rows` how many of its values
    stand in runs of `RUN_MIN` or more of that; empty and 0 when it matches none.
    """

    strategy: str
    where: str
    numbers: int
    instrument: str = ""
    column: str = ""
    rows: int = 0


def find_carried(specs: Sequence[StrategySpec], timeline: Timeline) -> list[CarriedData]:
    """Tables of `NUMBERS_MIN` or more numbers within reach of the code of each strategy.

    Looked at before anything has run: globals of its modules, its class, and of its features the
    fields, the initial state, and what `update` closes over.
    """
    found: dict[tuple[str, str], CarriedData] = {}
    for spec in specs:
        for where, root in _roots(spec.strategy):
            for place, numbers in _walk(root, where, 0):
                if (spec.name, place) not in found:
                    told = CarriedData(spec.name, place, len(numbers))
                    found[spec.name, place] = _match(told, numbers, timeline)
    return list(found.values())


def _roots(strategy: Strategy) -> Iterator[tuple[str, object]]:
    for module in modules_of(strategy):
        if module.partition(".")[0] == "onetape" or module not in sys.modules:
            continue
        for name, value in vars(sys.modules[module]).items():
            if not name.startswith("__"):
                yield name, value
    for owner in type(strategy).__mro__:
        if issubclass(owner, Strategy) and owner is not Strategy:
            for name, value in vars(owner).items():
                if not name.startswith("__"):
                    yield f"{owner.__name__}.{name}", value
    for name, estimator in strategy.features().items():
        yield f"feature {name}", estimator


def _walk(value: object, where: str, depth: int) -> Iterator[tuple[str, Numbers]]:
    if depth > _DEPTH_MAX:
        return
    inner: list[tuple[str, object]] = []
    match value:
        case np.ndarray():
            if value.dtype.kind in "fiu":
                yield from _table(where, value.ravel().astype(np.float64))
        case Estimator():
            inner += [(f"{where}, {name}", each) for name, each in _fields(value)]
            inner += [(f"{where}, initial {name}", each) for name, each in _start_of(value)]
            inner.append((f"{where}, update", type(value).update))
        case msgspec.Struct():
            inner += [(f"{where}.{name}", each) for name, each in _fields(value)]
        case FunctionType():
            cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            inner += [(f"{where}, {name}", cell.cell_contents) for name, cell in cells]
            inner.append((f"{where}, defaults", value.__defaults__))
        case Mapping():
            inner += [(f"keys of {where}", list(value)), (where, list(value.values()))]
        case list() | tuple():
            yield from _table(where, _as_numbers(value))
            inner += [
                (where, each) for each in value if isinstance(each, list | tuple | dict | Estimator)
            ]
            rows = [each for each in value if isinstance(each, list | tuple)]
            if len(rows) >= NUMBERS_MIN and len({len(each) for each in rows}) == 1:
                inner += [(f"{where}[{at}]", list(each)) for at, each in
                          enumerate(zip(*rows, strict=True))]  # fmt: skip
        case _:
            pass
    for place, each in inner:
        yield from _walk(each, place, depth + 1)


def _fields(struct: object) -> Iterator[tuple[str, object]]:
    if isinstance(struct, msgspec.Struct):
        for name in struct.__struct_fields__:
            yield name, getattr(struct, name)


def _start_of(estimator: Estimator) -> Iterator[tuple[str, object]]:
    """Fields of its initial state; none when it needs what only a run brings about."""
    try:
        yield from _fields(estimator.start_state())
    except _BROKEN_CODE:
        return


def _as_numbers(values: Sequence[Any]) -> Numbers:
    if not all(isinstance(each, int | float) for each in values):
        return np.empty(0)
    return np.array(
        [float(each) if math.isfinite(each) else math.nan for each in values], dtype=np.float64
    )


def _table(where: str, numbers: Numbers) -> Iterator[tuple[str, Numbers]]:
    """It, if it holds enough different numbers to be data: a ring of NaN or zeros is none."""
    if len(numbers) >= NUMBERS_MIN and len(np.unique(numbers[np.isfinite(numbers)])) >= RUN_MIN:
        yield where, numbers


def _match(told: CarriedData, numbers: Numbers, timeline: Timeline) -> CarriedData:
    """With the market data that it repeats most of."""
    carried = _windows(numbers)
    varied = np.array([len(np.unique(each)) >= _DISTINCT_MIN for each in carried], dtype=np.bool_)
    best = told
    for instrument in timeline.instruments:
        rows = timeline.rows_of(instrument.id)
        for name in ("close", "open", "high", "low", "volume"):
            column = timeline.columns[name][rows].astype(np.float64)
            found = np.isin(_as_keys(carried), _as_keys(_windows(column))) & varied
            starts = np.flatnonzero(found)
            covered = len(np.unique(starts[:, None] + np.arange(RUN_MIN)))
            if covered > best.rows:
                best = msgspec.structs.replace(
                    told, instrument=instrument.id, column=name, rows=covered
                )
    return best


def _windows(values: Numbers) -> Numbers:
    if len(values) < RUN_MIN:
        return np.empty((0, RUN_MIN))
    return np.lib.stride_tricks.sliding_window_view(values, RUN_MIN)


def _as_keys(windows: Numbers) -> npt.NDArray[np.void]:
    """Each window as one value that can be compared, shape (windows,)."""
    plain = np.ascontiguousarray(windows)
    return plain.view(np.dtype((np.void, plain.dtype.itemsize * RUN_MIN))).ravel()
