"""Looks: what is told now, what is looked at twice, what a person must see, what is nobody's."""

from __future__ import annotations

from typing import Any

import pytest

from onetape.domain.events import (
    OrderCancelPending,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
)
from onetape.domain.instrument import make_equity, make_spot
from onetape.domain.orders import OrderStatus, OrderType, RejectCode, TimeInForce
from onetape.domain.venue import (
    Discrepancy,
    DiscrepancyKind,
    ReportKind,
    VenueOrder,
    VenueReport,
    name_manual,
)
from onetape.execution.oms import Order
from onetape.execution.reconciliation import OnDifference, ReconciliationPolicy
from tests.support.venue_desk import CAPITAL, VenueDesk, status_of, tell

AAPL = make_equity("AAPL.XNAS")
BTC = make_spot("BTCUSDT.BINANCE", base="BTC", quote="USDT", tick_size="0.01", lot_size="0.00001")
K = ReportKind
D = DiscrepancyKind
NOBODYS = ReconciliationPolicy(
    foreign_orders=OnDifference.UNALLOCATED,
    positions=OnDifference.UNALLOCATED,
    cash=OnDifference.UNALLOCATED,
)
COST = 10_000 * 1_000_000
"""Of a lot of AAPL at 10,000 ticks, minor units."""


def kinds(found: list[Discrepancy]) -> list[tuple[str, bool]]:
    return [(each.kind.value, each.is_resolved) for each in found]


def test_missed_reports_are_told_in_the_order_of_the_venue_with_ends_last() -> None:
    desk = VenueDesk(AAPL)
    desk.submit()

    found = desk.look(
        reports=[
            desk.report(K.CANCELED, filled_lots=70, ts_venue=3),
            desk.fill("y", 30, 70, ts_venue=2),
            desk.fill("x", 40, 40, ts_venue=1),
        ],
        lots=70, cash=CAPITAL - 70 * COST,
    )  # fmt: skip

    assert tell(desk.log) == "Accepted PartiallyFilled(40) PartiallyFilled(30) Canceled"
    assert kinds(found) == [("missed_report", True)] * 3
    assert [(e.ours, e.theirs) for e in found] == [(0, 40), (40, 70), (70, 70)]
    assert not desk.reports.memory.wants_look


def test_look_that_says_what_is_known_says_nothing() -> None:
    desk = VenueDesk(AAPL)
    desk.submit()
    fill = desk.fill("x", 40, 40)
    desk.hear(fill)

    found = desk.look(
        desk.order_there(filled_lots=40), reports=[fill], lots=40, cash=CAPITAL - 40 * COST
    )

    assert found == []
    assert not desk.reports.memory.wants_look


def test_order_that_never_arrived_is_rejected_by_the_second_look() -> None:
    desk = VenueDesk(AAPL)
    desk.submit()
    lost = desk.report(K.NOT_FOUND)
    assert desk.look(reports=[lost]) == []
    assert desk.reports.memory.suspects == {}  # its answer is awaited
    desk.hear(desk.report(K.UNANSWERED))

    assert desk.look(reports=[lost]) == []
    assert (status_of(desk), desk.reports.memory.wants_look) == ("UNKNOWN", True)
    found = desk.look(reports=[lost])

    assert kinds(found) == [("lost_order", True)]
    assert tell(desk.log) == "Unknown Rejected"
    assert desk.log[-1].code is RejectCode.NOT_RECEIVED  # type: ignore[union-attr]
    assert desk.reports.memory.suspects == {}


def test_looks_must_be_in_a_row() -> None:
    desk = VenueDesk(AAPL)
    desk.submit()
    desk.hear(desk.report(K.UNANSWERED))
    lost = desk.report(K.NOT_FOUND)

    desk.look(reports=[lost])
    desk.look(desk.order_there())  # it is there
    assert status_of(desk) == "ACCEPTED"
    assert desk.reports.memory.suspects == {}


def test_accepted_order_that_is_not_found_calls_a_person_and_counts_on() -> None:
    desk = VenueDesk(AAPL)
    order = desk.submit()
    desk.hear(desk.report(K.ACCEPTED))

    assert desk.look(reports=[desk.report(K.NOT_FOUND)]) == []
    found = desk.look(reports=[desk.report(K.NOT_FOUND)])

    assert kinds(found) == [("lost_order", False)]
    assert (order.leaves, status_of(desk)) == (100, "ACCEPTED")
    assert desk.reports.memory.is_blocked
    assert desk.look(reports=[desk.report(K.NOT_FOUND)]) == []  # told once

    found = desk.look(desk.order_there())

    assert kinds(found) == [("lost_order", True)]
    assert found[0].resolution == "gone"
    assert not desk.reports.memory.is_blocked


