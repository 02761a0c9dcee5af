"""Day trades of the account, followed fill by fill."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import msgspec

from onetape.domain.events import OrderFilled
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.execution.oms import Oms
from onetape.risk.gates.day_trades import (
    BUSINESS_DAYS,
    DayTradeCount,
    DayTradeGate,
    is_day_trade,
    is_opening,
)
from onetape.risk.input import RiskInput
from onetape.runtime.market_state import MarketState
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog


class TradingDay(msgspec.Struct):
    """One trading day (by number): its day trades, and its orders that have filled."""

    day: int
    made: int = 0
    trades: int = 0


class DayTradeWatchState(msgspec.Struct, frozen=True):
    """What a `DayTradeWatch` remembers: the last days, and what was opened on which day."""

    days: list[TradingDay]
    opened: dict[InstrumentId, int]


class DayTradeWatch:
    """Counts the day trades of all strategies together; see `is_day_trade`.

    A day is a trading day of the session (`MarketState.session_starts`), and a fill is of the day
    of its row.

    Args:
        log: Tells the row.
        market: Tells the days.
        oms: The open orders.
        instruments: Those of the timeline.
        runners: The strategies.
    """

    __slots__ = ("_counted", "_days", "_log", "_market", "_oms", "_opened", "_runners")

    def __init__(
        self,
        log: StepLog,
        market: MarketState,
        oms: Oms,
        instruments: Sequence[Instrument],
        runners: Mapping[str, Runner],
    ) -> None:
        self._log = log
        self._market = market
        self._oms = oms
        self._runners = runners
        self._counted = {each.id for each in instruments if DayTradeGate.counts(each)}
        self._days: list[TradingDay] = []
        self._opened: dict[InstrumentId, int] = {}

    def save(self) -> DayTradeWatchState:
        """What it remembers."""
        return DayTradeWatchState(
            [msgspec.structs.replace(each) for each in self._days], dict(self._opened)
        )

    def restore(self, state: DayTradeWatchState) -> None:
        """Go on where `state` was saved."""
        self._days = [msgspec.structs.replace(each) for each in state.days]
        self._opened = dict(state.opened)

    def hear(self, fill: OrderFilled, *, is_first: bool) -> None:
        """A fill that the books have not followed yet; `is_first`: of its order."""
        name = fill.instrument
        if name not in self._counted:
            return
        today = self._begin_day()
        opened = self._opened.get(name) == today.day
        side = int(fill.side)
        held = sum(each.ledger.positions[name].lots for each in self._runners.values())
        today.trades += is_first
        today.made += is_day_trade(side, held, opened)
        self._opened.pop(name, None)
        if is_opening(side, held, fill.lots):
            self._opened[name] = today.day

    def show(self, order: RiskInput, count: DayTradeCount) -> None:
        """Fill what the rule reads for `order`."""
        today = self._begin_day()
        count.made = sum(each.made for each in self._days)
        count.trades = sum(each.trades for each in self._days)
        opened = sum(day == today.day for day in self._opened.values())
        count.coming = opened + self._count_openings(order.client_order_id) + 1

    def _count_openings(self, but: str) -> int:
        """Open orders that could open something, or turn a position around; `but` one of them.

        Not those that may only reduce, nor those of a side that all together only close.
        """
        sides: dict[tuple[str, InstrumentId, int], list[int]] = {}
        for each in self._oms.open.values():
            is_asked = each.client_order_id != but and not each.reduce_only
            if is_asked and each.instrument in self._counted:
                key = (each.strategy, each.instrument, int(each.side))
                sides.setdefault(key, []).append(each.leaves)
        return sum(
            len(leaves)
            for (name, instrument, side), leaves in sides.items()
            if is_opening(side, self._runners[name].ledger.positions[instrument].lots, sum(leaves))
        )

    def _begin_day(self) -> TradingDay:
        """The day of the newest row; those that are too old are forgotten."""
        day = bisect_right(self._market.session_starts, self._log.row)
        if not self._days or self._days[-1].day != day:
            self._days.append(TradingDay(day))
        self._days = [each for each in self._days if each.day > day - BUSINESS_DAYS]
        return self._days[-1]
