"""What must hold of any live session, however often its process was killed or its venue failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from onetape.domain.events import (
    Event,
    OrderAdopted,
    OrderCanceled,
    OrderEmulated,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    OrderReleased,
    OrderSubmitted,
    SessionStarted,
    StrayFilled,
)
from onetape.domain.orders import RejectCode
from onetape.domain.venue import (
    ConnectionChanged,
    ConnectionPart,
    ReportKind,
    SessionResumed,
    VenueReport,
    VenueSnapshot,
    find_manual,
    is_of_a_session,
)
from onetape.runtime.local_venues.accounts import is_pair, units_per_lot
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.messages import Execution, PlacedOrder
from onetape.runtime.sessions.recovery import FoldedState, fold_tape
from onetape.runtime.verification import Verdict, verify_tape
from onetape.tape.reader import SqliteTapeReader

_FILLS = (OrderFilled, OrderPartiallyFilled, StrayFilled)


def read_tape(run_dir: Path) -> list[Event]:
    """Everything that a session has written."""
    reader = SqliteTapeReader(run_dir / "tape.db")
    try:
        return list(reader.events())
    finally:
        reader.close()


def fold_books(run_dir: Path) -> FoldedState:
    """Books and orders by the tape alone, from its first event on."""
    reader = SqliteTapeReader(run_dir / "tape.db")
    try:
        return fold_tape(reader, use_snapshots=False)
    finally:
        reader.close()


def own_id(link_id: str) -> str:
    """Our client order id of an order at the venue, which may have replaced another one."""
    return re.sub(r"-r\d+$", "", link_id)


def held_lots(exchange: LocalExchange, account: str) -> dict[str, int]:
    """What an account holds of each instrument, signed lots; of pairs the whole ones."""
    books = exchange.books(account)
    held: dict[str, int] = {name: each.lots for name, each in books.positions.items()}
    for each in exchange.instruments.values():
        if is_pair(each) and each.base_currency in books.balances:
            held[each.id] = books.balances[each.base_currency].total // units_per_lot(each)
    return {name: lots for name, lots in held.items() if lots}


NameManual = Callable[[PlacedOrder], str]
"""The client order id that a session knows an order by that it has not given."""


def check_session(
    exchange: LocalExchange,
    account: str,
    cash: int,
    run_dir: Path,
    currency: str = "USD",
    name_manual: NameManual | None = None,
) -> None:
    """A session that is over against the books of its venue, which is all the account did.

    Args:
        exchange: The venue.
        account: There.
        cash: What the account began with, minor units.
        run_dir: Of the session.
        currency: Of the cash.
        name_manual: Names orders that were given by hand; None: there are none.

    Raises:
        AssertionError: An order or fill was lost, doubled or orphaned; the books differ; something
            opened before a look; or the session does not run again as it ran.
    """
    events = read_tape(run_dir)
    nobodys = list_nobodys(exchange, account, events, name_manual)
    check_orders(exchange, account, events, name_manual)
    check_totals(exchange, account, cash, fold_books(run_dir), currency, nobodys)
    check_looked_first(events)
    found = verify_tape(run_dir / "tape.db")
    assert found.verdict is Verdict.IDENTICAL, found.what


def name_order(order: PlacedOrder, name_manual: NameManual | None) -> str:
    """Our client order id of an order at the venue."""
    name = own_id(order.client_order_id)
    if is_of_a_session(name) or find_manual(name) or name_manual is None:
        return name
    successor = name.removeprefix("at:")  # as Binance takes it
    return "@" + successor if successor != name else name_manual(order)


def list_taken_back(events: Sequence[Event]) -> set[str]:
    """Orders whose cancel came before they had left: they are told as canceled, and never leave."""
    return {
        each.payload.client_order_id
        for each in events
        if isinstance(each.payload, VenueReport)
        and each.payload.kind is ReportKind.CANCELED
        and each.payload.code is RejectCode.NOT_RECEIVED
    }


def tell_orders(what: str, orders: set[str], events: Sequence[Event]) -> str:
    """What is wrong with orders, and what the tape says of each."""
    lines = [f"{what}: {sorted(orders)}"]
    for name in sorted(orders):
        lines += [f"  {each.seq} {each.payload}" for each in events
                  if getattr(each.payload, "client_order_id", "") == name]  # fmt: skip
    return "\n".join(lines)


def list_nobodys(
    exchange: LocalExchange, account: str, events: list[Event], name_manual: NameManual | None
) -> list[Execution]:
    """Executions of orders that were given by hand, before their adoption or without one."""
    adopted = {each.payload.client_order_id: each.payload.filled_lots for each in events
               if isinstance(each.payload, OrderAdopted)}  # fmt: skip
    found: list[Execution] = []
    filled = Counter[str]()
    for each in exchange.books(account).executions:
        order = exchange.find(account, number=each.order)
        assert order is not None
        name = name_order(order, name_manual)
        filled[name] += each.lots
        is_before = filled[name] <= adopted.get(name, 2**62)
        if name_manual is not None and find_manual(name) and is_before:
            found.append(each)
    return found


def check_orders(
    exchange: LocalExchange,
    account: str,
    events: list[Event],
    name_manual: NameManual | None = None,
) -> None:
    """Each order and each fill stands on both sides once."""
    submitted = [each.payload.client_order_id for each in events
                 if isinstance(each.payload, OrderSubmitted | OrderAdopted)]  # fmt: skip
    assert len(set(submitted)) == len(submitted)
    books = exchange.books(account)
    traded = {one.id for each in events if isinstance(each.payload, SessionStarted)
              for one in each.payload.instruments}  # fmt: skip
    placed = {each.number: name_order(each, name_manual) for each in exchange.orders(account)
              if each.instrument in traded}  # fmt: skip
    there = set(placed.values())
    unknown = {each for each in there - set(submitted) if name_manual is None
               or not find_manual(each)}  # fmt: skip
    assert not unknown, tell_orders("the tape does not know", unknown, events)
    ended = [each.payload for each in events
             if isinstance(each.payload, OrderRejected | OrderCanceled)]  # fmt: skip
    lost = {each.client_order_id for each in ended
            if isinstance(each, OrderRejected) or "never had" in each.reason}  # fmt: skip
    held = {each.payload.client_order_id for each in events
            if isinstance(each.payload, OrderEmulated)}  # fmt: skip
    released = {each.payload.client_order_id for each in events
                if isinstance(each.payload, OrderReleased)}  # fmt: skip
    unsent = (held - released) | list_taken_back(events)
    assert not there & unsent, tell_orders("never sent, and at the venue", there & unsent, events)
    missing = set(submitted) - unsent - there - lost
    assert not missing, tell_orders("the venue does not know", missing, events)
    at_venue = Counter[tuple[str, int]]()
    nobodys = {each.number for each in list_nobodys(exchange, account, events, name_manual)}
    for each in books.executions:
        if each.number not in nobodys:
            at_venue[placed[each.order], each.ticks] += each.lots
    ours = Counter[tuple[str, int]]()
    for each in events:
        if isinstance(each.payload, _FILLS):
            ours[each.payload.client_order_id, each.payload.ticks] += each.payload.lots
    assert ours == at_venue
    assert not books.open_orders


def check_totals(
    exchange: LocalExchange,
    account: str,
    cash: int,
    state: FoldedState,
    currency: str,
    nobodys: Sequence[Execution] = (),
) -> None:
    """What the strategies hold together is what the account holds; cash to the last unit.

    `nobodys` are executions that no strategy has; their fees are in the currency.
    """
    assert not state.orders
    books = exchange.books(account)
    held = Counter[str]()
    spent = 0
    for ledger in state.ledgers.values():
        for identity, position in ledger.held.items():
            held[identity] += position.lots
        spent += ledger.capital - ledger.cash
    for each in nobodys:
        held[each.instrument] += each.side * each.lots
        spent += each.side * each.notional + each.fee
    assert {name: lots for name, lots in held.items() if lots} == held_lots(exchange, account)
    assert cash - spent == books.balances[currency].total


def check_looked_first(events: list[Event]) -> None:
    """Nothing opens a position between a doubt and the next look at the venue's books."""
    is_in_doubt = True
    held = Counter[tuple[str, str]]()
    sent: dict[str, OrderSubmitted] = {}
    for each in events:
        payload = each.payload
        if isinstance(payload, SessionStarted | SessionResumed) or (
            isinstance(payload, ConnectionChanged) and payload.part is ConnectionPart.VENUE
        ):
            is_in_doubt = True
        elif isinstance(payload, VenueSnapshot):
            is_in_doubt = False
        elif isinstance(payload, _FILLS):
            held[payload.strategy, payload.instrument] += payload.side * payload.lots
        elif isinstance(payload, OrderReleased) and is_in_doubt:
            order = sent[payload.client_order_id]
            lots = held[order.strategy, order.instrument] * -order.side
            assert 0 < payload.lots <= lots, f"{payload} before a look"
        elif isinstance(payload, OrderSubmitted):
            sent[payload.client_order_id] = payload
            lots = held[payload.strategy, payload.instrument] * -payload.side
            assert not is_in_doubt or 0 < payload.lots <= lots, f"{payload} before a look"
