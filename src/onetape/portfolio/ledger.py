"""Double-entry books in minor units: one sub-ledger a strategy, the account is their sum.

Accounts of a sub-ledger and the side on which they grow:

    debit   cash, receivable (dividends to be paid), inventory (positions at cost), fees, financing
            (interest, borrow fees, funding)
    credit  capital, realized, income (dividends; a short pays them), exchanged (currencies)

Every fill, every corporate action, every settlement of a contract and every posting of cash
(`PostingKind`) is booked as deltas that sum to zero, and the books are checked after every one.

A perpetual or a future is a promise: its cost is remembered beside the accounts, and only what is
realized moves cash. An option is bought and sold like a share.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from onetape.domain.corporate_actions import BY_VALUE, E9, ActionTerms
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
    compute_cost_part,
    compute_exchange,
    compute_lot_value,
    compute_payment,
    compute_received,
    compute_split_lots,
    compute_split_release,
    compute_value_share,
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


class NewShares(msgspec.Struct, frozen=True):
    """What a position turns into: the instrument, and its price (0 while there is none)."""

    instrument: InstrumentId
    ticks: int


class LedgerState(msgspec.Struct, frozen=True):
    """Balances of a `Ledger` (minor units), and (instrument, lots, cost) of what is held.

    `others` are the balances in other currencies than its own, those that were ever used; `dues`
    are (instrument, time of the payment, amount) of dividends that are not paid yet.
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
    dues: list[tuple[InstrumentId, int, int]] = []

    @property
    def receivable(self) -> int:
        """Sum of the dues."""
        return sum(amount for _, _, amount in self.dues)


