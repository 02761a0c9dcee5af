"""What the local TWS writes, as ib_async reads it; what ib_async writes, as the local TWS reads it.

The decoder and the client of ib_async are the other side of every layout; contracts as IB shows
them are in `test_contracts`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ib_async.client import Client
from ib_async.contract import Contract
from ib_async.decoder import Decoder
from ib_async.order import Order

from onetape.domain.orders import OrderConditions, OrderType, Side, TimeInForce
from onetape.execution.ibkr.tracking import split_id
from onetape.execution.ibkr.translation import to_fee, to_lots, to_order, to_ticks
from onetape.runtime.local_venues.ibkr_wire import (
    SERVER_VERSION,
    ShownContract,
    ShownOrder,
    decode,
    encode,
    read_order,
    read_versions,
    show,
    show_completed_order,
    show_details,
    show_open_order,
)
from tests.support.ibkr_venue import AAPL, LocalTws, make_minutes

CONTRACT = ShownContract(
    con_id=265598, symbol="AAPL", currency="USD", primary="NASDAQ", time_zone="US/Eastern",
    hours="20240311:0930-20240311:1600", tick=Decimal("0.01"), lot=Decimal(1), least=Decimal(1),
)  # fmt: skip
SHOWN = ShownOrder(
    contract=CONTRACT, order_id=12, client_id=3, perm_id=778, action="SELL", quantity=Decimal(40),
    filled=Decimal(15), kind="STP LMT", limit=Decimal("99.5"), aux=Decimal("100.25"), life="GTD",
    account="DU1", reference="s-1", display=5, good_till="20240311-20:00:00",
    trail_stop=Decimal("7.5"), trail_percent=Decimal("2.25"), status="PreSubmitted", words="so",
)  # fmt: skip


class Recorder:
    """A wrapper that keeps what the decoder calls, and fails where it can't read."""

    defaultTimezone = None  # noqa: N815

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.calls.append((name, args))


class Loud:
    """A logger whose errors are errors."""

    def exception(self, message: str) -> None:
        raise AssertionError(message)


def read(fields: Any) -> tuple[Any, ...]:
    """What ib_async's decoder makes of a message."""
    recorder = Recorder()
    decoder = Decoder(recorder, SERVER_VERSION)  # pyright: ignore[reportArgumentType]
    decoder.logger = Loud()  # pyright: ignore[reportAttributeAccessIssue]
    decoder.interpret(decode(encode(fields)[4:]))
    ((_, args),) = recorder.calls
    return args


def check_order(order: Order) -> None:
    assert (order.action, order.totalQuantity, order.orderType) == ("SELL", 40.0, "STP LMT")
    assert (order.lmtPrice, order.auxPrice, order.tif) == (99.5, 100.25, "GTD")
    assert (order.account, order.orderRef, order.permId) == ("DU1", "s-1", 778)
    assert (order.displaySize, order.goodTillDate) == (5, "20240311-20:00:00")
    assert (order.trailStopPrice, order.trailingPercent) == (7.5, 2.25)


def test_open_order_is_read_to_its_last_field() -> None:
    number, contract, order, state = read(show_open_order(SHOWN))
    check_order(order)
    assert (number, order.orderId, order.clientId) == (12, 12, 3)
    assert (contract.conId, contract.symbol, contract.secType, contract.currency) == (
        265598, "AAPL", "STK", "USD",
    )  # fmt: skip
    assert (state.status, state.warningText) == ("PreSubmitted", "")
    assert (order.midOffsetAtHalf, order.conditions) == (Order().midOffsetAtHalf, [])


def test_completed_order_is_read_to_its_last_field() -> None:
    _, order, state = read(show_completed_order(SHOWN))
    check_order(order)
    assert order.filledQuantity == 15.0
    assert (state.status, state.completedStatus) == ("PreSubmitted", "so")


