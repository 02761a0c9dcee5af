"""The simulated venue on bars: what each order becomes, worked by hand.

A report is told as a short text, `B1 filled 10 @ 100.5 left 0`; prices are in currency, orders are
named by the test. Bar `n` opens n minutes after `T0`; bars are contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from onetape.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReport,
    OrderSubmitted,
    OrderTriggered,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import make_bar
from onetape.domain.numbers import E8, INT64_MAX
from onetape.domain.orders import LiquiditySide, OrderType, Side, TimeInForce
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fees import (
    BpsFees,
    FeeModel,
    FeeTier,
    NoFees,
    PerOrderFees,
    PerShareFees,
    TieredFees,
    build_fee_schedule,
)
from onetape.execution.simulated.latency import LatencyModel, build_latency, compute_latency_ns
from onetape.execution.simulated.slippage import (
    FixedSlippage,
    NoSlippage,
    SlippageModel,
    VolumeSlippage,
    build_slippage,
)
from onetape.execution.simulated.terms import VenueTerms
from onetape.execution.simulated.venue import SimulatedVenue
from tests.support.timelines import AAPL, EQUITY, MSFT, OTHER, SECOND, T0, opens

GTC, DAY, GTD, IOC, FOK, *_ = TimeInForce
FREE, NO_SLIPPAGE, AT_ONCE = NoFees(), NoSlippage(), LatencyModel()


@dataclass
class Exchange:
    """A venue with one client: takes orders, shows bars, keeps the client's books."""

    fees: FeeModel = FREE
    slippage: SlippageModel = NO_SLIPPAGE
    latency: LatencyModel = AT_ONCE
    seed: int = 0
    limit_reach: float = LIMIT_TRADED_THROUGH
    max_volume_ratio: float | None = None
    held: int = 0
    cash: int = 0
    fills: list[OrderFilled] = field(default_factory=list)

    def __post_init__(self) -> None:
        terms = VenueTerms(
            fees={each.id: build_fee_schedule(self.fees, each) for each in (EQUITY, OTHER)},
            slippage=build_slippage(self.slippage),
            latency=build_latency(self.latency, self.seed),
            limit_reach=self.limit_reach,
            max_volume_ratio=self.max_volume_ratio,
        )
        self.venue = SimulatedVenue((EQUITY, OTHER), terms)

    # What the venue may ask of its client's books.

    def equity_at(self, strategy: str, instrument: InstrumentId, ticks: int) -> int:
        return self.cash + self.held * ticks * EQUITY.minor_per_tick_lot

    def position_lots(self, strategy: str, instrument: InstrumentId) -> int:
        return self.held

    # Commands.

    def send(
        self,
        name: str,
        lots: int = 10,
        *,
        limit: float = 0,
        stop: float = 0,
        tif: TimeInForce = GTC,
        expire: int = 0,
        at: int = T0,
        arrive: bool = True,
        **more: Any,
    ) -> list[str]:
        """An order; a name that begins with B buys, any other sells."""
        kinds = {(0, 0): OrderType.MARKET, (1, 0): OrderType.LIMIT, (0, 1): OrderType.STOP}
        kind = kinds.get((int(limit > 0), int(stop > 0)), OrderType.STOP_LIMIT)
        side = Side.BUY if name.startswith("B") else Side.SELL
        command = OrderSubmitted(
            name, "s", AAPL, side, kind, tif, lots, round(limit * 100), round(stop * 100), expire,
            **more,
        )  # fmt: skip
        self.venue.receive([command], at)
        return self.arrive(at) if arrive else []

    def cancel(self, name: str, at: int) -> None:
        self.venue.receive([OrderCancelPending(name)], at)

    def replace(self, name: str, at: int, *, lots: int, limit: float = 0, stop: float = 0) -> None:
        ticks = round(limit * 100), round(stop * 100)
        self.venue.receive([OrderReplacePending(name, lots, *ticks)], at)

    def arrive(self, ts: int = INT64_MAX, ts_open: int = INT64_MAX) -> list[str]:
        """What has arrived by `ts`, where the next bar opens at `ts_open`."""
        return [self._take(each) for each in self.venue.arrive(ts, lambda _: ts_open)]

    def bar(
        self,
        row: int,
        open_: float,
        high: float | None = None,
        low: float | None = None,
        close: float | None = None,
        *,
        volume: float = 1e9,
        session_close: int | None = None,
    ) -> list[str]:
        """Bar `row`; what is not given is the open."""
        prices = [open_ if each is None else each for each in (high, low, close)]
        bar = make_bar(
            AAPL, ts_open=opens(row), ts_close=opens(row + 1), open=open_, high=prices[0],
            low=prices[1], close=prices[2], volume=volume, session_close=session_close,
        )  # fmt: skip
        return [self._take(each) for each in self.venue.on_bar(bar, self)]

    def _take(self, report: OrderReport) -> str:
        name = report.client_order_id
        match report:
            case OrderFilled():
                self.held += report.lots * report.side
                self.cash -= report.notional * report.side + report.fee
                self.fills.append(report)
                word = "part" if isinstance(report, OrderPartiallyFilled) else "filled"
                return f"{name} {word} {report.lots} @ {report.ticks / 100:g} left {report.leaves}"
            case OrderAccepted():
                return f"{name} accepted"
            case OrderTriggered():
                return f"{name} triggered at {report.stop_ticks / 100:g}"
            case OrderCanceled() | OrderExpired():
                return f"{name} {type(report).__name__[5:].lower()}: {report.reason}"
            case OrderCancelRejected() | OrderReplaceRejected():
                return f"{name} refused: {report.reason}"
            case OrderReplaced():
                return f"{name} replaced: {report.lots}"
            case _:
                raise AssertionError(report)


