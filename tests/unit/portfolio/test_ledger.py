"""Double-entry books: fills with numbers worked by hand, and exactness under any fills."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import OrderFilled, PositionChanged, PositionClosed, PositionOpened
from onetape.domain.instrument import Instrument, make_equity, make_spot
from onetape.domain.numbers import INT64_MAX, MAX_LOTS
from onetape.domain.orders import LiquiditySide, Side
from onetape.portfolio.ledger import Ledger, compute_cost_released, compute_position_fold

UNIT = make_equity("UNIT.TEST", tick_size="0.0001", lot_size="0.0001")
"""One tick times one lot is one minor unit: the tables below read as plain integers."""

CENT = make_equity("CENT.TEST")
"""Cent ticks, whole shares: one tick times one lot is 1_000_000 minor units."""

COIN = make_spot("BTC-USD.TEST", base="BTC", quote="USD", tick_size="0.01", lot_size="0.001")


def make_fill(
    instrument: Instrument, signed_lots: int, ticks: int, fee: int = 0, leaves: int = 0
) -> OrderFilled:
    lots = abs(signed_lots)
    return OrderFilled(
        "s-1", "s", instrument.id, Side.BUY if signed_lots > 0 else Side.SELL, lots, ticks,
        lots * ticks * instrument.minor_per_tick_lot, fee, LiquiditySide.TAKER, leaves, 0,
    )  # fmt: skip


def make_ledger(capital: int = 1_000_000) -> Ledger:
    ledger = Ledger("s", "USD", [UNIT, CENT, COIN])
    ledger.deposit(capital)
    return ledger


class Step(NamedTuple):
    """A fill (signed lots, ticks, fee), and the books that must follow it."""

    signed: int
    ticks: int
    fee: int
    lots: int
    cost: int
    realized: int
    cash: int
    kind: type[PositionChanged]


OPENED, CHANGED, CLOSED = PositionOpened, PositionChanged, PositionClosed

# Books after each fill: lots, cost basis, realized by this fill, cash (from 10_000).
STORIES: dict[str, list[Step]] = {
    "open, add, reduce, close": [
        Step(+10, 100, 0, 10, 1_000, 0, 9_000, OPENED),
        Step(+10, 120, 0, 20, 2_200, 0, 7_800, CHANGED),
        Step(-5, 130, 0, 15, 1_650, 100, 8_450, CHANGED),  # 5 * 130 - 550
        Step(-15, 90, 0, 0, 0, -300, 9_800, CLOSED),  # 15 * 90 - 1_650
    ],
    "short: open, add, reduce, close": [
        Step(-10, 100, 0, -10, -1_000, 0, 11_000, OPENED),
        Step(-10, 120, 0, -20, -2_200, 0, 12_200, CHANGED),
        Step(
            +5, 130, 0, -15, -1_650, -100, 11_550, CHANGED
        ),  # sold at 110 on average, bought at 130
        Step(+15, 90, 0, 0, 0, 300, 10_200, CLOSED),
    ],
    "flip from long to short": [
        Step(+10, 100, 0, 10, 1_000, 0, 9_000, OPENED),
        Step(-25, 110, 0, -15, -1_650, 100, 11_750, CHANGED),
        Step(+15, 100, 0, 0, 0, 150, 10_250, CLOSED),
    ],
    "flip from short to long": [
        Step(-10, 100, 0, -10, -1_000, 0, 11_000, OPENED),
        Step(+25, 110, 0, 15, 1_650, -100, 8_250, CHANGED),
        Step(-15, 100, 0, 0, 0, -150, 9_750, CLOSED),
    ],
    "fees leave cash and nothing else": [
        Step(+10, 100, 7, 10, 1_000, 0, 8_993, OPENED),
        Step(-4, 110, 3, 6, 600, 40, 9_430, CHANGED),
        Step(-6, 110, -2, 0, 0, 60, 10_092, CLOSED),  # a rebate
    ],
    "odd cost: 1_000 over 3 lots is released as 333, 333, 334": [
        Step(+1, 300, 0, 1, 300, 0, 9_700, OPENED),
        Step(+2, 350, 0, 3, 1_000, 0, 9_000, CHANGED),
        Step(-1, 400, 0, 2, 667, 67, 9_400, CHANGED),
        Step(-1, 400, 0, 1, 334, 67, 9_800, CHANGED),
        Step(-1, 400, 0, 0, 0, 66, 10_200, CLOSED),
    ],
    "odd cost of a short: -1_000 over -3 lots is released as -334, -333, -333": [
        Step(-1, 300, 0, -1, -300, 0, 10_300, OPENED),
        Step(-2, 350, 0, -3, -1_000, 0, 11_000, CHANGED),
        Step(+1, 400, 0, -2, -666, -66, 10_600, CHANGED),
        Step(+1, 400, 0, -1, -333, -67, 10_200, CHANGED),
        Step(+1, 400, 0, 0, 0, -67, 9_800, CLOSED),
    ],
    "reopened after flat": [
        Step(+3, 100, 0, 3, 300, 0, 9_700, OPENED),
        Step(-3, 100, 0, 0, 0, 0, 10_000, CLOSED),
        Step(-3, 200, 0, -3, -600, 0, 10_600, OPENED),
        Step(+3, 200, 0, 0, 0, 0, 10_000, CLOSED),
    ],
    "a price of one tick, and a price below zero": [
        Step(+10, 1, 0, 10, 10, 0, 9_990, OPENED),
        Step(+10, -5, 0, 20, -40, 0, 10_040, CHANGED),
        Step(-20, 0, 0, 0, 0, 40, 10_040, CLOSED),
    ],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_ledger_fill_gives_the_books_worked_by_hand(story: list[Step]) -> None:
    ledger = make_ledger(10_000)
    realized = fees = 0
    for step in story:
        change = ledger.apply(make_fill(UNIT, step.signed, step.ticks, step.fee))
        realized += step.realized
        fees += step.fee
        assert change == step.kind("s", UNIT.id, step.lots, step.cost, step.realized, step.cash)
        position = ledger.positions[UNIT.id]
        assert (position.lots, position.cost) == (step.lots, step.cost)
        assert (ledger.cash, ledger.realized, ledger.fees) == (step.cash, realized, fees)
        assert ledger.inventory == step.cost
        assert (UNIT.id in ledger.held) == (step.lots != 0)
        ledger.check()


def test_ledger_fill_in_cents_is_booked_in_minor_units() -> None:
    ledger = make_ledger(100_000 * 10**8)
    change = ledger.apply(make_fill(CENT, 100, 15_025, fee=100_000_000))  # 100 at 150.25, 1.00
    assert change.cost == 15_025 * 10**8
    assert change.cash == (100_000 - 15_025 - 1) * 10**8


def test_ledger_holds_positions_in_the_order_they_were_opened() -> None:
    ledger = make_ledger()
    for instrument in (COIN, UNIT, CENT):
        ledger.apply(make_fill(instrument, 1, 1))
    ledger.apply(make_fill(UNIT, -1, 1))
    ledger.apply(make_fill(UNIT, -1, 1))
    assert list(ledger.held) == [COIN.id, CENT.id, UNIT.id]


def test_ledger_fill_whose_notional_is_not_price_times_lots_is_refused() -> None:
    ledger = make_ledger()
    wrong = OrderFilled("s-1", "s", UNIT.id, Side.BUY, 10, 100, 999, 0, LiquiditySide.TAKER, 0, 0)
    with pytest.raises(InvariantBroken, match="out of balance"):
        ledger.apply(wrong)


def test_ledger_balance_beyond_int64_is_refused() -> None:
    ledger = make_ledger(INT64_MAX)
    with pytest.raises(InvariantBroken, match="leaves int64"):
        ledger.apply(make_fill(CENT, -1, 1))
    short = make_ledger()
    with pytest.raises(InvariantBroken, match="leaves int64"):
        short.apply(make_fill(CENT, MAX_LOTS, 10**7))


def test_ledger_position_that_drifts_from_inventory_is_found() -> None:
    ledger = make_ledger()
    ledger.apply(make_fill(UNIT, 10, 100))
    ledger.positions[UNIT.id].cost += 1
    with pytest.raises(InvariantBroken, match="positions 1001"):
        ledger.check()


fills = st.lists(
    st.tuples(
        st.sampled_from([UNIT, CENT, COIN]),
        st.integers(-50, 50).filter(bool),
        st.integers(1, 10**7),
        st.integers(-(10**6), 10**9),
    ),
    max_size=40,
)


@given(fills, st.integers(0, 10**15), st.integers(1, 10**7))
def test_ledger_any_fills_balance_and_explain_equity_exactly(
    story: list[tuple[Instrument, int, int, int]], capital: int, mark: int
) -> None:
    ledger = make_ledger(capital)
    lots: dict[str, int] = {}
    cash = capital
    for instrument, signed, ticks, fee in story:
        change = ledger.apply(make_fill(instrument, signed, ticks, fee))
        lots[instrument.id] = lots.get(instrument.id, 0) + signed
        cash -= signed * ticks * instrument.minor_per_tick_lot + fee
        assert (change.lots, change.cash) == (lots[instrument.id], cash)
        ledger.check()
    worth = {i.id: lots.get(i.id, 0) * mark * i.minor_per_tick_lot for i in (UNIT, CENT, COIN)}
    unrealized = sum(worth[name] - ledger.positions[name].cost for name in worth)
    equity = ledger.cash + sum(worth.values())
    assert ledger.realized + unrealized - ledger.fees == equity - ledger.capital
    assert set(ledger.held) == {name for name, held in lots.items() if held}


@given(fills)
def test_ledger_closing_everything_leaves_no_cost_and_only_realized(
    story: list[tuple[Instrument, int, int, int]],
) -> None:
    ledger = make_ledger(0)
    for instrument, signed, ticks, fee in story:
        ledger.apply(make_fill(instrument, signed, ticks, fee))
    for instrument in (UNIT, CENT, COIN):
        held = ledger.positions[instrument.id].lots
        if held:
            ledger.apply(make_fill(instrument, -held, 777))
        assert ledger.positions[instrument.id].cost == 0
    assert ledger.inventory == 0
    assert ledger.held == {}
    assert ledger.cash == ledger.realized - ledger.fees


signed_lots = st.integers(-MAX_LOTS, MAX_LOTS).filter(bool)


@given(signed_lots, st.integers(0, 2**62), st.data())
def test_cost_released_is_the_floor_of_its_share_inside_int64(
    lots: int, size: int, data: st.DataObject
) -> None:
    sign = 1 if lots > 0 else -1
    closing = sign * data.draw(st.integers(1, abs(lots)))
    cost = sign * size
    released = compute_cost_released(lots, cost, closing)
    assert released == cost * closing // lots
    each = cost // lots
    products = (each * closing, (cost - each * lots) * closing, each * lots)
    assert max(map(abs, products)) < 2**63


@given(st.integers(-1_000, 1_000), st.integers(1, 10_000), st.data())
def test_position_fold_in_parts_ends_where_the_whole_ends(
    lots: int, average: int, data: st.DataObject
) -> None:
    """A fill at one price, cut in two, ends the same where the average cost is a whole number."""
    signed = data.draw(st.integers(-1_000, 1_000).filter(bool))
    ticks = data.draw(st.integers(1, 10_000))
    part = data.draw(st.integers(0, abs(signed))) * (1 if signed > 0 else -1)
    cost = lots * average
    whole = compute_position_fold(lots, cost, signed, ticks, 1)
    first = compute_position_fold(lots, cost, part, ticks, 1) if part else (lots, cost, 0)
    rest = signed - part
    second = compute_position_fold(first[0], first[1], rest, ticks, 1) if rest else (*first[:2], 0)
    assert second[0] == whole[0]
    assert first[2] + second[2] == whole[2]
    assert second[1] == whole[1]
