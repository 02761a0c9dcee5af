"""What a local exchange says, as IB says it: contracts, orders, fills and refusals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

import msgspec

from onetape.domain.instrument import Instrument
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.orders import LiquiditySide, OrderType, Side, TimeInForce
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.session_times import SessionTimes
from onetape.runtime.local_venues.ibkr_wire import AskedOrder, Field, ShownContract, ShownOrder
from onetape.runtime.local_venues.messages import (
    Execution,
    NewOrder,
    PlacedOrder,
    PlacedStatus,
    Refusal,
    RefusalCode,
)

CON_ID_FIRST = 1_000
PERM_ID_FIRST = 1_000_000
_DAYS = 5
"""Days of hours that a contract shows, as IB shows about a week."""

TYPES = {
    "MKT": OrderType.MARKET, "LMT": OrderType.LIMIT, "STP": OrderType.STOP,
    "STP LMT": OrderType.STOP_LIMIT, "MIT": OrderType.MARKET_IF_TOUCHED,
    "LIT": OrderType.LIMIT_IF_TOUCHED, "TRAIL": OrderType.TRAILING_STOP,
    "MOC": OrderType.MARKET, "LOC": OrderType.LIMIT,
}  # fmt: skip
_AT_CLOSE = ("MOC", "LOC")
LIVES = {
    "": TimeInForce.DAY, "DAY": TimeInForce.DAY, "GTC": TimeInForce.GTC, "GTD": TimeInForce.GTD,
    "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK, "OPG": TimeInForce.AT_THE_OPEN,
}  # fmt: skip
_STATUSES = {
    PlacedStatus.FILLED: "Filled", PlacedStatus.CANCELED: "Cancelled",
    PlacedStatus.EXPIRED: "Cancelled",
}  # fmt: skip
_CODES = {
    RefusalCode.UNKNOWN_SYMBOL: 200, RefusalCode.TICK_SIZE: 110, RefusalCode.LOT_SIZE: 355,
    RefusalCode.INCOMPLETE: 107, RefusalCode.UNSUPPORTED: 387, RefusalCode.ORDER_CLOSED: 104,
    RefusalCode.QUANTITY_BELOW_FILLED: 201,
}  # fmt: skip


class GivenOrder(msgspec.Struct):
    """An order as its client gave it, with what the exchange does not keep of it."""

    client_id: int
    asked: AskedOrder
    number: int = 0

    @property
    def order_id(self) -> int:
        """IB's number of it, of this client."""
        return self.asked.order_id


def show_contract(instrument: Instrument, con_id: int, now: int) -> ShownContract:
    """A stock, with the hours of the days around `now`."""
    is_us = instrument.calendar == "XNYS"
    zone, hours = _show_hours(instrument.calendar, now)
    return ShownContract(
        con_id=con_id, symbol=instrument.symbol, currency=instrument.quote_currency,
        primary="NASDAQ" if is_us else "LOCAL", time_zone=zone, hours=hours,
        tick=instrument.tick_size, lot=instrument.lot_size,
        least=instrument.lots_to_quantity(instrument.min_lots),
    )  # fmt: skip