class Ledger:
    """The books of one strategy.

    Args:
        strategy: Whose books.
        currency: The one currency of this sub-ledger.
        instruments: What it may hold, each quoted in `currency`.

    `held` are the positions that are not flat, in the order they were opened; `dues` the dividends
    that are not paid yet, by instrument and time (a short owes: negative), `receivable` their sum.
    """

    __slots__ = (
        "capital", "cash", "currency", "dues", "exchanged", "fees", "financing", "held", "income",
        "inventory", "positions", "realized", "receivable", "strategy",
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
        self.receivable = 0
        self.dues: dict[tuple[InstrumentId, int], int] = {}
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
            dues=[(identity, ts, amount) for (identity, ts), amount in self.dues.items()],
        )  # fmt: skip

    def restore(self, state: LedgerState) -> None:
        """Take over balances that were saved, into books without positions.

        Raises:
            InvariantBroken: They don't balance.
        """
        self.capital, self.cash, self.fees = state.capital, state.cash, state.fees
        self.inventory, self.realized = state.inventory, state.realized
        self.income = state.income
        self.dues = {(identity, ts): amount for identity, ts, amount in state.dues}
        self.receivable = state.receivable
        self.financing, self.exchanged = state.financing, state.exchanged
        for identity, lots, cost in state.held:
            position = self.held[identity] = self.positions[identity]
            position.lots, position.cost = lots, cost
        self.check()

    def is_used(self) -> bool:
        """Whether anything stands in the books."""
        return any((self.capital, self.cash, self.fees, self.inventory, self.realized, self.income,
                    self.financing, self.exchanged, self.held, self.dues))  # fmt: skip

    def cash_in(self, currency: str) -> int:
        """Cash of one currency, minor units.

        Raises:
            InvariantBroken: There are no books in it.
        """
        return self._book(currency).cash

    def cash_of(self, instrument: InstrumentId) -> int:
        """Cash of the currency in which an instrument is settled: the one of these books."""
        del instrument
        return self.cash

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
            cash + self.receivable + inventory + self.fees + self.financing
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
        new: NewShares | None = None,
        ts_pay: int = 0,
    ) -> PositionAdjusted | None:
        """Post what a corporate action makes of a position; None where nothing is held or due.

        Args:
            instrument: Whose action.
            kind: Which one.
            terms: Of one lot.
            mark_ticks: The last price before it, at which a fraction of a lot is settled.
            new: What the position turns into, or receives.
            ts_pay: When a dividend is paid, ns UTC; 0: at once.

        Raises:
            InvariantBroken: The position or a balance becomes too large.
        """
        if kind is CorporateActionKind.DIVIDEND_PAYMENT:
            return self._pay(instrument, ts_pay)
        if instrument not in self.held:
            return None
        position = self.positions[instrument]
        lots, cost = position.lots, position.cost
        after, carried, received = lots, 0, 0
        amount = released = realized = income = receivable = 0
        match kind:
            case CorporateActionKind.CASH_DIVIDEND:
                income = compute_payment(lots, terms.top, terms.bottom)
                amount, receivable = (0, income) if ts_pay else (income, 0)
            case CorporateActionKind.SPLIT | CorporateActionKind.STOCK_DIVIDEND:
                after, left = compute_split_lots(lots, terms.top, terms.bottom)
                amount = compute_cash_in_lieu(left, terms.top, mark_ticks * position.factor)
                released = compute_split_release(lots, cost, left, terms.top, after)
                realized = amount - released
            case CorporateActionKind.DELISTING:
                after = 0
                amount = compute_payment(lots, terms.top, terms.bottom)
                released, realized = cost, amount - cost
            case _:  # into another instrument
                value = self._value_of(new)
                moved = compute_cost_part(
                    cost, _share_of_cost(kind, terms, mark_ticks * position.factor, value)
                )
                received, carried, amount, realized = compute_exchange(
                    lots, moved, terms.top, terms.bottom, value
                )
                released = moved
                if kind is not CorporateActionKind.SPIN_OFF:
                    after, released = 0, cost
                    paid = compute_payment(lots, terms.cash_top, terms.cash_bottom)
                    amount += paid
                    realized += paid - (cost - moved)
        self._hold(position, after, cost - released)
        self.inventory -= released
        other = None
        if new is not None and received:
            other = self.positions[new.instrument]
            before = other.cost
            held, basis, netted = compute_received(other.lots, before, received, carried)
            self._hold(other, held, basis)
            self.inventory += basis - before
            realized += netted
        self.realized += realized
        self.income += income
        self.cash += amount
        if receivable:
            self._owe(instrument, ts_pay, receivable)
        self.check()
        change = PositionAdjusted(
            self.strategy, instrument, kind, after, position.cost, amount, realized, income,
            self.cash, receivable, ts_pay if receivable else 0,
        )  # fmt: skip
        if other is None:
            return change
        return msgspec.structs.replace(
            change, other=other.instrument, received=received, carried=carried,
            other_lots=other.lots, other_cost=other.cost,
        )  # fmt: skip

    def _value_of(self, new: NewShares | None) -> int:
        """Minor units of a lot of what is received."""
        return new.ticks * self.positions[new.instrument].factor if new is not None else 0

    def _hold(self, position: Position, lots: int, cost: int) -> None:
        """A position as an action leaves it."""
        if abs(lots) > MAX_LOTS:
            raise InvariantBroken(
                f"a corporate action takes {position.instrument} of {self.strategy} to {lots:,} "
                f"lots, more than {MAX_LOTS:,}",
                remedy="run with less capital, or coarser lots",
            )
        position.lots, position.cost = lots, cost
        if lots:
            self.held[position.instrument] = position
        else:
            self.held.pop(position.instrument, None)

    def _owe(self, instrument: InstrumentId, ts_pay: int, amount: int) -> None:
        """A change of what is to be paid at `ts_pay`; what comes to nothing is forgotten."""
        due = self.dues.pop((instrument, ts_pay), 0) + amount
        if due:
            self.dues[instrument, ts_pay] = due
        self.receivable += amount

    def _pay(self, instrument: InstrumentId, ts_pay: int) -> PositionAdjusted | None:
        """What is due at `ts_pay` becomes cash; the position stays as it is."""
        amount = self.dues.get((instrument, ts_pay), 0)
        if not amount:
            return None
        self._owe(instrument, ts_pay, -amount)
        self.cash += amount
        self.check()
        position = self.positions[instrument]
        return PositionAdjusted(
            self.strategy, instrument, CorporateActionKind.DIVIDEND_PAYMENT, position.lots,
            position.cost, amount, 0, 0, self.cash, -amount, ts_pay,
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
        for identity, lots, cost in (
            (event.instrument, event.lots, event.cost),
            (event.other, event.other_lots, event.other_cost),
        ):
            if identity:
                position = self.positions[identity]
                self.inventory += cost - position.cost
                self._hold(position, lots, cost)
        self.realized += event.realized
        self.income += event.income
        self.cash += event.amount
        if event.receivable:
            self._owe(event.instrument, event.ts_pay, event.receivable)
        self.check()

    def _book(self, currency: str) -> Ledger:
        """The books of one currency: these."""
        if currency != self.currency:
            raise InvariantBroken(f"{self.strategy} keeps no books in {currency}")
        return self

    def check(self) -> None:
        """Debits equal credits, inventory is the sum of the positions' costs, all within int64.

        Raises:
            InvariantBroken: They don't, or a balance is too large; the message holds the balances.
        """
        debit = self.cash + self.receivable + self.inventory + self.fees + self.financing
        credit = self.capital + self.realized + self.income + self.exchanged
        cost, promised = self._own_costs()
        if debit != credit or cost != self.inventory:
            raise InvariantBroken(
                f"ledger of {self.strategy} is out of balance: cash {self.cash} + receivable "
                f"{self.receivable} + inventory {self.inventory} (positions {cost}) + fees "
                f"{self.fees} + financing {self.financing} against capital {self.capital} + "
                f"realized {self.realized} + income {self.income} + exchanged {self.exchanged}"
            )
        if max(abs(self.cash), abs(self.inventory), abs(self.receivable), promised) > INT64_MAX:
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


def _share_of_cost(kind: CorporateActionKind, terms: ActionTerms, old: int, new: int) -> int:
    """The part of the cost (1e-9) that goes over; `old` and `new` are lots in minor units.

    By value: what the new lots are worth of what the old one was (spin-off), or of all that is
    paid for it (merger).
    """
    if terms.cost_e9 != BY_VALUE:
        return terms.cost_e9
    value = compute_lot_value(new, terms.top, terms.bottom)
    if kind is CorporateActionKind.SPIN_OFF:
        return compute_value_share(value, old)
    if not terms.cash_top:
        return E9
    return compute_value_share(value, value + terms.cash_top // terms.cash_bottom)