def test_fills_that_are_counted_and_never_told_call_a_person() -> None:
    desk = VenueDesk(AAPL)
    desk.submit()
    there = desk.order_there(filled_lots=30)

    desk.look(there)
    found = desk.look(there)

    assert kinds(found) == [("missed_report", False)]
    assert (found[0].ours, found[0].theirs) == (0, 30)
    assert desk.reports.memory.is_blocked


@pytest.mark.parametrize("status", ["unknown", "pending"])
def test_replace_that_the_look_shows_is_told_at_once(status: str) -> None:
    desk = VenueDesk(AAPL)
    order = desk.submit()
    desk.hear(desk.report(K.ACCEPTED))
    order.asked_lots = 150
    desk.move(order, OrderReplacePending("s-1", 150, 9_990, 0))
    if status == "unknown":
        desk.hear(desk.report(K.UNANSWERED))

    found = desk.look(desk.order_there(lots=150, limit_ticks=9_990))

    assert kinds(found) == [("missed_report", True)]
    assert desk.log[-1] == OrderReplaced("s-1", 150, 9_990, 0)
    assert (order.leaves, status_of(desk)) == (150, "ACCEPTED")


def test_replace_that_never_arrived_counts_until_the_second_look() -> None:
    desk = VenueDesk(AAPL)
    order = desk.submit()
    desk.hear(desk.report(K.ACCEPTED))
    order.asked_lots = 150
    desk.move(order, OrderReplacePending("s-1", 150, 10_000, 0))
    desk.look(desk.order_there())
    desk.look(desk.order_there())
    assert (order.leaves, status_of(desk)) == (150, "REPLACE_PENDING")  # its answer is awaited
    desk.hear(desk.report(K.UNANSWERED))

    desk.look(desk.order_there())
    assert (order.leaves, status_of(desk)) == (150, "ACCEPTED")
    desk.look(desk.order_there())

    assert isinstance(desk.log[-1], OrderReplaceRejected)
    assert order.leaves == 100


def test_change_that_nobody_here_asked_for_counts_when_it_is_seen_twice() -> None:
    desk = VenueDesk(AAPL)
    order = desk.submit()
    desk.hear(desk.report(K.ACCEPTED))
    there = desk.order_there(lots=80, limit_ticks=9_000)

    assert desk.look(there) == []
    assert order.lots == 100
    assert kinds(desk.look(there)) == [("missed_report", True)]
    assert (order.lots, order.limit_ticks) == (80, 9_000)


def test_unanswered_cancel_of_an_order_that_stands_is_accepted_again() -> None:
    desk = VenueDesk(AAPL)
    order = desk.submit()
    desk.hear(desk.report(K.ACCEPTED))
    desk.move(order, OrderCancelPending("s-1"))
    desk.hear(desk.report(K.UNANSWERED))

    desk.look(desk.order_there())

    assert status_of(desk) == "ACCEPTED"


def test_stop_that_stands_as_a_limit_was_triggered() -> None:
    desk = VenueDesk(AAPL)
    order = desk.submit(stop_ticks=9_900)

    desk.look(desk.order_there())

    assert tell(desk.log) == "Accepted Triggered"
    assert order.order_type is OrderType.LIMIT


def test_order_that_is_closed_here_and_open_there_is_canceled_and_calls_a_person() -> None:
    desk = VenueDesk(AAPL)
    desk.submit()
    desk.hear(desk.report(K.CANCELED))

    desk.look(desk.order_there())
    found = desk.look(desk.order_there())

    assert kinds(found) == [("foreign_order", False)]
    assert found[0].client_order_id == "s-1"
    assert found[0].resolution == "open at the venue as v-1 and closed here: its cancel is sent"
    assert desk.strays == ["s-1"]
    assert desk.look(desk.order_there()) == []
    assert desk.strays == ["s-1", "s-1"]  # until it is gone
    gone = desk.look()
    assert [each.resolution for each in gone] == ["gone"]
    assert len(desk.strays) == 2


@pytest.mark.parametrize(("policy", "resolved"), [(ReconciliationPolicy(), False), (NOBODYS, True)])
def test_foreign_order_is_told_once_by_policy(policy: ReconciliationPolicy, resolved: bool) -> None:
    desk = VenueDesk(AAPL, policy)
    there = desk.order_there(client_order_id="", venue_order_id="by-hand", filled_lots=20)

    found = [kinds(desk.look(there)) for _ in range(4)]

    assert found == [[], [("foreign_order", resolved)], [], []]
    assert desk.reports.memory.is_blocked is not resolved
    assert kinds(desk.look()) == ([] if resolved else [("foreign_order", True)])
    assert not desk.reports.memory.is_blocked


