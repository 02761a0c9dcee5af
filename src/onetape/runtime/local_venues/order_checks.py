"""What a local exchange checks before it takes an order, and what the order will hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import E8, MAX_LOTS, minor_to_decimal
from onetape.domain.orders import LiquiditySide, OrderConditions, OrderType, Side, TimeInForce
from onetape.domain.trailing import compute_trailing_stop
from onetape.execution.simulated.fee_rules import FeeSchedule, compute_order_fee
from onetape.runtime.local_venues.accounts import (
    Account,
    ExchangeRules,
    find_hold,
    is_pair,
)
from onetape.runtime.local_venues.messages import NewOrder, PlacedOrder, Refusal, RefusalCode

_TICKS_MAX = 2**31 - 1


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An order that passed: on the grids, with what it will hold (see `PlacedOrder`)."""

    instrument: Instrument
    lots: int
    budget: int
    limit_ticks: int
    stop_ticks: int
    conditions: OrderConditions | None
    hold_asset: str
    hold_per_lot: int
    hold_fee: int


class OrderChecks:
    """Turns requests into drafts, or says why not.

    Args:
        fees: What orders will cost.
        rules: What the venue allows.
        mark: Newest price of an instrument in ticks, 0 before the first.
    """

    def __init__(
        self,
        fees: Mapping[InstrumentId, FeeSchedule],
        rules: ExchangeRules,
        mark: Callable[[InstrumentId], int],
    ) -> None:
        self._fees = fees
        self._rules = rules
        self._mark = mark

    def refuse_duplicate(self, account: Account, client_order_id: str) -> Refusal | None:
        """Whether the client's id is taken."""
        taken = account.orders.get(account.by_client_id.get(client_order_id, 0))
        if taken is None or not (taken.is_open or self._rules.is_client_id_unique_for_ever):
            return None
        return Refusal(
            code=RefusalCode.DUPLICATE_ID,
            message=f"client order id {client_order_id} is taken", order=taken,
        )  # fmt: skip

    def draft(
        self,
        account: Account,
        instrument: Instrument,
        request: NewOrder,
        replaced: PlacedOrder | None = None,
    ) -> Draft | Refusal:
        """The request on the grids with its hold; `replaced` is the order whose place it takes."""
        incomplete = _find_missing(request)
        if incomplete:
            return Refusal(code=RefusalCode.INCOMPLETE, message=incomplete)
        if request.order_type is OrderType.TRAILING_STOP_LIMIT:
            return Refusal(code=RefusalCode.UNSUPPORTED, message="no trailing stop-limit orders")
        mark = self._mark(instrument.id)
        limit = _to_ticks(instrument, "limit price", request.limit)
        if isinstance(limit, Refusal):
            return limit
        stop = _to_ticks(instrument, "stop price", request.stop)
        if isinstance(stop, Refusal):
            return stop
        conditions = _find_conditions(instrument, request)
        if isinstance(conditions, Refusal):
            return conditions
        if not mark and not limit and not stop:
            return Refusal(
                code=RefusalCode.NO_PRICE, message=f"{instrument.symbol} has no price yet"
            )
        if request.order_type.is_trailing and not stop and conditions is not None:
            stop = compute_trailing_stop(
                request.side, 0, conditions.trail_ticks, conditions.trail_ratio_e8, float(mark),
                float(mark), 1.0,
            )  # fmt: skip
        price = limit or stop or mark
        sized = self._size(instrument, request, price)
        if isinstance(sized, Refusal):
            return sized
        lots, budget = sized
        return self._hold(
            account, instrument, request, replaced,
            Draft(
                instrument=instrument, lots=lots, budget=budget, limit_ticks=limit,
                stop_ticks=stop, conditions=conditions, hold_asset="", hold_per_lot=0, hold_fee=0,
            ),
        )  # fmt: skip

    def _size(
        self, instrument: Instrument, request: NewOrder, price: int
    ) -> tuple[int, int] | Refusal:
        """(lots, budget); a sale by budget is sized at the price."""
        factor = instrument.minor_per_tick_lot
        minimum = int(instrument.min_notional * E8)
        budget = int(request.budget * E8)
        if budget:
            if budget < minimum:
                return _too_small(instrument, budget)
            if request.side is Side.BUY:
                return 0, budget
            lots = budget // (price * factor)
        else:
            exact = request.quantity / instrument.lot_size
            if exact != exact.to_integral_value():
                return Refusal(
                    code=RefusalCode.LOT_SIZE,
                    message=f"quantity {request.quantity:f} is not a multiple of "
                    f"{instrument.lot_size:f}",
                )
            lots = int(exact)
        most = min(instrument.max_lots or MAX_LOTS, MAX_LOTS)
        if not max(instrument.min_lots, 1) <= lots <= most:
            return Refusal(
                code=RefusalCode.LOT_SIZE,
                message=f"quantity {instrument.lots_to_quantity(lots):f} is not from "
                f"{instrument.lots_to_quantity(instrument.min_lots):f} to "
                f"{instrument.lots_to_quantity(most):f}",
            )
        if lots * price * factor < minimum:
            return _too_small(instrument, lots * price * factor)
        return lots, 0

    def _hold(
        self,
        account: Account,
        instrument: Instrument,
        request: NewOrder,
        replaced: PlacedOrder | None,
        draft: Draft,
    ) -> Draft | Refusal:
        number = replaced.number if replaced is not None else 0
        filled = replaced.filled_lots if replaced is not None else 0
        quote = instrument.quote_currency
        if draft.budget:
            funds = self._funds(account, instrument, number)
            if draft.budget > funds:
                return _lacks_funds(quote, draft.budget, funds)
            return msgspec.structs.replace(draft, hold_asset=quote)
        side, lots = request.side, draft.lots
        price = draft.limit_ticks or draft.stop_ticks or self._mark(instrument.id)
        if side is Side.SELL:  # of a short sale: what buying it back costs
            price = max(price, self._mark(instrument.id))
        fee = 0
        if not (self._rules.fee_in_base_of_buys and side is Side.BUY and is_pair(instrument)):
            notional = lots * price * instrument.minor_per_tick_lot
            schedule = self._fees[instrument.id]
            fee = max(
                compute_order_fee(schedule, each, lots, notional, 0) for each in LiquiditySide
            )
        asset, per_lot, fee = find_hold(account, instrument, side, price, max(fee, 0))
        needed = max(0, lots - filled) * per_lot + fee
        if asset == quote and not (is_pair(instrument) and side is Side.SELL):
            if side is Side.SELL and not self._rules.can_short:
                return Refusal(
                    code=RefusalCode.SHORT_NOT_ALLOWED,
                    message=f"nothing of {instrument.symbol} to sell, and no short sales",
                    needed=request.quantity, available=Decimal(0), asset=instrument.symbol,
                )  # fmt: skip
            funds = self._funds(account, instrument, number)
            if needed > funds:
                return _lacks_funds(quote, needed, funds)
        elif asset == instrument.id:
            closable = account.closable_lots(instrument.id, number)
            if needed > closable:
                return Refusal(
                    code=RefusalCode.INSUFFICIENT_QUANTITY,
                    message=f"more of {instrument.symbol} than is there to close",
                    needed=instrument.lots_to_quantity(needed),
                    available=instrument.lots_to_quantity(max(closable, 0)),
                    asset=instrument.symbol,
                )
        else:
            free = account.free(asset, number)
            if needed > free:
                return _lacks_funds(asset, needed, free)
        return msgspec.structs.replace(draft, hold_asset=asset, hold_per_lot=per_lot, hold_fee=fee)

    def _funds(self, account: Account, instrument: Instrument, without: int) -> int:
        if is_pair(instrument):
            return account.free(instrument.quote_currency, without)
        return account.buying_power(instrument.quote_currency, without)