def test_contract_details_are_read_to_their_last_field() -> None:
    request, details = read(show_details(9, CONTRACT))
    assert (request, details.minTick, details.sizeIncrement, details.minSize) == (9, 0.01, 1.0, 1.0)
    assert (details.timeZoneId, details.liquidHours) == (CONTRACT.time_zone, CONTRACT.hours)
    assert details.contract.primaryExchange == "NASDAQ"
    assert details.marketRuleIds.split(",")[0] == "265598"


def sent(order: Order) -> list[str]:
    """The fields that ib_async's client writes of an order."""
    client = Client(Recorder())
    client._serverVersion = SERVER_VERSION  # pyright: ignore[reportPrivateUsage]
    client.connState = Client.CONNECTED
    written: list[str] = []
    client.sendMsg = written.append
    contract = Contract(conId=4, symbol="AAPL", secType="STK", exchange="SMART", currency="USD")
    client.placeOrder(31, contract, order)
    return written[0].split("\0")[:-1]


def test_order_that_the_client_writes_is_read_as_it_was_meant() -> None:
    world = LocalTws(make_minutes(), None)
    terms = OrderConditions(trail_ratio_e8=1_250_000, display_lots=3)
    wanted = world.order(
        10, side=Side.SELL, order_type=OrderType.TRAILING_STOP, time_in_force=TimeInForce.GTD,
        stop=5_001, ts_expire=1_710_187_200_000_000_000, conditions=terms,
    )  # fmt: skip
    asked = read_order(
        sent(to_order(wanted, AAPL, "DU1", lots=12, limit_ticks=0, stop_ticks=5_001))
    )
    assert (asked.order_id, asked.contract.con_id, asked.contract.currency) == (31, 4, "USD")
    assert (asked.action, asked.quantity, asked.kind, asked.life) == (
        "SELL",
        "12.0",
        "TRAIL",
        "GTD",
    )
    assert (asked.account, asked.reference, asked.display) == ("DU1", wanted.client_order_id, "3")
    assert (asked.good_till, asked.trail_stop) == ("20240311-20:00:00", "50.01")
    assert Decimal(asked.trail_percent) == Decimal("1.25")
    assert (asked.limit, asked.aux) == ("", "")
    limit = world.order(10, order_type=OrderType.STOP_LIMIT, limit=4_990, stop=5_010)
    asked = read_order(
        sent(to_order(limit, AAPL, "DU1", lots=10, limit_ticks=4_990, stop_ticks=5_010))
    )
    assert (asked.kind, asked.limit, asked.aux) == ("STP LMT", "49.90", "50.10")


def test_fields_are_exact_texts_without_exponents() -> None:
    assert [show(each) for each in (Decimal("1E+3"), Decimal("0.00010"), True, None, 7)] == [
        "1000", "0.0001", "1", "", "7",
    ]  # fmt: skip
    assert read_versions(b"v157..178 +PACEAPI") == (157, 178)
    assert read_versions(b"v178") == (178, 178)


def test_numbers_of_the_wire_land_on_the_grid_against_us() -> None:
    assert to_ticks(100.005, AAPL, Side.BUY) == 10_001
    assert to_ticks(100.005, AAPL, Side.SELL) == 10_000
    assert to_ticks(0.1 + 0.2, AAPL, Side.SELL) == 30
    assert to_ticks(1.7976931348623157e308, AAPL, Side.BUY) == 0
    assert to_lots(10.9, AAPL) == 10
    assert to_lots(-10.9, AAPL) == -10
    assert to_fee(1.000315) == 100_031_500
    assert to_fee(0.123456789) == 12_345_679
    assert to_fee(-0.123456789) == -12_345_678


def test_correction_has_the_id_of_what_it_corrects() -> None:
    """Ids as IB's documentation of executions shows them."""
    assert split_id("00025b46.63f8f39c.01.01") == ("00025b46.63f8f39c.01", 1)
    assert split_id("00025b46.63f8f39c.01.02") == ("00025b46.63f8f39c.01", 2)
    assert split_id("odd") == ("odd", 1)