LOOKS = """
policy  lots          cash                found
stop    0 0 0         0 0 0               -
stop    0 0 0         +5 +5 +5            -
stop    0 7 7 7       0 0 0 0             - - position -
stop    0 7 7 0       0 0 0 0             - - position gone
stop    0 7 6 5 4 3   0 0 0 0 0 0         - - - - - position
stop    0 7 0 7 0 7   0 0 0 0 0 0         -
stop    3 3 3         0 0 0               - position -
stop    0 0 0         -5 -5 -5            - cash -
stop    0 0 0         0 +5 +5             - - cash
stop    0 0 0 0       +9 +5 +5 +9         - - cash gone
free    3 3 3         0 0 0               - position -
free    0 7 7 7       0 0 0 0             - - position -
free    0 7 7 0 0     0 0 0 0 0           - - position - position
free    0 0 0         0 +5 +5             - - cash
free    0 0 0 0       +9 +5 +5 +5         - - cash -
free    0 0 0         +9 -1 -1            - - cash
"""
"""Lots and cash (minor units beyond the capital) that each look sees, and what it tells."""


@pytest.mark.parametrize("row", LOOKS.strip().splitlines()[1:])
def test_holdings_and_cash_that_differ_count_when_they_last(row: str) -> None:
    columns = [row[:8], row[8:22], row[22:42], row[42:]]
    policy, lots, cash, wanted = (each.split() for each in columns)
    desk = VenueDesk(AAPL, NOBODYS if policy == ["free"] else ReconciliationPolicy())
    told: list[str] = []
    for held, beyond in zip(lots, cash, strict=True):
        found = desk.look(lots=int(held), cash=CAPITAL + int(beyond))
        words = ["gone" if e.resolution == "gone" else e.kind.value for e in found]
        told.append("+".join(words) or "-")
        person = [each for each in found if not each.is_resolved]
        assert bool(person) <= desk.reports.memory.is_blocked
        if policy == ["free"]:
            assert bool(person) is (beyond == "-1" and bool(found))

    assert told == (wanted + ["-"] * len(lots))[: len(lots)]


def test_difference_says_both_sides() -> None:
    desk = VenueDesk(AAPL)
    desk.look(cash=CAPITAL + 9)
    desk.look(lots=-7, cash=CAPITAL + 4)
    position, cash = desk.look(lots=-7, cash=CAPITAL + 4)

    assert (position.ours, position.theirs) == (0, -7)
    assert position.resolution == "-700000000 units (1e-8) at the venue"
    assert (cash.ours, cash.theirs, cash.currency) == (CAPITAL + 9, CAPITAL + 4, "USD")
    assert cash.resolution == "-5 minor units at the venue"


def test_rest_below_a_lot_is_nobodys_and_compared_from_then_on() -> None:
    desk = VenueDesk(BTC)
    assert desk.look(rest_units=999) == []
    assert desk.reports.memory.unallocated_units == {BTC.id: 999}
    desk.submit()
    desk.hear(desk.fill("x", 10, 10, ticks=1, fee_units=10))  # 9 lots and 990
    cash = desk.ledger.cash

    assert desk.look(desk.order_there(filled_lots=10), lots=10, rest_units=989, cash=cash) == []
    assert not desk.reports.memory.wants_look
    desk.look(desk.order_there(filled_lots=10), lots=10, rest_units=988, cash=cash)
    found = desk.look(desk.order_there(filled_lots=10), lots=10, rest_units=988, cash=cash)

    assert [each.resolution for each in found] == ["-1 units (1e-8) at the venue"]


def test_fill_of_an_order_by_hand_is_no_difference() -> None:
    desk = VenueDesk(AAPL)
    desk.look(cash=CAPITAL + 20 * COST)
    by_hand: Any = desk.fill("f", 10, client_order_id="", fee=3)

    found = desk.look(reports=[by_hand], lots=10, cash=CAPITAL + 10 * COST - 3)

    assert found == []
    assert not desk.reports.memory.wants_look


def test_order_that_is_filled_unless_it_was_replaced_is_closed_by_the_second_look() -> None:
    desk = VenueDesk(AAPL)
    order = desk.submit()
    desk.hear(desk.report(K.ACCEPTED))
    order.asked_lots = 120
    desk.move(order, OrderReplacePending("s-1", 120, 10_000, 0))
    fill = desk.fill("x", 100, 100)
    desk.hear(fill)
    spent = {"lots": 100, "cash": CAPITAL - 100 * COST}

    desk.look(desk.order_there(), reports=[fill], **spent)  # from before
    desk.look(reports=[fill], **spent)
    assert status_of(desk) == "PARTIALLY_FILLED"
    desk.look(reports=[fill], **spent)

    assert status_of(desk) == "closed"