# One order, one bar. Prices: limit, stop; open, high, low, close; what happens.

ONE_BAR = [
    # market
    ("B", 0, 0, (100, 101, 99, 100.5), "filled 10 @ 100"),
    ("S", 0, 0, (100, 101, 99, 100.5), "filled 10 @ 100"),
    # limit: inside, only touched, at the open, at the better open
    ("B", 99.5, 0, (100, 101, 99, 100.5), "filled 10 @ 99.5"),
    ("B", 99, 0, (100, 101, 99, 100.5), ""),
    ("B", 98, 0, (100, 101, 99, 100.5), ""),
    ("B", 100, 0, (100, 101, 99, 100.5), "filled 10 @ 100"),
    ("B", 100, 0, (100, 101, 100, 100.5), ""),
    ("B", 105, 0, (100, 101, 99, 100.5), "filled 10 @ 100"),
    ("S", 100.5, 0, (100, 101, 99, 100.5), "filled 10 @ 100.5"),
    ("S", 101, 0, (100, 101, 99, 100.5), ""),
    ("S", 95, 0, (100, 101, 99, 100.5), "filled 10 @ 100"),
    # stop: inside, touched, gap over the stop, not reached
    ("B", 0, 100.7, (100, 101, 99, 100.5), "triggered, filled 10 @ 100.7"),
    ("B", 0, 101, (100, 101, 99, 100.5), "triggered, filled 10 @ 101"),
    ("B", 0, 101.01, (100, 101, 99, 100.5), ""),
    ("B", 0, 95, (100, 101, 99, 100.5), "triggered, filled 10 @ 100"),
    ("S", 0, 99.3, (100, 101, 99, 100.5), "triggered, filled 10 @ 99.3"),
    ("S", 0, 99, (100, 101, 99, 100.5), "triggered, filled 10 @ 99"),
    ("S", 0, 98.99, (100, 101, 99, 100.5), ""),
    ("S", 0, 105, (100, 101, 99, 100.5), "triggered, filled 10 @ 100"),
    # stop-limit: stop inside the limit; limit missed; gap beyond the limit; back at the close
    ("B", 102, 100.7, (100, 101, 99, 100.5), "triggered, filled 10 @ 100.7"),
    ("B", 100.2, 100.7, (100, 101, 99, 100.5), "triggered"),
    ("B", 100.2, 100.7, (100, 101, 99, 100.1), "triggered, filled 10 @ 100.2"),
    ("B", 102, 101.5, (100, 101, 99, 100.5), ""),
    ("B", 102, 101, (103, 104, 102.5, 103), "triggered"),
    ("B", 102, 101, (103, 104, 101.5, 103), "triggered, filled 10 @ 102"),
    ("B", 102, 101, (101.5, 104, 101.2, 103), "triggered, filled 10 @ 101.5"),
    ("S", 98, 99.3, (100, 101, 99, 100.5), "triggered, filled 10 @ 99.3"),
    ("S", 99.8, 99.3, (100, 101, 99, 99.2), "triggered"),
    ("S", 99.8, 99.3, (100, 101, 99, 100), "triggered, filled 10 @ 99.8"),
    ("S", 98, 99, (97, 97.5, 96, 97), "triggered"),
]


@pytest.mark.parametrize(("name", "limit", "stop", "bar", "expected"), ONE_BAR)
def test_venue_order_on_its_first_whole_bar(
    name: str, limit: float, stop: float, bar: tuple[float, ...], expected: str
) -> None:
    exchange = Exchange()
    assert exchange.send(name, limit=limit, stop=stop) == [f"{name} accepted"]
    said = [each.removeprefix(f"{name} ") for each in exchange.bar(0, *bar)]
    texts = [each.removesuffix(" left 0") for each in said]
    assert ", ".join(t.split(" at ")[0] for t in texts) == expected


