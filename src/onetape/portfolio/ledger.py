"""Double-entry books in minor units: one sub-ledger a strategy, the account is their sum.

Accounts of a sub-ledger and the side on which they grow:

    debit   cash, inventory (positions at cost), fees
    credit  capital, realized

Every fill is posted as deltas that sum to zero, and the books are checked after every posting.
"""

from __future__ import annotations

from collections.abc import Iterable

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import OrderFilled, PositionChanged, PositionClosed, PositionOpened
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import INT64_MAX
from onetape.domain.rules import rule


@rule
def compute_cost_released(lots: int, cost: int, closing_lots: int) -> int:
    """Cost basis that leaves the books when `closing_lots` of `lots` are closed. Ours.

    Average cost, rounded toward minus infinity; closing everything releases all of it. All three
    carry the position's sign; `closing_lots` never exceeds `lots` in size. Split into quotient and
    remainder, so that no product leaves int64 while positions stay below `MAX_LOTS`.
    """
    if closing_lots == lots:
        return cost
    each = cost // lots
    return each * closing_lots + (cost - each * lots) * closing_lots // lots


@rule
def compute_position_fold(
    lots: int, cost: int, signed_lots: int, ticks: int, factor: int
) -> tuple[int, int, int]:
    """A position after a fill: (lots, cost, realized). Average cost, netting, flips included. Ours.

    Args:
        lots: Signed lots held before.
        cost: Their cost basis in minor units, of the same sign.
        signed_lots: Lots of the fill, positive when bought.
        ticks: Price of the fill.
        factor: Minor units of one tick times one lot.
    """
    after = lots + signed_lots
    if lots == 0 or (lots > 0) == (signed_lots > 0):
        return after, cost + signed_lots * ticks * factor, 0
    closing = lots if (after > 0) == (signed_lots > 0) and after != 0 else -signed_lots
    released = compute_cost_released(lots, cost, closing)
    realized = closing * ticks * factor - released
    opened = (signed_lots + closing) * ticks * factor
    return after, cost - released + opened, realized


class Position:
    """Signed lots and their cost basis (minor units, same sign) of one instrument."""

    __slots__ = ("cost", "factor", "instrument", "lots")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument.id
        self.factor = instrument.minor_per_tick_lot
        self.lots = 0
        self.cost = 0


class Ledger:
    """The books of one strategy.

    Args:
        strategy: Whose books.
        currency: The one currency of this sub-ledger.
        instruments: What it may hold, each quoted in `currency`.

    `held` are the positions that are not flat, in the order they were opened.
    """

    __slots__ = (
        "capital", "cash", "currency", "fees", "held", "inventory", "positions", "realized",
        "strategy",
    )  # fmt: skip

    def __init__(self, strategy: str, currency: str, instruments: Iterable[Instrument]) -> None:
        self.strategy = strategy
        self.currency = currency
        self.capital = 0
        self.cash = 0
        self.fees = 0
        self.inventory = 0
        self.realized = 0
        self.positions: dict[InstrumentId, Position] = {
            each.id: Position(each) for each in instruments
        }
        self.held: dict[InstrumentId, Position] = {}

    def deposit(self, amount: int) -> None:
        """Cash from outside: debit cash, credit capital."""
        self.cash += amount
        self.capital += amount
        self.check()

    def apply(self, fill: OrderFilled) -> PositionChanged:
        """Post a fill and say what the position has become.

        Raises:
            InvariantBroken: The books don't balance afterwards, or a balance leaves int64.
        """
        position = self.positions[fill.instrument]
        before = position.lots
        cost = position.cost
        signed = fill.lots if fill.side > 0 else -fill.lots
        lots, position.cost, realized = compute_position_fold(
            before, cost, signed, fill.ticks, position.factor
        )
        position.lots = lots
        self.inventory += position.cost - cost
        self.realized += realized
        self.fees += fill.fee
        self.cash -= (fill.notional if signed > 0 else -fill.notional) + fill.fee
        cash, inventory = self.cash, self.inventory
        if (
            cash + inventory + self.fees != self.capital + self.realized
            or not -INT64_MAX <= cash <= INT64_MAX >= inventory >= -INT64_MAX
        ):
            self.check()
        kind = PositionChanged
        if before == 0:
            kind = PositionOpened
            self.held[fill.instrument] = position
        elif lots == 0:
            kind = PositionClosed
            del self.held[fill.instrument]
        return kind(self.strategy, fill.instrument, lots, position.cost, realized, self.cash)

    def check(self) -> None:
        """Debits equal credits, inventory is the sum of the positions' costs, all within int64.

        Raises:
            InvariantBroken: They don't, or a balance is too large; the message holds the balances.
        """
        debit = self.cash + self.inventory + self.fees
        credit = self.capital + self.realized
        cost = sum(each.cost for each in self.positions.values())
        if debit != credit or cost != self.inventory:
            raise InvariantBroken(
                f"ledger of {self.strategy} is out of balance: cash {self.cash} + inventory "
                f"{self.inventory} (positions {cost}) + fees {self.fees} against capital "
                f"{self.capital} + realized {self.realized}"
            )
        if max(abs(self.cash), abs(self.inventory)) > INT64_MAX:
            raise InvariantBroken(
                f"ledger of {self.strategy} leaves int64: cash {self.cash}, inventory "
                f"{self.inventory} minor units of {self.currency}",
                remedy="run with less capital, or leverage, or a currency of larger units",
            )
