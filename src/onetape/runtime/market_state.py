"""What the engine knows of prices at its current row of the timeline, and nothing later."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import StrategyError
from onetape.domain.instrument import InstrumentId
from onetape.domain.legs import index_of
from onetape.domain.market import Bar, BarBlock, CorporateAction
from onetape.domain.nearest import nearest
from onetape.domain.numbers import INT64_MAX
from onetape.domain.ports import StandingMarket
from onetape.marketdata.recorded_depth import RecordedDepth
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.adjusted_marks import AdjustedMark, adjust_marks, fold_marks, make_mark
from onetape.portfolio.closing_marks import closing_prices
from onetape.portfolio.ledger import Ledger
from onetape.runtime.trading_day import find_day_starts


def list_ticks(timeline: Timeline, column: str) -> Sequence[int]:
    """A column of prices in ticks of the instrument of each row, rounded to the nearest.

    Of `bid` and `ask` what a position is marked at; see `closing_prices`.
    """
    sizes = np.array([each.tick_float for each in timeline.instruments])
    columns, owners = timeline.columns, timeline.instrument_index

    def compute(first: int, stop: int) -> npt.NDArray[np.int64]:
        prices = columns[column][first:stop]
        if column in ("bid", "ask"):
            prices = closing_prices(prices, columns["close"][first:stop])
        exact = prices / sizes[owners[first:stop]]
        return np.floor(exact + 0.5).astype(np.int64)

    return timeline.values(timeline.derive(np.int64, compute))


class MarketState:
    """Marks, exposures and history as of `row` (the newest row that is known; -1 before any).

    A mark is the close of an instrument's newest bar, or its newest print, in ticks, rounded to the
    nearest; 0 before the first. All reads are lazy: a row that nobody asks about costs nothing.
    From a corporate action to the next row of its instrument it is what `adjust_marks` makes of it,
    and from a mark price of the venue it is that.
    """

    __slots__ = (
        "_adjusted", "_depths", "_index", "_last_row", "_next_start", "_rows", "_sides", "_single",
        "_synced", "_this_start", "_timeline", "close_ticks", "row", "session_starts",
    )  # fmt: skip

    def __init__(
        self,
        timeline: Timeline,
        trading_day: str | None = None,
        close_ticks: Sequence[int] | None = None,
    ) -> None:
        self._timeline = timeline
        self._single = len(timeline.instruments) == 1
        self.close_ticks = list_ticks(timeline, "close") if close_ticks is None else close_ticks
        self._sides: tuple[Sequence[int], Sequence[int]] | None = None
        if timeline.marks_closing_side:
            self._sides = (list_ticks(timeline, "bid"), list_ticks(timeline, "ask"))
        self.row = -1
        self._synced = -1
        self._last_row = [-1] * len(timeline.instruments)
        self._adjusted: dict[int, AdjustedMark] = {}
        self._index = index_of(timeline.tradable)
        self._depths: dict[InstrumentId, RecordedDepth] = {}
        self._rows: dict[InstrumentId, npt.NDArray[np.int64]] = {}
        self._this_start = self._next_start = 0
        self.session_starts: list[int] = find_day_starts(timeline, trading_day).tolist()

    def restore(self, row: int, actions: int = 0, steps: int = 0) -> None:
        """Stand at `row`, after so many of the timeline's corporate actions and contract steps."""
        self.row = self._synced = row
        for at, each in enumerate(self._timeline.instruments):
            rows = self._timeline.rows_of(each.id)
            before = int(np.searchsorted(rows, row, side="right"))
            self._last_row[at] = int(rows[before - 1]) if before else -1
        self._adjusted = fold_marks(self._timeline, actions, steps)

    def adjust(self, action: CorporateAction) -> list[int]:
        """Positions of the instruments whose marks `action` adjusts, until their next row."""
        changed = adjust_marks(self._timeline.instruments, action, self._standing_mark)
        self._adjusted.update(changed)
        return list(changed)

    def _standing_mark(self, index: int) -> AdjustedMark:
        return AdjustedMark(self.last_row(index), self.mark_ticks(index), self.close(index))

    def mark(self, index: int, price: float) -> None:
        """The venue values the instrument at `index` at `price` until its next row."""
        row = self.last_row(index)
        if row >= 0:
            self._adjusted[index] = make_mark(self._timeline, index, row, price)

    def last_row(self, index: int) -> int:
        """Newest row of the instrument at `index`; -1 before its first bar."""
        if self._single:
            return self.row
        if self._synced < self.row:
            self._sync()
        return self._last_row[index]

    def _sync(self) -> None:
        first = self._synced + 1
        rows = self._timeline.instrument_index[first : self.row + 1].tolist()
        last = self._last_row
        for row, index in enumerate(rows, first):
            last[index] = row
        self._synced = self.row

    @property
    def ts_row(self) -> int:
        """When the current row was known, ns UTC; 0 before any."""
        return int(self._timeline.columns["ts_known"][self.row]) if self.row >= 0 else 0

    def ts_known(self, index: int) -> int:
        """When the newest row of the instrument at `index` was known, ns UTC; -1 before any."""
        row = self.last_row(index)
        return int(self._timeline.columns["ts_known"][row]) if row >= 0 else -1

    def mark_ticks(self, index: int) -> int:
        """Mark of the instrument at `index`, in ticks; 0 before its first bar."""
        row = self.row if self._single else self.last_row(index)
        if self._adjusted and index in self._adjusted and self._adjusted[index].row == row:
            return self._adjusted[index].ticks
        return self.close_ticks[row] if row >= 0 else 0

    @property
    def marks_closing_side(self) -> bool:
        """Whether a position is valued at the side that would close it."""
        return self._sides is not None

    def value_ticks(self, index: int, lots: int) -> int:
        """What a position of so many lots is valued at: the mark, or the side that would close it.

        That is the bid of a long and the ask of a short, in ticks; 0 before the first row.
        """
        if self._sides is None:
            return self.mark_ticks(index)
        row = self.last_row(index)
        return self.ticks_at(row, lots) if row >= 0 else 0

    def ticks_at(self, row: int, lots: int) -> int:
        """`value_ticks` as of a row of the instrument."""
        return self.close_ticks[row] if self._sides is None else self._sides[lots < 0][row]

    def close(self, index: int) -> float:
        """Newest close, as it came or adjusted by a split since; NaN before the first bar."""
        row = self.last_row(index)
        if self._adjusted and index in self._adjusted and self._adjusted[index].row == row:
            return self._adjusted[index].close
        return float(self._timeline.columns["close"][row]) if row >= 0 else float("nan")

    def history(self, instrument: InstrumentId, column: str, count: int) -> npt.NDArray[np.float64]:
        """The newest `count` values of a column of one instrument, oldest first.

        Raises:
            StrategyError: The timeline has no such column.
        """
        columns = self._timeline.columns
        if column not in columns:
            raise StrategyError(
                f"history has no column {column!r}", remedy=nearest(column, columns)
            )
        rows = self._rows_of(instrument)
        stop = int(np.searchsorted(rows, self.row, side="right"))
        values = columns[column][rows[max(0, stop - count) : stop]]
        return values.astype(np.float64)

    def newest_bar(self, instrument: InstrumentId) -> Bar | None:
        """The newest row of an instrument as a bar; None before its first."""
        index, timeline = self._index[instrument], self._timeline
        row = self.last_row(index)
        if row < 0:
            return None
        market = timeline.instruments[index].id
        block = BarBlock(market, timeline.columns, timeline.source, timeline.timeframe)
        return Bar(market, block, row)

    def standing(self, instrument: InstrumentId) -> StandingMarket:
        """What stands at the newest row of an instrument; for quotes, depth and prints."""
        depth = self._depths.get(instrument)
        if depth is None:
            timeline = self._timeline
            market = timeline.instruments[self._index[instrument]]
            depth = self._depths.get(market.id)
            if depth is None:
                depth = RecordedDepth(
                    market, timeline.columns, timeline.rows_of(market.id),
                    has_levels=timeline.kind == "book",
                )  # fmt: skip
            self._depths[market.id] = self._depths[instrument] = depth
        depth.sync(self.row)
        return depth

    def last_close(self, instrument: InstrumentId) -> int:
        """When the newest bar closed or the newest print was, ns UTC; -1 before the first."""
        row = self.row if self._single else self.last_row(self._index[instrument])
        return self._timeline.columns["ts_close"].item(row) if row >= 0 else -1

    def session_close(self, instrument: InstrumentId) -> int:
        """End of the session of the newest bar or print, ns UTC; -1 before the first."""
        row = self.row if self._single else self.last_row(self._index[instrument])
        return self._timeline.columns["session_close"].item(row) if row >= 0 else -1

    def _rows_of(self, instrument: InstrumentId) -> npt.NDArray[np.int64]:
        rows = self._rows.get(instrument)
        if rows is None:
            rows = self._rows[instrument] = self._timeline.rows_of(instrument)
        return rows

    def session_start_between(self, after: int, row: int) -> int:
        """The last row in (after, row] that begins a session; -1 when there is none."""
        if row < self._next_start and after >= self._this_start:
            return -1  # the usual case: the session goes on
        at = bisect_right(self.session_starts, row)
        self._this_start = start = self.session_starts[at - 1]
        self._next_start = self.session_starts[at] if at < len(self.session_starts) else INT64_MAX
        return start if start > after else -1


