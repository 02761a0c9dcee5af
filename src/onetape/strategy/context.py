"""`Context`: a strategy's only window to the world."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, final

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.msgpack import decode, encode

from onetape.domain.errors import StrategyError
from onetape.domain.events import SignalRecorded
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import LEG_SIDES, leg_of, names_of
from onetape.domain.nearest import nearest
from onetape.domain.numbers import E8, INT64_MAX, compute_ticks, count_steps, to_minor, to_ratio_e8
from onetape.domain.orders import (
    CancelIntent,
    Contingency,
    ConvertIntent,
    ExerciseIntent,
    Intent,
    OrderConditions,
    OrderIntent,
    OrderStatus,
    OrderType,
    PositionSide,
    QuantityBasis,
    ReplaceIntent,
    Side,
    TimeInForce,
)
from onetape.domain.trailing import compute_trailing_stop

T = TypeVar("T")

GTC = TimeInForce.GTC
_AUCTIONS = (TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE)
_BUY, _SELL = Side
_LOTS, _TARGET_LOTS, _TARGET_WEIGHT, _NOTIONAL_AT_FILL, _EQUITY_AT_FILL = QuantityBasis
_MARKET, _LIMIT = OrderType.MARKET, OrderType.LIMIT
_STOP, _STOP_LIMIT = OrderType.STOP, OrderType.STOP_LIMIT
_TRAILING_STOP_LIMIT = OrderType.TRAILING_STOP_LIMIT
_GTD, _NO_CONTINGENCY = TimeInForce.GTD, Contingency.NONE
_PLAIN = OrderConditions()


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


class Bracket(NamedTuple):
    """Client order ids of an entry and its two exits."""

    entry: str
    take_profit: str
    stop_loss: str


class OptionExercise(NamedTuple):
    """What a contract of an option is exercised for now, splits of its underlying included.

    `strike` is the price of a unit, paid for as many as the definition's multiplier says;
    `deliverable` are units of the underlying, `cash` comes in lieu of fractions of them.
    """

    strike: float
    deliverable: float
    cash: float


@final
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

    def cash_in(self, strategy: str, currency: str) -> int:
        """Cash of one currency in minor units; 0 where there are no books in it."""
        ...

    def settled_cash(self, strategy: str) -> int:
        """Cash less what has not settled yet, in minor units."""
        ...

    def equity(self, strategy: str) -> int:
        """Equity at the marks, in minor units."""
        ...

    def contract(self, option: InstrumentId) -> OptionExercise | None:
        """What a contract of an option is exercised for; None where it is none."""
        ...

    def is_halted(self, instrument: InstrumentId) -> bool:
        """Whether trading of the instrument is halted."""
        ...

    def features_of(self, strategy: str, instrument: InstrumentId) -> Any:
        """Features of the instrument's newest bar; None before its first."""
        ...

    def history(self, instrument: InstrumentId, column: str, count: int) -> npt.NDArray[np.float64]:
        """The newest `count` values of a bar column, oldest first."""
        ...

    def members(self) -> Container[InstrumentId] | None:
        """Members of the session's universe; None: it has none."""
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
        units: Signed quantity held of each, and of each leg (the pipeline keeps it; read it with
            `position`).
        queue: What the strategy has asked for in this step (the pipeline takes it).
        intent_count: Intents so far; numbers them.
    """

    __slots__ = (
        "_around", "_definitions", "_legs", "_order_prefix", "_strategy", "features",
        "instruments", "intent_count", "queue", "units",
    )  # fmt: skip

    def __init__(
        self,
        strategy: str,
        definitions: Sequence[Instrument],
        around: Surroundings,
        order_prefix: str,
    ) -> None:
        self.features: Any = None
        names = names_of(definitions)
        self.instruments = tuple(names)
        self._legs = {name: own for name, own in names.items() if own != (name,)}
        self.intent_count = 0
        self._strategy = strategy
        self._definitions = {each.id: each for each in definitions}
        self._around = around
        self._order_prefix = order_prefix
        self.units: dict[InstrumentId, float] = dict.fromkeys(self._definitions, 0.0)
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

    def cash_in(self, currency: str) -> float:
        """Cash of one currency, such as "EUR"; negative when borrowed, 0.0 where none is held."""
        return self._around.cash_in(self._strategy, currency) / E8

    @property
    def settled_cash(self) -> float:
        """Cash less the proceeds of sales that have not settled yet, in currency."""
        return self._around.settled_cash(self._strategy) / E8

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

    def position(self, instrument: InstrumentId, leg: PositionSide | None = None) -> float:
        """Signed quantity held, in units; 0.0 when flat.

        In hedging mode that of one `leg`; without it what both come to.
        """
        if leg is not None:
            instrument = self.leg(instrument, leg)
        try:
            return self.units[instrument]
        except KeyError:
            raise self._unknown(instrument) from None

    def leg(self, instrument: InstrumentId, side: PositionSide) -> InstrumentId:
        """The id of the LONG or the SHORT leg of an instrument, which its orders and fills have.

        Raises:
            StrategyError: The session does not hold legs, or `side` is none.
        """
        if self.instrument(instrument).id not in self._legs or side not in LEG_SIDES:
            raise StrategyError(
                f"{instrument} has no leg {side}",
                where=self._strategy,
                remedy="set execution.position_mode: hedging, and name an instrument and "
                "PositionSide.LONG or SHORT",
            )
        return leg_of(instrument, side)

    def mark(self, instrument: InstrumentId) -> float:
        """Newest known price (the close of the last bar); NaN before the first."""
        return self._around.mark(self.instrument(instrument).id)

    def contract(self, option: InstrumentId) -> OptionExercise:
        """What a contract of an option is exercised for now; its definition says what it began as.

        Raises:
            StrategyError: Not subscribed, or no option.
        """
        found = self._around.contract(self.instrument(option).id)
        if found is None:
            raise StrategyError(f"{option} is no option", where=self._strategy)
        return found

    def is_halted(self, instrument: InstrumentId) -> bool:
        """Whether trading of the instrument is halted, as far as is known."""
        return self._around.is_halted(self.instrument(instrument).id)

    def features_of(self, instrument: InstrumentId) -> Any:
        """Features of the newest bar of any subscribed instrument; None before the first."""
        return self._around.features_of(self._strategy, self.instrument(instrument).id)

    def universe(self) -> tuple[InstrumentId, ...]:
        """The subscribed instruments in which positions may be opened now, in their order.

        Members of the session's universe by what is known now; without one, every instrument.
        """
        members = self._around.members()
        if members is None:
            return self.instruments
        return tuple(each for each in self.instruments if each in members)

    def is_member(self, instrument: InstrumentId) -> bool:
        """Whether `universe` has a subscribed instrument."""
        members = self._around.members()
        return self.instrument(instrument).id in members if members is not None else True

    def regime(self, name: str, instrument: InstrumentId | None = None) -> float:
        """The regime that feature `name` says: of the current bar, or of an instrument's newest.

        NaN as long as it is not known, so that `ctx.regime("trend") == 1` is false then and a gate
        stays closed.

        Raises:
            StrategyError: The strategy has no such feature.
        """
        row = self.features if instrument is None else self.features_of(instrument)
        if row is None:
            return math.nan
        value = getattr(row, name, None)
        if value is None:
            raise StrategyError(f"there is no feature {name!r}", where=self._strategy,
                                remedy=nearest(name, row.__struct_fields__))  # fmt: skip
        return value

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
        """Orders of this strategy that are not closed, oldest first; those of legs are of both."""
        orders = self._around.open_orders(self._strategy)
        if instrument is None:
            return list(orders)
        names = (instrument, *self._legs.get(instrument, ()))
        return [each for each in orders if each.instrument in names]

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
        leg: PositionSide | None = None,
    ) -> str:
        """Buy `quantity` units: at market, or with a `limit`, a `stop`, or both (stop-limit).

        In hedging mode `leg` says which leg: a buy opens the long one or closes the short one.

        Raises:
            StrategyError: Unknown instrument; quantity or price not positive or off the grid; in
                hedging mode no leg, else one.
        """
        if leg is not None:
            instrument = self.leg(instrument, leg)
        return self._order(
            instrument,
            _BUY,
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
        leg: PositionSide | None = None,
    ) -> str:
        """Sell `quantity` units; the same as `buy` on the other side."""
        if leg is not None:
            instrument = self.leg(instrument, leg)
        return self._order(
            instrument, _SELL, quantity, limit, stop, time_in_force, ts_expire, reduce_only,
            label,
        )  # fmt: skip

    def order(
        self,
        instrument: InstrumentId,
        side: Side,
        quantity: float,
        *,
        limit: float | None = None,
        stop: float | None = None,
        touch: float | None = None,
        trail: float | None = None,
        trail_ratio: float | None = None,
        limit_offset: float | None = None,
        time_in_force: TimeInForce = GTC,
        ts_expire: int = 0,
        reduce_only: bool = False,
        post_only: bool = False,
        parent: str = "",
        group: str = "",
        contingency: Contingency = _NO_CONTINGENCY,
        display: float | None = None,
        leg: PositionSide | None = None,
        label: str = "",
    ) -> str:
        """An order of any type for `quantity` units.

        Args:
            instrument: A subscribed instrument.
            side: Buy or sell.
            quantity: Units, positive.
            limit: Worst price; with `stop` a stop-limit, with `touch` a limit-if-touched order.
            stop: Trigger against the order: above the market to buy.
            touch: Trigger in its favor: below the market to buy.
            trail: Distance, in price, at which a stop follows the best price; the first stop is at
                that distance from the newest price.
            trail_ratio: The same as a fraction of the price, such as 0.02.
            limit_offset: Makes a trailing stop a trailing stop-limit, with the limit so far beyond
                the stop.
            time_in_force: How long it lives; AT_THE_OPEN and AT_THE_CLOSE for the auctions.
            ts_expire: End of a GTD order, ns UTC.
            reduce_only: Never beyond flat.
            post_only: A limit order that is canceled instead of taking liquidity.
            parent: An order given just before whose fills this one waits for: what has filled there
                may fill here.
            group: Name that binds orders of this instrument as `contingency` says.
            contingency: OCO: a fill cancels the others; OUO: it takes as much from them.
            display: Units that others see of an order with a limit (an iceberg); none: all of it.
            leg: Which leg it trades, in hedging mode; the other side of a leg only reduces it.
            label: Stands on the tape.

        Returns:
            The id that the order will have.

        Raises:
            StrategyError: Unknown instrument, values off the grid, or prices that make no type.
        """
        instrument = self._choose(instrument, leg)
        definition = self.instrument(instrument)
        side, label = self._as(side, Side, "side"), self._as(label, str, "label")
        reduce_only = self._as(reduce_only, bool, "reduce_only")
        post_only = self._as(post_only, bool, "post_only")
        lots = self._lots(definition, quantity)
        trails = trail is not None or trail_ratio is not None
        triggers = [each for each in (stop, touch, trail, trail_ratio) if each is not None]
        if len(triggers) > 1 or (trails and limit is not None):
            raise StrategyError(
                f"stop {stop}, touch {touch}, trail {trail}, trail_ratio {trail_ratio}, limit "
                f"{limit} at once",
                where=self._strategy,
                remedy="give one trigger; a trailing stop-limit takes limit_offset",
            )
        kind = _LIMIT if limit is not None else _MARKET
        if stop is not None:
            kind = _STOP if limit is None else _STOP_LIMIT
        elif touch is not None:
            kind = OrderType.MARKET_IF_TOUCHED if limit is None else OrderType.LIMIT_IF_TOUCHED
        elif trails:
            kind = OrderType.TRAILING_STOP
            if limit_offset is not None:
                kind = _TRAILING_STOP_LIMIT
        trigger = stop if stop is not None else touch
        stop_ticks = self._ticks(definition, trigger) if trigger is not None else 0
        trail_ticks = trail_ratio_e8 = 0
        if trail is not None:
            trail_ticks = self._ticks(definition, trail)
        elif trail_ratio is not None:
            trail_ratio_e8 = to_ratio_e8(
                round(trail_ratio, 8), f"{self._strategy} trail_ratio", error=StrategyError
            )
            self._require_positive(trail_ratio_e8, f"trail_ratio {trail_ratio!r}")
        if trails:
            mark = self._around.mark(instrument)
            if mark != mark:
                raise StrategyError(f"{instrument} has no price yet for a trailing stop",
                                    where=self._strategy,
                                    remedy="wait for its first bar")  # fmt: skip
            stop_ticks = compute_trailing_stop(
                side, 0, trail_ticks, trail_ratio_e8, mark, mark, definition.tick_float
            )
        offset_ticks = display_lots = 0
        if limit_offset:
            offset_ticks = definition.price_to_ticks(limit_offset, error=StrategyError)
        if display is not None:
            display_lots = self._lots(definition, display, "display")
        conditions = OrderConditions(
            trail_ticks, trail_ratio_e8, offset_ticks, post_only, parent, group, contingency,
            display_lots,
        )  # fmt: skip
        intent = OrderIntent(
            self._strategy, self.intent_count + 1, definition.id, side, _LOTS, lots, kind,
            time_in_force, self._ticks(definition, limit) if limit is not None else 0, stop_ticks,
            ts_expire, reduce_only, label,
            None if conditions == _PLAIN else conditions,
        )  # fmt: skip
        self.check_intent(intent)
        self.intent_count += 1
        self.queue.append(intent)
        return f"{self._order_prefix}{self.intent_count}"

    def bracket(
        self,
        instrument: InstrumentId,
        side: Side,
        quantity: float,
        *,
        take_profit: float,
        stop_loss: float | None = None,
        trail: float | None = None,
        limit: float | None = None,
        stop: float | None = None,
        leg: PositionSide | None = None,
        label: str = "",
    ) -> Bracket:
        """An entry with two exits that wait for its fills and take from each other (OUO).

        Args:
            instrument: A subscribed instrument.
            side: Of the entry; the exits are on the other side and may only reduce.
            quantity: Units of each of the three.
            take_profit: Limit of the one exit.
            stop_loss: Stop of the other; or
            trail: the distance of a trailing stop instead.
            limit: Limit of the entry; none: at market.
            stop: Stop of the entry.
            leg: Which leg all three trade, in hedging mode.
            label: Stands on the tape with all three.

        Returns:
            The ids of the three orders.

        Raises:
            StrategyError: As `order`; or not exactly one of `stop_loss` and `trail`.
        """
        if (stop_loss is None) == (trail is None):
            raise StrategyError(f"stop_loss {stop_loss} and trail {trail}", where=self._strategy,
                                remedy="give one of them")  # fmt: skip
        instrument = self._choose(instrument, leg)
        entry = self.order(instrument, side, quantity, limit=limit, stop=stop, label=label)
        group = f"bracket {self.intent_count}"
        exit_side = _SELL if side is _BUY else _BUY
        profit = self.order(
            instrument, exit_side, quantity, limit=take_profit, reduce_only=True, parent=entry,
            group=group, contingency=Contingency.OUO, label=label,
        )  # fmt: skip
        loss = self.order(
            instrument, exit_side, quantity, stop=stop_loss, trail=trail, reduce_only=True,
            parent=entry, group=group, contingency=Contingency.OUO, label=label,
        )  # fmt: skip
        return Bracket(entry, profit, loss)

    def close(
        self, instrument: InstrumentId, leg: PositionSide | None = None, *, label: str = ""
    ) -> list[str]:
        """Close what is held at market, reduce-only; in hedging mode one `leg`, or both.

        Returns:
            The ids of the orders: none where nothing is held.
        """
        if leg is not None:
            instrument = self.leg(instrument, leg)
        held = [(name, self.position(name)) for name in self._legs.get(instrument, (instrument,))]
        return [
            self.order(
                name, _SELL if units > 0 else _BUY, abs(units), reduce_only=True,
                label=label,
            )
            for name, units in held
            if units
        ]  # fmt: skip

    def target(
        self,
        instrument: InstrumentId,
        quantity: float,
        *,
        leg: PositionSide | None = None,
        label: str = "",
    ) -> str:
        """Trade at market to hold `quantity` units (signed); nothing when that is held already."""
        instrument = self._choose(instrument, leg)
        definition = self.instrument(instrument)
        lots = definition.quantity_to_lots(abs(quantity), error=StrategyError)
        amount = -lots if quantity < 0 else lots
        return self._market(instrument, _BUY, _TARGET_LOTS, amount, label)

    def target_weight(
        self,
        instrument: InstrumentId,
        weight: float,
        *,
        leg: PositionSide | None = None,
        label: str = "",
    ) -> str:
        """Trade at market to hold `weight` of equity (signed), sized now, fees included.

        The quantity is the largest whose value at the mark plus its fee fits, rounded toward zero.
        """
        ratio = to_ratio_e8(round(weight, 8), f"{self._strategy} weight", error=StrategyError)
        instrument = self._choose(instrument, leg)
        return self._market(instrument, _BUY, _TARGET_WEIGHT, ratio, label)

    def spend(
        self,
        instrument: InstrumentId,
        amount: float,
        side: Side = _BUY,
        *,
        leg: PositionSide | None = None,
        label: str = "",
    ) -> str:
        """Trade at market for `amount` of money, fees included; the venue sizes at the fill."""
        money = to_minor(round(amount, 8), f"{self._strategy} amount", error=StrategyError)
        self._require_positive(money, f"amount {amount!r} for {instrument}")
        instrument = self._choose(instrument, leg)
        return self._market(instrument, side, _NOTIONAL_AT_FILL, money, label)

    def spend_ratio(
        self,
        instrument: InstrumentId,
        ratio: float,
        side: Side = _BUY,
        *,
        leg: PositionSide | None = None,
        label: str = "",
    ) -> str:
        """Trade at market for `ratio` of the equity at the moment of the fill, fees included."""
        part = to_ratio_e8(round(ratio, 8), f"{self._strategy} ratio", error=StrategyError)
        self._require_positive(part, f"ratio {ratio!r} for {instrument}")
        instrument = self._choose(instrument, leg)
        return self._market(instrument, side, _EQUITY_AT_FILL, part, label)

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
            StrategyError: It names another strategy or an instrument that is not subscribed, a
                field has another type than it should, or it lacks the price or time that its type
                needs.
        """
        try:
            decode(encode(intent), type=type(intent))
        except (msgspec.ValidationError, TypeError, OverflowError) as error:
            raise StrategyError(f"{intent} can't be sent: {error}", where=self._strategy,
                                remedy="give each field a value of its type") from None  # fmt: skip
        if intent.strategy != self._strategy:
            raise StrategyError(
                f"an intent names strategy {intent.strategy!r}", where=self._strategy
            )
        if isinstance(intent, ExerciseIntent):
            self.instrument(intent.instrument)
        if isinstance(intent, ConvertIntent):
            self._require_positive(intent.amount, f"amount {intent.amount} of {intent.source}")
        if not isinstance(intent, OrderIntent):
            return
        self._choose(self.instrument(intent.instrument).id, None)
        kind = intent.order_type
        conditions = intent.conditions or _PLAIN
        has_trail = (conditions.trail_ticks > 0) != (conditions.trail_ratio_e8 > 0)
        is_auction = intent.time_in_force in _AUCTIONS
        is_free = kind.is_trailing and not conditions.parent  # too wide a trail alone is denied
        if (
            (intent.limit_ticks > 0) != kind.has_limit
            or ((intent.stop_ticks > 0) != kind.has_trigger and not is_free)
            or has_trail != kind.is_trailing
            or min(conditions.trail_ticks, conditions.trail_ratio_e8) < 0
            or (conditions.offset_ticks != 0 and kind is not _TRAILING_STOP_LIMIT)
            or (conditions.post_only and kind is not _LIMIT)
            or (is_auction and (kind.has_trigger or conditions.post_only or conditions.parent))
        ):
            raise StrategyError(
                f"a {kind.name} order, {intent.time_in_force.name}, with limit "
                f"{intent.limit_ticks} and stop {intent.stop_ticks} ticks and {conditions}",
                where=self._strategy,
                remedy="give the prices its type needs, and no others",
            )
        if conditions.parent and not any(
            isinstance(each, OrderIntent)
            and f"{self._order_prefix}{each.intent}" == conditions.parent
            and each.instrument == intent.instrument
            and each.basis is _LOTS
            for each in self.queue
        ):
            raise StrategyError(
                f"{conditions.parent!r} is not an order of {intent.instrument} that was just given",
                where=self._strategy,
                remedy="give the parent, sized in units, first, in the same callback",
            )
        if (conditions.contingency is not _NO_CONTINGENCY) != (conditions.group != ""):
            raise StrategyError(
                f"group {conditions.group!r} with contingency {conditions.contingency.name}",
                where=self._strategy,
                remedy="name the group and what a fill in it does",
            )
        self._check_expiry(intent.time_in_force, intent.ts_expire)
        if intent.basis >= _NOTIONAL_AT_FILL and kind is not _MARKET:
            raise StrategyError("only a market order is sized at its fill", where=self._strategy)

    def _check_expiry(self, time_in_force: TimeInForce, ts_expire: int) -> None:
        if (time_in_force is _GTD) != (ts_expire > 0):
            raise StrategyError(
                f"time in force {time_in_force.name} with ts_expire {ts_expire}",
                where=self._strategy,
                remedy="GTD needs the time when the order ends, ns UTC; the others have none",
            )

    def cancel(self, client_order_id: str | OpenOrder) -> None:
        """Ask for an order of this strategy to be canceled: by its id, or as `open_orders` has it.

        Raises:
            StrategyError: It is neither.
        """
        if type(client_order_id) is not str:
            client_order_id = self._id_of(client_order_id)
        self._put_cancel(client_order_id)

    def replace(
        self,
        client_order_id: str | OpenOrder,
        instrument: InstrumentId,
        *,
        quantity: float | None = None,
        limit: float | None = None,
        stop: float | None = None,
    ) -> None:
        """Ask for a change of an order of `instrument`: new total `quantity`, `limit` or `stop`.

        Raises:
            StrategyError: It is no order or of another instrument; a value is not positive or off
                the grid.
        """
        definition = self.instrument(instrument)
        identity = self._id_of(client_order_id)
        for order in self._around.open_orders(self._strategy):
            if order.client_order_id == identity and order.instrument != instrument:
                raise StrategyError(
                    f"order {identity} is of {order.instrument}, not of {instrument}",
                    where=self._strategy,
                )
        lots = limit_ticks = stop_ticks = 0
        if quantity is not None:
            lots = self._lots(definition, quantity)
        if limit is not None:
            limit_ticks = self._ticks(definition, limit)
        if stop is not None:
            stop_ticks = self._ticks(definition, stop)
        self.intent_count += 1
        self.queue.append(
            ReplaceIntent(
                self._strategy,
                self.intent_count,
                identity,
                lots,
                limit_ticks,
                stop_ticks,
            )
        )

    def exercise(self, instrument: InstrumentId, quantity: float) -> None:
        """Exercise `quantity` of an American option that is held, now instead of at its expiry."""
        definition = self.instrument(instrument)
        lots = self._lots(definition, quantity)
        self.intent_count += 1
        self.queue.append(ExerciseIntent(self._strategy, self.intent_count, definition.id, lots))

    def convert(self, amount: float, source: str, target: str) -> None:
        """Convert `amount` of the cash held in `source` into `target`, at the newest rate.

        Where foreign cash is held (`execution.currencies.foreign_cash: hold`); `cash_in` tells what
        there is. What is refused comes to `on_order_update`.

        Args:
            amount: Of `source`, positive.
            source: A currency, such as "USD".
            target: Another one.

        Raises:
            StrategyError: The amount is not positive or too fine, or both currencies are the same.
        """
        minor = to_minor(round(amount, 8), f"{self._strategy} amount", error=StrategyError)
        self._require_positive(minor, f"amount {amount!r} of {source}")
        if source == target:
            raise StrategyError(f"converts {source} into {target}", where=self._strategy,
                                remedy="name two currencies")  # fmt: skip
        self.intent_count += 1
        self.queue.append(ConvertIntent(self._strategy, self.intent_count, source, target, minor))

    def round_quantity(self, instrument: InstrumentId, quantity: float) -> float:
        """The nearest tradable quantity toward zero."""
        definition = self.instrument(instrument)
        lots = int(abs(quantity) / definition.lot_float + 1e-9)
        units = definition.lots_to_float(lots)
        return -units if quantity < 0 else units

    def round_price(self, instrument: InstrumentId, price: float, side: Side) -> float:
        """The nearest price on the tick grid that is not worse for us: down to buy, up to sell."""
        definition = self.instrument(instrument)
        return definition.ticks_to_float(compute_ticks(price, definition.tick_float, -side))

    def set_timer(self, name: str, ts: int) -> None:
        """Have `on_timer(name)` called once at engine time `ts` (ns UTC), or next if it is past.

        Raises:
            StrategyError: The name is no text, or the time no whole number of 64 bits.
        """
        name, ts = self._as(name, str, "name of a timer"), self._as(ts, int, "time of a timer")
        if abs(ts) > INT64_MAX:
            raise StrategyError(f"time {ts} of timer {name!r} is none", where=self._strategy,
                                remedy="give ns since 1970, such as ctx.now + 10**9")  # fmt: skip
        self.queue.append(TimerRequest(self._strategy, name, ts))

    def signal(self, name: str, value: float) -> None:
        """Remember a number on the tape (a score, a probability); it decides nothing.

        Raises:
            StrategyError: The name is no text, or the value no number.
        """
        name = self._as(name, str, "name of a signal")
        if type(value) is not int or abs(value) > INT64_MAX:
            value = self._as(value, float, f"signal {name!r}")
        self.queue.append(SignalRecorded(self._strategy, name, value))

    def take_intents(self) -> list[Intent]:
        """Hand over the queued intents; signals and timers stay in the queue."""
        intents = [each for each in self.queue if isinstance(each, Intent)]
        self.queue[:] = [each for each in self.queue if not isinstance(each, Intent)]
        return intents

    # How it is done.

    def _as(self, value: object, kind: type[T], what: str) -> T:
        """`value` as the tape keeps it; numpy's numbers become Python's own."""
        if type(value) is kind:
            return value
        if isinstance(value, np.generic):
            value = value.item()
        if kind is float and isinstance(value, int):
            value = float(value)
        if type(value) is not kind:
            raise StrategyError(f"{what} is {value!r}, expected {kind.__name__}",
                                where=self._strategy)  # fmt: skip
        return value

    def _id_of(self, order: str | OpenOrder) -> str:
        if isinstance(order, OpenOrder):
            return order.client_order_id
        return self._as(order, str, "id of an order")

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
        if self._legs:
            self._choose(instrument, None)
        try:
            definition = self._definitions[instrument]
        except KeyError:
            raise self._unknown(instrument) from None
        lots = count_steps(quantity, definition.lots_per_unit)
        if lots is None or lots <= 0:
            lots = self._lots(definition, quantity)
        if time_in_force is not GTC:
            time_in_force = self._as(time_in_force, TimeInForce, "time_in_force")
            ts_expire = self._as(ts_expire, int, "ts_expire")
            self._check_expiry(time_in_force, ts_expire)
        if type(reduce_only) is not bool:
            reduce_only = self._as(reduce_only, bool, "reduce_only")
        if type(label) is not str:
            label = self._as(label, str, "label")
        kind, limit_ticks, stop_ticks = _MARKET, 0, 0
        if limit is not None:
            kind, ticks = _LIMIT, count_steps(limit, definition.ticks_per_unit)
            limit_ticks = ticks if ticks and ticks > 0 else self._ticks(definition, limit)
        if stop is not None:
            kind = _STOP if limit is None else _STOP_LIMIT
            stop_ticks = self._ticks(definition, stop)
        return self._put_order(
            instrument, side, lots, kind, time_in_force, limit_ticks, stop_ticks, ts_expire,
            reduce_only, label,
        )  # fmt: skip

    def _put_order(
        self,
        instrument: InstrumentId,
        side: Side,
        lots: int,
        kind: OrderType,
        time_in_force: TimeInForce,
        limit_ticks: int,
        stop_ticks: int,
        ts_expire: int,
        reduce_only: bool,
        label: str,
    ) -> str:
        """Queue an order that has been checked; returns its client order id."""
        self.intent_count = number = self.intent_count + 1
        intent = OrderIntent(
            self._strategy, number, instrument, side, _LOTS, lots, kind, time_in_force,
            limit_ticks, stop_ticks, ts_expire, reduce_only, label,
        )  # fmt: skip
        self.queue.append(intent)
        return f"{self._order_prefix}{number}"

    def _put_cancel(self, client_order_id: str) -> None:
        """Queue a cancel."""
        self.intent_count += 1
        self.queue.append(CancelIntent(self._strategy, self.intent_count, client_order_id))

    def _market(
        self, instrument: InstrumentId, side: Side, basis: QuantityBasis, amount: int, label: str
    ) -> str:
        identity = self.instrument(instrument).id
        side, label = self._as(side, Side, "side"), self._as(label, str, "label")
        self.intent_count += 1
        intent = OrderIntent(
            self._strategy, self.intent_count, identity, side, basis, amount, _MARKET, GTC,
            label=label,
        )  # fmt: skip
        self.queue.append(intent)
        return f"{self._order_prefix}{self.intent_count}"

    def _choose(self, instrument: InstrumentId, leg: PositionSide | None) -> InstrumentId:
        """What an order trades: in hedging mode a leg, which it must name."""
        if leg is not None:
            return self.leg(instrument, leg)
        if instrument in self._legs:
            raise StrategyError(
                f"an order of {instrument} names no leg, and positions are held as legs",
                where=self._strategy,
                remedy="give leg=PositionSide.LONG or SHORT, or set execution.position_mode: "
                "netting",
            )
        return instrument

    def _require_positive(self, count: int, what: str) -> None:
        if count <= 0:
            raise StrategyError(
                f"{what} is not positive",
                where=self._strategy,
                remedy="the side says which way: sell is the other side of buy",
            )

    def _lots(self, definition: Instrument, quantity: float, what: str = "quantity") -> int:
        lots = definition.quantity_to_lots(quantity, error=StrategyError)
        if lots <= 0:
            self._require_positive(lots, f"{what} {quantity!r} of {definition.id}")
        return lots

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
