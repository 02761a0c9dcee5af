"""Dividends that are paid later, spin-offs, mergers and changes of symbol in the books, by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.corporate_actions import BY_VALUE, TERMS_MAX, ActionTerms, compute_terms
from onetape.domain.errors import DataError, InvariantBroken
from onetape.domain.events import OrderFilled, PositionAdjusted
from onetape.domain.instrument import Instrument, InstrumentId, make_equity
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.numbers import E8, MAX_LOTS
from onetape.domain.orders import LiquiditySide, Side
from onetape.portfolio.corporate_actions import (
    compute_cost_part,
    compute_exchange,
    compute_fraction_cash,
    compute_lot_value,
    compute_received,
    compute_ticks_without,
    compute_value_share,
)
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.portfolio.ledger import Ledger, NewShares

K = CorporateActionKind
OLD, NEW = make_equity("OLD.XNYS"), make_equity("NEW.XNYS")
CENT = 1_000_000
"""Minor units of a cent, which is a tick times a lot of both."""


def make_action(kind: CorporateActionKind, **fields: object) -> CorporateAction:
    values = {"instrument": OLD.id, "ts_event": 0, "ts_known": 0, "value": 0.0, **fields}
    return CorporateAction(kind=kind, **values)  # type: ignore[arg-type]


def trade(ledger: Ledger, instrument: Instrument, lots: int, ticks: int) -> None:
    """Trade `lots`, free of charge."""
    side = Side.BUY if lots > 0 else Side.SELL
    notional = abs(lots) * ticks * instrument.minor_per_tick_lot
    ledger.apply(
        OrderFilled("o", "s", instrument.id, side, abs(lots), ticks, notional, 0,
                    LiquiditySide.TAKER, 0, 0)
    )  # fmt: skip


def held(lots: int, ticks: int) -> Ledger:
    """A ledger of 1,000,000.00 that has traded `lots` of `OLD` once."""
    ledger = Ledger("s", "USD", [OLD, NEW])
    ledger.deposit(1_000_000 * E8)
    trade(ledger, OLD, lots, ticks)
    return ledger


def adjust(ledger: Ledger, action: CorporateAction, old: int, new: int) -> PositionAdjusted:
    """Post an action while `OLD` stands at `old` ticks and `NEW` at `new`."""
    after = NewShares(NEW.id, new) if action.new_instrument else None
    terms = compute_terms(action, OLD, NEW if after else None)
    change = ledger.adjust(OLD.id, action.kind, terms, old, after, action.ts_pay)
    assert change is not None
    return change


# The public terms are those of the companies' own announcements; prices and costs are made up.
#
# GE HealthCare 2023-01-04: 1 GEHC for 3 GE. GE at 84.00, GEHC at 60.00: an old share gives 20.00 of
#   its 84.00, 0.238095238 of its cost. 100 GE at 63.00 (6,300.00): 33 GEHC and a third, which is
#   paid 20.00. They carry 1,499.9999994, less the third's 1/100: 14.99999999(4) -> 14.99999999.
# Wabtec 2019-02-26: 0.005371 WAB for a GE share. 1,000 GE: 5.371 WAB at 70.00: 0.371 is 25.97.
#   Stated part of the cost 0.04 of 10,000.00: 400.00; 0.371 of 5.371 of it is 27.62986408...
# XTO and Exxon 2010-06-25: 0.7098 XOM for an XTO share. 200 XTO at 40.00: 141.96 XOM at 59.00: 0.96
#   is 56.64; its part of 8,000.00 is 0.96 / 141.96: 54.09974640...
# Time Warner and AT&T 2018-06-14: 53.75 and 1.437 T. 100 TWX at 90.00, T at 32.50: 5,375.00 in cash
#   and 143.7 T: 0.7 is 22.75. An old share gets 46.7025 in shares of 100.4525, 0.464921231 of the
#   9,000.00: 4,184.291079, of which 0.7 / 143.7 goes: 20.38276795...
# LinkedIn and Microsoft 2016-12-08: 196.00 in cash.
# fmt: off
GE = {"new_instrument": NEW.id, "value": 1.0, "divisor": 3.0}
WAB = {"new_instrument": NEW.id, "value": 0.005371, "cost_ratio": 0.04}
XOM = {"new_instrument": NEW.id, "value": 0.7098}
T = {"new_instrument": NEW.id, "value": 1.437, "cash": 53.75}
SAME = {"new_instrument": NEW.id}
S, M, N = K.SPIN_OFF, K.MERGER, K.SYMBOL_CHANGE
CASH, FEW = {"cash": 196.0}, {**GE, "divisor": 300.0}
EXCHANGES = [
    # k terms  lots bought    old   new gets            cash            cost         carried
    (S, GE,     100, 6_300, 8_400, 6_000,  33,    20_00000000, 4_800_00000060,  1_484_99999941),
    (S, GE,    -100, 6_300, 8_400, 6_000, -33,   -20_00000000, -4_800_00000060, -1_484_99999941),
    (S, FEW,    100, 6_300, 8_400, 6_000,   0,    20_00000000, 6_285_00000240,               0),
    (S, WAB,   1_000, 1_000,   900, 7_000,   5,    25_97000000, 9_600_00000000,    372_37013592),
    (M, XOM,    200, 4_000, 4_100, 5_900, 141,    56_64000000,              0,  7_945_90025360),
    (M, XOM,   -200, 4_000, 4_100, 5_900, -141,   -56_64000000,              0, -7_945_90025360),
    (M, T,      100, 9_000, 9_600, 3_250, 143, 5_397_75000000,              0,  4_163_90831105),
    (M, CASH,    10, 10_000, 19_500,    0,   0, 1_960_00000000,              0,               0),
    (M, CASH,   -10, 10_000, 19_500,    0,   0, -1_960_00000000,              0,               0),
    (N, SAME,    77, 1_234, 1_300,    0,  77,              0,              0,    950_18000000),
]
# fmt: on


@pytest.mark.parametrize(
    ("kind", "more", "lots", "bought", "old", "new", "received", "cash", "cost", "carried"),
    EXCHANGES,
)
def test_exchanges_by_hand(
    kind: CorporateActionKind, more: dict[str, object], lots: int, bought: int, old: int, new: int,
    received: int, cash: int, cost: int, carried: int,
) -> None:  # fmt: skip
    after = lots if kind is S else 0
    ledger = held(lots, bought)
    before = ledger.cash
    realized = cash - (lots * bought * CENT - cost - carried)
    change = adjust(ledger, make_action(kind, **more), old, new)
    assert (change.lots, change.received, change.amount) == (after, received, cash)
    assert (change.cost, change.carried, change.realized) == (cost, carried, realized)
    assert (change.income, change.receivable) == (0, 0)
    assert ledger.cash == change.cash == before + cash
    assert ledger.positions[NEW.id].lots == received
    assert list(ledger.held) == [
        each for each, some in ((OLD.id, after), (NEW.id, received)) if some
    ]
    copy = held(lots, bought)
    copy.follow(change)
    assert copy.save() == ledger.save()


def test_shares_of_the_other_side_close_what_is_held() -> None:
    """Long 100 OLD that cost 40.00, short 30 NEW sold at 50.00; 1 for 2 at a cost of 80.00 each.

    50 NEW come in: 30 of them cover, which loses 30.00 a share, and 20 stay with their 80.00.
    """
    ledger = held(100, 4_000)
    trade(ledger, NEW, -30, 5_000)
    merger = make_action(K.MERGER, new_instrument=NEW.id, value=1.0, divisor=2.0)
    change = adjust(ledger, merger, 4_000, 8_000)
    assert (change.received, change.carried) == (50, 4_000 * E8)
    assert (change.other_lots, change.other_cost) == (20, 1_600 * E8)
    assert change.realized == ledger.realized == -900 * E8


def test_a_dividend_is_income_at_once_and_cash_later() -> None:
    for lots in (512, -512):
        ledger = held(lots, 10_000)
        cash = ledger.cash
        due = lots * 25 * CENT
        dividend = make_action(K.CASH_DIVIDEND, value=0.25, ts_pay=77)
        change = adjust(ledger, dividend, 10_000, 0)
        assert (change.amount, change.income, change.receivable, change.ts_pay) == (0, due, due, 77)
        assert (ledger.cash, ledger.receivable, ledger.income) == (cash, due, due)
        trade(ledger, OLD, -lots, 10_000)  # entitled is who held it at the ex-date
        sold = ledger.cash
        again = Ledger("s", "USD", [OLD, NEW])
        again.restore(ledger.save())
        for books in (ledger, again):
            terms = ActionTerms(25 * CENT, 1)
            assert books.adjust(OLD.id, K.DIVIDEND_PAYMENT, terms, 0, None, 76) is None
            paid = books.adjust(OLD.id, K.DIVIDEND_PAYMENT, terms, 0, None, 77)
            assert paid is not None
            assert (paid.amount, paid.receivable, paid.income, paid.lots) == (due, -due, 0, 0)
            assert (books.cash, books.receivable, books.dues) == (sold + due, 0, {})
            assert books.adjust(OLD.id, K.DIVIDEND_PAYMENT, terms, 0, None, 77) is None


def test_two_dividends_of_one_pay_date_are_paid_together() -> None:
    ledger = held(100, 10_000)
    for value in (0.25, 0.5):
        adjust(ledger, make_action(K.CASH_DIVIDEND, value=value, ts_pay=77), 10_000, 0)
    assert ledger.dues == {(OLD.id, 77): 75 * E8}
    paid = ledger.adjust(OLD.id, K.DIVIDEND_PAYMENT, ActionTerms(1, 1), 0, None, 77)
    assert paid is not None
    assert paid.amount == 75 * E8


def test_dividend_in_shares_is_a_split_of_what_is_held() -> None:
    """Tootsie Roll's yearly 3%: 110 shares become 113.3, and 0.3 at 41.20 / 1.03 is 12.00."""
    ledger = held(110, 4_000)
    change = adjust(ledger, make_action(K.STOCK_DIVIDEND, value=0.03), 4_120, 0)
    assert (change.lots, change.amount, change.income) == (113, 12 * E8, 0)
    assert change.cost == 110 * 40 * E8 - 11_65048543  # 0.3 / 1.03 of a lot of 40.00


