"""`Context`: a strategy's only window to the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import StrategyError
from onetape.domain.events import SignalRecorded
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.nearest import nearest
from onetape.domain.numbers import E8, compute_ticks, to_minor, to_ratio_e8
from onetape.domain.orders import (
    CancelIntent,
    Intent,
    OrderIntent,
    OrderStatus,
    OrderType,
    QuantityBasis,
    ReplaceIntent,
    Side,
    TimeInForce,
)

GTC = TimeInForce.GTC
_LOTS = QuantityBasis.LOTS
_MARKET, _LIMIT, _STOP, _STOP_LIMIT = OrderType


class OpenOrder(msgspec.Struct, frozen=True):
    """What a strategy may know of an order of its own that is not closed. Prices in currency."""

    client_order_id: str
    instrument: InstrumentId
    side: Side
    order_type: OrderType
    status: OrderStatus
    quantity: float
    filled: float
    limit: float
    stop: float


class TimerRequest(msgspec.Struct, frozen=True):
    """A strategy wants `on_timer(name)` at `ts_due` (ns UTC)."""

    strategy: str
    name: str
    ts_due: int


class Surroundings(Protocol):
    """What the pipeline answers when a strategy asks; everything as of now, nothing later."""

    def now(self) -> int:
        """Engine time, ns UTC."""
        ...

    def mark(self, instrument: InstrumentId) -> float:
        """Newest close; NaN before the first bar."""
        ...

    def cash(self, strategy: str) -> int:
        """Cash in minor units."""
        ...

    def equity(self, strategy: str) -> int:
        """Equity at the marks, in minor units."""
        ...

    def features_of(self, strategy: str, instrument: InstrumentId) -> Any:
        """Features of the instrument's newest bar; None before its first."""
        ...

    def history(self, instrument: InstrumentId, column: str, count: int) -> npt.NDArray[np.float64]:
        """The newest `count` values of a bar column, oldest first."""
        ...

    def open_orders(self, strategy: str) -> Sequence[OpenOrder]:
        """Open orders of a strategy, oldest first."""
        ...


