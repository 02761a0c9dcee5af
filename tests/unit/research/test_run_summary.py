from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import pytest

from onetape.domain.errors import DataError, InvariantBroken
from onetape.domain.events import CapitalDeposited, OrderDenied, PositionChanged
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode, Side
from onetape.research.run_summary import summarize_run
from tests.support.runs import EventLog, make_run, make_timeline

A, B = make_equity("A.X"), make_equity("B.X")


def test_summary_of_an_incomplete_run_ends_with_its_tape() -> None:
    run = make_run(complete=False)
    summary = summarize_run(run.timeline, run.events, digest="")
    assert not summary.is_complete
    last = run.events[-1].ts_event
    assert summary.account.ts_end == last < run.timeline.columns["ts_known"][-1]
    assert summary.metrics()["complete"] is False


def test_summary_of_a_run_killed_at_its_start_is_undefined_not_an_error() -> None:
    log = EventLog([A])
    log.start(1)
    log.deposit(1, "s")
    summary = summarize_run(make_timeline([A], [(0, 10, 1.0)]), log.events, digest="")
    assert summary.account.slices == 0
    assert math.isnan(summary.account.total_return)
    assert summary.currency == "USD"


def test_profit_of_instruments_and_strategies_adds_up_to_the_account() -> None:
    run = make_run(strategies=("trend", "reversal"))
    summary = summarize_run(run.timeline, run.events, digest="")
    account = summary.account
    assert sum(each.net_profit for each in summary.instruments) == account.net_profit
    assert sum(each.net_profit for each in summary.strategies.values()) == account.net_profit
    assert sum(each.fees for each in summary.instruments) == account.fees
    assert sum(each.traded_notional for each in summary.instruments) == account.traded_notional
    notional = [each.traded_notional for each in summary.instruments]
    assert notional == sorted(notional, reverse=True)
    total = math.prod(1 + value for _, value in summary.returns_by_month) - 1
    assert total == pytest.approx(account.total_return)


def test_denials_are_grouped_by_reason_with_their_numbers() -> None:
    log = EventLog([A])
    log.start(1)
    log.deposit(1, "s")
    for ts, code, actual in [(2, DenialCode.LEVERAGE, 2.5), (3, DenialCode.NO_MARK, 0.0),
                             (4, DenialCode.LEVERAGE, 3.5)]:  # fmt: skip
        log.emit(ts, OrderDenied("s", ts, InstrumentId("A.X"), code, actual, 2.0, "x"))
    log.stop(10)
    summary = summarize_run(make_timeline([A], [(0, 10, 1.0)]), log.events, digest="")
    first, second = summary.denials
    assert (first.code, first.count, first.actual_min, first.actual_max) == (
        "leverage",
        2,
        2.5,
        3.5,
    )
    assert (first.limit_min, first.ts_first, first.ts_last) == (2.0, 2, 4)
    assert (second.code, second.count) == ("no_mark", 1)


def test_denials_about_orders_are_one_group_and_not_one_an_order() -> None:
    log = EventLog([A])
    log.start(1)
    log.deposit(1, "s")
    for number in range(1, 4):
        log.emit(
            number,
            OrderDenied("s", 9, InstrumentId(""), DenialCode.ORDER_CLOSED, 0, 0, f"s-{number}"),
        )
    log.stop(10)
    (group,) = summarize_run(make_timeline([A], [(0, 10, 1.0)]), log.events, digest="").denials
    assert (group.code, group.unit, group.count) == ("order_closed", "", 3)


def test_books_that_differ_from_the_fills_are_refused() -> None:
    run = make_run(bars=200)
    at = next(n for n, e in reversed(list(enumerate(run.events))) if "position" in e.type)
    payload = run.events[at].payload
    assert isinstance(payload, PositionChanged)
    wrong = msgspec.structs.replace(payload, cash=payload.cash + 1)
    run.events[at] = msgspec.structs.replace(run.events[at], payload=wrong)
    with pytest.raises(InvariantBroken, match="cash of trend is"):
        summarize_run(run.timeline, run.events, digest="")


def test_strategies_in_two_currencies_are_refused() -> None:
    log = EventLog([A])
    log.start(1)
    log.deposit(1, "s")
    log.emit(1, CapitalDeposited("t", "EUR", E8))
    log.stop(10)
    with pytest.raises(DataError, match="EUR and USD"):
        summarize_run(make_timeline([A], [(0, 10, 1.0)]), log.events, digest="")


def test_metrics_are_plain_values_with_exact_money_and_iso_times() -> None:
    log = EventLog([A, B])
    log.start(1)
    log.deposit(1, "s", 100 * E8)
    log.trade(86_400 * 10**9, "s", "A.X", Side.BUY, 1, 1001, fee=12_345)
    log.stop(2 * 86_400 * 10**9)
    bars = [(0, 86_400 * 10**9, 10.01), (0, 2 * 86_400 * 10**9, 10.02)]
    metrics = summarize_run(make_timeline([A, B], [*bars, (1, 5, 1.0)]), log.events, digest="ab")
    account = metrics.metrics()["account"]
    assert account["net_profit"] == Decimal("0.00987655")
    assert str(account["equity"]) == "100.00987655"
    assert account["time_end"] == "1970-01-03T00:00:00Z"
    assert metrics.metrics()["orders"] == {"filled": 1}
    assert metrics.metrics()["tape_digest"] == "ab"
