"""Who belongs to a universe at a moment: from records of membership, nothing from the future.

Members that were dropped or delisted later are there at every moment at which they were in, so a
study of the past does not see the survivors only.
"""

from __future__ import annotations

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_kinds import RecordColumns, RecordKind

SHARES = "shares"
"""The field of fundamentals that market value is counted by."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which members are kept; None: no such bound. Money is in the instrument's currency.

    Args:
        min_price: Last close.
        min_turnover: Median of close x volume over the newest `window` bars.
        min_market_value: Last close x the newest `shares` of the fundamentals.
        window: Bars that turnover looks at; a member that has fewer is left out.
        timeframe: Of the bars.
    """

    min_price: float | None = None
    min_turnover: float | None = None
    min_market_value: float | None = None
    window: int = 20
    timeframe: str = "1d"

    @property
    def need_bars(self) -> bool:
        """Whether any bound is set."""
        return (self.min_price, self.min_turnover, self.min_market_value) != (None, None, None)


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
            DataError: A member has no bars in the catalog, or no fundamentals where they count.
        """
        members = self.members_at(ts)
        if not filters.need_bars:
            return members
        return tuple(name for name in members if self._is_kept(name, ts, filters))

    def _is_kept(self, name: str, ts: int, filters: Filters) -> bool:
        bars = self._catalog.read_bars(name, filters.timeframe)
        known = int(np.searchsorted(bars["ts_known"], ts, side="right"))
        if known < (filters.window if filters.min_turnover is not None else 1):
            return False
        close, volume = bars["close"][:known], bars["volume"][:known]
        if filters.min_price is not None and close[-1] < filters.min_price:
            return False
        if filters.min_turnover is not None:
            turnover = float(np.median((close * volume)[-filters.window :]))
            if turnover < filters.min_turnover:
                return False
        if filters.min_market_value is None:
            return True
        return float(close[-1]) * self._shares(name, ts) >= filters.min_market_value

    def _shares(self, name: str, ts: int) -> float:
        """The newest number of shares that was known; 0 before the first."""
        rows = self._catalog.records.read(RecordKind.FUNDAMENTALS, name).columns
        known = (rows["name"] == SHARES) & (rows["ts_known"] <= ts)
        if SHARES not in rows["name"]:
            raise DataError(f"the fundamentals of {name} have no {SHARES!r}",
                            remedy="write them, or leave the bound out")  # fmt: skip
        return float(rows["value"][known][-1]) if known.any() else 0.0