POSITIONS = st.integers(-MAX_LOTS, MAX_LOTS)
RATIOS = st.tuples(st.integers(1, TERMS_MAX), st.integers(1, TERMS_MAX))


@given(POSITIONS.filter(bool), st.integers(0, 10**9), RATIOS, st.integers(0, 10**11))
def test_exchange_against_fractions(
    lots: int, each: int, ratio: tuple[int, int], value: int
) -> None:
    """Lots toward zero, cash down, cost of the fraction near its exact part."""
    top, bottom = ratio
    carried = lots * each
    received, stays, cash, realized = compute_exchange(lots, carried, top, bottom, value)
    exact = Fraction(lots * top, bottom)
    left = exact - received
    assert received == int(exact)
    assert cash <= left * value < cash + 1
    assert realized == cash - (carried - stays)
    if received:
        part = abs(left / exact * carried)
        assert 0 <= part - abs(carried - stays) < abs(left) * bottom / top + 2
    else:
        assert stays == 0


@given(st.integers(0, 9 * 10**17), st.integers(0, 9 * 10**17))
def test_value_share_is_in_parts_of_1e9(part: int, whole: int) -> None:
    share = compute_value_share(part, whole)
    if part >= whole:
        assert share == (10**9 if part else 0)
    else:
        assert share == part * 10**9 // whole


