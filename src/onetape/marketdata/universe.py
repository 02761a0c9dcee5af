"""Who belongs to a universe at a moment: from records of membership, nothing from the future.

Members that were dropped or delisted later are there at every moment at which they were in, so a
study of the past does not see the survivors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.marketdata.bars import BarColumns, BoolArray, FloatArray, IntArray
from onetape.marketdata.catalog import Catalog, StoredBars
from onetape.marketdata.membership import Filters, Membership, UniverseChoice
from onetape.marketdata.record_kinds import RecordColumns, RecordKind

__all__ = ["SHARES", "Filters", "Universe", "choose_instruments", "read_membership"]

SHARES = "shares"
"""The field of fundamentals that market value is counted by."""


class Universe:
    """A universe as the catalog has it at a version (the newest unless told).

    Raises:
        DataError: There is no such universe or version.
    """

    def __init__(self, catalog: Catalog, name: str, *, version: int | None = None) -> None:
        self.name = name
        self._catalog = catalog
        stored = catalog.records.read(RecordKind.MEMBERSHIP, name, version=version)
        self.version = stored.version
        self._rows: RecordColumns = stored.columns

    def members_at(self, ts: int) -> tuple[str, ...]:
        """Ids of who is in at `ts` (ns UTC) by what was known then, sorted.

        The newest row of each that is effective and known counts.
        """
        rows = self._rows
        past = (rows["ts_event"] <= ts) & (rows["ts_known"] <= ts)
        newest = dict(zip(rows["name"][past].tolist(), rows["value"][past].tolist(), strict=True))
        return tuple(sorted(name for name, value in newest.items() if value == 1.0))

    def ever_members(self, ts_start: int, ts_end: int) -> tuple[str, ...]:
        """Ids of who was in at any moment from `ts_start` up to but not including `ts_end`."""
        rows = self._rows
        moments = np.maximum(rows["ts_event"], rows["ts_known"])
        inside = np.unique(moments[(moments > ts_start) & (moments < ts_end)]).tolist()
        found = {name for ts in (ts_start, *inside) for name in self.members_at(ts)}
        return tuple(sorted(found))

    def select(self, ts: int, filters: Filters) -> tuple[str, ...]:
        """Members at `ts` that every bound keeps, by the bars and fundamentals known then.

        Raises:
            DataError: A member has no bars in the catalog, or no fundamentals where they count; or
                a sector is no universe.
        """
        members = self.members_at(ts)
        if filters.sectors:
            sectors = [Universe(self._catalog, name) for name in filters.sectors]
            found = {name for sector in sectors for name in sector.members_at(ts)}
            members = tuple(name for name in members if name in found)
        if not filters.need_bars:
            return members
        return tuple(name for name in members if self._is_kept(name, ts, filters))

    def _is_kept(self, name: str, ts: int, filters: Filters) -> bool:
        bars = self._catalog.read_bars(name, filters.timeframe)
        known = int(np.searchsorted(bars["ts_known"], ts, side="right"))
        if known < (filters.window if filters.min_turnover is not None else 1):
            return False
        close, volume = bars["close"][:known], bars["volume"][:known]
        if filters.min_price is not None and not close[-1] >= filters.min_price:
            return False
        if filters.min_turnover is not None:
            turnover = float(np.median((close * volume)[-filters.window :]))
            if not turnover >= filters.min_turnover:  # nor where a volume is not known
                return False
        if filters.min_market_value is None:
            return True
        return float(close[-1]) * self._shares(name, ts) >= filters.min_market_value

    def _shares(self, name: str, ts: int) -> float:
        """The newest number of shares that was known; 0 before the first."""
        rows = _read_shares(self._catalog, name, None)
        known = rows["ts_known"] <= ts
        return float(rows["value"][known][-1]) if known.any() else 0.0


def _read_shares(catalog: Catalog, name: str, version: int | None) -> RecordColumns:
    rows = catalog.records.read(RecordKind.FUNDAMENTALS, name, version=version).columns
    own = rows["name"] == SHARES
    if not own.any():
        raise DataError(f"the fundamentals of {name} have no {SHARES!r}",
                        remedy="write them, or leave the bound out")  # fmt: skip
    return {key: column[own] for key, column in rows.items()}


def choose_instruments(
    catalog: Catalog, choice: UniverseChoice, ts_start: int, ts_end: int, version: int | None
) -> tuple[str, ...]:
    """Ids of all who are in the universe, and in one of its sectors, at any moment of a time.

    Raises:
        DataError: There is no such universe or version, or nobody is in.
    """
    ever = Universe(catalog, choice.name, version=version).ever_members(ts_start, ts_end)
    if choice.filters.sectors:
        sectors = [Universe(catalog, name, version=version) for name in choice.filters.sectors]
        kept = {name for each in sectors for name in each.ever_members(ts_start, ts_end)}
        ever = tuple(name for name in ever if name in kept)
    if not ever:
        raise DataError(f"universe {choice.name} has no member in that time",
                        remedy="choose another time, or look: onetape data universe")  # fmt: skip
    return ever


def read_membership(
    catalog: Catalog,
    choice: UniverseChoice,
    instruments: Sequence[InstrumentId],
    bars: Sequence[StoredBars],
    ts_start: int,
    ts_end: int,
    version: int | None = None,
) -> Membership:
    """When each instrument comes and goes, by what was known at each moment; see `Filters`.

    At every moment from `ts_start` on its members are those that `Universe.select` finds then.

    Args:
        catalog: Where the records are.
        choice: The universe.
        instruments: The instruments that count, in the order of the session.
        bars: Theirs, with what lies before `ts_start`, for the bounds; empty where there are none.
        ts_start: The first moment that matters, ns UTC.
        ts_end: The last one.
        version: Of the table of records; None: the newest.

    Raises:
        DataError: There is no such universe or version; a bound is set and there are no bars, or
            adjusted ones, or no fundamentals where they count.
    """
    filters = choice.filters
    if version is None:
        version = catalog.records.newest()
    if filters.need_bars:
        _check_bars(bars, choice.name)
    base = catalog.records.read(RecordKind.MEMBERSHIP, choice.name, version=version).columns
    sectors = [
        catalog.records.read(RecordKind.MEMBERSHIP, name, version=version).columns
        for name in filters.sectors
    ]
    toggles: dict[InstrumentId, list[int]] = {}
    for at, name in enumerate(instruments):
        member = _Steps.of_name(base, name)
        of_sectors = [_Steps.of_name(each, name) for each in sectors]
        moments = [np.array([ts_start]), member.times, *(each.times for each in of_sectors)]
        shares = None
        if filters.need_bars:
            moments.append(bars[at].columns["ts_known"])
            if filters.min_market_value is not None:
                shares = _Steps(_read_shares(catalog, name, version))
                moments.append(shares.times)
        times = np.unique(np.concatenate(moments))
        times = times[(times >= ts_start) & (times <= ts_end)]
        is_in = member.at(times) == 1.0
        if of_sectors:
            is_in &= np.any([each.at(times) == 1.0 for each in of_sectors], axis=0)
        if filters.need_bars:
            is_in &= _keep(bars[at].columns, shares, filters, times)
        toggles[name] = times[np.diff(is_in, prepend=False)].tolist()
    return Membership(choice.name, toggles, version=version or 0)


def _check_bars(bars: Sequence[StoredBars], name: str) -> None:
    if not bars:
        raise DataError(f"universe {name} has bounds of price, turnover or market value, which "
                        "need bars", remedy="leave them out, or use bars")  # fmt: skip
    for each in bars:
        if each.adjustment != "none":
            raise DataError(
                f"the bounds of universe {name} look at prices, and those of {each.instrument} are "
                f"adjusted ({each.adjustment}): later splits and dividends are in them",
                remedy="use raw prices, or leave the bounds out",
            )


class _Steps:
    """The newest value that was known, as it steps from moment to moment; NaN before the first.

    Args:
        rows: `ts_known` and `value` of rows in the order of `ts_event`; of those known the last
            one counts.
    """

    def __init__(self, rows: RecordColumns) -> None:
        order = np.argsort(rows["ts_known"], kind="stable")
        newest = np.maximum.accumulate(order) if len(order) else order
        known: IntArray = rows["ts_known"][order]
        last = np.append(known[1:] != known[:-1], np.ones(min(1, len(known)), dtype=np.bool_))
        self.times: IntArray = known[last]
        self._values: npt.NDArray[Any] = rows["value"][newest[last]]

    @classmethod
    def of_name(cls, rows: RecordColumns, name: str) -> _Steps:
        """Of the rows that are of `name`."""
        own = rows["name"] == name
        return cls({key: rows[key][own] for key in ("ts_known", "value")})

    def at(self, times: IntArray) -> FloatArray:
        """The values at these moments."""
        padded = np.append(np.nan, self._values)
        return padded[np.searchsorted(self.times, times, side="right")]


def _keep(bars: BarColumns, shares: _Steps | None, filters: Filters, times: IntArray) -> BoolArray:
    """Whether every bound keeps an instrument, at each of `times`."""
    close = bars["close"]
    good = np.ones(len(close), dtype=np.bool_)
    if filters.min_price is not None:
        good &= close >= filters.min_price
    if filters.min_turnover is not None:
        good &= _compute_medians(close * bars["volume"], filters.window) >= filters.min_turnover
    row = np.searchsorted(bars["ts_known"], times, side="right") - 1
    kept = (row >= 0) & good[row]
    if filters.min_market_value is not None and shares is not None:
        kept &= close[row] * np.nan_to_num(shares.at(times)) >= filters.min_market_value
    return kept


_CELLS_MAX = 4_000_000
"""Cells of all windows that are held at once: 32 MB."""


def _compute_medians(values: FloatArray, window: int) -> FloatArray:
    """Median of the newest `window` values behind each; NaN where there are fewer."""
    found = np.full(len(values), np.nan)
    rows = max(1, _CELLS_MAX // window)
    for start in range(window - 1, len(values), rows):
        part = values[start - window + 1 : min(start + rows, len(values))]
        windows = np.lib.stride_tricks.sliding_window_view(part, window)
        found[start : start + len(windows)] = np.median(windows, axis=1)
    return found
