"""What every kind of report makes of an order in every state; fees in lots; exact improvements."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderFilled,
    OrderPartiallyFilled,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderTriggered,
    StrayFilled,
)
from onetape.domain.instrument import make_equity, make_spot
from onetape.domain.numbers import E8
from onetape.domain.orders import LiquiditySide, RejectCode, Side
from onetape.domain.venue import ReportKind, VenueReport
from onetape.execution.venue_memory import VenueMemory
from onetape.execution.venue_reports import BaseFee, VenueReports, compute_fee_lots
from tests.support.venue_desk import NOW, VenueDesk, status_of, tell

AAPL = make_equity("AAPL.XNAS")
BTC = make_spot("BTCUSDT.BINANCE", base="BTC", quote="USDT", tick_size="0.01", lot_size="0.00001")
K = ReportKind

TABLE = """
order      report            outcomes                                     status           look
new        accepted          Accepted                                     ACCEPTED         -
new        rejected          Rejected                                     closed           -
new        fill40            Accepted+PartiallyFilled(40)                 PARTIALLY_FILLED -
new        fill100           Accepted+Filled(100)                         closed           -
new        fill40of70        Accepted+PartiallyFilled(40)                 PARTIALLY_FILLED look
new        canceled0         Canceled                                     closed           -
new        canceled40        -                                            SUBMITTED        look
new        expired           Expired                                      closed           -
new        unanswered        Unknown                                      UNKNOWN          look
new        not_found         -                                            SUBMITTED        look
new        replaced120       -                                            SUBMITTED        look
new        cancel_rejected   -                                            SUBMITTED        look
new        replace_rejected  -                                            SUBMITTED        look
accepted   accepted          -                                            ACCEPTED         -
accepted   rejected          Canceled                                     closed           -
accepted   fill40            PartiallyFilled(40)                          PARTIALLY_FILLED -
accepted   fill120           Replaced+Filled(120)                         closed           look
accepted   canceled0         Canceled                                     closed           -
accepted   expired           Expired                                      closed           -
accepted   unanswered        -                                            ACCEPTED         look
accepted   not_found         -                                            ACCEPTED         look
accepted   replaced100       -                                            ACCEPTED         -
accepted   replaced120       -                                            ACCEPTED         look
accepted   cancel_rejected   -                                            ACCEPTED         look
partial    fill40            -                                            PARTIALLY_FILLED -
partial    other60           Filled(60)                                   closed           -
partial    canceled0         Canceled                                     closed           look
partial    canceled40        Canceled                                     closed           -
partial    canceled70        -                                            PARTIALLY_FILLED look
partial    rejected          Canceled                                     closed           -
canceling  canceled0         Canceled                                     closed           -
canceling  cancel_rejected   CancelRejected                               ACCEPTED         look
canceling  fill40            PartiallyFilled(40)                          CANCEL_PENDING   -
canceling  fill100           Filled(100)                                  closed           -
canceling  unanswered        Unknown                                      UNKNOWN          look
canceling  accepted          -                                            CANCEL_PENDING   -
replacing  replaced120       Replaced                                     ACCEPTED         -
replacing  replaced100       -                                            REPLACE_PENDING  -
replacing  replaced110       -                                            REPLACE_PENDING  look
replacing  replace_rejected  ReplaceRejected                              ACCEPTED         look
replacing  fill40            PartiallyFilled(40)                          REPLACE_PENDING  -
replacing  fill100           Replaced+PartiallyFilled(100)                PARTIALLY_FILLED look
replacing  fill120           Replaced+Filled(120)                         closed           -
replacing  unanswered        Unknown                                      UNKNOWN          look
changeless taken_back        ReplaceRejected                              CANCEL_PENDING   -
unknown    accepted          Accepted                                     ACCEPTED         -
unknown    rejected          Rejected                                     closed           -
unknown    fill40            Accepted+PartiallyFilled(40)                 PARTIALLY_FILLED -
unknown    canceled0         Canceled                                     closed           -
unknown    unanswered        -                                            UNKNOWN          look
unknown    not_found         -                                            UNKNOWN          look
lost       canceled0         Canceled                                     closed           -
lost       cancel_rejected   CancelRejected                               ACCEPTED         look
lost       accepted          -                                            UNKNOWN          -
stop       fill40            Accepted+Triggered+PartiallyFilled(40)       PARTIALLY_FILLED -
stop       triggered         Accepted+Triggered                           ACCEPTED         -
canceled   fill40            StrayFilled(40)                              closed           look
canceled   canceled0         -                                            closed           -
canceled   canceled40        -                                            closed           look
canceled   accepted          -                                            closed           -
canceled   unanswered        -                                            closed           -
rejected   accepted          -                                            closed           look
rejected   fill40            StrayFilled(40)                              closed           look
"""
"""What a report makes of an order of 100 lots; written by hand.