def _show_hours(calendar: str, now: int) -> tuple[str, str]:
    if calendar == "24/7":
        first = datetime.fromtimestamp(now // NS_PER_SECOND, tz=UTC)
        days = [first + timedelta(days=each) for each in range(_DAYS)]
        return "UTC", ";".join(
            f"{day:%Y%m%d}:0000-{day + timedelta(days=1):%Y%m%d}:0000" for day in days
        )
    zone = build_calendar(calendar).timezone
    shown: list[str] = []
    for opens, closes in SessionTimes(calendar).sessions(now, now + _DAYS * NS_PER_DAY):
        first, last = (
            datetime.fromtimestamp(each // NS_PER_SECOND, tz=ZoneInfo(zone))
            for each in (opens, closes)
        )
        shown.append(f"{first:%Y%m%d:%H%M}-{last:%Y%m%d:%H%M}")
    return zone, ";".join(shown)


def read_new_order(asked: AskedOrder, symbol: str, client_order_id: str) -> NewOrder | Refusal:
    """The order for the exchange, or what IB would say against its form."""
    try:
        kind = TYPES[asked.kind]
        life = TimeInForce.AT_THE_CLOSE if asked.kind in _AT_CLOSE else LIVES[asked.life]
    except KeyError as error:
        return Refusal(code=RefusalCode.UNSUPPORTED, message=f"{error} is not supported")
    if asked.parent not in ("", "0"):
        return Refusal(code=RefusalCode.UNSUPPORTED, message="attached orders are not supported")
    try:
        aux = _number(asked.aux)
        return NewOrder(
            symbol=symbol, client_order_id=client_order_id,
            side=Side.BUY if asked.action == "BUY" else Side.SELL, order_type=kind,
            time_in_force=life, quantity=_number(asked.quantity),
            limit=_number(asked.limit) if kind.has_limit else Decimal(0),
            stop=_number(asked.trail_stop) if kind.is_trailing
            else aux if kind.has_trigger else Decimal(0),
            trail=aux if kind.is_trailing else Decimal(0),
            trail_ratio=_number(asked.trail_percent) / 100,
            display=_number(asked.display),
            ts_expire=_time(asked.good_till) if life is TimeInForce.GTD else 0,
        )  # fmt: skip
    except (InvalidOperation, ValueError) as error:
        return Refusal(code=RefusalCode.INCOMPLETE, message=str(error))


def _number(text: str) -> Decimal:
    return Decimal(text) if text else Decimal(0)


def _time(text: str) -> int:
    """UTC ns of `20240311-20:00:00`."""
    moment = datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS_PER_SECOND


def show_order(
    order: PlacedOrder, given: GivenOrder, contract: ShownContract, instrument: Instrument,
    stop_ticks: int, account: str,
) -> ShownOrder:  # fmt: skip
    """An order of the exchange; `stop_ticks` is where its trigger stands now."""
    kind = order.order_type
    stop = instrument.ticks_to_price(stop_ticks) if stop_ticks else None
    asked = given.asked
    aux = stop if kind.has_trigger else None
    if kind.is_trailing:
        aux = _number(asked.aux) or None
    return ShownOrder(
        contract=contract, order_id=given.order_id, client_id=given.client_id,
        perm_id=PERM_ID_FIRST + order.number, action=asked.action,
        quantity=instrument.lots_to_quantity(order.lots),
        filled=instrument.lots_to_quantity(order.filled_lots), kind=asked.kind,
        limit=instrument.ticks_to_price(order.limit_ticks) if kind.has_limit else None, aux=aux,
        life=asked.life or "DAY", account=account, reference=asked.reference,
        display=int(_number(asked.display)), good_till=asked.good_till,
        trail_stop=stop if kind.is_trailing else None,
        trail_percent=_number(asked.trail_percent) or None, status=show_status_of(order),
        words=order.reason,
    )  # fmt: skip


def show_status_of(order: PlacedOrder) -> str:
    """IB's word for where an order stands: stops that have not met their price are its own."""
    waits = order.order_type.has_trigger and not order.is_triggered and not order.filled_lots
    return _STATUSES.get(order.status, "PreSubmitted" if waits else "Submitted")


def show_execution(
    request: int, execution: Execution, order: PlacedOrder, given: GivenOrder,
    contract: ShownContract, instrument: Instrument, account: str,
) -> list[Field]:  # fmt: skip
    """`execDetails`; `order` as it is behind it."""
    moment = datetime.fromtimestamp(execution.ts // NS_PER_SECOND, tz=UTC)
    price = instrument.ticks_to_price(execution.ticks)
    return [
        11, request, given.order_id, *contract.fields, show_execution_id(execution),
        f"{moment:%Y%m%d %H:%M:%S} UTC", account, "LOCAL",
        "BOT" if execution.side is Side.BUY else "SLD",
        instrument.lots_to_quantity(execution.lots), price, PERM_ID_FIRST + order.number,
        given.client_id, 0, instrument.lots_to_quantity(order.filled_lots), price,
        given.asked.reference, "", "", "",
        1 if execution.liquidity is LiquiditySide.MAKER else 2, 0,
    ]  # fmt: skip


def show_commission(execution: Execution) -> list[Field]:
    """`commissionReport`."""
    return [59, 1, show_execution_id(execution), minor_to_decimal(execution.fee),
            execution.fee_asset, "", "", ""]  # fmt: skip


def show_execution_id(execution: Execution) -> str:
    """As long as IB's; the last number tells corrections from what they correct."""
    return f"0000{execution.account[:4]}.{execution.number:08x}.01.01"


def show_refusal(refusal: Refusal) -> tuple[int, str]:
    """(code, words) of an order that is refused."""
    code = _CODES.get(refusal.code, 201)
    match refusal.code:
        case RefusalCode.UNKNOWN_SYMBOL:
            words = "No security definition has been found for the request"
        case RefusalCode.TICK_SIZE:
            words = "The price does not conform to the minimum price variation for this contract."
        case RefusalCode.INSUFFICIENT_BALANCE:
            words = (
                "Order rejected - reason:Your order is not accepted: available funds are not "
                f"enough, margin: {refusal.message}"
            )
        case _:
            words = f"Order rejected - reason:{refusal.message}"
    return code, words


def find_start(duration: str, bar_opens: Sequence[int], end: int) -> int:
    """From where on a request for history is answered: `3600 S`, `1 D`, `2 W`, `1 M`, `1 Y`.

    Days are counted back from the newest bar, since IB counts trading days.

    Raises:
        ValueError: It is no duration.
    """
    count, unit = duration.split(" ")
    seconds = {"S": 1, "D": 86_400, "W": 604_800, "M": 30 * 86_400, "Y": 365 * 86_400}
    if unit not in seconds:
        raise ValueError(f"{duration} is no duration")
    last = end if unit == "S" else max((each for each in bar_opens if each < end), default=end)
    return last - int(count) * seconds[unit] * NS_PER_SECOND
