"""What can be wrong with the rows of a file, where, and which repair may be allowed for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.nearest import nearest
from onetape.domain.numbers import INT64_MAX
from onetape.marketdata.bars import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import polars as pl

_LISTED = 10
_SHOWN_LETTERS = 80
ROUNDING_RATIO = 1e-9
"""How far float rounding may put open or close outside low to high, as a fraction of the price."""

_GRID_RATIO = 1e-3
"""Prices that rounding to ticks moves further than this are worth a word, as a fraction of them."""

_FINER = "define the instrument with a finer --tick"


class Repair(Enum):
    """A change of the data that the caller must ask for. They run in this order.

    | repair            | what it does                                                          |
    | ----------------- | --------------------------------------------------------------------- |
    | `drop-bad`        | leaves out rows whose time or values can't be used; the next row gets |
    |                   | `GAP_BEFORE`                                                          |
    | `sort`            | brings the rows into time order                                       |
    | `drop-duplicates` | keeps the first row of each time; it gets `REPAIRED` where another    |
    |                   | one had other values                                                  |
    """

    DROP_BAD = "drop-bad"
    SORT = "sort"
    DROP_DUPLICATES = "drop-duplicates"


def to_repair(name: str) -> Repair:
    """The repair called `name`; raises `DataError` with the nearest name."""
    try:
        return Repair(name)
    except ValueError:
        known = [repair.value for repair in Repair]
        raise DataError(f"repair {name!r} is unknown", remedy=nearest(name, known)) from None


class Fault(msgspec.Struct, frozen=True, eq=False):
    """One kind of fault, the rows (positions in the file) that have it, its repair.

    `remedy` is what to do where leaving the rows out is not what anyone wants.
    """

    what: str
    rows: IntArray
    repair: Repair
    remedy: str = ""


class RowFaults:
    """Collects the faults of a file's records; each record counts once, with its first fault.

    A refusal shows the first of the faulty records as it is written in `frame`.
    """

    def __init__(
        self, lines: IntArray, place: str, where: str, frame: pl.DataFrame | None = None
    ) -> None:
        self._lines = lines
        self._place = place
        self._where = where
        self._frame = frame
        self.bad: BoolArray = np.zeros(len(lines), dtype=np.bool_)
        self.found: list[Fault] = []

    def add(
        self, what: str, rows: BoolArray, repair: Repair = Repair.DROP_BAD, remedy: str = ""
    ) -> None:
        """These records have this fault, unless one was found before."""
        fresh = rows & ~self.bad
        if fresh.any():
            self.bad = self.bad | fresh
            self.found.append(Fault(what, np.flatnonzero(fresh), repair, remedy))

    def places(self, rows: IntArray) -> str:
        """Text such as `lines 4, 9 and 12 more`."""
        at = ", ".join(map(str, self._lines[rows[:_LISTED]].tolist()))
        more = f" and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
        return f"{self._place}{'s' if len(rows) > 1 else ''} {at}{more}"

    def rows(self, repair: Repair) -> IntArray:
        """Which records that repair handles, in the order of the file."""
        rows = [fault.rows for fault in self.found if fault.repair is repair]
        return np.sort(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.int64)

    def refuse_unless(self, repairs: Collection[Repair]) -> None:
        """Raises `DataError` listing every fault whose repair is not among `repairs`."""
        left = [fault for fault in self.found if fault.repair not in repairs]
        needed = {fault.repair for fault in left}
        allow = ", ".join(each.value for each in Repair if each in needed)
        several = Repair.DROP_DUPLICATES in needed
        if left:
            raise self._refusal(
                left,
                f"correct the file, {'pick one of several symbols, ' if several else ''}"
                f"or allow the repair {allow}",
            )

    def refuse(self) -> None:
        """Raises `DataError` listing every fault, where there is one."""
        if self.found:
            raise self._refusal(self.found, "correct the file")

    def refuse_when_all_bad(self) -> None:
        """Raises `DataError` listing every fault when no record is left to use."""
        if self.bad.all():
            is_told = any(fault.remedy for fault in self.found)
            what = "" if is_told else ": is it the right file?"
            raise self._refusal(self.found, f"no row can be used{what}")

    def _refusal(self, faults: list[Fault], remedy: str) -> DataError:
        count = sum(len(fault.rows) for fault in faults)
        listed = "; ".join(f"{fault.what} ({self.places(fault.rows)})" for fault in faults)
        rows = f"{count} bad row{'s' if count > 1 else ''}"
        first = min(int(fault.rows[0]) for fault in faults)
        own = dict.fromkeys(fault.remedy for fault in faults if fault.remedy)
        return DataError(
            f"{rows}, nothing imported: {listed}{self._show(first)}",
            where=self._where, remedy="; ".join((*own, remedy)),
        )  # fmt: skip

    def _show(self, row: int) -> str:
        """The record as it is written, unless it is of another shape than the header."""
        cells = () if self._frame is None else self._frame.row(row)
        text = ", ".join("" if cell is None else str(cell) for cell in cells)
        if not text.strip(", "):
            return ""
        shown = text if len(text) <= _SHOWN_LETTERS else text[:_SHOWN_LETTERS] + "..."
        return f"; {self._place} {self._lines[row]} has {shown!r}"


def find_price_faults(faults: RowFaults, prices: dict[str, FloatArray], volume: FloatArray) -> None:
    """Adds to `faults` what no bar may have; NaN stands for what is no number."""
    for name, price in prices.items():
        faults.add(f"{name} is not a number", np.isnan(price))
        faults.add(f"{name} is infinite", np.isinf(price))
        faults.add(f"{name} is not positive", price <= 0)
    faults.add("volume is not a number", ~np.isfinite(volume))
    faults.add("volume is negative", volume < 0)
    high, low = prices["high"], prices["low"]
    faults.add("high is below low", high < low)
    for name in ("open", "close"):
        faults.add(f"{name} is outside low to high", (prices[name] > high) | (prices[name] < low))


def find_grid_faults(faults: RowFaults, name: str, price: FloatArray, tick: float) -> None:
    """Adds prices that are more ticks than can be counted, or that round to none."""
    with np.errstate(all="ignore"):  # infinities are faults already
        ticks = price / tick
        faults.add(f"{name} is too many ticks of {tick}", ticks >= INT64_MAX)
        faults.add(f"{name} rounds to no tick of {tick}", (price > 0) & (np.rint(ticks) == 0),
                   remedy=_FINER)  # fmt: skip


def warn_off_grid(prices: Iterable[FloatArray], tick: float) -> list[str]:
    """A word about prices that marks and fills, which are whole ticks, can't come near to."""
    worst = max((_off_grid(price[price > 0], tick) for price in prices), default=0.0)
    if worst <= _GRID_RATIO:
        return []
    return [
        f"prices are up to {100 * worst:.3g} % away from ticks of {tick}, to which orders, fills "
        f"and marks are rounded ({_FINER})"
    ]