@pytest.mark.parametrize(
    ("limit", "bar", "expected"),
    [
        (99, (100, 101, 99, 100.5), ["B filled 10 @ 99 left 0"]),
        (100, (100, 101, 100, 100.5), ["B filled 10 @ 100 left 0"]),
        (98.99, (100, 101, 99, 100.5), []),
    ],
)
def test_venue_limit_fills_at_a_touch_where_the_setting_says_so(
    limit: float, bar: tuple[float, ...], expected: list[str]
) -> None:
    exchange = Exchange(limit_reach=LIMIT_TOUCHED)
    exchange.send("B", limit=limit)
    assert exchange.bar(0, *bar) == expected


def test_venue_triggered_stop_limit_lives_on_as_a_limit_and_makes_liquidity() -> None:
    exchange = Exchange()
    exchange.send("B", limit=100.2, stop=100.7)
    assert exchange.bar(0, 100, 101, 99, 100.5) == ["B triggered at 100.7"]
    assert exchange.bar(1, 100.4, 100.6, 100.1, 100.5) == ["B filled 10 @ 100.2 left 0"]
    assert exchange.fills[0].liquidity is LiquiditySide.MAKER


def test_venue_stop_that_is_cut_by_volume_goes_on_at_the_next_open() -> None:
    exchange = Exchange(max_volume_ratio=0.1)
    exchange.send("S", 10, stop=99)
    assert exchange.bar(0, 100, 101, 98, 98.5, volume=40) == [
        "S triggered at 99", "S part 4 @ 99 left 6",
    ]  # fmt: skip
    assert exchange.bar(1, 101, volume=500) == ["S filled 6 @ 101 left 0"]
    assert [fill.liquidity for fill in exchange.fills] == [LiquiditySide.TAKER] * 2


def test_venue_limit_that_waited_makes_liquidity_also_at_the_open() -> None:
    exchange = Exchange()
    exchange.send("B", limit=99)
    exchange.send("B2", limit=101)
    exchange.bar(0, 100)
    exchange.bar(1, 98)
    assert [(f.client_order_id, f.liquidity.name) for f in exchange.fills] == [
        ("B2", "TAKER"), ("B", "MAKER"),
    ]  # fmt: skip


# Inside one bar.


def test_venue_bar_runs_open_executions_then_stops_then_limits() -> None:
    exchange = Exchange()
    exchange.send("S-limit", limit=101)
    exchange.send("S-stop", stop=99)
    exchange.send("B-market")
    exchange.send("S-gap", limit=90)
    assert exchange.bar(0, 100, 102, 98, 100) == [
        "B-market filled 10 @ 100 left 0",
        "S-gap filled 10 @ 100 left 0",
        "S-stop triggered at 99",
        "S-stop filled 10 @ 99 left 0",
        "S-limit filled 10 @ 101 left 0",
    ]


def test_venue_reduce_only_target_finds_nothing_once_the_stop_has_closed_the_position() -> None:
    exchange = Exchange(held=10)
    exchange.send("S-target", limit=101, reduce_only=True)
    exchange.send("S-stop", stop=99, reduce_only=True)
    assert exchange.bar(0, 100, 102, 98, 100) == [
        "S-stop triggered at 99",
        "S-stop filled 10 @ 99 left 0",
        "S-target canceled: nothing to reduce",
    ]
    assert exchange.held == 0


def test_venue_reduce_only_is_cut_to_what_is_held_at_the_fill() -> None:
    exchange = Exchange(held=6)
    exchange.send("S", 10, reduce_only=True)
    assert exchange.bar(0, 100) == ["S part 6 @ 100 left 4", "S canceled: nothing to reduce"]


def test_venue_reduce_only_waits_while_volume_is_short() -> None:
    exchange = Exchange(held=6, max_volume_ratio=0.5)
    exchange.send("S", 6, reduce_only=True)
    assert exchange.bar(0, 100, volume=1) == []
    assert exchange.bar(1, 100, volume=8) == ["S part 4 @ 100 left 2"]
    assert exchange.bar(2, 100, volume=8) == ["S filled 2 @ 100 left 0"]


def test_venue_capacity_is_shared_in_the_order_of_arrival() -> None:
    exchange = Exchange(max_volume_ratio=0.1)
    for name in ("B1", "S2", "B3"):
        exchange.send(name)
    assert exchange.bar(0, 100, volume=159.9) == [
        "B1 filled 10 @ 100 left 0",
        "S2 part 5 @ 100 left 5",
    ]
    assert exchange.bar(1, 101, volume=1_000) == [
        "S2 filled 5 @ 101 left 0", "B3 filled 10 @ 101 left 0",
    ]  # fmt: skip


