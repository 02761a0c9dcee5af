"""The books as entries: every event that changed a balance, and what it changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    Event,
    OrderFilled,
    PositionAdjusted,
    PositionChanged,
    PositionSettled,
    SessionStarted,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import show_minor
from onetape.domain.orders import Side
from onetape.portfolio.ledger import NO_INSTRUMENT, Ledger

DEBIT = ("cash", "receivable", "inventory", "fees", "financing")
CREDIT = ("capital", "realized", "income", "exchanged")
ACCOUNTS = DEBIT + CREDIT
"""Accounts of the books; see `onetape.portfolio.ledger`."""


HeldLots = tuple[InstrumentId, int, int]
"""A position: instrument, signed lots, their cost in minor units."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What one event changed in the books of one strategy and currency.

    Attributes:
        seq: Of the event that caused it: a fill, a corporate action's adjustment, a posting.
        ts: Engine time of its step, ns UTC.
        strategy: Whose books.
        currency: Of the amounts.
        kind: Event type, or the kind of a posting.
        instrument: On whose account; empty where it is of none.
        text: What happened, for people.
        changes: By account, minor units; those that are not zero.
        held: (instrument, signed lots, their cost in minor units) of every position that it
            touched, as it stands afterwards.
    """

    seq: int
    ts: int
    strategy: str
    currency: str
    kind: str
    instrument: InstrumentId
    text: str
    changes: dict[str, int]
    held: tuple[HeldLots, ...] = ()


def read_journal(events: Iterable[Event]) -> Iterator[Entry]:
    """The entries of a tape, in its order; each balances in itself.

    Raises:
        InvariantBroken: An entry doesn't, or a fill has no position behind it.
    """
    quotes: dict[InstrumentId, str] = {}
    margined: set[InstrumentId] = set()
    homes: dict[str, str] = {}
    costs: dict[tuple[str, InstrumentId], int] = {}
    filled: Event | None = None
    for event in events:
        payload = event.payload
        entry: Entry | None = None
        match payload:
            case SessionStarted():
                quotes = {each.id: each.settlement_currency for each in payload.instruments}
                margined = {each.id for each in payload.instruments if each.is_margined}
            case CapitalDeposited():
                homes.setdefault(payload.strategy, payload.currency)
                changes = {"cash": payload.amount, "capital": payload.amount}
                entry = _entry(event, payload.strategy, payload.currency, changes, "capital given")
            case OrderFilled():
                filled = event
            case PositionChanged():
                if filled is None or not isinstance(filled.payload, OrderFilled):
                    raise InvariantBroken(f"seq {event.seq}: a position changed without a fill")
                fill = filled.payload
                key = payload.strategy, payload.instrument
                before, costs[key] = costs.get(key, 0), payload.cost
                currency = quotes.get(payload.instrument) or homes[payload.strategy]
                changes = _of_fill(fill, payload, before)
                if payload.instrument in margined:
                    changes |= {"cash": payload.realized - fill.fee, "inventory": 0}
                entry = _entry(
                    filled, payload.strategy, currency, changes, _tell_fill(fill),
                    payload.instrument, ((payload.instrument, payload.lots, payload.cost),),
                )  # fmt: skip
                filled = None
            case PositionAdjusted():
                held = _of_adjustment(payload)
                moved = 0
                for name, _, cost in held:
                    key = payload.strategy, name
                    moved += cost - costs.get(key, 0)
                    costs[key] = cost
                currency = quotes.get(payload.instrument) or homes[payload.strategy]
                changes = {
                    "cash": payload.amount, "receivable": payload.receivable, "inventory": moved,
                    "realized": payload.realized, "income": payload.income,
                }  # fmt: skip
                text = payload.kind.value.replace("_", " ")
                entry = _entry(event, payload.strategy, currency, changes, text,
                               payload.instrument, held)  # fmt: skip
            case PositionSettled():
                key = payload.strategy, payload.instrument
                before, costs[key] = costs.get(key, 0), payload.cost
                currency = quotes.get(payload.instrument) or homes[payload.strategy]
                is_margined = payload.instrument in margined
                changes = {
                    "cash": payload.amount - payload.fee, "fees": payload.fee,
                    "inventory": 0 if is_margined else payload.cost - before,
                    "realized": payload.realized,
                }  # fmt: skip
                text = payload.kind.value.replace("_", " ")
                entry = _entry(event, payload.strategy, currency, changes, text,
                               payload.instrument,
                               ((payload.instrument, payload.lots, payload.cost),))  # fmt: skip
            case CashPosted():
                entry = _entry(
                    event, payload.strategy, payload.currency, _of_posting(payload),
                    payload.reason or payload.kind.value.replace("_", " "), payload.instrument,
                    kind=payload.kind.value,
                )  # fmt: skip
            case _:
                pass
        if entry is not None:
            yield entry


def _entry(
    event: Event,
    strategy: str,
    currency: str,
    changes: dict[str, int],
    text: str,
    instrument: InstrumentId = NO_INSTRUMENT,
    held: tuple[HeldLots, ...] = (),
    kind: str = "",
) -> Entry:
    changes = {name: changes[name] for name in ACCOUNTS if changes.get(name)}
    debit = sum(changes.get(name, 0) for name in DEBIT)
    if debit != sum(changes.get(name, 0) for name in CREDIT):
        raise InvariantBroken(f"seq {event.seq}: an entry is out of balance: {changes}")
    return Entry(
        seq=event.seq, ts=event.ts_event, strategy=strategy, currency=currency,
        kind=kind or event.type, instrument=instrument, text=text, changes=changes, held=held,
    )  # fmt: skip


def _of_fill(fill: OrderFilled, change: PositionChanged, cost_before: int) -> dict[str, int]:
    return {
        "cash": -int(fill.side) * fill.notional - fill.fee,
        "inventory": change.cost - cost_before,
        "fees": fill.fee,
        "realized": change.realized,
    }


def _of_adjustment(change: PositionAdjusted) -> tuple[HeldLots, ...]:
    """What an action leaves: of its instrument, and of the one that was received."""
    held = (change.instrument, change.lots, change.cost)
    if not change.other:
        return (held,)
    return held, (change.other, change.other_lots, change.other_cost)


def _tell_fill(fill: OrderFilled) -> str:
    verb = "bought" if fill.side is Side.BUY else "sold"
    fee = f", fee {show_minor(fill.fee)}" if fill.fee else ""
    return (
        f"{verb} {fill.lots:,} lots for {show_minor(fill.notional)}{fee} ({fill.client_order_id})"
    )


def _of_posting(posted: CashPosted) -> dict[str, int]:
    """By a ledger that knows which account a kind is booked against."""
    ledger = Ledger(posted.strategy, posted.currency, ())
    ledger.post(posted.kind, posted.amount)
    return {name: getattr(ledger, name) for name in ACCOUNTS}