@given(st.integers(-(10**18), 10**18), st.integers(0, 10**9))
def test_cost_part_is_rounded_toward_zero(cost: int, share: int) -> None:
    assert compute_cost_part(cost, share) == int(Fraction(cost * share, 10**9))


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**9), st.integers(0, 10**12))
def test_fractions_and_lots_are_valued_down(left: int, bottom: int, value: int) -> None:
    left = left % bottom if left >= 0 else -(-left % bottom)
    exact = Fraction(left * value, bottom)
    assert 0 <= exact - compute_fraction_cash(left, bottom, value) < 1
    exact = Fraction(abs(left) * value, bottom)
    assert 0 <= exact - compute_lot_value(value, abs(left), bottom) < 1


@given(st.integers(1, 10**7), st.integers(1, 10**8), st.integers(0, 10**16))
def test_mark_of_what_is_left_is_the_nearest_tick(ticks: int, factor: int, value: int) -> None:
    after = compute_ticks_without(ticks, factor, value)
    exact = ticks - Fraction(value, factor)
    assert after == 1 or after - Fraction(1, 2) <= exact < after + Fraction(1, 2)
    assert exact >= Fraction(1, 2) or after == 1


@given(POSITIONS, st.integers(0, 10**8), POSITIONS, st.integers(0, 10**8), st.integers(0, 10**8))
def test_received_lots_keep_the_value(
    lots: int, paid: int, received: int, carried: int, mark: int
) -> None:
    """Unrealized before is realized and unrealized after, at any mark; the cost of a side stays."""
    cost, more = lots * paid, received * carried
    after, basis, realized = compute_received(lots, cost, received, more)
    assert after == lots + received
    assert after * mark - basis + realized == (lots * mark - cost) + (received * mark - more)
    assert (after == 0) <= (basis == 0)
    assert after == 0 or basis == 0 or (after > 0) == (basis > 0)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([K.SPIN_OFF, K.MERGER, K.STOCK_DIVIDEND, K.CASH_DIVIDEND]),
                  st.integers(-500, 500).filter(bool), st.integers(1, 30), st.integers(1, 30),
                  st.integers(100, 9_000), st.integers(1, 99)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_books_balance_and_value_is_kept(
    moves: list[tuple[CorporateActionKind, int, int, int, int, int]],
) -> None:
    """Whatever comes after whatever: the ledger checks itself, and equity moves by rounding alone.

    A spin-off gives lots worth less than a tenth of the old one; a merger pays at the new shares'
    price, where the old share is worth just that.
    """
    ledger = Ledger("s", "USD", [OLD, NEW])
    ledger.deposit(10_000_000 * E8)
    for kind, lots, top, bottom, new, pay in moves:
        trade(ledger, OLD, lots, new)
        if not ledger.positions[OLD.id].lots:
            continue
        count, waiting = ledger.positions[OLD.id].lots, ledger.positions[NEW.id].lots
        given_value = Fraction(top * new, bottom)
        fields: dict[str, object] = {"value": float(top), "divisor": float(bottom)}
        match kind:
            case K.SPIN_OFF:
                old = 10 * new * 30
                after = old - given_value
                fields["new_instrument"] = NEW.id
            case K.MERGER:
                old = given_value + pay
                after = Fraction(0)
                fields |= {"new_instrument": NEW.id, "cash": pay / 100}
            case K.STOCK_DIVIDEND:
                old = 3 * new
                after = old / (1 + Fraction(top, bottom))
            case _:
                old = 3 * new
                after = old - Fraction(pay)
                fields = {"value": pay / 100, "ts_pay": 5}
        equity = ledger.cash + ledger.receivable + (count * old + waiting * new) * CENT
        action = make_action(kind, **fields)
        adjust(ledger, action, int(old), new)
        then = ledger.cash + ledger.receivable + ledger.positions[NEW.id].lots * new * CENT
        then += ledger.positions[OLD.id].lots * after * CENT
        slack = 2 * abs(int(old)) * CENT if old != int(old) else 2  # the mark of a fraction
        assert abs(then - equity) <= (slack if kind is K.STOCK_DIVIDEND else 2)