def test_venue_capacity_goes_to_stops_before_limits() -> None:
    exchange = Exchange(max_volume_ratio=0.1)
    exchange.send("B-limit", limit=99)
    exchange.send("B-stop", stop=101)
    assert exchange.bar(0, 100, 102, 98, 100, volume=120) == [
        "B-stop triggered at 101", "B-stop filled 10 @ 101 left 0", "B-limit part 2 @ 99 left 8",
    ]  # fmt: skip


# Time in force.


def test_venue_ioc_takes_what_is_there_and_cancels_the_rest() -> None:
    exchange = Exchange(max_volume_ratio=0.1)
    exchange.send("B", tif=IOC)
    assert exchange.bar(0, 100, volume=40) == [
        "B part 4 @ 100 left 6", "B canceled: not filled at once",
    ]  # fmt: skip


@pytest.mark.parametrize("tif", [IOC, FOK])
def test_venue_immediate_limit_away_from_the_market_is_canceled(tif: TimeInForce) -> None:
    exchange = Exchange()
    exchange.send("B", limit=98, tif=tif)
    assert exchange.bar(0, 100, 101, 99, 100) == ["B canceled: not filled at once"]


@pytest.mark.parametrize("tif", [IOC, FOK])
def test_venue_immediate_limit_does_not_wait_inside_the_bar(tif: TimeInForce) -> None:
    """It meets the market at its arrival, the open; a price that comes to it later is too late."""
    exchange = Exchange()
    exchange.send("B", limit=99.5, tif=tif)
    assert exchange.bar(0, 100, 101, 99, 100) == ["B canceled: not filled at once"]


def test_venue_fok_fills_all_or_nothing() -> None:
    exchange = Exchange(max_volume_ratio=0.1)
    exchange.send("B1", 10, tif=FOK)
    exchange.send("B2", 4, tif=FOK)
    assert exchange.bar(0, 100, volume=50) == [
        "B1 canceled: not filled at once", "B2 filled 4 @ 100 left 0",
    ]  # fmt: skip


def test_venue_immediate_order_waits_for_the_first_bar_after_its_arrival() -> None:
    exchange = Exchange()
    exchange.send("B", tif=IOC, at=opens(1))
    assert exchange.bar(0, 90) == []
    assert exchange.bar(1, 100) == ["B filled 10 @ 100 left 0"]


def test_venue_day_order_ends_with_the_session_of_its_first_bar() -> None:
    exchange = Exchange()
    exchange.send("B", limit=90, tif=DAY)
    for row in (0, 1):
        assert exchange.bar(row, 100, session_close=opens(3)) == []
    assert exchange.bar(2, 100, session_close=opens(3)) == ["B expired: time in force"]
    assert exchange.bar(3, 80) == []


def test_venue_day_order_of_an_early_close_never_meets_the_next_session() -> None:
    """The last bar ends before the session does: the next session's first bar finds it expired."""
    exchange = Exchange()
    exchange.send("B", limit=99, tif=DAY)
    assert exchange.bar(0, 100, session_close=opens(5)) == []
    assert exchange.bar(60, 80, session_close=opens(90)) == ["B expired: time in force"]
    assert exchange.fills == []


def test_venue_day_order_may_fill_in_the_last_bar_of_its_session() -> None:
    exchange = Exchange()
    exchange.send("B", limit=99, tif=DAY)
    assert exchange.bar(0, 100, 101, 98, 100, session_close=opens(1)) == ["B filled 10 @ 99 left 0"]


def test_venue_day_order_partly_filled_expires_with_the_rest() -> None:
    exchange = Exchange(max_volume_ratio=0.1)
    exchange.send("B", tif=DAY)
    assert exchange.bar(0, 100, volume=30, session_close=opens(1)) == [
        "B part 3 @ 100 left 7", "B expired: time in force",
    ]  # fmt: skip


def test_venue_gtd_order_ends_at_its_time() -> None:
    exchange = Exchange()
    exchange.send("B", limit=99, tif=GTD, expire=opens(2))
    assert exchange.bar(0, 100) == []
    assert exchange.bar(1, 100) == ["B expired: time in force"]
    assert exchange.bar(2, 90) == []


def test_venue_gtd_order_whose_time_falls_between_bars_does_not_meet_the_next_bar() -> None:
    exchange = Exchange()
    exchange.send("B", limit=99, tif=GTD, expire=opens(2))
    assert exchange.bar(0, 100) == []
    assert exchange.bar(2, 90) == ["B expired: time in force"]