def test_differences_that_nothing_explains_name_an_instrument_or_a_currency() -> None:
    desk = VenueDesk(AAPL)
    desk.look()
    desk.look(lots=1, cash=CAPITAL - 1)
    desk.look(lots=1, cash=CAPITAL - 1)
    gone = desk.look()

    assert [(e.kind, e.instrument, e.currency) for e in gone] == [
        (D.POSITION, AAPL.id, ""),
        (D.CASH, "", "USD"),
    ]


# Orders that were given by hand.

BY_HAND = name_manual("by-hand")
ADOPTING = ReconciliationPolicy(
    foreign_orders=OnDifference.ADOPT,
    adopt_into={AAPL.id: "s"},
    positions=OnDifference.UNALLOCATED,
    cash=OnDifference.UNALLOCATED,
)


def manual(desk: VenueDesk, **fields: Any) -> VenueOrder:
    given: dict[str, Any] = {
        "client_order_id": BY_HAND, "venue_order_id": "by-hand",
        "time_in_force": TimeInForce.DAY, **fields,
    }  # fmt: skip
    return desk.order_there(**given)


def manual_fill(desk: VenueDesk, execution: str, lots: int, filled: int = -1) -> VenueReport:
    return desk.fill(
        execution,
        lots,
        filled,
        client_order_id=BY_HAND,
        venue_order_id="by-hand",
        ts_venue=max(filled, 0),
    )


def test_order_by_hand_is_adopted_by_the_second_look() -> None:
    desk = VenueDesk(AAPL, ADOPTING)
    there = manual(desk)

    assert desk.look(there) == []
    assert desk.reports.memory.wants_look
    (found,) = desk.look(there)

    assert (found.kind, found.is_resolved, found.theirs) == (D.FOREIGN_ORDER, True, 100)
    assert found.resolution == "by-hand is not ours: adopted by s"
    (adopted,) = desk.adopted
    order = desk.oms.open[BY_HAND]
    assert (adopted.strategy, adopted.lots, adopted.filled_lots) == ("s", 100, 0)
    assert (order.status, order.leaves, order.limit_ticks) == (OrderStatus.ACCEPTED, 100, 10_000)
    assert order.time_in_force is TimeInForce.DAY
    assert [desk.look(there) for _ in range(3)] == [[], [], []]  # it is one of ours
    assert len(desk.adopted) == 1
    assert not desk.reports.memory.is_blocked


def adopt(desk: VenueDesk, lots: int = 0, **fields: Any) -> Order:
    """Two looks, which see what the account holds beside `s`."""
    for _ in range(2):
        desk.look(manual(desk, **fields), lots=lots, cash=CAPITAL - lots * COST)
    return desk.oms.open[BY_HAND]


def test_adopted_order_fills_is_changed_by_hand_and_ends_as_any_other() -> None:
    desk = VenueDesk(AAPL, ADOPTING)
    order = adopt(desk)

    desk.hear(manual_fill(desk, "x", 30, 30))
    changed = manual(desk, lots=80, limit_ticks=9_900, filled_lots=30)
    cash = CAPITAL - 30 * COST
    assert desk.look(changed, lots=30, cash=cash) == []
    assert kinds(desk.look(changed, lots=30, cash=cash)) == [("missed_report", True)]
    assert (order.lots, order.limit_ticks, order.leaves) == (80, 9_900, 50)
    desk.hear(desk.report(K.CANCELED, client_order_id=BY_HAND, filled_lots=30))

    assert tell(desk.log) == "PartiallyFilled(30) Replaced Canceled"
    assert desk.oms.open == {}
    assert desk.ledger.positions[AAPL.id].lots == 30


BEFORE = """
told before    look says  told behind          adopted at  booked  nobody's
-              0          -                    0           0       0
-              0          a10/10 b20/30        0           30      0
-              10         b20/30               10          20      0
-              10         a10/10 b20/30        10          20      10
a10/10         10         b20/30               10          20      10
a10/10         10         a10/10 b20/30        10          20      10
a10/10         0          b20/30               10          20      10
a10/10 b20/30  10         a10/10 b20/30        30          0       30
a10            0          b20/30               10          20      10
a10            10         a10 b20/30           10          20      10
-              10         b20/30 a10/10 b20    10          20      10
-              10         a10 b20/30 a10 b20   10          20      10
"""
"""Fills `<execution><lots>/<filled then>` of an order by hand, told before and behind the look that
adopts it, and whose they are: each is counted once, in any order."""


