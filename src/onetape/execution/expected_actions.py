"""What a broker makes of a corporate action, beside what we have booked at once.

A broker adjusts positions before the open or in the course of the ex-date, keeps fractions or pays
them out, rounds them its own way, and pays cash days later. So for some time a difference is no
mistake where it is just what an action has made, or a rounding of it. What the broker has rounded
otherwise is of no strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from onetape.domain.corporate_actions import ActionTerms
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.timestamps import NS_PER_DAY
from onetape.execution.venue_memory import Expected, VenueMemory

POSITION_NS = NS_PER_DAY
"""How long a broker may take to adjust a position: the ex-date."""

CASH_NS = 30 * NS_PER_DAY
"""How long it may take to pay. Ours: cash for fractions comes when all of them are sold."""

CENT = 1_000_000
"""Minor units that brokers round cash to."""

_EXPECTED_MAX = 8
"""Of one position or currency: so that every sum of some of them can be tried."""


def expect_position(
    memory: VenueMemory,
    action: CorporateAction,
    terms: ActionTerms,
    unit: int,
    before: int,
    after: int,
) -> None:
    """An action has made `after` of the `before` 1e-8 units that strategies hold of its instrument.

    What the account holds beyond them is adjusted with them.

    Args:
        memory: Of the account; goes on.
        action: What has happened.
        terms: Of one lot.
        unit: 1e-8 units in a lot.
        before: Held before, signed.
        after: Held after.
    """
    identity = action.instrument
    held = before + memory.unallocated_units.get(identity, 0)
    exact = 0
    if action.kind.scales:
        exact = held * terms.top // terms.bottom
    elif action.kind is not CorporateActionKind.DELISTING:
        return
    if exact != after or identity in memory.unallocated_units:
        memory.unallocated_units[identity] = exact - after
    if held:
        rounding = unit if exact % unit or exact != after else 0
        ts = action.ts_known + POSITION_NS
        _expect(memory, Expected(f"position:{identity}", held - exact, rounding, ts))


def expect_cash(
    memory: VenueMemory, action: CorporateAction, currency: str, before: int, after: int
) -> None:
    """An action has booked cash of strategies, `after` instead of `before` minor units.

    What is paid for fractions may be any amount up to twice as much: everybody sells them at a
    price of their own. A dividend is paid to the cent.
    """
    amount = after - before
    if amount:
        rounding = abs(amount) if action.kind.scales else CENT
        ts = action.ts_known + CASH_NS
        _expect(memory, Expected(f"cash:{currency}", -amount, rounding, ts))


def _expect(memory: VenueMemory, expected: Expected) -> None:
    same = [each for each in memory.expected if each.key == expected.key]
    if len(same) == _EXPECTED_MAX:
        memory.expected.remove(same[0])
    memory.expected.append(expected)


def explain(memory: VenueMemory, key: str, difference: int, now: int) -> int | None:
    """How much of a difference is a rounding, where actions explain it; None: they don't.

    What has come by it is not expected any more; what nobody waits for any more neither.

    Args:
        memory: Of the account; goes on.
        key: As `Expected` has it.
        difference: Theirs less ours.
        now: Engine time, ns UTC.
    """
    waiting = [each for each in memory.expected if each.key == key and each.ts_until >= now]
    others = [each for each in memory.expected if each.key != key]
    found = _find_missing(waiting, difference)
    if found is None:
        memory.expected = others + waiting
        return None
    missing, rounding = found
    memory.expected = others + list(missing)
    return rounding


def _find_missing(
    waiting: Sequence[Expected], difference: int
) -> tuple[tuple[Expected, ...], int] | None:
    """Which of these the venue has not booked, and the rounding of the rest: the smallest one."""
    best: tuple[tuple[Expected, ...], int] | None = None
    for count in range(len(waiting) + 1) if waiting else ():
        for missing in combinations(waiting, count):
            rounding = difference - sum(each.late for each in missing)
            allowed = sum(each.rounding for each in waiting if each not in missing)
            if abs(rounding) <= allowed and (best is None or abs(rounding) < abs(best[1])):
                best = missing, rounding
    return best
