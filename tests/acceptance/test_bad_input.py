"""Bad orders, one a row: each ends as a typed event with what was wrong, and nothing is dropped.

What a strategy may never write (a price off the grid, no quantity) is an error of the strategy: it
is quarantined, and says which line. What it could not know is a denial of ours or the venue's word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.events import (
    OrderCanceled,
    OrderDenied,
    OrderRejected,
    OrderSubmitted,
    StrategyQuarantined,
)
from onetape.domain.market import CorporateActionKind
from onetape.domain.orders import PositionSide, RejectCode, Side, TimeInForce
from onetape.marketdata.timeline import build_timeline
from onetape.risk.limits import RiskLimits, ShortSaleLimits
from onetape.strategy.context import Context
from tests.support.actions import make_action, with_actions
from tests.support.contracts import make_contract_timeline, make_future, make_margin
from tests.support.currencies import EURO, EURO_SHARE, SAP, run_currencies
from tests.support.halts import make_halt, with_halts
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MSFT,
    at_rows,
    closes,
    flat,
    make_columns,
    make_timeline,
    opens,
)

Action = Callable[[Context], Any]
FOK = TimeInForce.FOK
BARS = [(100.0, 100.0, 100.0, 100.0, 1_000.0)] * 7
"""A thousand shares a bar, of which a tenth may be ours."""

first: Action = lambda ctx: ctx.buy(AAPL, 10)  # noqa: E731


def change(ctx: Context) -> None:
    """The order of the first bar, which has filled."""
    prefix = ctx.buy(AAPL, 1).rpartition("-")[0]
    ctx.replace(f"{prefix}-1", AAPL, quantity=20)


def cancel(ctx: Context) -> None:
    prefix = ctx.buy(AAPL, 1).rpartition("-")[0]
    ctx.cancel(f"{prefix}-1")


# ruff: noqa: E501
# fmt: off
TABLE: list[tuple[str, Action, type[Any], str]] = [
    # what                  the order, at the fourth bar                  ends as              and says
    ("off-grid price",      lambda c: c.buy(AAPL, 1, limit=99.999),       StrategyQuarantined, "price 99.999 is off the grid of 0.01 (nearest valid values: 99.99 and 100.00)"),
    ("off-grid stop",       lambda c: c.buy(AAPL, 1, stop=100.001),       StrategyQuarantined, "price 100.001 is off the grid of 0.01"),
    ("off-grid quantity",   lambda c: c.buy(AAPL, 10.5),                  StrategyQuarantined, "quantity 10.5 is off the grid of 1 (nearest valid values: 10 and 11)"),
    ("no quantity",         lambda c: c.buy(AAPL, 0),                     StrategyQuarantined, "quantity 0 of AAPL.XNAS is not positive"),
    ("negative quantity",   lambda c: c.sell(AAPL, -5),                   StrategyQuarantined, "quantity -5 of AAPL.XNAS is not positive"),
    ("quantity not finite", lambda c: c.buy(AAPL, float("nan")),          StrategyQuarantined, "quantity nan is not finite"),
    ("negative price",      lambda c: c.buy(AAPL, 1, limit=-5),           StrategyQuarantined, "price -5 of AAPL.XNAS is not positive"),
    ("unknown instrument",  lambda c: c.buy(MSFT, 1),                     StrategyQuarantined, "'MSFT.XNAS' is not subscribed (known: AAPL.XNAS)"),
    ("more than int32",     lambda c: c.buy(AAPL, 3_000_000_000),         OrderDenied,         "lot_limits 3000000000 > 2147483647 lots"),
    ("reduce-only flips",   lambda c: c.sell(AAPL, 11, reduce_only=True), OrderDenied,         "reduce_only 11 > 10 lots"),
    ("reduce-only adds",    lambda c: c.buy(AAPL, 1, reduce_only=True),   OrderDenied,         "reduce_only 1 > -10 lots"),
    ("replace of filled",   change,                                       OrderDenied,         "order_closed 0 > 0"),
    ("cancel of filled",    cancel,                                       OrderDenied,         "order_closed 0 > 0"),
    ("cancel of nothing",   lambda c: c.cancel("nobody-1"),               OrderDenied,         "unknown_order 0 > 0 nobody-1"),
    ("FOK beyond volume",   lambda c: c.buy(AAPL, 101, limit=101, time_in_force=FOK), OrderCanceled, "not filled at once: 100 of 101 lots"),
    ("trail beyond price",  lambda c: c.order(AAPL, Side.SELL, 10, trail=150), OrderDenied,        "trail 150 > 100 price"),
    ("trail as wide",       lambda c: c.order(AAPL, Side.SELL, 10, trail_ratio=1.0), OrderDenied,  "trail 100 > 100 price"),
]
# fmt: on


def tell(event: Any) -> str:
    match event:
        case OrderDenied():
            return f"{event.code.value} {event.actual:.0f} > {event.limit:.0f} {event.unit}"
        case OrderCanceled():
            return f"{event.reason}: {event.found} of {event.wanted} lots"
        case _:
            return event.error


def run(actions: dict[int, Action]) -> SessionRun:
    timeline = make_timeline((EQUITY, make_columns(BARS)))
    return run_session(timeline, at_rows(actions), max_volume_ratio=0.1)


@pytest.mark.parametrize(("_what", "order", "kind", "says"), TABLE, ids=[row[0] for row in TABLE])
def test_bad_order_ends_as_a_typed_event(
    _what: str, order: Action, kind: type[Any], says: str
) -> None:
    session = run({0: first, 3: order})
    (found,) = session.of_type(OrderDenied, OrderCanceled, StrategyQuarantined)
    assert type(found) is kind
    assert says in tell(found)
    assert session.fills[0].lots == 10  # what was right before it stands


# fmt: off
GATES: list[tuple[str, RiskLimits, Action, str]] = [
    # what                      the limits                                                       the order, at the fourth bar         says
    ("not listed yet",          RiskLimits(trading_status=True),                                 first,                               "not_listed 1704206040 > 1704206100 s since 1970 UTC"),
    ("no longer listed",        RiskLimits(trading_status=True),                                 first,                               "delisted 1704206040 > 1704205980 s since 1970 UTC"),
    ("short, nothing located",  RiskLimits(short_sale=ShortSaleLimits(hard_to_borrow=(AAPL,))),  lambda c: c.sell(AAPL, 3),           "not_located 3 > 0 units"),
    ("short after a fall",      RiskLimits(short_sale=ShortSaleLimits(uptick_rule=True)),        lambda c: c.sell(AAPL, 3),           "uptick 0 > 90 price"),
    ("short at the price",      RiskLimits(short_sale=ShortSaleLimits(uptick_rule=True)),        lambda c: c.sell(AAPL, 3, limit=90), "uptick 90 > 90 price"),
]
# fmt: on
DATES = {"not listed yet": {"ts_listed": closes(4)}, "no longer listed": {"ts_delisted": closes(2)}}


@pytest.mark.parametrize(("what", "limits", "order", "says"), GATES, ids=[row[0] for row in GATES])
def test_order_against_a_rule_of_its_market_is_denied(
    what: str, limits: RiskLimits, order: Action, says: str
) -> None:
    instrument = msgspec.structs.replace(EQUITY, **DATES.get(what, {}))
    prices = flat(100, 100, 90, 90, 90, 90)
    timeline = make_timeline((instrument, make_columns(prices, session=2)))
    session = run_session(timeline, at_rows({3: order}), limits=limits)
    assert [tell(each) for each in session.denied] == [says]
    assert session.of_type(OrderSubmitted) == []


def test_order_of_a_delisted_instrument_is_denied() -> None:
    delisting = make_action(CorporateActionKind.DELISTING, opens(3), 90)
    timeline = with_actions(make_timeline((EQUITY, make_columns(BARS))), [delisting])
    session = run_session(timeline, at_rows({4: first}))
    assert [tell(each) for each in session.denied] == ["delisted 10 > 0 lots"]
    assert session.of_type(OrderSubmitted) == []


def test_order_on_a_halted_instrument_is_rejected_by_its_venue() -> None:
    halt = make_halt(opens(3), closes(5), "LUDP")
    timeline = with_halts(make_timeline((EQUITY, make_columns(BARS))), halt)
    session = run_session(timeline, at_rows({3: first}))
    (found,) = session.of_type(OrderRejected)
    says = "halted since 2024-01-02T14:33:00Z (LUDP)"
    assert (found.code, found.reason) == (RejectCode.HALTED, says)
    assert session.fills == []


def test_order_of_an_expired_contract_is_denied() -> None:
    future = make_future(closes(1))
    timeline = make_contract_timeline((future, flat(5_000, 5_000)), (EQUITY, flat(*[100] * 4)))
    strategy = at_rows({2: lambda ctx: ctx.buy(future.id, 3)})
    session = run_session(timeline, strategy, margin=make_margin(timeline))
    assert [tell(each) for each in session.denied] == ["expired 3 > 0 lots"]
    assert session.of_type(OrderSubmitted) == []


def test_order_without_a_rate_is_denied_and_without_a_pair_the_run_does_not_begin() -> None:
    late = make_columns(flat(1.25, 1.25), start=opens(2))
    share = (EURO_SHARE, make_columns(flat(*[100] * 4)))
    timeline = build_timeline([(EURO, late), share], source="test", timeframe="1m")
    order = at_rows({0: lambda ctx: ctx.buy(SAP, 10)}, instrument=SAP)
    session = run_currencies(timeline, order)
    assert [tell(each) for each in session.denied] == ["no_rate 0 > 1 bars of EURUSD.FX"]
    with pytest.raises(ConfigError, match="no instrument of the session is a rate between"):
        run_currencies(build_timeline([share], source="test", timeframe="1m"), order)


def test_dividend_on_an_instrument_without_bars_is_refused() -> None:
    dividend = make_action(CorporateActionKind.CASH_DIVIDEND, opens(2), 1, instrument=MSFT)
    with pytest.raises(DataError, match=r"MSFT\.XNAS, which has no bars"):
        with_actions(make_timeline((EQUITY, make_columns(BARS))), [dividend])


LONG, SHORT = PositionSide.LONG, PositionSide.SHORT

# fmt: off
LEGS: list[tuple[str, Action, type[Any], str]] = [
    # what                  the order, with 10 long and 4 short           ends as              and says
    ("no leg",              lambda c: c.buy(AAPL, 1),                     StrategyQuarantined, "an order of AAPL.XNAS names no leg"),
    ("leg of a leg",        lambda c: c.buy(c.leg(AAPL, LONG), 1, leg=LONG), StrategyQuarantined, "AAPL#LONG.XNAS has no leg PositionSide.LONG"),
    ("leg that is flat",    lambda c: c.buy(AAPL, 1, leg=PositionSide.FLAT), StrategyQuarantined, "AAPL.XNAS has no leg PositionSide.FLAT"),
    ("long leg flips",      lambda c: c.sell(AAPL, 11, leg=LONG),         OrderDenied,         "reduce_only 11 > 10 lots"),
    ("short leg flips",     lambda c: c.buy(AAPL, 5, leg=SHORT),          OrderDenied,         "reduce_only 5 > 4 lots"),
    ("reduce-only adds",    lambda c: c.sell(AAPL, 1, leg=SHORT, reduce_only=True), OrderDenied, "reduce_only 1 > -4 lots"),
    ("target beyond flat",  lambda c: c.target(AAPL, -1, leg=LONG),       OrderDenied,         "reduce_only 11 > 10 lots"),
    ("off-grid quantity",   lambda c: c.sell(AAPL, 0.5, leg=SHORT),       StrategyQuarantined, "quantity 0.5 is off the grid of 1"),
    ("FOK beyond volume",   lambda c: c.buy(AAPL, 101, limit=101, time_in_force=FOK, leg=LONG), OrderCanceled, "not filled at once: 100 of 101 lots"),
]
# fmt: on


@pytest.mark.parametrize(("_what", "order", "kind", "says"), LEGS, ids=[row[0] for row in LEGS])
def test_bad_order_of_a_leg_ends_as_a_typed_event(
    _what: str, order: Action, kind: type[Any], says: str
) -> None:
    timeline = make_timeline((EQUITY, make_columns(BARS)))
    entries: Action = lambda c: (c.buy(AAPL, 10, leg=LONG), c.sell(AAPL, 4, leg=SHORT))  # noqa: E731
    strategy = at_rows({0: entries, 3: order})
    session = run_session(timeline, strategy, max_volume_ratio=0.1, has_legs=True)
    (found,) = session.of_type(OrderDenied, OrderCanceled, StrategyQuarantined)
    assert type(found) is kind
    assert says in tell(found)
    assert [each.lots for each in session.fills] == [10, 4]  # what was right before it stands


def test_leg_without_hedging_is_an_error_of_the_strategy() -> None:
    session = run({0: first, 3: lambda c: c.buy(AAPL, 1, leg=LONG)})
    (found,) = session.quarantined
    assert "AAPL.XNAS has no leg PositionSide.LONG" in found.error
    assert "position_mode: hedging" in found.error