def test_venue_gtd_order_that_ends_inside_a_bar_may_use_its_open() -> None:
    exchange = Exchange()
    exchange.send("B", limit=99, tif=GTD, expire=opens(1) + SECOND)
    exchange.bar(0, 100)
    assert exchange.bar(1, 98) == ["B filled 10 @ 98 left 0"]


def test_venue_gtd_order_that_ends_inside_a_bar_does_not_fill_later_in_it() -> None:
    """When the bar traded at 99 nobody knows; its fill would carry a time after the order's end."""
    exchange = Exchange()
    exchange.send("B", limit=99, tif=GTD, expire=opens(1) + SECOND)
    exchange.bar(0, 100)
    assert exchange.bar(1, 100, 101, 98, 100) == ["B expired: time in force"]


def test_venue_gtd_order_that_comes_and_ends_inside_a_bar_does_not_see_its_close() -> None:
    exchange = Exchange()
    exchange.send("B", tif=GTD, at=opens(0) + SECOND, expire=opens(0) + 2 * SECOND)
    assert exchange.bar(0, 100) == ["B expired: time in force"]


# Arrival.


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({}, ["B filled 10 @ 101 left 0"]),
        ({"limit": 101.5}, ["B filled 10 @ 101 left 0"]),
        ({"limit": 99}, []),  # the low of 98 may have been before the arrival
        ({"stop": 104}, []),  # and so may the high of 105
        ({"stop": 100.5}, ["B triggered at 100.5", "B filled 10 @ 101 left 0"]),
    ],
)
def test_venue_order_that_arrives_inside_a_bar_uses_only_its_close(
    order: dict[str, Any], expected: list[str]
) -> None:
    exchange = Exchange()
    exchange.send("B", at=opens(0) + SECOND, **order)
    assert exchange.bar(0, 100, 105, 98, 101) == expected
    assert all(fill.ts_fill == opens(1) for fill in exchange.fills)


def test_venue_order_that_arrives_at_the_close_does_not_see_the_bar() -> None:
    exchange = Exchange()
    exchange.send("B", at=opens(1))
    assert exchange.bar(0, 100) == []
    assert exchange.bar(1, 102) == ["B filled 10 @ 102 left 0"]
    assert exchange.fills[0].ts_fill == opens(1)


def test_venue_order_that_arrives_inside_the_bar_comes_after_those_that_waited() -> None:
    """It can only have the close: volume before that belongs to the orders that were there."""
    exchange = Exchange(max_volume_ratio=0.1)
    exchange.send("B-limit", limit=99, at=opens(0))
    exchange.send("B-late", at=opens(0) + SECOND)
    assert exchange.bar(0, 100, 101, 98, 100, volume=100) == ["B-limit filled 10 @ 99 left 0"]


def test_venue_time_of_a_fill_is_the_open_or_the_close_of_its_bar() -> None:
    exchange = Exchange()
    exchange.send("B1")
    exchange.send("B2", limit=99)
    exchange.bar(0, 100, 101, 98, 100)
    assert [fill.ts_fill for fill in exchange.fills] == [opens(0), opens(1)]


def test_venue_fixed_latency_delays_every_command() -> None:
    exchange = Exchange(latency=LatencyModel(mean_ms=5_000))
    exchange.send("B", at=T0)
    assert exchange.venue.next_arrival == T0 + 5 * SECOND
    assert exchange.arrive(T0 + 5 * SECOND - 1) == []
    assert exchange.arrive(T0 + 5 * SECOND) == ["B accepted"]
    assert exchange.venue.next_arrival == INT64_MAX


def test_venue_random_latency_is_that_of_the_seed_and_keeps_the_order() -> None:
    exchange = Exchange(latency=LatencyModel(mean_ms=10, std_ms=5), seed=7)
    terms = build_latency(LatencyModel(mean_ms=10, std_ms=5), 7)
    arrivals: list[int] = []
    latest = 0
    for number in range(1, 60):
        exchange.send(f"B{number}", limit=1, at=T0 + number, arrive=False)
        latest = max(latest, T0 + number + compute_latency_ns(terms, number))
        arrivals.append(latest)
    assert len(set(arrivals)) < len(arrivals)  # some had to wait for the one before
    for number, arrival in enumerate(arrivals, 1):
        if f"B{number} accepted" not in (said := exchange.arrive(arrival)):
            assert arrivals[number - 2] == arrival
            assert said == []
    assert exchange.venue.next_arrival == INT64_MAX


# Cancel and replace.


def test_venue_cancel_takes_the_order_off_the_book() -> None:
    exchange = Exchange()
    exchange.send("B", limit=99)
    exchange.cancel("B", at=opens(1))
    assert exchange.arrive(opens(1)) == ["B canceled: requested"]
    assert exchange.bar(1, 90) == []
    assert exchange.venue.active == 0