`new` is submitted, `partial` has 40 filled by the execution `x40`, `replacing` asks for 120 lots,
`unknown` has never been heard of, `lost` is an accepted order whose cancel is unanswered,
`changeless` a new one whose change is `taken_back` by its cancel before it has left.
"""


def reach(desk: VenueDesk, name: str) -> None:
    order = desk.submit(stop_ticks=9_900 if name == "stop" else 0)
    if name in ("new", "stop"):
        return
    if name == "unknown":
        desk.hear(desk.report(K.UNANSWERED))
    elif name == "changeless":
        order.asked_lots, order.asked_lot_cost = 120, 1
        desk.move(order, OrderReplacePending("s-1", 120, 10_000, 0))
        desk.move(order, OrderCancelPending("s-1"))
    elif name == "rejected":
        desk.hear(desk.report(K.REJECTED))
    else:
        desk.hear(desk.report(K.ACCEPTED, ts_venue=1))
    match name:
        case "partial":
            desk.hear(desk.fill("x40", 40, 40))
        case "canceling":
            desk.move(order, OrderCancelPending("s-1"))
        case "replacing":
            order.asked_lots, order.asked_lot_cost = 120, 1
            desk.move(order, OrderReplacePending("s-1", 120, 10_000, 0))
        case "lost":
            desk.move(order, OrderCancelPending("s-1"))
            desk.hear(desk.report(K.UNANSWERED))
        case "canceled":
            desk.hear(desk.report(K.CANCELED))
        case _:
            pass
    desk.reports.memory.wants_look = False


def make_report(desk: VenueDesk, word: str) -> VenueReport:
    if word == "fill40of70":
        return desk.fill("x40", 40, 70)
    for kind in ("fill", "other", "canceled", "replaced"):
        if word.startswith(kind) and word != kind:
            number = int(word.removeprefix(kind))
            if kind in ("fill", "other"):
                return desk.fill(f"x{number}", number, ts_venue=7)
            if kind == "canceled":
                return desk.report(K.CANCELED, filled_lots=number)
            return desk.report(K.REPLACED, lots=number, ts_venue=7)
    if word == "taken_back":
        return desk.report(K.REPLACE_REJECTED, code=RejectCode.NOT_RECEIVED)
    code = RejectCode.ORDER_CLOSED if word.endswith("l_rejected") or "ce_" in word else None
    fields: dict[str, Any] = {"code": code} if code else {}
    return desk.report(K(word), **fields)


@pytest.mark.parametrize("row", TABLE.strip().splitlines()[1:], ids=lambda row: row[:30].strip())
def test_report_of_an_order_makes_legal_moves(row: str) -> None:
    name, word, outcomes, status, look = row.split()
    desk = VenueDesk(AAPL)
    reach(desk, name)

    told = tell(desk.hear(make_report(desk, word)))

    assert told == outcomes.replace("+", " ").strip("-")
    assert status_of(desk) == status
    assert desk.reports.memory.wants_look is (look == "look")


def test_every_kind_of_report_stands_in_the_table() -> None:
    words = [row.split()[1] for row in TABLE.strip().splitlines()[1:]]
    kinds = {next((k for k in K if word.startswith(k.value)), K.FILLED) for word in words}

    assert kinds == set(K)


def test_fill_that_comes_late_keeps_an_ended_order_open_until_it_is_booked() -> None:
    desk = VenueDesk(AAPL)
    order = desk.submit()
    desk.hear(desk.fill("x2", 30, 70))
    assert desk.hear(desk.report(K.CANCELED, filled_lots=70, reason="by hand")) == []
    assert (order.leaves, status_of(desk)) == (70, "PARTIALLY_FILLED")

    told = desk.hear(desk.fill("x1", 40, 40))

    assert tell(told) == "PartiallyFilled(40) Canceled"
    assert told[-1] == OrderCanceled("s-1", "by hand")
    assert desk.ledger.positions[AAPL.id].lots == 70
    assert desk.hear(desk.report(K.CANCELED, filled_lots=70)) == []
    assert desk.reports.memory.dropped == {"duplicate": 1}


def test_fill_is_exact_and_never_later_than_now() -> None:
    desk = VenueDesk(AAPL)
    desk.submit()

    accepted, fill = desk.hear(
        desk.fill("x", 40, 40, ticks=9_999, fee=123, ts_venue=NOW + 5,
                  liquidity=LiquiditySide.MAKER)
    )  # fmt: skip

    assert accepted == OrderAccepted("s-1", "v-1")
    assert fill == OrderPartiallyFilled(
        "s-1", "s", AAPL.id, Side.BUY, 40, 9_999, 40 * 9_999 * 1_000_000, 123,
        LiquiditySide.MAKER, 60, NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("side", "ticks", "price", "fee", "booked"),
    [
        (Side.BUY, 10_001, "100.005", 0, -50_000_000),  # 100 lots are 0.5 dollars better
        (Side.SELL, 10_000, "100.005", 7, 7 - 50_000_000),
        (Side.BUY, 10_001, "100.01", 3, 3),
        (Side.BUY, 10_001, "", 3, 3),
        (Side.BUY, 10_001, "market", 3, 3),
        (Side.BUY, 10_001, "NaN", 3, 3),
        (Side.BUY, 10_001, "100.0099999999999", 0, 0),  # below a minor unit: ours is less
        (Side.BUY, 10_001, "100.02", 3, 3),  # no improvement: cash will differ, and be found
    ],
)
def test_price_between_ticks_is_booked_as_a_rebate(
    side: Side, ticks: int, price: str, fee: int, booked: int
) -> None:
    desk = VenueDesk(AAPL)
    desk.submit(side=side)

    *_, fill = desk.hear(desk.fill("x", 100, ticks=ticks, price=price, fee=fee))

    assert isinstance(fill, OrderFilled)
    assert fill.fee == booked
    if price[:3] == "100" and price != "100.02":
        exact = -side * int(Decimal(price) * 100 * E8) - fee
        assert desk.ledger.cash - 1_000_000 * E8 - exact in (0, -1)


FEES = """
side lots   fee  K  dust held units
buy    10    10  1   990    9  9990
buy    10    10  0   980   19 19980
buy   100   100  0   880  119 119880
buy     1   881  1   999  119 119999
buy     5  2500  2   499  122 122499
sell   22     0  0   499  100 100499
buy     7     1  0   498  107 107498
buy     1   498  0     0  108 108000
buy     1     1  1   999  108 108999
buy     1 -1001 -2     0  111 111000
"""
"""Fills of BTCUSDT, a lot is 1,000 units of 1e-8: K lots pay the fee and `dust` is left.

