"""Requests wait for the limits of Binance; the clock and the waiting are the test's."""

from __future__ import annotations

import asyncio

from onetape.marketdata.feeds.binance_budget import RequestBudget


class Time:
    def __init__(self) -> None:
        self.now_s = 600.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def spend(budget: RequestBudget, *costs: tuple[int, int]) -> None:
    async def all_of_them() -> None:
        for weight, orders in costs:
            await budget.spend(weight, orders)

    asyncio.run(all_of_them())


def test_nine_tenths_of_a_minute_are_used_and_then_the_next_begins() -> None:
    """6,000 a minute: 54 times 100 go at once, the next waits for the end of the minute."""
    time = Time()
    budget = RequestBudget(lambda: time.now_s, time.sleep)
    time.now_s = 610.0
    spend(budget, *[(100, 0)] * 55)
    assert time.slept == [50.0]


def test_orders_have_a_limit_of_their_own() -> None:
    """100 in ten seconds."""
    time = Time()
    budget = RequestBudget(lambda: time.now_s, time.sleep)
    spend(budget, *[(1, 1)] * 91)
    assert time.slept == [10.0]


def test_what_the_venue_counts_is_counted() -> None:
    time = Time()
    budget = RequestBudget(lambda: time.now_s, time.sleep)
    budget.learn({"x-mbx-used-weight-1m": "5399", "X-MBX-ORDER-COUNT-10S": "90"})
    spend(budget, (1, 0))
    assert time.slept == []
    spend(budget, (1, 1))
    assert time.slept == [60.0]


def test_limits_of_the_exchange_replace_the_usual_ones_and_a_ban_holds_everything() -> None:
    time = Time()
    budget = RequestBudget(lambda: time.now_s, time.sleep)
    budget.set_limits([{"rateLimitType": "REQUEST_WEIGHT", "interval": "SECOND", "intervalNum": 1,
                        "limit": 10}])  # fmt: skip
    spend(budget, (9, 5), (1, 0))
    assert time.slept == [1.0]
    budget.hold(7.5)
    spend(budget, (1, 0))
    assert time.slept == [1.0, 7.5]


def test_request_that_is_larger_than_the_limit_goes_alone() -> None:
    time = Time()
    budget = RequestBudget(lambda: time.now_s, time.sleep)
    spend(budget, (9_000, 0), (1, 0))
    assert time.slept == [60.0]