def _off_grid(price: FloatArray, tick: float) -> float:
    """Furthest way from a price to its nearest tick, as a fraction of the price."""
    return float(np.max(np.abs(np.rint(price / tick) * tick / price - 1.0), initial=0.0))


def find_order_faults(faults: RowFaults, times: IntArray) -> None:
    """Adds rows whose time an earlier row has, and rows that stand below a later time.

    Rows that are bad already are left aside.
    """
    good = np.flatnonzero(~faults.bad)
    ordered = good[np.argsort(times[good], kind="stable")]
    repeated = np.zeros(len(times), dtype=np.bool_)
    repeated[ordered[1:][np.diff(times[ordered]) == 0]] = True
    faults.add("time is a repetition", repeated, Repair.DROP_DUPLICATES)
    good = np.flatnonzero(~faults.bad)
    backwards = np.zeros(len(times), dtype=np.bool_)
    backwards[good[1:][np.diff(times[good]) < 0]] = True
    faults.add("time is before that of the row above", backwards, Repair.SORT)


def widen_for_rounding(prices: dict[str, FloatArray]) -> BoolArray:
    """Makes high and low hold open and close where only float rounding keeps them from it.

    Vendors' adjusted prices are products, each rounded on its own. Ours: up to `ROUNDING_RATIO`.
    Changes `prices`; returns the rows changed.
    """
    top = np.maximum(prices["open"], prices["close"])
    bottom = np.minimum(prices["open"], prices["close"])
    high, low = prices["high"], prices["low"]
    too_low = (high < top) & (high >= top * (1 - ROUNDING_RATIO))
    too_high = (low > bottom) & (low <= bottom * (1 + ROUNDING_RATIO))
    prices["high"] = np.where(too_low, top, high)
    prices["low"] = np.where(too_high, bottom, low)
    return too_low | too_high
