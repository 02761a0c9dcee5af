"""What a strategy's context may ask of its session, answered as of now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import index_of, market_of
from onetape.domain.market import TradingStatus
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderStatus, OrderType, Side
from onetape.execution.oms import Oms
from onetape.marketdata.membership import Membership
from onetape.marketdata.session_rows import SessionRows
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.runtime.market_state import MarketState
from onetape.runtime.option_contract import OptionContract
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog
from onetape.strategy.context import OpenOrder, OptionExercise


class SessionView:
    """Implements the `Surroundings` of a `Context`.

    `runners`, what is `halted` and `options` are given to it when they are built. `universe` tells
    who is in it; None: there is none.
    """

    __slots__ = (
        "_index", "_instruments", "_log", "_market", "_oms", "_universe", "halted", "options",
        "runners",
    )  # fmt: skip

    def __init__(
        self,
        timeline: SessionRows,
        market: MarketState,
        oms: Oms,
        log: StepLog,
        universe: Membership | None = None,
    ) -> None:
        self._universe = universe
        self._market = market
        self._oms = oms
        self._log = log
        self._instruments = {each.id: each for each in timeline.tradable}
        self._index = index_of(timeline.tradable)
        self.runners: Mapping[str, Runner] = {}
        self.halted: Mapping[InstrumentId, TradingStatus] = {}
        self.options: Mapping[InstrumentId, OptionContract] = {}

    def now(self) -> int:
        """Engine time: the newest of the current step and the current row."""
        return max(self._log.now, self._market.ts_row)

    def mark(self, instrument: InstrumentId) -> float:
        """Newest close; NaN before the first bar."""
        return self._market.close(self._index[instrument])

    def cash(self, strategy: str) -> int:
        """Cash in minor units."""
        return self.runners[strategy].ledger.cash

    def cash_in(self, strategy: str, currency: str) -> int:
        """Cash of one currency in minor units; 0 where there are no books in it."""
        ledger = self.runners[strategy].ledger
        if currency == ledger.currency:
            return ledger.cash
        others = ledger.others if isinstance(ledger, CurrencyLedger) else {}
        return others[currency].cash if currency in others else 0

    def settled_cash(self, strategy: str) -> int:
        """Cash less what has not settled yet, in minor units."""
        runner = self.runners[strategy]
        return runner.ledger.cash - runner.unsettled

    def equity(self, strategy: str) -> int:
        """Equity at the marks, in minor units."""
        valuation = self.runners[strategy].valuation
        valuation.refresh()
        return valuation.equity

    def contract(self, option: InstrumentId) -> OptionExercise | None:
        """What a contract of an option is exercised for; None where it is none."""
        found = self.options.get(option)
        if found is None:
            return None
        per_lot = found.instrument.lot_float
        return OptionExercise(
            found.strike / E8, found.top / found.bottom / per_lot, found.cash / E8 / per_lot
        )

    def is_halted(self, instrument: InstrumentId) -> bool:
        """Whether trading of the instrument is halted."""
        return market_of(instrument) in self.halted

    def features_of(self, strategy: str, instrument: InstrumentId) -> Any:
        """Features of the instrument's newest bar; None before its first."""
        row = self._market.last_row(self._index[instrument])
        return self.runners[strategy].feature_row(row) if row >= 0 else None

    def history(self, instrument: InstrumentId, column: str, count: int) -> npt.NDArray[np.float64]:
        """The newest `count` values of a bar column."""
        return self._market.history(instrument, column, count)

    def members(self) -> frozenset[InstrumentId] | None:
        """Members of the universe; None: there is none."""
        universe = self._universe
        return None if universe is None else universe.find_members(self.now())

    def open_orders(self, strategy: str) -> list[OpenOrder]:
        """Open orders of a strategy, oldest first."""
        found: list[OpenOrder] = []
        for order in self._oms.open.values():
            if order.strategy != strategy:
                continue
            ordered = order.lots or order.estimated_lots
            view = view_order(
                self._instruments[order.instrument], order.client_order_id, order.side,
                order.order_type, order.status, ordered, order.filled_lots, order.limit_ticks,
                order.stop_ticks,
            )  # fmt: skip
            found.append(view)
        return found


def view_order(
    instrument: Instrument,
    client_order_id: str,
    side: Side,
    order_type: OrderType,
    status: OrderStatus,
    lots: int,
    filled_lots: int,
    limit_ticks: int,
    stop_ticks: int,
) -> OpenOrder:
    """An order as its strategy sees it, in units and currency."""
    return OpenOrder(
        client_order_id, instrument.id, side, order_type, status,
        instrument.lots_to_float(lots), instrument.lots_to_float(filled_lots),
        instrument.ticks_to_float(limit_ticks), instrument.ticks_to_float(stop_ticks),
    )  # fmt: skip
