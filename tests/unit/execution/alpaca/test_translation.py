"""Alpaca's words and units, one by one."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from onetape.domain.events import OrderSubmitted
from onetape.domain.instrument import Instrument, make_equity, make_spot
from onetape.domain.orders import (
    OrderConditions,
    OrderType,
    RejectCode,
    Side,
    TimeInForce,
)
from onetape.execution.alpaca.rest import Refused
from onetape.execution.alpaca.translation import (
    find_problem,
    to_fields,
    to_lots,
    to_reject_code,
    to_rest_units,
    to_ticks,
    to_ts,
)

SHARE = make_equity("AAPL.ALPACA")
PART = make_equity("AAPL.ALPACA", lot_size="0.001")
PAIR = make_spot("BTCUSD.ALPACA", base="BTC", quote="USD", tick_size="0.01", lot_size="0.0001")


def order(instrument: Instrument = SHARE, **fields: object) -> OrderSubmitted:
    usual = OrderSubmitted(
        "s-1", "s", instrument.id, Side.BUY, OrderType.MARKET, TimeInForce.DAY, 10, 0, 0, 0
    )
    return msgspec.structs.replace(usual, **fields)


def test_fields_are_exact_texts() -> None:
    trailing = OrderConditions(trail_ratio_e8=1_250_000)
    assert to_fields(order(PART, lots=1_234_567), PART)["qty"] == "1234.567"
    limit = order(order_type=OrderType.STOP_LIMIT, side=Side.SELL, limit_ticks=29_012, stop_ticks=1)
    assert to_fields(limit, SHARE) == {
        "symbol": "AAPL", "qty": "10", "side": "sell", "type": "stop_limit",
        "time_in_force": "day", "client_order_id": "s-1", "limit_price": "290.12",
        "stop_price": "0.01",
    }  # fmt: skip
    follows = order(order_type=OrderType.TRAILING_STOP, conditions=trailing)
    assert Decimal(to_fields(follows, SHARE)["trail_percent"]) == Decimal("1.25")
    assert to_fields(order(PAIR), PAIR)["symbol"] == "BTC/USD"


@pytest.mark.parametrize(
    ("instrument", "fields", "problem"),
    [
        (SHARE, {}, ""),
        (PART, {"lots": 1_500}, ""),
        (PART, {"lots": 1_500, "time_in_force": TimeInForce.GTC}, "parts of a share"),
        (PART, {"lots": 2_000, "time_in_force": TimeInForce.GTC}, ""),
        (PAIR, {}, "no DAY orders for pairs"),
        (PAIR, {"time_in_force": TimeInForce.IOC}, ""),
        (PAIR, {"order_type": OrderType.STOP}, "no STOP orders for pairs"),
        (SHARE, {"lots": 0, "budget": 100}, "size by quantity"),
        (SHARE, {"conditions": OrderConditions(display_lots=1)}, "iceberg"),
    ],
)
def test_what_alpaca_takes(instrument: Instrument, fields: dict[str, object], problem: str) -> None:
    said = find_problem(order(instrument, **fields), instrument)
    assert problem in said
    assert bool(problem) == bool(said)


@pytest.mark.parametrize(
    ("price", "side", "ticks"),
    [
        ("100.50", Side.BUY, 10_050),
        ("100.5001", Side.BUY, 10_051),
        ("100.5099", Side.SELL, 10_050),
        (None, Side.BUY, 0),
    ],
)
def test_prices_are_rounded_against_us(price: str | None, side: Side, ticks: int) -> None:
    assert to_ticks(price, SHARE, side) == ticks


@pytest.mark.parametrize(
    ("quantity", "lots", "rest"),
    [("10", 10, 0), ("-10", -10, 0), ("10.38962051", 10, 38_962_051), ("-0.5", 0, -50_000_000)],
)
def test_quantities_are_whole_lots_and_a_rest(quantity: str, lots: int, rest: int) -> None:
    assert (to_lots(quantity, SHARE), to_rest_units(quantity, SHARE)) == (lots, rest)


def test_times_keep_nanoseconds() -> None:
    assert to_ts("2024-03-11T10:30:00.123456789-04:00") == 1_710_167_400_123_456_789
    assert to_ts(None) == 0


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (403, 40310000, "insufficient buying power", RejectCode.INSUFFICIENT_FUNDS),
        (404, 40410000, "order not found", RejectCode.UNKNOWN_ORDER),
        (422, 42210000, 'order is already in "filled" state', RejectCode.ORDER_CLOSED),
        (422, 42210000, "sub-penny increment", RejectCode.UNSUPPORTED),
    ],
)
def test_refusals_are_sorted(status: int, code: int, message: str, expected: RejectCode) -> None:
    assert to_reject_code(status, code, message) is expected


@pytest.mark.parametrize(
    ("status", "code", "is_of_keys"),
    [(401, 40110000, True), (403, 0, True), (403, 40310000, False), (422, 0, False)],
)
def test_a_403_is_of_the_keys_only_without_a_code_of_business(
    status: int, code: int, *, is_of_keys: bool
) -> None:
    assert Refused(status, code, "").is_of_keys is is_of_keys
