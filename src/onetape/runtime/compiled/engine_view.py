"""What a strategy in Python may ask of a compiled session, answered from the engine's record."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from operator import length_hint
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import OrderStatus, OrderType, Side
from onetape.domain.rule_compiler import Packed
from onetape.marketdata.timeline import Timeline
from onetape.runtime.feature_rows import FeatureRows
from onetape.runtime.market_state import MarketState
from onetape.runtime.session_view import view_order
from onetape.strategy.context import OpenOrder, OptionExercise


class EngineView:
    """Implements the `Surroundings` of a `Context` over the record of a compiled session.

    Attributes:
        market: The market; where it stands is right after `follow`.
        words: The engine's record, as whole numbers.
        floats: The same as float64.
        quiet_left: Counts the rows before `quiet_stop` that the strategy has still to hear, of a
            stretch in which nothing else happens; None: there is no such stretch.
    """

    def __init__(
        self,
        engine: Packed,
        timeline: Timeline,
        close_ticks: Sequence[int],
        features: FeatureRows,
        order_prefix: str,
    ) -> None:
        self.market = MarketState(timeline, close_ticks=close_ticks)
        self.quiet_stop = 0
        self.quiet_left: Iterator[None] | None = None
        self.floats = memoryview(engine.words.data)
        self.words = self.floats.cast("B").cast("q")
        self._engine = engine
        self._features = features
        self._order_prefix = order_prefix
        self.slots: int = engine.read("slots")
        self._instruments = timeline.instruments
        self._index = {each.id: at for at, each in enumerate(timeline.instruments)}
        self._ts_known = timeline.columns["ts_known"]
        self._factor = timeline.instruments[0].minor_per_tick_lot
        self._cash, self._net, self._now = map(self.place, ("cash", "net", "now"))
        self._lots = self.first("position_lots")

    def follow(self) -> MarketState:
        """The market at the row that the strategy hears."""
        market = self.market
        if self.quiet_left is not None:
            market.row = self.quiet_stop - 1 - length_hint(self.quiet_left)
        return market

    def place(self, field: str) -> int:
        """The word of a number."""
        return self._engine.record.find(field)[1]

    def first(self, field: str) -> int:
        """The first word of an array."""
        return self.words[self.place(field)]

    def now(self) -> int:
        """Engine time, ns UTC."""
        row = self.follow().row
        now = self.words[self._now]
        return now if row < 0 else max(now, self._ts_known.item(row))

    def mark(self, instrument: InstrumentId) -> float:
        """Newest close; NaN before the first bar."""
        return self.follow().close(self._index[instrument])

    def cash(self, strategy: str) -> int:
        """Cash in minor units."""
        return self.words[self._cash]

    def cash_in(self, strategy: str, currency: str) -> int:
        """Cash of the one currency there is."""
        is_own = currency == self._instruments[0].settlement_currency
        return self.words[self._cash] if is_own else 0

    def settled_cash(self, strategy: str) -> int:
        """Cash: everything settles at once."""
        return self.words[self._cash]

    def equity(self, strategy: str) -> int:
        """Equity at the marks, in minor units."""
        words = self.words
        if len(self._instruments) > 1:
            return words[self._cash] + words[self._net]
        lots = words[self._lots]
        held = lots * self._factor * self.follow().mark_ticks(0) if lots else 0
        return words[self._cash] + held

    def contract(self, option: InstrumentId) -> OptionExercise | None:
        """None: no instrument is an option."""
        return None

    def is_halted(self, instrument: InstrumentId) -> bool:
        """Never."""
        return False

    def features_of(self, strategy: str, instrument: InstrumentId) -> Any:
        """Features of the instrument's newest bar; None before its first."""
        row = self.follow().last_row(self._index[instrument])
        return self._features.at(row) if row >= 0 else None

    def history(self, instrument: InstrumentId, column: str, count: int) -> npt.NDArray[np.float64]:
        """The newest `count` values of a bar column, oldest first."""
        return self.follow().history(instrument, column, count)

    def members(self) -> Container[InstrumentId] | None:
        """None: there is no universe."""
        return None

    def open_orders(self, strategy: str) -> list[OpenOrder]:
        """Open orders, oldest first."""
        read = self._engine.read
        slots = read("open_slots")[: read("open_count")]
        names = ("number", "instrument", "side", "type", "status", "lots", "estimated", "filled",
                 "limit", "stop")  # fmt: skip
        columns = [read(f"order_{name}")[slots].tolist() for name in names]
        return [
            view_order(
                self._instruments[instrument], f"{self._order_prefix}{number}", Side(side),
                OrderType(kind), OrderStatus(status), lots or estimated, filled, limit, stop,
            )
            for number, instrument, side, kind, status, lots, estimated, filled, limit, stop
            in zip(*columns, strict=True)
        ]  # fmt: skip