def test_venue_cancel_that_comes_after_the_fill_is_refused() -> None:
    exchange = Exchange(latency=LatencyModel(mean_ms=1))
    exchange.send("B", at=T0 - SECOND)
    exchange.arrive(T0)
    exchange.cancel("B", at=opens(1) - 1)
    assert exchange.bar(0, 100) == ["B filled 10 @ 100 left 0"]
    assert exchange.arrive() == ["B refused: no such order on the book"]
    assert exchange.venue.active == 0


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({}, "B filled 10 @ 100 left 0"),
        ({"limit": 100.5}, "B filled 10 @ 100 left 0"),
        ({"stop": 99}, "B filled 10 @ 100 left 0"),
    ],
    ids=["market", "limit", "stop"],
)
def test_venue_cancel_that_arrives_after_the_open_comes_too_late_for_it(
    order: dict[str, Any], expected: str
) -> None:
    """The order rests, the bar opens through it, the cancel arrives a second later."""
    exchange = Exchange()
    exchange.send("B", at=T0 - SECOND, **order)
    exchange.cancel("B", at=T0 + SECOND)
    said = exchange.arrive(opens(1), opens(0)) + exchange.bar(0, 100)
    assert expected in said


def test_venue_replace_changes_price_and_quantity() -> None:
    exchange = Exchange()
    exchange.send("B", limit=99)
    exchange.replace("B", opens(1), lots=15, limit=97)
    assert exchange.arrive(opens(1)) == ["B replaced: 15"]
    assert exchange.bar(1, 100, 101, 98, 100) == []
    assert exchange.bar(2, 100, 101, 96, 100) == ["B filled 15 @ 97 left 0"]


def test_venue_replace_of_a_partly_filled_order_counts_what_is_filled() -> None:
    exchange = Exchange(max_volume_ratio=0.1)
    exchange.send("B", 10, limit=99)
    assert exchange.bar(0, 98, volume=40) == ["B part 4 @ 98 left 6"]
    exchange.replace("B", opens(1), lots=7, limit=99)
    assert exchange.arrive(opens(1)) == ["B replaced: 7"]
    assert exchange.bar(1, 98, volume=400) == ["B filled 3 @ 98 left 0"]


@pytest.mark.parametrize("lots", [3, 4])
def test_venue_replace_below_what_is_filled_is_refused_and_changes_nothing(lots: int) -> None:
    exchange = Exchange(max_volume_ratio=0.1)
    exchange.send("B", 10, limit=99)
    exchange.bar(0, 98, volume=40)
    exchange.replace("B", opens(1), lots=lots, limit=50)
    assert exchange.arrive() == ["B refused: 4 lots are filled already"]
    assert exchange.bar(1, 98, volume=400) == ["B filled 6 @ 98 left 0"]


def test_venue_replace_after_the_fill_is_refused() -> None:
    exchange = Exchange()
    exchange.send("B")
    exchange.bar(0, 100)
    exchange.replace("B", opens(1), lots=20)
    assert exchange.arrive() == ["B refused: no such order on the book"]


def test_venue_cancel_that_arrives_inside_the_bar_leaves_it_nothing_but_the_open() -> None:
    """Whether the limit was touched before or after the cancel nobody knows."""
    exchange = Exchange()
    exchange.send("B", limit=99)
    exchange.cancel("B", at=T0 + SECOND)
    assert exchange.arrive(ts_open=T0) == []
    assert exchange.bar(0, 100, 101, 98, 100) == ["B canceled: requested"]


def test_venue_cancel_that_arrives_after_the_close_does_not_undo_the_bar() -> None:
    """A bar that is known later than it closed: the cancel came between the two."""
    exchange = Exchange()
    exchange.send("B", limit=99)
    exchange.cancel("B", at=opens(1) + SECOND)
    assert exchange.arrive(ts_open=T0) == []
    assert exchange.bar(0, 100, 101, 98, 100)[0] == "B filled 10 @ 99 left 0"


def test_venue_cancel_that_arrives_after_the_close_comes_too_late_for_the_next_open() -> None:
    """Bars without a pause, known late: the cancel arrives a second after bar 1 has opened."""
    exchange = Exchange()
    exchange.send("B", limit=99)
    exchange.cancel("B", at=opens(1) + SECOND)
    assert exchange.arrive(ts_open=T0) == []
    assert exchange.bar(0, 100) == []
    assert "B filled 10 @ 98 left 0" in exchange.bar(1, 98)


