"""One strategy inside a session: its callbacks, its context, its books, its features."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.events import OrderEvent, OrderFilled, PositionChanged
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import TimeSlice
from onetape.domain.orders import Intent, LiquiditySide
from onetape.execution.simulated.fees import FeeSchedule, flat_ratio_e8
from onetape.marketdata.timeline import TimelineKind
from onetape.portfolio.ledger import Ledger, Position
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.runtime.equity_watch import EquityWatch
from onetape.runtime.market_state import Valuation
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class DeskLine:
    """What an order of one strategy in one instrument needs, looked up once.

    Attributes:
        index: Position of the instrument in the timeline.
        fees: What the strategy pays there.
        taker_e8: The same as a `flat_ratio_e8`, where it is one.
        position: What it holds.
        approve: Its gates, as `RiskEngine.row_for` makes them.
    """

    __slots__ = (
        "approve", "factor", "fees", "index", "instrument", "is_picky", "position", "taker_e8",
    )  # fmt: skip

    def __init__(
        self,
        instrument: Instrument,
        index: int,
        fees: FeeSchedule,
        position: Position,
        approve: Callable[..., RiskApproved | None],
    ) -> None:
        self.instrument = instrument
        self.factor = instrument.minor_per_tick_lot
        self.is_picky = instrument.is_picky
        self.index = index
        self.fees = fees
        self.taker_e8 = flat_ratio_e8(fees, LiquiditySide.TAKER)
        self.position = position
        self.approve = approve


class Runner:
    """Binds a strategy to a session.

    A callback that the strategy does not override is None here, so that the loop never calls it.

    Args:
        name: Name of the strategy in this session.
        strategy: The user's object.
        context: Its window to the world.
        ledger: Its books.
        valuation: What the books are worth now.
        watch: Peak and session-start equity; None when no gate asks for them.
        columns: Its features by name, float64 of shape (rows,) in the order of the timeline.
        subscribed: Whether it wants the bars of each instrument (by position); None for all.
        order_prefix: What its client order ids begin with.
        risk: Its gates, which count for it alone.
        kind: What the rows of the timeline are.

    `on_row` is what hears each of them, `row_callback` its name in the class. `decided` holds the
    intent numbers that an overridden `generate_orders` has used; `rounds` counts how often the
    strategy has been heard at the time `ts_rounds`. `lines` are those that the order desk has
    opened for it.
    """

    __slots__ = (
        "_definitions", "columns", "context", "decided", "failure", "generate", "ledger", "lines",
        "name", "on_order_update", "on_row", "on_slice", "order_prefix", "quarantined", "risk",
        "rounds", "row_callback", "row_type", "strategy", "subscribed", "ts_rounds",
        "valuation", "watch",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        context: Context,
        ledger: Ledger,
        valuation: Valuation,
        watch: EquityWatch | None,
        columns: Mapping[str, npt.NDArray[np.float64]],
        instruments: Sequence[Instrument],
        subscribed: Sequence[bool] | None,
        order_prefix: str,
        risk: RiskEngine,
        kind: TimelineKind,
    ) -> None:
        self.name = name
        self.strategy = strategy
        self.context = context
        self.ledger = ledger
        self.valuation = valuation
        self.watch = watch
        self.columns = columns
        self.subscribed = subscribed
        self.order_prefix = order_prefix
        self.risk = risk
        self.quarantined = False
        self.failure: tuple[str, Exception] | None = None
        self._definitions = {each.id: each for each in instruments}
        self.lines: dict[InstrumentId, DeskLine] = {}
        self.decided: set[int] = set()
        self.rounds = 0
        self.ts_rounds = -1
        self.row_type: Callable[..., Any] = msgspec.defstruct(
            "Features", [(column, float) for column in columns], frozen=True, gc=False
        )
        market = strategy.on_market_event if self._overrides("on_market_event") else None
        self.row_callback = "on_bar" if kind == "bars" else "on_trade"
        self.on_row: Callable[[Any, Context], None] | None = market or (
            getattr(strategy, self.row_callback) if self._overrides(self.row_callback) else None
        )
        self.on_slice: Callable[[TimeSlice, Context], None] | None = None
        if kind == "bars":
            self.on_slice = market or (strategy.on_slice if self._overrides("on_slice") else None)
        self.on_order_update: Callable[[OrderEvent, Context], None] | None = (
            strategy.on_order_update if self._overrides("on_order_update") else None
        )
        self.generate: Callable[[Context], Sequence[Intent]] | None = (
            strategy.generate_orders if self._overrides("generate_orders") else None
        )

    def _overrides(self, callback: str) -> bool:
        return getattr(type(self.strategy), callback) is not getattr(Strategy, callback)

    def wants(self, index: int) -> bool:
        """Whether it is subscribed to the instrument at `index`."""
        return self.subscribed is None or self.subscribed[index]

    def settle(self, fill: OrderFilled) -> PositionChanged:
        """Post a fill and bring everything that looks at the books up to date."""
        if self.watch is not None:
            self.watch.advance()
        change = self.ledger.apply(fill)
        self.valuation.expire()
        definition = self._definitions[fill.instrument]
        self.context.units[fill.instrument] = definition.lots_to_float(change.lots)
        return change

    def feature_rows(self, start: int, stop: int) -> Iterator[Any]:
        """Feature rows of the timeline's rows [start, stop)."""
        if not self.columns:
            return repeat(None, stop - start)
        return map(self.row_type, *(each[start:stop].tolist() for each in self.columns.values()))

    def feature_row(self, row: int) -> Any:
        """The feature row of one row of the timeline; None when there are no features."""
        if not self.columns:
            return None
        return self.row_type(*(float(each[row]) for each in self.columns.values()))

    def place_of(self, error: BaseException) -> str:
        """`file:line` of the strategy's own code where `error` came from."""
        module = type(self.strategy).__module__
        place = ""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__") == module:
                place = f"{frame.f_code.co_filename.rpartition('/')[2]}:{line}"
        return place