def _find_missing(request: NewOrder) -> str:
    """What the request lacks or has too much; empty when nothing."""
    kind = request.order_type
    numbers = (request.quantity, request.budget, request.limit, request.stop, request.trail,
               request.trail_ratio, request.display)  # fmt: skip
    if any(not each.is_finite() or each < 0 for each in numbers):
        return "a number that is none, or below zero"
    if kind.has_limit != (request.limit > 0):
        return "limit price missing" if kind.has_limit else "no limit price with this order type"
    needs_stop = kind.has_trigger and not kind.is_trailing
    if needs_stop and request.stop <= 0:
        return "stop price missing"
    if not kind.has_trigger and request.stop:
        return "no stop price with this order type"
    if kind.is_trailing != (request.trail > 0 or request.trail_ratio > 0):
        return "trail missing" if kind.is_trailing else "no trail with this order type"
    if (request.quantity > 0) == (request.budget > 0):
        return "one of quantity and notional"
    if request.budget and kind is not OrderType.MARKET:
        return "a notional is for market orders"
    if request.time_in_force is TimeInForce.GTD and request.ts_expire <= 0:
        return "expiry missing"
    return ""


def _find_conditions(instrument: Instrument, request: NewOrder) -> OrderConditions | Refusal | None:
    trail = _to_ticks(instrument, "trail", request.trail)
    if isinstance(trail, Refusal):
        return trail
    display = request.display / instrument.lot_size
    if display != display.to_integral_value():
        return Refusal(code=RefusalCode.LOT_SIZE, message="iceberg quantity is no whole lots")
    conditions = OrderConditions(
        trail_ticks=trail, trail_ratio_e8=int(request.trail_ratio * E8),
        post_only=request.post_only, display_lots=int(display),
    )  # fmt: skip
    return None if conditions == OrderConditions() else conditions


def _to_ticks(instrument: Instrument, what: str, price: Decimal) -> int | Refusal:
    exact = price / instrument.tick_size
    if exact != exact.to_integral_value() or not 0 <= exact <= _TICKS_MAX:
        return Refusal(
            code=RefusalCode.TICK_SIZE,
            message=f"{what} {price:f} is not a multiple of {instrument.tick_size:f}",
        )
    return int(exact)


def _too_small(instrument: Instrument, notional: int) -> Refusal:
    return Refusal(
        code=RefusalCode.MIN_NOTIONAL,
        message=f"notional {minor_to_decimal(notional):f} is below {instrument.min_notional:f}",
        needed=instrument.min_notional, available=minor_to_decimal(notional),
        asset=instrument.quote_currency,
    )  # fmt: skip


def _lacks_funds(asset: str, needed: int, available: int) -> Refusal:
    return Refusal(
        code=RefusalCode.INSUFFICIENT_BALANCE,
        message=f"needs {minor_to_decimal(needed):f} {asset}, and "
        f"{minor_to_decimal(max(available, 0)):f} is free",
        needed=minor_to_decimal(needed), available=minor_to_decimal(max(available, 0)), asset=asset,
    )  # fmt: skip