def test_venue_replaced_order_arrives_anew() -> None:
    """Replaced inside the bar, it can use nothing of it but the close."""
    exchange = Exchange()
    exchange.send("B", limit=90)
    exchange.replace("B", opens(0) + SECOND, lots=10, limit=99)
    assert exchange.arrive(ts_open=T0) == []
    assert exchange.bar(0, 100, 101, 98, 100) == ["B replaced: 10"]
    assert exchange.bar(1, 98.5) == ["B filled 10 @ 98.5 left 0"]


def test_venue_replace_and_cancel_inside_one_bar_are_answered_in_the_order_sent() -> None:
    exchange = Exchange()
    exchange.send("B", limit=90)
    exchange.replace("B", opens(0) + SECOND, lots=10, limit=99)
    exchange.cancel("B", opens(0) + 2 * SECOND)
    exchange.arrive(ts_open=T0)
    assert exchange.bar(0, 100) == ["B replaced: 10", "B canceled: requested"]
    assert exchange.venue.active == 0


def test_venue_change_of_an_order_that_the_open_has_filled_is_refused() -> None:
    exchange = Exchange()
    exchange.send("B")
    exchange.replace("B", opens(0) + SECOND, lots=20)
    exchange.cancel("B", opens(0) + 2 * SECOND)
    exchange.arrive(ts_open=T0)
    assert exchange.bar(0, 100) == [
        "B filled 10 @ 100 left 0",
        "B refused: no such order on the book",
        "B refused: no such order on the book",
    ]
    assert exchange.venue.active == 0


def test_venue_replace_to_a_marketable_limit_takes_liquidity() -> None:
    exchange = Exchange()
    exchange.send("B", limit=90)
    exchange.bar(0, 100)
    exchange.replace("B", opens(1), lots=10, limit=105)
    exchange.arrive()
    assert exchange.bar(1, 100) == ["B filled 10 @ 100 left 0"]
    assert exchange.fills[0].liquidity is LiquiditySide.TAKER


def test_venue_submit_and_cancel_in_flight_are_answered_in_the_order_sent() -> None:
    exchange = Exchange()
    exchange.send("B", arrive=False)
    exchange.replace("B", T0, lots=20)
    exchange.cancel("B", T0)
    assert exchange.venue.active == 3
    assert exchange.arrive(T0) == ["B accepted", "B replaced: 20", "B canceled: requested"]
    assert exchange.venue.active == 0


def test_venue_has_nothing_to_say_where_no_order_rests() -> None:
    exchange = Exchange()
    assert exchange.bar(0, 100) == []
    exchange.send("B")
    bar = make_bar(MSFT, ts_open=opens(1), ts_close=opens(2), open=100, high=100, low=100,
                   close=100, volume=1)  # fmt: skip
    assert list(exchange.venue.on_bar(bar, exchange)) == []
    assert exchange.bar(1, 100) == ["B filled 10 @ 100 left 0"]


# Price and cost.


def test_venue_limit_that_has_waited_for_a_bar_gives_liquidity_at_the_next_open() -> None:
    exchange = Exchange()
    exchange.send("B", limit=99)
    assert exchange.bar(0, 100) == []
    assert exchange.bar(1, 98) == ["B filled 10 @ 98 left 0"]
    assert exchange.fills[0].liquidity is LiquiditySide.MAKER


def test_venue_partial_fills_cost_together_what_one_fill_costs() -> None:
    """One part in 1e8 of 100.01 a lot: 300.03 minor units for three lots, 1000.1 for all ten."""
    exchange = Exchange(fees=BpsFees(maker_bps=0, taker_bps="0.0001"), max_volume_ratio=0.5)
    exchange.send("B")
    for row in range(4):
        exchange.bar(row, 100.01, volume=6)
    assert [fill.lots for fill in exchange.fills] == [3, 3, 3, 1]
    assert [fill.fee for fill in exchange.fills] == [301, 300, 300, 100]


def test_venue_slippage_is_against_us_and_belongs_to_market_and_stop_orders() -> None:
    exchange = Exchange(slippage=FixedSlippage(ticks=2))
    for name in ("B1", "S1"):
        exchange.send(name)
    exchange.send("B2", stop=101)
    exchange.send("S2", stop=99)
    exchange.send("B3", limit=99.5)
    exchange.bar(0, 100, 102, 98, 100)
    assert [(f.client_order_id, f.ticks) for f in exchange.fills] == [
        ("B1", 10_002), ("S1", 9_998), ("B2", 10_102), ("S2", 9_898), ("B3", 9_950),
    ]  # fmt: skip