Worked by hand: units are the sum of side * lots * 1,000 - fee, `held` = floor(units / 1,000) lots
and the rest is dust; a fee of 0.1 % on 10 lots is 10 units.
"""


def test_fee_in_the_base_currency_leaves_lots_and_dust_that_are_the_venues_balance() -> None:
    desk = VenueDesk(BTC)
    desk.submit(lots=1_000)
    desk.submit(number=2, lots=1_000, side=Side.SELL)
    cash = desk.ledger.cash
    for at, row in enumerate(FEES.strip().splitlines()[1:]):
        side, *numbers = row.split()
        lots, fee, paid, dust, held, units = map(int, numbers)
        number = 1 if side == "buy" else 2
        outcomes = desk.hear(
            desk.report(
                K.FILLED, number, execution_id=f"x{at}", lots=lots, ticks=6_000_000 + at,
                fee_units=fee,
            )
        )  # fmt: skip

        position = desk.ledger.positions[BTC.id]
        cash -= (1 if side == "buy" else -1) * lots * (6_000_000 + at) * BTC.minor_per_tick_lot
        assert sum(-e.traded for e in outcomes if isinstance(e, BaseFee)) == paid, row
        assert desk.reports.memory.dust.get("s", {}).get(BTC.id, 0) == dust, row
        assert position.lots == held, row
        assert position.lots * 1_000 + dust == units, row
        assert desk.ledger.cash == cash, row
    assert desk.ledger.fees == sum(
        paid * (6_000_000 + at) * BTC.minor_per_tick_lot
        for at, paid in enumerate((1, 0, 0, 1, 2, 0, 0, 0, 1, -2))
    )


def test_fee_lots_are_the_fewest_that_leave_no_debt() -> None:
    for dust in range(10):
        for fee in range(-35, 36):
            lots, left = compute_fee_lots(dust, fee, 10)
            assert 0 <= left < 10
            assert left == dust - fee + lots * 10


def test_replace_through_before_its_answer_is_seen_by_a_fill() -> None:
    desk = VenueDesk(AAPL)
    reach(desk, "replacing")
    order = desk.oms.open["s-1"]

    told = desk.hear(desk.fill("x", 100, 100))

    assert told[0] == OrderReplaced("s-1", 120, 10_000, 0)
    assert order.leaves == 20
    assert desk.hear(desk.report(K.REPLACED, lots=120)) == []
    assert tell(desk.hear(desk.fill("y", 20, 120))) == "Filled(20)"


def test_replace_that_came_too_late_closes_what_was_filled() -> None:
    desk = VenueDesk(AAPL)
    reach(desk, "replacing")
    desk.hear(desk.fill("x", 100, 100))

    told = desk.hear(desk.report(K.REPLACE_REJECTED, code=RejectCode.ORDER_CLOSED))

    assert told == [OrderCanceled("s-1", "filled before its replace arrived")]


def test_answer_to_an_older_replace_does_not_answer_the_newer_one() -> None:
    desk = VenueDesk(AAPL)
    reach(desk, "replacing")
    refused = desk.report(K.REPLACE_REJECTED, ts_venue=5, code=RejectCode.UNSUPPORTED)
    assert tell(desk.hear(refused)) == "ReplaceRejected"
    order = desk.oms.open["s-1"]
    order.asked_lots = 150
    desk.move(order, OrderReplacePending("s-1", 150, 10_000, 0))

    assert desk.hear(refused) == []
    assert (order.leaves, status_of(desk)) == (150, "REPLACE_PENDING")


def test_stop_that_is_unknown_is_accepted_and_triggered_by_its_fill() -> None:
    desk = VenueDesk(AAPL)
    order = desk.submit(stop_ticks=9_900)
    desk.hear(desk.report(K.ACCEPTED))
    desk.move(order, OrderCancelPending("s-1"))
    desk.hear(desk.report(K.UNANSWERED))

    told = desk.hear(desk.fill("x", 1))

    assert tell(told) == "Accepted Triggered PartiallyFilled(1)"
    assert told[1] == OrderTriggered("s-1", 9_900)


def test_fill_that_cannot_be_told_from_another_is_not_booked() -> None:
    desk = VenueDesk(AAPL)
    desk.submit()

    assert desk.hear(desk.fill("", 10)) == []
    assert desk.reports.memory.dropped == {"unreadable": 1}
    assert desk.reports.memory.wants_look
    assert tell(desk.hear(desk.fill("", 10, 10))) == "Accepted PartiallyFilled(10)"
    assert desk.hear(desk.fill("", 10, 10)) == []


def test_orders_that_are_not_ours_change_nothing_of_ours() -> None:
    desk = VenueDesk(AAPL)
    desk.look(cash=2_000_000 * E8, lots=0)
    by_hand = desk.fill("f1", 10, client_order_id="", fee=5)

    for report in (by_hand, by_hand, desk.report(K.ACCEPTED, 99)):
        assert desk.hear(report) == []

    memory = desk.reports.memory
    assert memory.dropped == {"foreign": 2, "duplicate": 1}
    assert memory.unallocated_units == {AAPL.id: 10 * E8}
    assert memory.unallocated_cash == {"USD": 1_000_000 * E8 - 10 * 10_000 * 1_000_000 - 5}
    assert memory.orders == {}


def test_fill_by_hand_counts_once_while_it_can_be_told_again() -> None:
    second = 10**9
    desk = VenueDesk(AAPL)
    desk.look(ts_venue=100 * second, cash=2_000_000 * E8)
    by_hand = desk.fill("f1", 10, client_order_id="", ts_venue=101 * second)
    desk.hear(by_hand)
    theirs = {"lots": 10, "cash": 2_000_000 * E8 - 10 * 10_000 * 1_000_000}

    for at in (102, 103, 160):  # the last asks for what was from 43 s on
        assert desk.look(ts_venue=at * second, reports=[by_hand], **theirs) == []
    assert not desk.reports.memory.wants_look
    desk.look(ts_venue=161 * second + 1, reports=[by_hand], **theirs)
    desk.look(ts_venue=230 * second, reports=[by_hand], **theirs)

    assert desk.reports.memory.foreign == {}
    assert desk.look(ts_venue=231 * second, reports=[by_hand], **theirs) == []
    assert desk.reports.memory.dropped == {"foreign": 1, "duplicate": 5, "stale": 1}


def test_closed_orders_are_forgotten_when_nothing_of_them_is_asked_for_again() -> None:
    second = 10**9
    desk = VenueDesk(AAPL)
    desk.submit()
    fill = desk.fill("x", 100, 100, ts_venue=10 * second, ticks=1)
    desk.hear(fill)
    spent = 100 * 1_000_000

    def look(at: int) -> int:
        desk.look(lots=100, cash=1_000_000 * E8 - spent, ts_venue=at * second)
        return len(desk.reports.memory.orders)

    assert [look(20), look(70), look(71)] == [1, 1, 1]  # asked for from 10 s on: it may come again
    assert look(72) == 0
    assert desk.reports.memory.ts_horizon == 11 * second

    assert desk.hear(fill) == []
    assert desk.reports.memory.dropped == {"stale": 1}


def test_order_costs_more_when_the_venue_raises_its_limit() -> None:
    desk = VenueDesk(AAPL)
    order = desk.submit()
    order.lot_cost = 1_000
    desk.move(order, OrderAccepted("s-1", "v"), OrderReplaced("s-1", 100, 10_001, 0))
    assert order.lot_cost == 1_001  # ceil(1,000 * 10,001 / 10,000)
    order.asked_lots, order.asked_lot_cost = 100, 3_000
    desk.move(order, OrderReplacePending("s-1", 100, 30_000, 0))
    assert order.worst_lot_cost == 3_000
    desk.move(order, OrderReplaceRejected("s-1", RejectCode.UNSUPPORTED, ""))
    assert (order.worst_lot_cost, order.asked_limit_ticks) == (1_001, 0)


def test_unknown_order_counts_at_its_worst() -> None:
    desk = VenueDesk(AAPL)
    reach(desk, "replacing")
    order = desk.oms.open["s-1"]
    order.asked_lot_cost = 9

    desk.hear(desk.report(K.UNANSWERED))

    assert (status_of(desk), order.leaves, order.worst_lot_cost) == ("UNKNOWN", 120, 9)


def test_stray_fill_is_a_fill_without_an_open_order() -> None:
    desk = VenueDesk(AAPL)
    reach(desk, "rejected")

    (stray,) = desk.hear(desk.fill("x", 40, 40))

    assert isinstance(stray, StrayFilled)
    assert (stray.leaves, stray.strategy) == (0, "s")
    assert desk.ledger.positions[AAPL.id].lots == 40


def test_memory_goes_through_a_snapshot() -> None:
    desk = VenueDesk(BTC)
    desk.submit()
    desk.hear(desk.fill("x", 1, 3, fee_units=7))
    desk.hear(desk.report(K.CANCELED, filled_lots=3))
    memory = desk.reports.memory

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=VenueMemory) == memory


def test_lot_that_is_no_whole_number_of_units_is_refused() -> None:
    tiny = make_spot("X.Y", base="X", quote="Y", tick_size="2", lot_size="0.000000015")
    with pytest.raises(ConfigError, match="not a whole number of 1e-8 units"):
        VenueReports([tiny])
