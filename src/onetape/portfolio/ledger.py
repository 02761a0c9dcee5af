"""Double-entry books in minor units: one sub-ledger a strategy, the account is their sum.

Accounts of a sub-ledger and the side on which they grow:

    debit   cash, inventory (positions at cost), fees, financing (interest, borrow fees, funding)
    credit  capital, realized, income (dividends; a short pays them), exchanged (currencies)

Every fill, every corporate action, every settlement of a contract and every posting of cash
(`PostingKind`) is booked as deltas that sum to zero, and the books are checked after every one.

A perpetual or a future is a promise: its cost is remembered beside the accounts, and only what is
realized moves cash. An option is bought and sold like a share.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from onetape.domain.corporate_actions import ActionTerms
from onetape.domain.errors import InvariantBroken
from onetape.domain.events import (
    CashPosted,
    OrderFilled,
    PositionAdjusted,
    PositionChanged,
    PositionClosed,
    PositionOpened,
    PositionSettled,
    SettlementKind,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import CorporateActionKind
from onetape.domain.notional import compute_added_cost, compute_value
from onetape.domain.numbers import INT64_MAX, MAX_LOTS
from onetape.domain.postings import PostingKind
from onetape.domain.rules import rule
from onetape.portfolio.corporate_actions import (
    compute_cash_in_lieu,
    compute_payment,
    compute_split_lots,
    compute_split_release,
)

NO_INSTRUMENT = InstrumentId("")
"""The instrument of cash that moves on account of none."""


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


@rule
def compute_cost_fold(
    lots: int, cost: int, signed_lots: int, added_cost: int
) -> tuple[int, int, int]:
    """`compute_position_fold` of a fill whose part of the cost is given: (lots, cost, realized).

    The cost of a fill that flips a position is split at flat, rounded toward minus infinity; the
    parts make the whole. Ours.

    Args:
        lots: Signed lots held before.
        cost: Their cost basis in minor units, in the sign of `compute_value`.
        signed_lots: Lots of the fill, positive when bought.
        added_cost: What they would add to the cost of a flat position.
    """
    after = lots + signed_lots
    if lots == 0 or (lots > 0) == (signed_lots > 0):
        return after, cost + added_cost, 0
    closing = lots if (after > 0) == (signed_lots > 0) and after != 0 else -signed_lots
    released = compute_cost_released(lots, cost, closing)
    closed = compute_cost_released(signed_lots, added_cost, -closing)
    return after, cost - released + added_cost - closed, -closed - released


class Position:
    """Signed lots and their cost basis (minor units) of one instrument.

    `is_margined`: the cost is remembered, but was not paid. `inverse_factor` as of the instrument.
    """

    __slots__ = ("cost", "factor", "instrument", "inverse_factor", "is_margined", "lots")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument.id
        self.factor = instrument.minor_per_tick_lot
        self.inverse_factor = instrument.inverse_factor
        self.is_margined = instrument.is_margined
        self.lots = 0
        self.cost = 0

    def value(self, ticks: int) -> int:
        """Value at a price, in minor units, in the sign of its cost; rounded down."""
        return compute_value(self.lots, ticks, self.factor, self.inverse_factor)

    def worth(self, ticks: int) -> int:
        """What it adds to equity at a price: its value, or only its gain where it is margined."""
        return self.value(ticks) - self.cost if self.is_margined else self.value(ticks)

    def exposure(self, ticks: int) -> int:
        """Notional at a price with the sign of its lots, in minor units."""
        return -self.value(ticks) if self.inverse_factor else self.value(ticks)


class LedgerState(msgspec.Struct, frozen=True):
    """Balances of a `Ledger` (minor units), and (instrument, lots, cost) of what is held.

    `others` are the balances in other currencies than its own, those that were ever used.
    """

    capital: int
    cash: int
    fees: int
    inventory: int
    realized: int
    held: list[tuple[InstrumentId, int, int]]
    income: int = 0
    financing: int = 0
    exchanged: int = 0
    others: list[tuple[str, LedgerState]] = []


class Ledger:
    """The books of one strategy.

    Args:
        strategy: Whose books.
        currency: The one currency of this sub-ledger.
        instruments: What it may hold, each quoted in `currency`.

    `held` are the positions that are not flat, in the order they were opened.
    """

    __slots__ = (
        "capital", "cash", "currency", "exchanged", "fees", "financing", "held", "income",
        "inventory", "positions", "realized", "strategy",
    )  # fmt: skip

    def __init__(self, strategy: str, currency: str, instruments: Iterable[Instrument]) -> None:
        self.strategy = strategy
        self.currency = currency
        self.capital = 0
        self.cash = 0
        self.fees = 0
        self.inventory = 0
        self.realized = 0
        self.income = 0
        self.financing = 0
        self.exchanged = 0
        self.positions: dict[InstrumentId, Position] = {
            each.id: Position(each) for each in instruments
        }
        self.held: dict[InstrumentId, Position] = {}

    def save(self) -> LedgerState:
        """The balances as they stand."""
        held = [(each.instrument, each.lots, each.cost) for each in self.held.values()]
        return LedgerState(
            self.capital, self.cash, self.fees, self.inventory, self.realized, held, self.income,
            self.financing, self.exchanged,
        )  # fmt: skip

    def restore(self, state: LedgerState) -> None:
        """Take over balances that were saved, into books without positions.

        Raises:
            InvariantBroken: They don't balance.
        """
        self.capital, self.cash, self.fees = state.capital, state.cash, state.fees
        self.inventory, self.realized = state.inventory, state.realized
        self.income = state.income
        self.financing, self.exchanged = state.financing, state.exchanged
        for identity, lots, cost in state.held:
            position = self.held[identity] = self.positions[identity]
            position.lots, position.cost = lots, cost
        self.check()

    def is_used(self) -> bool:
        """Whether anything stands in the books."""
        return any((self.capital, self.cash, self.fees, self.inventory, self.realized, self.income,
                    self.financing, self.exchanged, self.held))  # fmt: skip

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
        if position.is_margined:
            return self._apply_margined(position, fill)
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
            cash + inventory + self.fees + self.financing
            != self.capital + self.realized + self.income + self.exchanged
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

    def _apply_margined(self, position: Position, fill: OrderFilled) -> PositionChanged:
        """Post a fill of a contract: cash moves by what it realizes, less its fee."""
        before = position.lots
        side = 1 if fill.side > 0 else -1
        added = compute_added_cost(fill.notional, side, position.inverse_factor)
        lots, position.cost, realized = compute_cost_fold(
            before, position.cost, side * fill.lots, added
        )
        position.lots = lots
        self.realized += realized
        self.fees += fill.fee
        self.cash += realized - fill.fee
        self.check()
        kind = PositionChanged
        if before == 0:
            kind = PositionOpened
            self.held[fill.instrument] = position
        elif lots == 0:
            kind = PositionClosed
            del self.held[fill.instrument]
        return kind(self.strategy, fill.instrument, lots, position.cost, realized, self.cash)

    def settle(
        self,
        instrument: InstrumentId,
        kind: SettlementKind,
        traded: int,
        ticks: int,
        notional: int,
        fee: int = 0,
    ) -> PositionSettled:
        """Post what happens to a position without an order.

        Args:
            instrument: Of which position.
            kind: What happens.
            traded: Signed change of its lots; 0: its gain moves to cash, and its cost follows.
            ticks: At which price.
            notional: Of what is traded, positive, in minor units.
            fee: What is charged for it, in minor units.

        Raises:
            InvariantBroken: The position or a balance becomes too large.
        """
        position = self.positions[instrument]
        before = position.cost
        if traded:
            side = 1 if traded > 0 else -1
            added = compute_added_cost(notional, side, position.inverse_factor)
            lots, cost, realized = compute_cost_fold(position.lots, before, traded, added)
            amount = realized if position.is_margined else -added
        else:
            lots, cost = position.lots, position.value(ticks)
            amount = realized = cost - before
        if abs(lots) > MAX_LOTS:
            raise InvariantBroken(
                f"a delivery takes {instrument} of {self.strategy} to {lots:,} lots, more than "
                f"{MAX_LOTS:,}",
                remedy="run with less capital, or coarser lots",
            )
        event = PositionSettled(
            self.strategy, instrument, kind, traded, ticks, notional, lots, cost, amount, realized,
            fee, self.cash + amount - fee,
        )  # fmt: skip
        self.follow_settled(event)
        return event

    def follow_settled(self, event: PositionSettled) -> None:
        """Take over what `settle` made of a position, from its event.

        Raises:
            InvariantBroken: The books don't balance afterwards.
        """
        position = self.positions[event.instrument]
        if not position.is_margined:
            self.inventory += event.cost - position.cost
        if event.lots and not position.lots:
            self.held[event.instrument] = position
        elif position.lots and not event.lots:
            del self.held[event.instrument]
        position.lots, position.cost = event.lots, event.cost
        self.realized += event.realized
        self.fees += event.fee
        self.cash += event.amount - event.fee
        self.check()

    def adjust(
        self,
        instrument: InstrumentId,
        kind: CorporateActionKind,
        terms: ActionTerms,
        mark_ticks: int,
    ) -> PositionAdjusted:
        """Post what a corporate action makes of a position that is held.

        Args:
            instrument: Whose action.
            kind: Which one.
            terms: Of one lot.
            mark_ticks: The last price before it, at which a fraction of a lot is settled.

        Raises:
            InvariantBroken: The position or a balance becomes too large.
        """
        position = self.positions[instrument]
        lots, cost = position.lots, position.cost
        released = realized = income = 0
        match kind:
            case CorporateActionKind.CASH_DIVIDEND:
                amount = income = compute_payment(lots, terms.top, terms.bottom)
            case CorporateActionKind.SPLIT:
                after, left = compute_split_lots(lots, terms.top, terms.bottom)
                amount = compute_cash_in_lieu(left, terms.top, mark_ticks * position.factor)
                released = compute_split_release(lots, cost, left, terms.top, after)
                realized = amount - released
                position.lots = after
            case _:  # a delisting
                amount = compute_payment(lots, terms.top, terms.bottom)
                released, realized = cost, amount - cost
                position.lots = 0
        if abs(position.lots) > MAX_LOTS:
            raise InvariantBroken(
                f"a split takes {instrument} of {self.strategy} to {position.lots:,} lots, more "
                f"than {MAX_LOTS:,}",
                remedy="run with less capital, or coarser lots",
            )
        position.cost = cost - released
        self.inventory -= released
        self.realized += realized
        self.income += income
        self.cash += amount
        self.check()
        if position.lots == 0:
            del self.held[instrument]
        return PositionAdjusted(
            self.strategy, instrument, kind, position.lots, position.cost, amount, realized,
            income, self.cash,
        )  # fmt: skip

    def post(
        self,
        kind: PostingKind,
        amount: int,
        instrument: InstrumentId = NO_INSTRUMENT,
        reason: str = "",
        currency: str = "",
    ) -> CashPosted:
        """Book cash (minor units, received: positive) against the account of its kind.

        Args:
            kind: Why it moves; says the account.
            amount: What moves.
            instrument: On whose account; empty where it is of none.
            reason: How the amount came about, for people.
            currency: Of `amount`; empty: that of the instrument, or else of the books.

        Raises:
            InvariantBroken: A balance becomes too large, or these books have no such currency.
        """
        if currency and currency != self.currency:
            raise InvariantBroken(f"{self.strategy} keeps no books in {currency}")
        self.cash += amount
        match kind:
            case (
                PostingKind.BORROW_FEE
                | PostingKind.MARGIN_INTEREST
                | PostingKind.CREDIT_INTEREST
                | PostingKind.FUNDING
            ):
                self.financing -= amount
            case PostingKind.TRANSFER:
                self.capital += amount
            case PostingKind.FX_CONVERSION:
                self.exchanged += amount
            case PostingKind.VARIATION | PostingKind.SETTLEMENT | PostingKind.EXERCISE:
                self.realized += amount
            case PostingKind.FEE:
                self.fees -= amount
            case PostingKind.DIVIDEND:
                self.income += amount
        self.check()
        return CashPosted(self.strategy, kind, instrument, amount, self.currency, self.cash, reason)

    def follow(self, event: PositionAdjusted) -> None:
        """Take over what `adjust` made of a position, from its event.

        Raises:
            InvariantBroken: The books don't balance afterwards.
        """
        position = self.positions[event.instrument]
        self.inventory += event.cost - position.cost
        position.lots, position.cost = event.lots, event.cost
        if not event.lots:
            self.held.pop(event.instrument, None)
        self.realized += event.realized
        self.income += event.income
        self.cash += event.amount
        self.check()

    def check(self) -> None:
        """Debits equal credits, inventory is the sum of the positions' costs, all within int64.

        Raises:
            InvariantBroken: They don't, or a balance is too large; the message holds the balances.
        """
        debit = self.cash + self.inventory + self.fees + self.financing
        credit = self.capital + self.realized + self.income + self.exchanged
        cost, promised = self._own_costs()
        if debit != credit or cost != self.inventory:
            raise InvariantBroken(
                f"ledger of {self.strategy} is out of balance: cash {self.cash} + inventory "
                f"{self.inventory} (positions {cost}) + fees {self.fees} + financing "
                f"{self.financing} against capital {self.capital} + realized {self.realized} + "
                f"income {self.income} + exchanged {self.exchanged}"
            )
        if max(abs(self.cash), abs(self.inventory), promised) > INT64_MAX:
            raise InvariantBroken(
                f"ledger of {self.strategy} leaves int64: cash {self.cash}, inventory "
                f"{self.inventory}, a contract's cost {promised} minor units of {self.currency}",
                remedy="run with less capital, or leverage, or a currency of larger units",
            )

    def _own_costs(self) -> tuple[int, int]:
        """What `inventory` has to be, and the largest cost that was not paid."""
        return sum_costs(self.positions.values())


def sum_costs(positions: Iterable[Position]) -> tuple[int, int]:
    """The sum of the costs that were paid, and the largest of those that were only promised."""
    cost = promised = 0
    for each in positions:
        if each.is_margined:
            promised = max(promised, abs(each.cost))
        else:
            cost += each.cost
    return cost, promised