@pytest.mark.parametrize("row", BEFORE.strip().splitlines()[1:])
def test_fills_are_the_strategys_from_the_adoption_on_and_counted_once(row: str) -> None:
    columns = [each.strip() for each in (row[:15], row[15:26], row[26:47], row[47:59], row[59:67],
                                         row[67:])]  # fmt: skip
    before, says, behind, adopted_at, booked, nobodys = columns
    desk = VenueDesk(AAPL, ADOPTING)
    desk.look()

    def hear(cell: str) -> None:
        for each in cell.replace("-", "").split():
            lots, _, filled = each[1:].partition("/")
            desk.hear(manual_fill(desk, each[0], int(lots), int(filled or -1)))

    hear(before)
    heard = desk.reports.memory.unallocated_units[AAPL.id] // desk.reports.lot_units[AAPL.id]
    order = adopt(desk, lots=heard, filled_lots=int(says))
    assert order.filled_lots == desk.adopted[0].filled_lots == int(adopted_at)
    hear(behind)

    assert desk.ledger.positions[AAPL.id].lots == int(booked)
    unit = desk.reports.lot_units[AAPL.id]
    assert desk.reports.memory.unallocated_units[AAPL.id] == int(nobodys) * unit
    assert desk.reports.memory.unallocated_cash["USD"] == -int(nobodys) * COST
    assert order.filled_lots == int(adopted_at) + int(booked)


@pytest.mark.parametrize("ending", [K.CANCELED, K.EXPIRED, K.FILLED])
def test_order_by_hand_that_ended_behind_the_look_is_not_adopted(ending: ReportKind) -> None:
    desk = VenueDesk(AAPL, ADOPTING)
    there = manual(desk)
    desk.look(there)
    told = desk.report(ending, client_order_id=BY_HAND)
    desk.hear(manual_fill(desk, "x", 100, 100) if ending is K.FILLED else told)

    found = [each for _ in range(3) for each in desk.look(there)]

    assert [each for each in found if each.kind is D.FOREIGN_ORDER] == []
    assert desk.adopted == []
    assert not desk.reports.memory.is_blocked


STRANGE = [
    ({"problem": "it trails"}, "it trails"),
    ({"client_order_id": "ffffffff-s-1"}, "another session has given it"),
    ({"instrument": BTC.id}, "it is of no strategy's instrument"),
]


@pytest.mark.parametrize(("fields", "why"), STRANGE)
def test_what_can_not_be_adopted_calls_a_person(fields: dict[str, Any], why: str) -> None:
    desk = VenueDesk(AAPL, ADOPTING)
    there = manual(desk, **fields)

    found = [desk.look(there) for _ in range(3)]

    assert [kinds(each) for each in found] == [[], [("foreign_order", False)], []]
    assert found[1][0].resolution == f"by-hand is not ours, and not adopted, because {why}"
    assert desk.adopted == []
    assert desk.reports.memory.is_blocked
    assert kinds(desk.look()) == [("foreign_order", True)]


def test_order_by_hand_waits_for_its_strategy_and_blocks_until_then() -> None:
    desk = VenueDesk(AAPL, ADOPTING)
    there = manual(desk)
    desk.hindrance = "an operator has paused s"
    desk.look(there)
    assert kinds(desk.look(there)) == [("foreign_order", False)]
    assert desk.reports.memory.is_blocked

    desk.hindrance = ""
    found = [kinds(desk.look(there)) for _ in range(3)]

    assert [each for each in found if each] == [[("foreign_order", True)]]
    assert len(desk.adopted) == 1
    assert not desk.reports.memory.is_blocked


def test_adopted_order_that_vanished_is_asked_for_and_closed() -> None:
    desk = VenueDesk(AAPL, ADOPTING)
    adopt(desk)

    desk.look(reports=[desk.report(K.CANCELED, client_order_id=BY_HAND, filled_lots=0)])

    assert desk.oms.open == {}
    assert [desk.look() for _ in range(2)] == [[], []]


def test_what_was_heard_of_an_order_by_hand_is_forgotten_with_the_fills_of_its_time() -> None:
    desk = VenueDesk(AAPL, ADOPTING)
    desk.look(ts_venue=1)
    desk.hear(manual_fill(desk, "x", 10, 10))
    assert desk.reports.memory.manual[BY_HAND].filled_lots == 10
    for ts in (10, 200_000_000_000, 400_000_000_000):
        desk.look(lots=10, cash=CAPITAL - 10 * COST, ts_venue=ts)
    assert desk.reports.memory.manual == {}