# fmt: off
REFUSED = [
    (make_action(K.SPIN_OFF, value=1.0), "a spin_off needs a new_instrument"),
    (make_action(K.MERGER, value=1.0), "a merger needs a new_instrument"),
    (make_action(K.MERGER, cash=1.0, new_instrument=NEW.id), "a merger without a value has no new"),
    (make_action(K.MERGER), "a merger pays 0.0 a share and gives 0.0 shares"),
    (make_action(K.MERGER, cash=-1.0), "a merger pays -1.0"),
    (make_action(K.SYMBOL_CHANGE), "a symbol_change needs a new_instrument"),
    (make_action(K.SYMBOL_CHANGE, new_instrument=NEW.id, value=2.0), "has no value"),
    (make_action(K.SYMBOL_CHANGE, new_instrument=OLD.id), "is not among the instruments"),
    (make_action(K.SPLIT, value=2.0, new_instrument=NEW.id), "a split has no new_instrument"),
    (make_action(K.SPLIT, value=2.0, cash=1.0), "a split has no cash"),
    (make_action(K.SPLIT, value=2.0, ts_pay=1), "a split has no ts_pay"),
    (make_action(K.CASH_DIVIDEND, value=2.0, price=1.0), "a cash_dividend has no price"),
    (make_action(K.SPIN_OFF, value=1.0, new_instrument=NEW.id, price=0.001), "off the grid of"),
    (make_action(K.SPIN_OFF, value=1.0, new_instrument=NEW.id, price=0.0), "price 0.0 of NEW"),
    (make_action(K.SPIN_OFF, value=1.0, new_instrument=NEW.id, cost_ratio=1.1), "not from 0 to 1"),
    (make_action(K.SPIN_OFF, value=0.0, new_instrument=NEW.id), "value 0.0 of a spin_off is not"),
    (make_action(K.STOCK_DIVIDEND, value=-0.5), "value -0.5 of a stock_dividend is not positive"),
]
# fmt: on