class Context:
    """Portfolio, features, history, time and orders, as known at this moment.

    Attributes:
        features: Row of the current bar's features: one float attribute per name of
            `Strategy.features()`, NaN until warm. In order updates and timers it is still the
            row of the bar before, of whatever instrument: ask `features_of` there.
        instruments: Ids this strategy is subscribed to, in the order of the configuration.
        units: Signed quantity held of each (the pipeline keeps it; read it with `position`).
        queue: What the strategy has asked for in this step (the pipeline takes it).
        intent_count: Intents so far; numbers them.
    """

    __slots__ = (
        "_around", "_definitions", "_order_prefix", "_strategy", "features", "instruments",
        "intent_count", "queue", "units",
    )  # fmt: skip

    def __init__(
        self,
        strategy: str,
        definitions: Sequence[Instrument],
        around: Surroundings,
        order_prefix: str,
    ) -> None:
        self.features: Any = None
        self.instruments = tuple(each.id for each in definitions)
        self.intent_count = 0
        self._strategy = strategy
        self._definitions = {each.id: each for each in definitions}
        self._around = around
        self._order_prefix = order_prefix
        self.units: dict[InstrumentId, float] = dict.fromkeys(self.instruments, 0.0)
        self.queue: list[Intent | TimerRequest | SignalRecorded] = []

    # What is true now.

    @property
    def now(self) -> int:
        """Engine time, ns UTC."""
        return self._around.now()

    @property
    def cash(self) -> float:
        """Cash of this strategy, in currency; negative when borrowed."""
        return self._around.cash(self._strategy) / E8

    @property
    def equity(self) -> float:
        """Cash plus positions at their marks, in currency."""
        return self._around.equity(self._strategy) / E8

    def instrument(self, instrument: InstrumentId) -> Instrument:
        """The definition of an instrument; raises `StrategyError` for one not subscribed."""
        try:
            return self._definitions[instrument]
        except KeyError:
            raise self._unknown(instrument) from None

    def position(self, instrument: InstrumentId) -> float:
        """Signed quantity held, in units; 0.0 when flat."""
        try:
            return self.units[instrument]
        except KeyError:
            raise self._unknown(instrument) from None

    def mark(self, instrument: InstrumentId) -> float:
        """Newest known price (the close of the last bar); NaN before the first."""
        return self._around.mark(self.instrument(instrument).id)

    def features_of(self, instrument: InstrumentId) -> Any:
        """Features of the newest bar of any subscribed instrument; None before the first."""
        return self._around.features_of(self._strategy, self.instrument(instrument).id)

    def history(
        self, instrument: InstrumentId, count: int, column: str = "close"
    ) -> npt.NDArray[np.float64]:
        """The newest `count` values (fewer at the beginning) of a bar column, oldest first.

        Args:
            instrument: A subscribed instrument.
            count: How many bars back, the current one included.
            column: `open`, `high`, `low`, `close` or `volume`.

        Returns:
            A new float64 array of shape (<= count,).
        """
        return self._around.history(self.instrument(instrument).id, column, count)

    def open_orders(self, instrument: InstrumentId | None = None) -> list[OpenOrder]:
        """Orders of this strategy that are not closed, oldest first."""
        orders = self._around.open_orders(self._strategy)
        return [each for each in orders if instrument is None or each.instrument == instrument]

    # What should happen. Each call queues an intent and returns the id its order will have.

    def buy(
        self,
        instrument: InstrumentId,
        quantity: float,
        *,
        limit: float | None = None,
        stop: float | None = None,
        time_in_force: TimeInForce = GTC,
        ts_expire: int = 0,
        reduce_only: bool = False,
        label: str = "",
    ) -> str:
        """Buy `quantity` units: at market, or with a `limit`, a `stop`, or both (stop-limit).

        Raises:
            StrategyError: Unknown instrument; quantity or price not positive or off the grid.
        """
        return self._order(
            instrument,
            Side.BUY,
            quantity,
            limit,
            stop,
            time_in_force,
            ts_expire,
            reduce_only,
            label,
        )

    def sell(
        self,
        instrument: InstrumentId,
        quantity: float,
        *,
        limit: float | None = None,
        stop: float | None = None,
        time_in_force: TimeInForce = GTC,
        ts_expire: int = 0,
        reduce_only: bool = False,
        label: str = "",
    ) -> str:
        """Sell `quantity` units; the same as `buy` on the other side."""
        return self._order(
            instrument, Side.SELL, quantity, limit, stop, time_in_force, ts_expire, reduce_only,
            label,
        )  # fmt: skip

    def target(self, instrument: InstrumentId, quantity: float, *, label: str = "") -> str:
        """Trade at market to hold `quantity` units (signed); nothing when that is held already."""
        lots = self._lots(self.instrument(instrument), abs(quantity))
        amount = -lots if quantity < 0 else lots
        return self._market(instrument, Side.BUY, QuantityBasis.TARGET_LOTS, amount, label)

    def target_weight(self, instrument: InstrumentId, weight: float, *, label: str = "") -> str:
        """Trade at market to hold `weight` of equity (signed), sized now, fees included.

        The quantity is the largest whose value at the mark plus its fee fits, rounded toward zero.
        """
        ratio = to_ratio_e8(round(weight, 8), f"{self._strategy} weight", error=StrategyError)
        return self._market(instrument, Side.BUY, QuantityBasis.TARGET_WEIGHT, ratio, label)

    def spend(
        self, instrument: InstrumentId, amount: float, side: Side = Side.BUY, *, label: str = ""
    ) -> str:
        """Trade at market for `amount` of money, fees included; the venue sizes at the fill."""
        money = to_minor(round(amount, 8), f"{self._strategy} amount", error=StrategyError)
        self._require_positive(money, f"amount {amount!r} for {instrument}")
        return self._market(instrument, side, QuantityBasis.NOTIONAL_AT_FILL, money, label)

    def spend_ratio(
        self, instrument: InstrumentId, ratio: float, side: Side = Side.BUY, *, label: str = ""
    ) -> str:
        """Trade at market for `ratio` of the equity at the moment of the fill, fees included."""
        part = to_ratio_e8(round(ratio, 8), f"{self._strategy} ratio", error=StrategyError)
        self._require_positive(part, f"ratio {ratio!r} for {instrument}")
        return self._market(instrument, side, QuantityBasis.EQUITY_AT_FILL, part, label)

    def submit(self, intent: Callable[[str, int], Intent]) -> str:
        """Queue an intent of your own making: `intent(strategy, number)` builds it."""
        number = self.intent_count + 1
        made = intent(self._strategy, number)
        self.check_intent(made)
        if made.intent != number:
            raise StrategyError(f"intent number {made.intent} should be {number}",
                                where=self._strategy)  # fmt: skip
        self.intent_count = number
        self.queue.append(made)
        return f"{self._order_prefix}{number}"

    def check_intent(self, intent: Intent) -> None:
        """Refuse an intent of a strategy's own making that makes no sense.

        Raises:
            StrategyError: It names another strategy or an instrument that is not subscribed, or
                lacks the price or time that its type needs.
        """
        if intent.strategy != self._strategy:
            raise StrategyError(
                f"an intent names strategy {intent.strategy!r}", where=self._strategy
            )
        if not isinstance(intent, OrderIntent):
            return
        self.instrument(intent.instrument)
        kind = intent.order_type
        wants_limit = kind in (_LIMIT, _STOP_LIMIT)
        wants_stop = kind in (_STOP, _STOP_LIMIT)
        if (intent.limit_ticks > 0) != wants_limit or (intent.stop_ticks > 0) != wants_stop:
            raise StrategyError(
                f"a {kind.name} order with limit {intent.limit_ticks} and stop "
                f"{intent.stop_ticks} ticks",
                where=self._strategy,
                remedy="give the prices its type needs, and no others",
            )
        self._check_expiry(intent.time_in_force, intent.ts_expire)
        if intent.basis >= QuantityBasis.NOTIONAL_AT_FILL and kind is not _MARKET:
            raise StrategyError("only a market order is sized at its fill", where=self._strategy)

    def _check_expiry(self, time_in_force: TimeInForce, ts_expire: int) -> None:
        if (time_in_force is TimeInForce.GTD) != (ts_expire > 0):
            raise StrategyError(
                f"time in force {time_in_force.name} with ts_expire {ts_expire}",
                where=self._strategy,
                remedy="GTD needs the time when the order ends, ns UTC; the others have none",
            )

    def cancel(self, client_order_id: str) -> None:
        """Ask for an order of this strategy to be canceled."""
        self.intent_count += 1
        self.queue.append(CancelIntent(self._strategy, self.intent_count, client_order_id))

    def replace(
        self,
        client_order_id: str,
        instrument: InstrumentId,
        *,
        quantity: float | None = None,
        limit: float | None = None,
        stop: float | None = None,
    ) -> None:
        """Ask for a change of an order of `instrument`: new total `quantity`, `limit` or `stop`."""
        definition = self.instrument(instrument)
        for order in self._around.open_orders(self._strategy):
            if order.client_order_id == client_order_id and order.instrument != instrument:
                raise StrategyError(
                    f"order {client_order_id} is of {order.instrument}, not of {instrument}",
                    where=self._strategy,
                )
        lots = limit_ticks = stop_ticks = 0
        if quantity is not None:
            lots = self._lots(definition, quantity)
            self._require_positive(lots, f"quantity {quantity!r} of {instrument}")
        if limit is not None:
            limit_ticks = self._ticks(definition, limit)
        if stop is not None:
            stop_ticks = self._ticks(definition, stop)
        self.intent_count += 1
        self.queue.append(
            ReplaceIntent(
                self._strategy,
                self.intent_count,
                client_order_id,
                lots,
                limit_ticks,
                stop_ticks,
            )
        )

    def round_quantity(self, instrument: InstrumentId, quantity: float) -> float:
        """The nearest tradable quantity toward zero."""
        definition = self.instrument(instrument)
        lots = int(abs(quantity) / definition.lot_float + 1e-9)
        units = float(definition.lots_to_quantity(lots))
        return -units if quantity < 0 else units

    def round_price(self, instrument: InstrumentId, price: float, side: Side) -> float:
        """The nearest price on the tick grid that is not worse for us: down to buy, up to sell."""
        definition = self.instrument(instrument)
        return float(definition.ticks_to_price(compute_ticks(price, definition.tick_float, -side)))

    def set_timer(self, name: str, ts: int) -> None:
        """Have `on_timer(name)` called once at engine time `ts` (ns UTC), or next if it is past."""
        self.queue.append(TimerRequest(self._strategy, name, ts))

    def signal(self, name: str, value: float) -> None:
        """Remember a number on the tape (a score, a probability); it decides nothing."""
        self.queue.append(SignalRecorded(self._strategy, name, value))

    def take_intents(self) -> list[Intent]:
        """Hand over the queued intents; signals and timers stay in the queue."""
        intents = [each for each in self.queue if isinstance(each, Intent)]
        self.queue[:] = [each for each in self.queue if not isinstance(each, Intent)]
        return intents

    # How it is done.

    def _order(
        self,
        instrument: InstrumentId,
        side: Side,
        quantity: float,
        limit: float | None,
        stop: float | None,
        time_in_force: TimeInForce,
        ts_expire: int,
        reduce_only: bool,
        label: str,
    ) -> str:
        definition = self.instrument(instrument)
        lots = definition.quantity_to_lots(quantity, error=StrategyError)
        if lots <= 0:
            self._require_positive(lots, f"quantity {quantity!r} of {instrument}")
        if time_in_force is not GTC:
            self._check_expiry(time_in_force, ts_expire)
        kind, limit_ticks, stop_ticks = _MARKET, 0, 0
        if limit is not None:
            kind, limit_ticks = _LIMIT, self._ticks(definition, limit)
        if stop is not None:
            kind = _STOP if limit is None else _STOP_LIMIT
            stop_ticks = self._ticks(definition, stop)
        self.intent_count = number = self.intent_count + 1
        intent = OrderIntent(
            self._strategy, number, instrument, side, _LOTS, lots, kind, time_in_force,
            limit_ticks, stop_ticks, ts_expire, reduce_only, label,
        )  # fmt: skip
        self.queue.append(intent)
        return f"{self._order_prefix}{number}"

    def _market(
        self, instrument: InstrumentId, side: Side, basis: QuantityBasis, amount: int, label: str
    ) -> str:
        identity = self.instrument(instrument).id
        self.intent_count += 1
        intent = OrderIntent(
            self._strategy, self.intent_count, identity, side, basis, amount, _MARKET, GTC,
            label=label,
        )  # fmt: skip
        self.queue.append(intent)
        return f"{self._order_prefix}{self.intent_count}"

    def _require_positive(self, count: int, what: str) -> None:
        if count <= 0:
            raise StrategyError(
                f"{what} is not positive",
                where=self._strategy,
                remedy="the side says which way: sell is the other side of buy",
            )

    def _lots(self, definition: Instrument, quantity: float) -> int:
        return definition.quantity_to_lots(quantity, error=StrategyError)

    def _ticks(self, definition: Instrument, price: float) -> int:
        ticks = definition.price_to_ticks(price, error=StrategyError)
        if ticks <= 0:
            raise StrategyError(f"price {price!r} of {definition.id} is not positive",
                                where=self._strategy)  # fmt: skip
        return ticks

    def _unknown(self, instrument: InstrumentId) -> StrategyError:
        return StrategyError(
            f"instrument {instrument!r} is not subscribed",
            where=self._strategy,
            remedy=nearest(instrument, list(self.instruments)),
        )