def test_venue_slippage_of_volume_counts_what_is_filled_and_not_what_is_wanted() -> None:
    exchange = Exchange(slippage=VolumeSlippage(volume_factor=1), max_volume_ratio=0.1)
    exchange.send("B", 1_000)
    exchange.bar(0, 100, volume=100)  # 10 of 100: a tenth of the price
    assert [(f.lots, f.ticks) for f in exchange.fills] == [(10, 11_000)]


def test_venue_slippage_of_a_reduce_only_order_counts_what_is_held() -> None:
    exchange = Exchange(slippage=VolumeSlippage(volume_factor=1), held=10)
    exchange.send("S", 50, reduce_only=True)
    exchange.bar(0, 100, volume=100)  # 10 of 100, not 50 of 100
    assert [(f.lots, f.ticks) for f in exchange.fills] == [(10, 9_000)]


def test_venue_price_off_the_tick_grid_is_rounded_against_us() -> None:
    exchange = Exchange()
    exchange.send("B1")
    exchange.send("S1")
    exchange.bar(0, 100.004)
    assert [fill.ticks for fill in exchange.fills] == [10_001, 10_000]


@pytest.mark.parametrize(
    ("fees", "expected"),
    [
        (PerShareFees(rate="0.005", minimum="1"), [1, 0, 0.5]),  # 300 shares: 1.50
        (PerOrderFees(amount="2"), [2, 0, 0]),
    ],
)
def test_venue_fee_of_partial_fills_is_together_that_of_the_order(
    fees: FeeModel, expected: list[float]
) -> None:
    exchange = Exchange(fees=fees, max_volume_ratio=0.1)
    exchange.send("B", 300)
    for row in range(3):
        exchange.bar(row, 100, volume=1_000)
    assert [fill.lots for fill in exchange.fills] == [100, 100, 100]
    assert [fill.fee / E8 for fill in exchange.fills] == expected


def test_venue_fee_tier_follows_the_month() -> None:
    fees = TieredFees(
        tiers=(FeeTier(from_notional=0, maker_bps=10, taker_bps=10),
               FeeTier(from_notional=1_000, maker_bps=5, taker_bps=5))
    )  # fmt: skip
    exchange = Exchange(fees=fees)
    for row in range(3):
        exchange.send(f"B{row}", 6, at=opens(row))
        exchange.bar(row, 100)
    assert [fill.fee / E8 for fill in exchange.fills] == [0.6, 0.6, 0.3]


# Orders sized at the fill.


def test_venue_spends_a_budget_fees_included() -> None:
    exchange = Exchange(fees=PerOrderFees(amount="2"))
    exchange.send("B", 0, budget=1_000 * E8)
    assert exchange.bar(0, 99.8) == ["B filled 10 @ 99.8 left 0"]  # 998.00 and 2.00
    exchange.send("B2", 0, budget=1_000 * E8, at=opens(1))
    assert exchange.bar(1, 99.81) == ["B2 filled 9 @ 99.81 left 0"]


def test_venue_spends_a_share_of_the_equity_at_the_fill() -> None:
    exchange = Exchange(cash=500 * E8, held=5)
    exchange.send("B", 0, budget=E8 // 2, budget_is_ratio=True)
    assert exchange.bar(0, 100) == ["B filled 5 @ 100 left 0"]  # half of 500 + 5 * 100
    exchange.send("B2", 0, budget=E8, budget_is_ratio=True, at=opens(1))
    assert exchange.bar(1, 200) == ["B2 filled 10 @ 200 left 0"]  # all of 0 + 10 * 200


def test_venue_order_sized_at_the_fill_sees_the_fills_before_it() -> None:
    exchange = Exchange(cash=0, held=10)
    exchange.send("S", 10)
    exchange.send("B", 0, budget=E8, budget_is_ratio=True)
    exchange.bar(0, 100)
    assert exchange.fills[1].lots == 10  # equity stays 1_000 whatever is held


def test_venue_budget_is_sized_at_the_price_after_slippage() -> None:
    exchange = Exchange(slippage=FixedSlippage(ticks=1_000))
    exchange.send("B", 0, budget=1_050 * E8)
    assert exchange.bar(0, 100) == ["B filled 9 @ 110 left 0"]


def test_venue_budget_that_buys_nothing_is_canceled() -> None:
    exchange = Exchange()
    exchange.send("B", 0, budget=99 * E8)
    assert exchange.bar(0, 100) == ["B canceled: the budget buys nothing"]


def test_venue_budget_order_waits_for_a_bar_with_volume() -> None:
    """A bar that traded nothing fills nothing; the money is still there for the next."""
    exchange = Exchange(max_volume_ratio=0.1)
    exchange.send("B", 0, budget=1_000 * E8)
    assert exchange.bar(0, 100, volume=0) == []
    assert exchange.bar(1, 100, volume=1_000) == ["B filled 10 @ 100 left 0"]