@pytest.mark.parametrize(("action", "what"), REFUSED)
def test_terms_that_are_refused(action: CorporateAction, what: str) -> None:
    with pytest.raises(DataError, match=what):
        compute_terms(action, OLD, NEW if action.new_instrument else None)


def test_new_shares_have_to_fit_the_old_ones() -> None:
    euro = make_equity("NEW.XNYS", currency="EUR")
    fine = make_equity("NEW.XNYS", tick_size="0.001")
    spin_off = make_action(K.SPIN_OFF, value=1.0, new_instrument=NEW.id)
    with pytest.raises(DataError, match=r"NEW\.XNYS is quoted in EUR, OLD\.XNYS in USD"):
        compute_terms(spin_off, OLD, euro)
    with pytest.raises(DataError, match="is not among the instruments of the session"):
        compute_terms(spin_off, OLD, None)
    change = make_action(K.SYMBOL_CHANGE, new_instrument=NEW.id)
    with pytest.raises(DataError, match="has another lot or tick than OLD"):
        compute_terms(change, OLD, fine)


def test_terms_of_lots_of_another_size() -> None:
    """100 old shares a lot, 10 new ones a lot, 3 new for 2 old: 15 new lots for an old one."""
    hundreds, tens = make_equity("OLD.XNYS", lot_size="100"), make_equity("NEW.XNYS", lot_size="10")
    merger = make_action(
        K.MERGER, value=3.0, divisor=2.0, cash=0.5, price=1.25, cost_ratio=0.25,
        new_instrument=NEW.id,
    )  # fmt: skip
    assert compute_terms(merger, hundreds, tens) == ActionTerms(15, 1, 50 * E8, 1, 125, 250_000_000)
    assert compute_terms(make_action(K.STOCK_DIVIDEND, value=0.05), OLD) == ActionTerms(21, 20)
    assert ActionTerms(1, 1).cost_e9 == BY_VALUE


def test_a_position_that_becomes_too_large_stops_the_session() -> None:
    ledger = held(30_000_000, 1)
    merger = make_action(K.MERGER, value=100.0, new_instrument=InstrumentId("NEW.XNYS"))
    with pytest.raises(InvariantBroken, match=r"NEW.XNYS of s to 3,000,000,000 lots, more than"):
        adjust(ledger, merger, 100, 1)


def test_actions_in_another_currency_stay_in_its_books() -> None:
    """Books in USD that hold euro shares: spin-off and dividend move euros, and balance there."""
    old, new = make_equity("OLD.XPAR", currency="EUR"), make_equity("NEW.XPAR", currency="EUR")

    def open_books() -> CurrencyLedger:
        books = CurrencyLedger("s", "USD", [OLD, old, new])
        books.deposit(1_000 * E8)
        trade(books, old, 100, 6_300)
        return books

    books, copy = open_books(), open_books()
    dividend = books.adjust(old.id, K.CASH_DIVIDEND, ActionTerms(25 * CENT, 1), 8_400, None, 77)
    spin_off = books.adjust(
        old.id, K.SPIN_OFF, ActionTerms(1, 3, cost_e9=0), 8_400, NewShares(new.id, 6_000)
    )
    assert dividend is not None
    assert spin_off is not None
    assert (books.cash, books.receivable) == (1_000 * E8, 0)
    assert books.cash_in("EUR") == -6_300 * E8 + 20 * E8
    assert books.liquid_in("EUR") == books.cash_in("EUR") + 25 * E8
    assert [(each.instrument, each.lots) for each in books.held.values()] == [
        (old.id, 100), (new.id, 33),
    ]  # fmt: skip
    for change in (dividend, spin_off):
        copy.follow(change)
    again = CurrencyLedger("s", "USD", [OLD, old, new])
    again.restore(books.save())
    assert copy.save() == again.save() == books.save()
    assert list(copy.held) == list(again.held) == list(books.held)
    paid = books.adjust(old.id, K.DIVIDEND_PAYMENT, ActionTerms(1, 1), 0, None, 77)
    assert paid is not None
    assert (paid.amount, books.others["EUR"].dues) == (25 * E8, {})
