"""The rules of corporate actions and what they do to a ledger, by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.corporate_actions import TERMS_MAX, ActionTerms, compute_terms
from onetape.domain.errors import DataError, InvariantBroken
from onetape.domain.events import OrderFilled
from onetape.domain.instrument import (
    FutureTerms,
    Instrument,
    InstrumentId,
    InstrumentKind,
    make_equity,
    make_spot,
)
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.numbers import E8, MAX_LOTS
from onetape.domain.orders import LiquiditySide, Side
from onetape.portfolio.corporate_actions import (
    compute_adjusted_ticks,
    compute_cash_in_lieu,
    compute_payment,
    compute_split_lots,
    compute_split_release,
)
from onetape.portfolio.ledger import Ledger

SPLIT, DIVIDEND, DELISTING = (
    CorporateActionKind.SPLIT, CorporateActionKind.CASH_DIVIDEND, CorporateActionKind.DELISTING
)  # fmt: skip
EQUITY = make_equity("AAPL.XNAS")
CENT = 1_000_000
"""Minor units of a cent, which is a tick times a lot of `EQUITY`."""


def make_action(kind: CorporateActionKind, value: float, divisor: float = 1.0) -> CorporateAction:
    return CorporateAction(
        instrument=EQUITY.id, kind=kind, ts_event=0, ts_known=0, value=value, divisor=divisor
    )


# fmt: off
SPLITS = [
    # lots  top bottom price      after  left  cash (minor)        what
    (  100,   7,   1,  64_557,     700,    0,            0),  # 7 for 1, whole
    ( -154,   7,   1,  64_557,   -1078,    0,            0),  # a short
    (  105,   1,  10,     300,      10,    5,  15 * E8),      # 1 for 10: half a share of 30.00
    ( -105,   1,  10,     300,     -10,   -5, -15 * E8),      # a short pays it
    (    9,   1,  10,     300,       0,    9,  27 * E8),      # nothing whole is left
    (    5,   3,   2,   1_000,       7,    1,  333_333_333),  # half of 6.66..., rounded down
    (   -5,   3,   2,   1_000,      -7,   -1, -333_333_334),  # and paid rounded up
    (  100,   1,   3,       0,      33,    1,            0),  # worth nothing
]
# fmt: on


@pytest.mark.parametrize(("lots", "top", "bottom", "ticks", "after", "left", "cash"), SPLITS)
def test_split_by_hand(
    lots: int, top: int, bottom: int, ticks: int, after: int, left: int, cash: int
) -> None:
    assert compute_split_lots(lots, top, bottom) == (after, left)
    assert compute_cash_in_lieu(left, top, ticks * CENT) == cash


RATIOS = st.tuples(st.integers(1, TERMS_MAX), st.integers(1, TERMS_MAX))


@given(st.integers(-MAX_LOTS, MAX_LOTS), RATIOS, st.integers(0, 10**13))
def test_split_against_fractions(lots: int, ratio: tuple[int, int], lot_value: int) -> None:
    """Whole lots and what is left make the exact product; cash is exact but for its rounding."""
    top, bottom = ratio
    after, left = compute_split_lots(lots, top, bottom)
    exact = Fraction(lots * top, bottom)
    assert after + Fraction(left, bottom) == exact
    assert after == int(exact)
    cash = compute_cash_in_lieu(left, top, lot_value)
    assert cash <= Fraction(left, bottom) * lot_value * bottom / top < cash + 1


@given(st.integers(0, 2**53), RATIOS)
def test_adjusted_price_is_the_nearest(ticks: int, ratio: tuple[int, int]) -> None:
    top, bottom = ratio
    adjusted = compute_adjusted_ticks(ticks, top, bottom)
    assert adjusted - Fraction(1, 2) <= Fraction(ticks * bottom, top) < adjusted + Fraction(1, 2)


@given(st.integers(-MAX_LOTS, MAX_LOTS), st.integers(0, 10**15), st.integers(1, TERMS_MAX))
def test_payment_is_rounded_against_us(lots: int, top: int, bottom: int) -> None:
    paid = compute_payment(lots, top, bottom)
    assert paid <= Fraction(lots * top, bottom) < paid + 1


@pytest.mark.parametrize(
    ("lots", "cost", "left", "top", "after", "released"),
    [
        (105, 105 * E8, 5, 1, 10, 5 * E8),  # 5 of 105 old lots
        (-105, -105 * E8, -5, 1, -10, -5 * E8),
        (9, 9 * E8 + 7, 9, 1, 0, 9 * E8 + 7),  # all of it, the odd units too
        (3, 10, 1, 2, 4, 1),  # half of a lot that cost 10 / 3: 3 // 2
        (-3, -10, -1, 2, -4, -1),
    ],
)
def test_cost_of_a_fraction_by_hand(
    lots: int, cost: int, left: int, top: int, after: int, released: int
) -> None:
    assert compute_split_release(lots, cost, left, top, after) == released


def held(lots: int, ticks: int, instrument: Instrument = EQUITY) -> Ledger:
    """A ledger of 1,000,000.00 that has traded `lots` once, free of charge."""
    ledger = Ledger("s", "USD", [instrument])
    ledger.deposit(1_000_000 * E8)
    size = abs(lots)
    notional = size * ticks * instrument.minor_per_tick_lot
    ledger.apply(
        OrderFilled("o", "s", instrument.id, Side.BUY if lots > 0 else Side.SELL, size, ticks,
                    notional, 0, LiquiditySide.TAKER, 0, 0)
    )  # fmt: skip
    return ledger


def test_dividend_is_income_of_a_long_and_cost_of_a_short() -> None:
    for lots, amount in ((512, 512 * 25 * CENT), (-512, -512 * 25 * CENT)):
        ledger = held(lots, 10_000)
        cash = ledger.cash
        change = ledger.adjust(EQUITY.id, DIVIDEND, ActionTerms(25 * CENT, 1), 10_100)
        assert (change.amount, change.income, change.realized) == (amount, amount, 0)
        assert (change.lots, change.cost) == (lots, lots * 10_000 * CENT)
        assert change.cash == ledger.cash == cash + amount
        assert ledger.income == amount


def test_reverse_split_sells_the_fraction() -> None:
    """105 shares bought at 2.00, 1 for 10 at 3.00: half a new share is paid 15.00, cost 10.00."""
    ledger = held(105, 200)
    change = ledger.adjust(EQUITY.id, SPLIT, ActionTerms(1, 10), 300)
    assert (change.lots, change.amount) == (10, 15 * E8)
    assert (change.cost, change.realized) == (200 * E8, 5 * E8)
    assert (ledger.realized, ledger.income, ledger.inventory) == (5 * E8, 0, 200 * E8)


def test_split_may_leave_nothing() -> None:
    ledger = held(-9, 200)
    change = ledger.adjust(EQUITY.id, SPLIT, ActionTerms(1, 10), 300)
    assert (change.lots, change.cost, change.amount) == (0, 0, -27 * E8)
    assert change.realized == -9 * E8
    assert not ledger.held


@pytest.mark.parametrize(("lots", "realized"), [(10, -990 * E8), (-10, 990 * E8)])
def test_delisting_closes_at_its_value(lots: int, realized: int) -> None:
    ledger = held(lots, 10_000)
    change = ledger.adjust(EQUITY.id, DELISTING, ActionTerms(1 * E8, 1), 10_100)
    assert (change.lots, change.cost, change.realized) == (0, 0, realized)
    assert change.amount == lots * E8
    assert not ledger.held


def test_a_position_that_becomes_too_large_stops_the_session() -> None:
    ledger = held(30_000_000, 1)
    with pytest.raises(InvariantBroken, match=r"3,000,000,000 lots, more than 2,147,483,647"):
        ledger.adjust(EQUITY.id, SPLIT, ActionTerms(100, 1), 1)


def test_terms_of_a_lot() -> None:
    coin = make_spot("BTC.X", base="BTC", quote="USD", tick_size="0.01", lot_size="0.000001")
    assert compute_terms(make_action(SPLIT, 1, 0.1428572), EQUITY) == ActionTerms(2500000, 357143)
    assert compute_terms(make_action(SPLIT, 0.1), EQUITY) == ActionTerms(1, 10)
    assert compute_terms(make_action(DIVIDEND, 0.25), EQUITY) == ActionTerms(25 * CENT, 1)
    assert compute_terms(make_action(DIVIDEND, 0.25), coin) == ActionTerms(25, 1)
    assert compute_terms(make_action(DIVIDEND, 0.00000033), coin) == ActionTerms(33, 1_000_000)
    assert compute_terms(make_action(DELISTING, 0), EQUITY) == ActionTerms(0, 1)


FUTURE = Instrument(
    id=InstrumentId("ES.XCME"), kind=InstrumentKind.FUTURE, quote_currency="USD",
    tick_size=EQUITY.tick_size, lot_size=EQUITY.lot_size,
    terms=FutureTerms(underlying="ES", ts_expiry=10**19),
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "divisor", "instrument", "what"),
    [
        (SPLIT, 0.0, 1.0, EQUITY, "value 0.0 of a split is not positive"),
        (SPLIT, -2.0, 1.0, EQUITY, "value -2.0 of a split is not positive"),
        (SPLIT, float("nan"), 1.0, EQUITY, "value nan is not finite"),
        (SPLIT, 2.0, 0.0, EQUITY, "divisor 0.0 is not positive"),
        (SPLIT, 1.23456789012, 1.0, EQUITY, "with more digits than"),
        (SPLIT, 1.0, 1e10, EQUITY, "with more digits than"),
        (DIVIDEND, 0.0, 1.0, EQUITY, "value 0.0 of a cash_dividend is not positive"),
        (DIVIDEND, 1.0, 2.0, EQUITY, "divisor 2.0 is only for a split"),
        (DIVIDEND, 1e-9, 1.0, EQUITY, "value 1e-09 is off the grid of 0.00000001"),
        (DELISTING, -1.0, 1.0, EQUITY, "value -1.0 of a delisting is not positive"),
        (DIVIDEND, 1.0, 1.0, FUTURE, "ES.XCME is a future, which has no corporate actions"),
        (
            CorporateActionKind.SYMBOL_CHANGE,
            1.0,
            1.0,
            EQUITY,
            "a symbol_change needs a new_instrument",
        ),
    ],
)
def test_terms_that_are_refused(
    kind: CorporateActionKind, value: float, divisor: float, instrument: Instrument, what: str
) -> None:
    with pytest.raises(DataError, match=what):
        compute_terms(make_action(kind, value, divisor), instrument)
