"""What a broker may make of corporate actions without anybody having to look."""

from __future__ import annotations

import pytest

from onetape.domain.corporate_actions import compute_terms
from onetape.domain.instrument import make_equity
from onetape.domain.numbers import E8
from onetape.execution.expected_actions import (
    CASH_NS,
    CENT,
    POSITION_NS,
    expect_cash,
    expect_position,
    explain,
)
from onetape.execution.venue_memory import VenueMemory
from tests.support.actions import DELISTING, DIVIDEND, SPLIT, make_action

AAPL = make_equity("AAPL.XNAS")
POSITION, CASH = f"position:{AAPL.id}", "cash:USD"
NOW = 1_000


def split(
    memory: VenueMemory, before: int, after: int, value: float = 7.0, divisor: float = 1.0
) -> None:
    action = make_action(SPLIT, NOW, value, divisor, AAPL.id)
    terms = compute_terms(action, AAPL)
    expect_position(memory, action, terms, E8, before * E8, after * E8)


@pytest.mark.parametrize(
    ("theirs", "rounding"),
    [
        (11.0, 0),  # not yet
        (38.5, 0),  # fractions are kept
        (38.0, -0.5),  # paid out
        (39.0, 0.5),  # rounded up, as in a reverse split
        (37.0, None),
        (12.0, None),
    ],
)
def test_position_of_a_split_may_be_late_kept_paid_or_rounded_up(
    theirs: float, rounding: float | None
) -> None:
    memory = VenueMemory()
    split(memory, 11, 38, 7, 2)
    assert memory.unallocated_units == {AAPL.id: E8 // 2}
    difference = int(theirs * E8) - 38 * E8 - memory.unallocated_units[AAPL.id]
    found = explain(memory, POSITION, difference, NOW)
    assert found == (None if rounding is None else int(rounding * E8))
    is_waited_for = theirs == 11 or rounding is None
    assert bool(memory.expected) == is_waited_for


def test_what_the_account_holds_beyond_is_split_with_it() -> None:
    memory = VenueMemory(unallocated_units={AAPL.id: 100 * E8})
    split(memory, 10, 70)
    assert memory.unallocated_units == {AAPL.id: 700 * E8}
    assert explain(memory, POSITION, (110 - 770) * E8, NOW) == 0
    assert explain(memory, POSITION, 0, NOW) == 0
    assert memory.expected == []
    assert explain(memory, POSITION, 0, NOW) is None


def test_late_position_counts_when_the_day_is_over() -> None:
    memory = VenueMemory()
    split(memory, 10, 70)
    assert explain(memory, POSITION, -60 * E8, NOW + POSITION_NS) == 0
    assert explain(memory, POSITION, -60 * E8, NOW + POSITION_NS + 1) is None
    assert memory.expected == []


def test_short_that_is_delisted_is_gone_sooner_or_later() -> None:
    memory = VenueMemory()
    action = make_action(DELISTING, NOW, 7.5, instrument=AAPL.id)
    expect_position(memory, action, compute_terms(action, AAPL), E8, -4 * E8, 0)
    assert explain(memory, POSITION, -4 * E8, NOW) == 0
    assert explain(memory, POSITION, -3 * E8, NOW) is None
    assert explain(memory, POSITION, 0, NOW) == 0
    assert memory.expected == []


def test_dividends_come_one_by_one_and_to_the_cent() -> None:
    memory = VenueMemory()
    for amount in (55 * E8, 7 * E8 + 123_456):
        action = make_action(DIVIDEND, NOW, 1.0, instrument=AAPL.id)
        expect_cash(memory, action, "USD", 0, amount)
    assert explain(memory, CASH, -62 * E8 - 123_456, NOW) == 0
    assert explain(memory, CASH, -55 * E8 - 123_456, NOW) == -123_456  # 7.00 came
    assert [each.late for each in memory.expected] == [-55 * E8]
    assert explain(memory, CASH, -40 * E8, NOW) is None  # taxed at its source: by policy
    assert explain(memory, CASH, CENT, NOW + CASH_NS) == CENT
    assert memory.expected == []


def test_cash_for_a_fraction_is_at_the_broker_s_price() -> None:
    memory = VenueMemory()
    action = make_action(SPLIT, NOW, 7.0, 2.0, AAPL.id)
    expect_cash(memory, action, "USD", 0, 99 * E8)
    assert explain(memory, CASH, -99 * E8, NOW) == 0
    assert explain(memory, CASH, -2 * E8, NOW) == -2 * E8
    assert memory.expected == []


def test_others_are_left_alone() -> None:
    memory = VenueMemory()
    split(memory, 10, 70)
    assert explain(memory, "position:MSFT.XNAS", -60 * E8, NOW) is None
    assert explain(memory, CASH, -60 * E8, NOW) is None
    assert len(memory.expected) == 1