class Valuation:
    """What a sub-ledger is worth at the marks of a `MarketState`: exact minor units.

    Attributes:
        equity: Cash, what is receivable and what all positions are worth, as of the last `refresh`.
        gross: Sum of the notionals of all positions, shorts too, at their marks.
        net: Sum of the notionals of all positions at their marks, shorts negative.
    """

    __slots__ = ("_index", "_ledger", "_market", "equity", "gross", "net", "row")

    def __init__(self, ledger: Ledger, market: MarketState, index: dict[InstrumentId, int]) -> None:
        self._ledger = ledger
        self._market = market
        self._index = index
        self.row = -2
        self.equity = 0
        self.gross = 0
        self.net = 0

    def expire(self) -> None:
        """The books have changed: the next `refresh` computes again."""
        self.row = -2

    def refresh(self) -> None:
        """Bring the attributes up to date with the market's current row."""
        market = self._market
        if self.row == market.row:
            return
        self.row = market.row
        gross = net = promised = 0
        held = self._ledger.held
        is_sided = bool(held) and market.marks_closing_side
        for identity, position in held.items():
            mark = market.mark_ticks(self._index[identity])
            if is_sided:
                mark = market.value_ticks(self._index[identity], position.lots)
            if position.is_margined:
                notional = position.exposure(mark)
                promised += notional - position.worth(mark)
            else:
                notional = position.lots * position.factor * mark
            net += notional
            gross += notional if position.lots > 0 else -notional
        self.gross = gross
        self.net = net
        self.equity = self._ledger.cash + self._ledger.receivable + net - promised
