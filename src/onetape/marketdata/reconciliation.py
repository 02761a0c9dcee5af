"""One series out of several providers' bars: who is right, who stands in, who disagrees.

Each value (open, high, low, close, volume of one bar) is chosen by itself:

1. In the order of priority of its field, the first provider whose value at least `quorum`
   providers have (itself included) within the tolerance.
2. Where there is none, `Unresolved` says what happens.
3. A bar whose parts don't fit together then (high below open, say) is taken whole from the first
   provider of `priority` that has it.

A bar with a value that a provider disagrees with, or that has no quorum, is marked `SUSPECT`.

Ours; the tests compare it with a twin that goes value by value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.market import BAR_FLOAT_COLUMNS, Quality
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import to_iso
from onetape.marketdata.bars import BarColumns, BoolArray, FloatArray, IntArray

PRICES = ("open", "high", "low", "close")
NOBODY = -1

IndexArray = npt.NDArray[np.int64]


class Unresolved(Enum):
    """What to do with a value that too few providers have.

    | policy   | what it does                                                    |
    | -------- | --------------------------------------------------------------- |
    | `flag`   | takes the first provider's                                      |
    | `drop`   | leaves the bar out; the next one is marked `GAP_BEFORE`         |
    | `refuse` | nothing is written                                              |
    """

    FLAG = "flag"
    DROP = "drop"
    REFUSE = "refuse"


class ProviderBars(msgspec.Struct, frozen=True, eq=False):
    """What one provider says of an instrument: `BAR_COLUMNS` in time order."""

    name: str
    columns: BarColumns
    adjustment: str


class ReconcileOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to choose.

    Args:
        priority: Names of all providers, best first.
        by_field: Another order for a field; those not named follow in the order of `priority`.
        tolerance_ratio: How far two prices may lie apart, as a fraction of the first, to agree.
        volume_tolerance_ratio: The same of volumes; None: volumes are not compared.
        quorum: How many providers must agree on a value.
        unresolved: What happens where they don't.
    """

    priority: tuple[str, ...]
    by_field: Mapping[str, tuple[str, ...]] = {}
    tolerance_ratio: float = 5e-4
    volume_tolerance_ratio: float | None = None
    quorum: int = 1
    unresolved: Unresolved = Unresolved.FLAG


