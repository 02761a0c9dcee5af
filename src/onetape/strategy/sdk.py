"""The class a user writes: `Strategy`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from onetape.domain.errors import StrategyError
from onetape.domain.events import MarginStatusChanged, OrderEvent
from onetape.domain.market import (
    Bar,
    BookDelta,
    ContractExpiry,
    CorporateAction,
    FundingRate,
    MarketEvent,
    MarkPrice,
    QuoteTick,
    SessionSettlement,
    TimeSlice,
    TradeTick,
    TradingStatus,
)
from onetape.domain.nearest import nearest
from onetape.domain.orders import Intent
from onetape.domain.venue import ConnectionChanged
from onetape.features.estimator import FeatureMap
from onetape.strategy.context import Context
from onetape.strategy.declaration import Param, State, collect, param, state, to_state

__all__ = ["Strategy", "param", "state"]

_PLAIN = frozenset((bool, int, float, str))


class Strategy:
    """Decides. Subclass it, declare params and state, and override the callbacks you need.

    A strategy sees the world only through `ctx`, cannot tell the mode it runs in, and keeps what it
    must remember in declared state. Nothing else survives a checkpoint, so nothing else may be set.
    """

    version: ClassVar[str] = "1"
    declared_params: ClassVar[dict[str, Param]] = {}
    declared_state: ClassVar[dict[str, State]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.declared_params, cls.declared_state = collect(cls)

    def __init__(self, **params: object) -> None:
        """Set the params and the initial state.

        Raises:
            StrategyError: Unknown param, wrong type, or out of range.
        """
        for name in params:
            if name not in self.declared_params:
                raise StrategyError(
                    f"unknown param {name!r}",
                    where=type(self).__name__,
                    remedy=nearest(name, list(self.declared_params)),
                )
        for name, declared in self.declared_params.items():
            value = params.get(name, declared.default)
            where = f"{type(self).__name__}.{name}"
            object.__setattr__(self, name, declared.validate(value, where))
        for name, initial in self.declared_state.items():
            object.__setattr__(self, name, initial.default)
        self.check_params()

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self.declared_state:
            if name in self.declared_params:
                what, remedy = f"param {name!r} is immutable", "declare state for what changes"
            else:
                what = f"{name!r} is not declared"
                remedy = f"write `{name}: ... = state(...)` in the class body"
            raise StrategyError(what, where=type(self).__name__, remedy=remedy)
        if type(value) not in _PLAIN:
            value = to_state(value, f"{type(self).__name__}.{name}")
        object.__setattr__(self, name, value)

    def renew(self) -> Self:
        """Another object of the class: the same params, and the state as it is at first."""
        return type(self)(**{name: getattr(self, name) for name in self.declared_params})

    def check_params(self) -> None:
        """Override to refuse combinations of params: raise `StrategyError` with the remedy."""

    def features(self) -> FeatureMap:
        """The numbers that `ctx.features` holds at each bar, by name."""
        return {}

    def on_start(self, ctx: Context) -> None:
        """Once, before the first market event."""

    def on_market_event(self, event: MarketEvent, ctx: Context) -> None:
        """Every market event of the subscribed instruments; by default one `on_...` per kind."""
        if isinstance(event, Bar):
            self.on_bar(event, ctx)
        elif isinstance(event, TimeSlice):
            self.on_slice(event, ctx)
        elif isinstance(event, QuoteTick):
            self.on_quote(event, ctx)
        elif isinstance(event, TradeTick):
            self.on_trade(event, ctx)
        elif isinstance(event, BookDelta):
            self.on_book(event, ctx)
        elif isinstance(event, FundingRate):
            self.on_funding(event, ctx)
        elif isinstance(event, MarkPrice):
            self.on_mark(event, ctx)
        elif isinstance(event, SessionSettlement):
            self.on_settlement(event, ctx)
        elif isinstance(event, ContractExpiry):
            self.on_expiry(event, ctx)
        elif isinstance(event, TradingStatus):
            self.on_status(event, ctx)
        else:
            self.on_corporate_action(event, ctx)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """A bar has closed."""

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        """All bars of one close time have arrived; each has been through `on_bar` before."""

    def on_quote(self, quote: QuoteTick, ctx: Context) -> None:
        """The best bid or ask has changed."""

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        """A public print."""

    def on_book(self, delta: BookDelta, ctx: Context) -> None:
        """The depth has changed."""

    def on_funding(self, funding: FundingRate, ctx: Context) -> None:
        """Funding was paid."""

    def on_mark(self, mark: MarkPrice, ctx: Context) -> None:
        """The venue has published a mark price."""

    def on_settlement(self, settlement: SessionSettlement, ctx: Context) -> None:
        """The session of a future has ended; its gain of the day has moved to cash."""

    def on_expiry(self, expiry: ContractExpiry, ctx: Context) -> None:
        """A contract has expired; its positions are settled and its orders are gone."""

    def on_status(self, status: TradingStatus, ctx: Context) -> None:
        """Trading of an instrument is halted, or goes on; see `ctx.is_halted`."""

    def on_margin(self, status: MarginStatusChanged, ctx: Context) -> None:
        """The margin of this strategy has another status: a call, a liquidation, or enough."""

    def on_corporate_action(self, action: CorporateAction, ctx: Context) -> None:
        """A corporate action; the books are adjusted by it, and orders that end by it are gone."""

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        """Something happened to an order of this strategy, a denial included."""

    def on_connection(self, change: ConnectionChanged, ctx: Context) -> None:
        """The feed or the venue of a live session is gone, or is there again."""

    def on_timer(self, name: str, ctx: Context) -> None:
        """A timer set with `ctx.set_timer` has come due."""

    def on_stop(self, ctx: Context) -> None:
        """Once, after the last market event. Orders queued here are not sent."""

    def generate_orders(self, ctx: Context) -> Sequence[Intent]:
        """The intents of this step: by default what `ctx.buy/sell/target/...` queued."""
        return ctx.take_intents()
