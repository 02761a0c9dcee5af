"""What the engine knows of prices when rows come one slice at a time.

The same answers as `MarketState` gives at the same row, from what each instrument needs: its newest
row, and so many before it as a strategy may ask for. Memory does not grow with the session.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import InvariantBroken, StrategyError
from onetape.domain.instrument import InstrumentId
from onetape.domain.legs import index_of
from onetape.domain.market import Bar, CorporateAction, TickKind, make_bar
from onetape.domain.nearest import nearest
from onetape.domain.ports import StandingMarket
from onetape.domain.venue import BarClosed
from onetape.marketdata.live_depth import LiveDepth, LiveDepthState
from onetape.marketdata.session_rows import BAR_ROW, LiveRows, Row, SliceWindow
from onetape.marketdata.standing_ticks import TickRow
from onetape.portfolio.adjusted_marks import AdjustedMark, adjust_marks
from onetape.runtime.market_state import MarketState
from onetape.runtime.trading_day import number_days

HISTORY_BARS = 2_000
"""Bars of each instrument that a strategy may ask back for, unless the configuration says more."""


class LiveMarketState(msgspec.Struct, frozen=True, kw_only=True):
    """What a `LiveMarket` remembers between two slices.

    `bars` or `ticks` are the histories by position of the instrument, oldest first, `rows` the row
    of the newest of each; `day` is the number of the newest day, `start` the row that began it.
    `depths` are what stands at each instrument, where rows are ticks. `adjusted` are the marks that
    corporate actions have made, by position of the instrument.
    """

    row: int
    rows: list[int]
    bars: list[list[BarClosed]]
    day: int
    start: int
    ticks: list[list[TickRow]] = []
    depths: list[LiveDepthState] = []
    adjusted: list[tuple[int, AdjustedMark]] = []


class LiveMarket(MarketState):
    """Marks and history as of `row`, over `LiveRows`.

    Args:
        rows: Where the rows come from.
        trading_day: As `MarketState` takes it.
        history: Rows that are kept of each instrument.
    """

    __slots__ = ("_closes", "_days", "_history", "_live", "_newest", "_pending", "_standing",
                 "_starts", "_ticks", "_trading_day", "_ts_row")  # fmt: skip

    def __init__(  # pyright: ignore[reportMissingSuperCall] - nothing is computed ahead
        self, rows: LiveRows, trading_day: str | None = None, history: int = HISTORY_BARS
    ) -> None:
        self._live = rows
        self._sides = None
        self._days = (-(2**63), -1)
        self._trading_day = trading_day
        self._history = [deque[Row](maxlen=history) for _ in rows.instruments]
        self._newest = [-1] * len(rows.instruments)
        self._pending: deque[tuple[int, int, Row]] = deque()
        self._starts: deque[int] = deque(maxlen=2)
        self._index = index_of(rows.tradable)
        self._ticks = [each.tick_float for each in rows.instruments]
        self._adjusted = {}
        self.close_ticks = self._closes = SliceWindow[int]()
        self.row = -1
        self._ts_row = 0
        self._standing = [] if rows.kind == "bars" else [
            LiveDepth(each, has_quotes=rows.kind != "trades", has_levels=rows.kind == "book")
            for each in rows.instruments
        ]  # fmt: skip

    def begin_slice(self, first_row: int, rows: Sequence[Row], owners: list[int]) -> None:
        """The rows of the next slice; each is seen when `row` comes to it."""
        self._sync()
        self._closes.begin(
            first_row,
            [math.floor(each.close / self._ticks[at] + 0.5)
             for each, at in zip(rows, owners, strict=True)],
        )  # fmt: skip
        days = number_days(
            self._live.instruments,
            np.array([each.session_close for each in rows]),
            np.array([each.ts_close for each in rows]),
            self._trading_day,
        )
        for row, (each, at, day) in enumerate(zip(rows, owners, days.tolist(), strict=True),
                                              first_row):  # fmt: skip
            self._pending.append((row, at, each))
            if isinstance(each, TickRow):
                self._standing[at].expect(row, each)
            if day > self._days[0]:
                self._days = (day, row)
                self._starts.append(row)

    def save(self) -> LiveMarketState:
        """What is needed to go on from here; between two slices."""
        self._sync()
        day, start = self._days
        kept = self._history
        return LiveMarketState(
            row=self.row, rows=list(self._newest), day=day, start=start,
            bars=[[each for each in own if isinstance(each, BarClosed)] for own in kept],
            ticks=[[each for each in own if isinstance(each, TickRow)] for own in kept]
            if self._standing else [],
            depths=[each.save() for each in self._standing],
            adjusted=[
                (index, each)
                for index, each in sorted(self._adjusted.items())
                if each.row == self._newest[index]
            ],
        )  # fmt: skip

    def load(self, state: LiveMarketState) -> None:
        """Go on where `state` was saved."""
        self.row = state.row
        self._newest = list(state.rows)
        for own, rows in zip(self._history, state.ticks or state.bars, strict=True):
            own.extend(rows)
        for standing, saved in zip(self._standing, state.depths, strict=True):
            standing.load(saved)
        self._adjusted = dict(state.adjusted)
        self._days = (state.day, state.start)
        self._starts.append(state.start)
        self._live.total = state.row + 1
        self._ts_row = max((each[-1].ts_known for each in self._history if each), default=0)

    def _sync(self) -> None:
        pending = self._pending
        while pending and pending[0][0] <= self.row:
            row, at, each = pending.popleft()
            self._newest[at] = row
            self._history[at].append(each)
            self._ts_row = each.ts_known
            if self._standing:
                self._standing[at].sync(row)

    def _bar(self, index: int) -> Row | None:
        self._sync()
        history = self._history[index]
        return history[-1] if history else None

    @property
    def ts_row(self) -> int:
        """When the current row was known, ns UTC; 0 before any."""
        self._sync()
        return self._ts_row

    def ts_known(self, index: int) -> int:
        """When the newest row of the instrument at `index` was known, ns UTC; -1 before any."""
        bar = self._bar(index)
        return bar.ts_known if bar is not None else -1

    def last_row(self, index: int) -> int:
        """Newest row of the instrument at `index`; -1 before its first bar."""
        self._sync()
        return self._newest[index]

    def newest_row(self, instrument: InstrumentId) -> int:
        """`last_row` by id."""
        return self.last_row(self._index[instrument])

    def mark_ticks(self, index: int) -> int:
        """Mark of the instrument at `index`, in ticks; 0 before its first bar."""
        adjusted = self._find_adjusted(index)
        if adjusted is not None:
            return adjusted.ticks
        bar = self._bar(index)
        return math.floor(bar.close / self._ticks[index] + 0.5) if bar is not None else 0

    def _find_adjusted(self, index: int) -> AdjustedMark | None:
        """The mark that holds since a corporate action, up to the next row; None: there is none."""
        adjusted = self._adjusted.get(index)
        is_newest = adjusted is not None and adjusted.row == self.last_row(index)
        return adjusted if is_newest else None

    def close(self, index: int) -> float:
        """Newest close, as it came or adjusted by a split since; NaN before the first bar."""
        adjusted = self._find_adjusted(index)
        if adjusted is not None:
            return adjusted.close
        bar = self._bar(index)
        return bar.close if bar is not None else math.nan

    def history(self, instrument: InstrumentId, column: str, count: int) -> npt.NDArray[np.float64]:
        """The newest `count` values of a column of one instrument, oldest first.

        Raises:
            StrategyError: Bars have no such column, or as many are not kept.
        """
        columns = self._live.columns
        if column not in columns:
            raise StrategyError(
                f"history has no column {column!r}", remedy=nearest(column, columns)
            )
        self._sync()
        rows = self._history[self._index[instrument]]
        kept = rows.maxlen or 0
        if count > kept and len(rows) == kept:
            raise StrategyError(
                f"{count} rows of history are asked for, and a live session keeps {kept}",
                remedy="raise data.history_bars in the configuration",
            )
        values = [getattr(each, column) for each in rows]
        return np.array(values[max(0, len(values) - count) :], dtype=np.float64)

    def newest_bar(self, instrument: InstrumentId) -> Bar | None:
        """The newest bar of an instrument; None before its first."""
        bar = self._bar(self._index[instrument])
        if bar is None:
            return None
        instrument = bar.instrument
        values = {name: getattr(bar, name) for name in BAR_ROW}
        return make_bar(
            instrument, **values, source=self._live.source, timeframe=self._live.timeframe
        )

    def newest_print(self, instrument: InstrumentId) -> str:
        """`trade_id` of the newest print that is kept; empty where none is."""
        self._sync()
        kept = reversed(self._history[self._index[instrument]])
        return next((each.trade_id for each in kept if isinstance(each, TickRow) and
                     each.what == TickKind.PRINT), "")  # fmt: skip

    def last_close(self, instrument: InstrumentId) -> int:
        """When the newest bar closed, ns UTC; -1 before the first."""
        bar = self._bar(self._index[instrument])
        return bar.ts_close if bar is not None else -1

    def session_close(self, instrument: InstrumentId) -> int:
        """End of the session of the newest bar, ns UTC; -1 before the first."""
        bar = self._bar(self._index[instrument])
        return bar.session_close if bar is not None else -1

    def session_start_between(self, after: int, row: int) -> int:
        """The last row in (after, row] that begins a session; -1 when there is none."""
        return next((each for each in reversed(self._starts) if after < each <= row), -1)

    def standing(self, instrument: InstrumentId) -> StandingMarket:
        """What stands at the newest row of an instrument; there is nothing where rows are bars."""
        if not self._standing:
            raise InvariantBroken(f"{instrument} has bars only")
        standing = self._standing[self._index[instrument]]
        standing.sync(self.row)
        return standing

    def restore(self, row: int, actions: int = 0, steps: int = 0) -> None:
        """A live session is restored by `load`."""
        raise InvariantBroken("a live market is restored by load")

    def adjust(self, action: CorporateAction) -> list[int]:
        """Positions of the instruments whose marks `action` adjusts, until their next row."""
        changed = adjust_marks(self._live.instruments, action, self._standing_mark)
        self._adjusted.update(changed)
        return list(changed)

    def mark(self, index: int, price: float) -> None:
        """Mark prices don't come yet."""
        raise InvariantBroken(f"a mark price ({price}) in a live session")