class Reconciled(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The resolved bars and where each value is from.

    `chosen` has for each field the provider (its place in `names`) of each bar; `values` what each
    provider said, shape (providers, bars), NaN where it said nothing; `disagrees` marks values of
    which some provider's lies outside the tolerance; `unresolved` those without a quorum. These
    four speak of the bars in `columns` only. `taken_whole` bars have all prices of one provider
    because the chosen ones did not fit together; `dropped` counts bars left out.
    """

    names: tuple[str, ...]
    columns: BarColumns
    chosen: dict[str, IndexArray]
    values: dict[str, FloatArray]
    disagrees: dict[str, BoolArray]
    unresolved: dict[str, BoolArray]
    taken_whole: BoolArray
    dropped: int


def reconcile(providers: Sequence[ProviderBars], options: ReconcileOptions) -> Reconciled:
    """One series out of several.

    Raises:
        ConfigError: The orders don't name the providers, or the quorum is more than there are.
        DataError: The providers' sessions differ, or a value has no quorum and the policy is
            `refuse`.
    """
    by_name = {each.name: each for each in providers}
    orders = {field: _order(field, by_name, options) for field in BAR_FLOAT_COLUMNS}
    if not 1 <= options.quorum <= len(providers):
        raise ConfigError(f"quorum {options.quorum} can't be had from {len(providers)} providers")
    names = options.priority
    times = np.unique(np.concatenate([each.columns["ts_open"] for each in providers]))
    rows = [_place(by_name[name].columns, times) for name in names]
    values = {
        field: np.stack([_spread(by_name[name].columns[field], row) for name, row in
                         zip(names, rows, strict=True)])
        for field in BAR_FLOAT_COLUMNS
    }  # fmt: skip
    chosen: dict[str, IndexArray] = {}
    unresolved: dict[str, BoolArray] = {}
    for field, order in orders.items():
        chosen[field], unresolved[field] = _choose(values[field], order, _tolerance(field, options),
                                                   options.quorum)  # fmt: skip
    whole = _mend(values, chosen)
    taken = {field: _take(values[field], chosen[field]) for field in BAR_FLOAT_COLUMNS}
    disagrees: dict[str, BoolArray] = {
        field: np.any(_differs(values[field], taken[field], _tolerance(field, options)), axis=0)
        for field in BAR_FLOAT_COLUMNS
    }
    lost: BoolArray = np.any(list(unresolved.values()), axis=0)
    if options.unresolved is Unresolved.REFUSE and lost.any():
        raise DataError(
            f"{int(lost.sum())} bars have no {options.quorum} providers that agree, the first at "
            f"{to_iso(int(times[lost.argmax()]))}, nothing was written",
            remedy="widen the tolerance, lower the quorum, or choose flag or drop",
        )
    kept: BoolArray = (
        ~lost if options.unresolved is Unresolved.DROP else np.ones(len(times), dtype=np.bool_)
    )
    clocks = _clocks([by_name[name].columns for name in names], rows, chosen["close"])
    doubtful: BoolArray = lost | np.any(list(disagrees.values()), axis=0)
    quality = clocks["quality"] | doubtful * int(Quality.SUSPECT)
    quality[1:] |= (~kept)[:-1] * int(Quality.GAP_BEFORE)
    columns = {**clocks, "ts_open": times, "quality": quality, **taken}
    return Reconciled(
        names=tuple(names),
        columns={name: column[kept] for name, column in columns.items()},
        chosen={field: each[kept] for field, each in chosen.items()},
        values={field: each[:, kept] for field, each in values.items()},
        disagrees={field: each[kept] for field, each in disagrees.items()},
        unresolved={field: each[kept] for field, each in unresolved.items()},
        taken_whole=whole[kept],
        dropped=int((~kept).sum()),
    )


def _order(field: str, by_name: Mapping[str, ProviderBars], options: ReconcileOptions) -> list[int]:
    """Places in `priority`, best first for this field."""
    for name in (*options.priority, *options.by_field.get(field, ())):
        if name not in by_name:
            raise ConfigError(f"there is no provider {name!r}", remedy=nearest(name, by_name))
    for name in options.by_field:
        if name not in BAR_FLOAT_COLUMNS:
            raise ConfigError(f"bars have no field {name!r}",
                              remedy=nearest(name, BAR_FLOAT_COLUMNS))  # fmt: skip
    if sorted(options.priority) != sorted(by_name):
        raise ConfigError("priority must name each provider once",
                          remedy=f"these are {', '.join(by_name)}")  # fmt: skip
    order = dict.fromkeys((*options.by_field.get(field, ()), *options.priority))
    return [options.priority.index(name) for name in order]


def _tolerance(field: str, options: ReconcileOptions) -> float:
    if field != "volume":
        return options.tolerance_ratio
    asked = options.volume_tolerance_ratio
    return np.inf if asked is None else asked


def _place(columns: BarColumns, times: IntArray) -> IntArray:
    """Each of `times` as a row of `columns`; `NOBODY` where it has none."""
    at = np.minimum(np.searchsorted(columns["ts_open"], times), len(columns["ts_open"]) - 1)
    return np.where(columns["ts_open"][at] == times, at, NOBODY)


def _spread(column: FloatArray, rows: IntArray) -> FloatArray:
    return np.where(rows == NOBODY, np.nan, column[rows])


def _differs(values: FloatArray, against: FloatArray, tolerance: float) -> BoolArray:
    """Which values are there and lie further from `against` than the tolerance allows."""
    if tolerance == np.inf:
        return np.zeros(values.shape, dtype=np.bool_)
    return np.abs(values - against) > tolerance * np.abs(against)


def _choose(
    values: FloatArray, order: Sequence[int], tolerance: float, quorum: int
) -> tuple[IndexArray, BoolArray]:
    """The provider of each value, and where it had no quorum (the first one's stands then)."""
    there = ~np.isnan(values)
    chosen = np.full(values.shape[1], NOBODY, dtype=np.int64)
    for each in order:
        agree = (there & ~_differs(values, values[each], tolerance)).sum(axis=0)
        good = there[each] & (agree >= quorum)
        chosen = np.where((chosen == NOBODY) & good, each, chosen)
    unresolved = chosen == NOBODY
    for each in order:
        chosen = np.where((chosen == NOBODY) & there[each], each, chosen)
    return chosen, unresolved


def _take(values: FloatArray, chosen: IndexArray) -> FloatArray:
    return values[chosen, np.arange(values.shape[1])]


def _mend(values: Mapping[str, FloatArray], chosen: dict[str, IndexArray]) -> BoolArray:
    """Bars whose chosen prices contradict each other get those of one provider; returns which."""
    opens, high, low, close = (_take(values[field], chosen[field]) for field in PRICES)
    broken = (high < np.maximum(opens, close)) | (low > np.minimum(opens, close))
    first = np.argmax(~np.isnan(values["close"]), axis=0)
    for field in PRICES:
        chosen[field] = np.where(broken, first, chosen[field])
    return broken


def _clocks(
    columns: Sequence[BarColumns], rows: Sequence[IntArray], chosen: IndexArray
) -> BarColumns:
    """Times and flags of each bar: those of the provider of its close, known when all are."""
    found: BarColumns = {}
    for name in ("ts_close", "session_close", "quality"):
        found[name] = np.zeros(len(chosen), dtype=np.int64)
    gap = np.zeros(len(chosen), dtype=np.bool_)
    found["ts_known"] = np.full(len(chosen), np.iinfo(np.int64).min)
    for place, (each, row) in enumerate(zip(columns, rows, strict=True)):
        there, mine = row != NOBODY, chosen == place
        for name in ("ts_close", "session_close", "quality"):
            found[name] = np.where(mine, each[name][row], found[name])
        # A gap is one still when nobody has a bar in it.
        flagged = there & (each["quality"][row] & int(Quality.GAP_BEFORE) != 0)
        gap[1:] |= flagged[1:] & there[:-1]
        found["ts_known"] = np.where(
            there, np.maximum(found["ts_known"], each["ts_known"][row]), found["ts_known"]
        )
    found["quality"] = found["quality"] & ~int(Quality.GAP_BEFORE) | gap * int(Quality.GAP_BEFORE)
    for each, row in zip(columns, rows, strict=True):
        other = (row != NOBODY) & (each["ts_close"][row] != found["ts_close"])
        if other.any():
            at = to_iso(int(each["ts_open"][row[other.argmax()]]))
            raise DataError(f"the bar of {at} closes at different times at different providers",
                            remedy="import them with the same calendar")  # fmt: skip
    return found
