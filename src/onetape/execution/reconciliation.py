"""The venue's books against ours: at start, on reconnect, and now and then.

A look is `catch_up` (orders: its outcomes are applied), then `compare` (holdings and cash). Orders
can do anything while the venue is asked, so a difference that could be something under way is
only remembered by the first look that sees it. It counts when `same_looks` looks in a row have
seen just the same one, or `any_looks` looks in a row any at all. One look is under way at a time,
and the next one asks for fills from `VenueMemory.ts_horizon` on.

| difference                              | then                                              |
| --------------------------------------- | ------------------------------------------------- |
| a report that we had not heard          | told now                                          |
| an order at the venue, unheard of       | accepted, now                                     |
| other fields than ours: those asked for | replaced, now                                     |
| others                                  | counts: the venue's become ours                   |
| ours, though a replace is unanswered    | counts: the replace was not received              |
| not found, and it never arrived         | counts: rejected                                  |
| not open there, and nothing is said     | counts: a person                                  |
| fills are counted and not told          | counts: a person                                  |
| open there, closed here                 | counts: a person, and it is to be canceled        |
| foreign order                           | counts: by policy ignored, adopted, or a person   |
| holdings, cash                          | counts: by policy nobody's, or a person           |
| the same, as a corporate action made it | waited for, see `expected_actions`                |

Strategies share the account. Holdings are compared as the sum over them, with what is below a lot;
what the account has beyond is unallocated, is found out by the first look, and follows foreign
fills. Capital of the strategies is never more than the account's cash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum

import msgspec

from onetape.domain.events import OrderAccepted, OrderAdopted, OrderReplaceRejected
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderStatus, RejectCode
from onetape.domain.venue import (
    Discrepancy,
    DiscrepancyKind,
    ReportKind,
    VenueOrder,
    VenuePosition,
    VenueReport,
    VenueSnapshot,
    find_manual,
)
from onetape.execution.expected_actions import explain
from onetape.execution.oms import Order
from onetape.execution.venue_memory import ManualTrack, Suspect
from onetape.execution.venue_reports import OrderShadow, Outcome, VenueReports

D = DiscrepancyKind
K = ReportKind
_ENDS = (K.REJECTED, K.CANCELED, K.EXPIRED)
_RANK = {kind: at for at, kind in enumerate((K.ACCEPTED, K.REPLACED, K.TRIGGERED, K.FILLED))}
_CHANGING = (OrderStatus.CANCEL_PENDING, OrderStatus.REPLACE_PENDING)
_WAITING = (OrderStatus.SUBMITTED, *_CHANGING)
_NOBODY = InstrumentId("")
_ROUNDED = "by the venue's rounding of a corporate action: of no strategy"


class OnDifference(Enum):
    """What to do about a difference that counts.

    | policy        | what                                                            |
    | ------------- | --------------------------------------------------------------- |
    | `stop`        | a person has to look; nothing opens anything until it is gone   |
    | `unallocated` | it belongs to no strategy, and nothing stops                    |
    | `adopt`       | of orders: one that was given by hand becomes a strategy's, what |
    |               | can't be is as with `stop`                                      |
    """

    STOP = "stop"
    UNALLOCATED = "unallocated"
    ADOPT = "adopt"


class ReconciliationPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about what no program can explain.

    Attributes:
        foreign_orders: Orders of the account that are not ours.
        adopt_into: Who adopts orders of an instrument.
        positions: Holdings beyond those of the strategies.
        cash: Cash that came or went by itself; what is too little for the strategies stops always.
        same_looks: Looks in a row that see the same difference until it counts.
        any_looks: Looks in a row that see changing ones until it counts.
    """

    foreign_orders: OnDifference = OnDifference.STOP
    adopt_into: dict[InstrumentId, str] = {}
    positions: OnDifference = OnDifference.STOP
    cash: OnDifference = OnDifference.STOP
    same_looks: int = 2
    any_looks: int = 5


Found = Outcome | Discrepancy | VenueOrder | OrderAdopted
"""What a look leads to: an order of the venue is closed here, and to be canceled there."""

Refuse = Callable[[VenueOrder, str], str]
"""Why a strategy does not take an order of the venue now; empty: it does."""


def _take_any(_order: VenueOrder, _strategy: str) -> str:
    return ""


class _Look:
    """One look: what it makes of our orders, one after another."""

    def __init__(
        self,
        snapshot: VenueSnapshot,
        orders: Mapping[str, Order],
        reports: VenueReports,
        policy: ReconciliationPolicy,
        now: int,
        refuse: Refuse,
    ) -> None:
        self.refuse = refuse
        self.snapshot = snapshot
        self.reports = reports
        self.memory = reports.memory
        self.policy = policy
        self.now = now
        self.results: list[Found] = []
        self._outcomes: list[Outcome] = []
        self._orders = orders
        self._shadows: dict[str, OrderShadow] = {}

    def shadow_of(self, identity: str) -> OrderShadow:
        """An order as it will be."""
        shadow = self._shadows.get(identity)
        if shadow is None:
            shadow = OrderShadow(self._orders.get(identity), self._outcomes)
            self._shadows[identity] = shadow
        return shadow

    def take(self, discrepancy: Discrepancy | None = None) -> None:
        """What was done since the last time, behind the reason for it."""
        if discrepancy is not None:
            self.results.append(discrepancy)
        self.results += self._outcomes
        self._outcomes.clear()

    def hear(self, report: VenueReport, said: str) -> None:
        """A report of the look; what was not heard before is told now."""
        shadow = self.shadow_of(report.client_order_id)
        before = shadow.order.filled_lots if shadow.order is not None else 0
        self.reports.read(report, shadow, self.now)
        if self._outcomes:
            track = self.memory.orders[report.client_order_id]
            self.take(
                Discrepancy(
                    kind=D.MISSED_REPORT, instrument=track.instrument,
                    client_order_id=report.client_order_id, ours=before, theirs=track.booked_lots,
                    is_resolved=True, resolution=f"told now: {said}",
                )
            )  # fmt: skip


def catch_up(
    snapshot: VenueSnapshot,
    orders: Mapping[str, Order],
    reports: VenueReports,
    policy: ReconciliationPolicy,
    now: int,
    refuse: Refuse = _take_any,
) -> list[Found]:
    """Bring our orders to where the venue has them; to be applied in order, all of it.

    Args:
        snapshot: What the venue says.
        orders: The open orders, by client order id. They stay as they are.
        reports: Of this account; its memory goes on.
        policy: What to do about what can't be explained.
        now: Engine time, ns UTC.
        refuse: Asked before a strategy adopts an order.
    """
    look = _Look(snapshot, orders, reports, policy, now, refuse)
    memory = reports.memory
    memory.wants_look = False
    memory.looks += 1
    memory.ts_newest = max(memory.ts_newest, snapshot.ts_venue)
    for order in orders.values():
        memory.track(order)
    not_found: set[str] = set()
    for report in sorted(snapshot.reports, key=_sort_key):
        if report.kind is K.NOT_FOUND:
            not_found.add(report.client_order_id)
        else:
            look.hear(report, report.kind.value)
    standing: set[str] = set()
    for each in snapshot.orders:
        if each.client_order_id in memory.orders:
            standing.add(each.client_order_id)
            _compare_order(look, each)
        else:
            _meet_foreign(look, each)
    for identity in orders:
        if identity not in standing:
            _miss_order(look, identity, identity in not_found)
    for identity, track in memory.orders.items():
        missing = track.told_lots - track.booked_lots
        if missing > 0:
            _confirm(
                look, f"fills:{identity}", f"{track.booked_lots} of {track.told_lots}",
                Discrepancy(
                    kind=D.MISSED_REPORT, instrument=track.instrument, client_order_id=identity,
                    ours=track.booked_lots, theirs=track.told_lots, is_resolved=False,
                    resolution=f"the venue counts {missing} filled lots that it does not tell",
                ),
            )  # fmt: skip
    return look.results


def _sort_key(report: VenueReport) -> tuple[bool, int, int]:
    """The venue's order; what ends an order comes behind everything else."""
    return report.kind in _ENDS, report.ts_venue, _RANK.get(report.kind, len(_RANK))


def _compare_order(look: _Look, theirs: VenueOrder) -> None:
    """An order of ours that is open at the venue."""
    identity = theirs.client_order_id
    shadow, track = look.shadow_of(identity), look.memory.orders[identity]
    track.told_lots = max(track.told_lots, theirs.filled_lots)
    if shadow.order is None:
        if _confirm(
            look, f"stray:{identity}", theirs.venue_order_id,
            Discrepancy(
                kind=D.FOREIGN_ORDER, instrument=track.instrument, client_order_id=identity,
                ours=0, theirs=theirs.lots - theirs.filled_lots, is_resolved=False,
                resolution=f"open at the venue as {theirs.venue_order_id} and closed here: "
                "its cancel is sent",
            ),
        ):  # fmt: skip
            look.results.append(theirs)
        return
    if track.ending is not None:  # it was closed behind this look
        return
    if not track.has_arrived:
        accepted = VenueReport(
            kind=K.ACCEPTED, client_order_id=identity, instrument=theirs.instrument,
            venue_order_id=theirs.venue_order_id,
        )  # fmt: skip
        look.hear(accepted, "accepted")
    elif shadow.order.status is OrderStatus.UNKNOWN:
        shadow.emit(OrderAccepted(identity, theirs.venue_order_id))
        look.take()
    if track.is_filled_unless_replaced and theirs.lots <= track.assumed_lots:
        return  # it was filled behind this look
    track.assumed_lots = 0
    order = shadow.order
    if order.order_type.has_trigger and theirs.order_type is order.order_type.triggered:
        triggered = VenueReport(
            kind=K.TRIGGERED, client_order_id=identity, instrument=theirs.instrument
        )
        look.hear(triggered, "triggered")
    _compare_fields(look, theirs, shadow, order)


def _compare_fields(look: _Look, theirs: VenueOrder, shadow: OrderShadow, order: Order) -> None:
    """Quantity and prices of an order that is open on both sides."""
    identity, track = order.client_order_id, look.memory.orders[order.client_order_id]
    has_limit, has_stop = order.order_type.has_limit, order.order_type.has_trigger
    if order.order_type.is_trailing:
        has_stop = False  # it moves by itself
    ours = (order.lots, order.limit_ticks, order.stop_ticks)
    told = (
        theirs.lots if order.lots else 0,
        theirs.limit_ticks if has_limit else order.limit_ticks,
        theirs.stop_ticks if has_stop else order.stop_ticks,
    )
    asked = (
        order.asked_lots, order.asked_limit_ticks or order.limit_ticks,
        order.asked_stop_ticks or order.stop_ticks,
    )  # fmt: skip
    missed = Discrepancy(
        kind=D.MISSED_REPORT, instrument=order.instrument, client_order_id=identity,
        ours=order.lots, theirs=theirs.lots, is_resolved=True, resolution="told now: replaced",
    )  # fmt: skip
    if told == asked and asked != ours:
        look.reports.change(order, track, shadow, told)
        track.ts_changed = max(track.ts_changed, look.snapshot.ts_venue)
        look.take(missed)
    elif told != ours:  # nobody here asked for that
        if _confirm(look, f"fields:{identity}", str(told)):
            look.reports.change(order, track, shadow, told)
            look.take(missed)
    elif (
        order.asked_lots
        and order.status not in _CHANGING
        and _confirm(look, f"replace:{identity}", str(asked))
    ):
        reason = "the venue never had this replace"
        shadow.emit(OrderReplaceRejected(identity, RejectCode.NOT_RECEIVED, reason))
        look.take()


def _miss_order(look: _Look, identity: str, is_not_found: bool) -> None:
    """An order that is open here and not at the venue, where nothing ended it so far."""
    shadow, track = look.shadow_of(identity), look.memory.orders[identity]
    order = shadow.order
    if order is None or track.ending is not None:
        return  # closed meanwhile
    if not track.has_arrived and order.status in _WAITING:
        return  # its answer is awaited
    if track.is_filled_unless_replaced:
        if _confirm(look, f"filled:{identity}", str(track.booked_lots)):
            look.reports.finish(shadow)
            track.is_closed = True
            look.take()
        return
    lost = Discrepancy(
        kind=D.LOST_ORDER, instrument=track.instrument, client_order_id=identity,
        ours=order.leaves, theirs=0, is_resolved=False,
        resolution="not open at the venue, which does not say what became of it",
    )  # fmt: skip
    if track.has_arrived or not is_not_found:
        _confirm(look, f"lost:{identity}", "found" if not is_not_found else "not found", lost)
    elif _confirm(look, f"unheard:{identity}", "not found"):
        rejected = VenueReport(
            kind=K.REJECTED, client_order_id=identity, instrument=track.instrument,
            code=RejectCode.NOT_RECEIVED, reason="the venue never had this order",
        )  # fmt: skip
        look.reports.read(rejected, shadow, look.now)
        look.take(
            msgspec.structs.replace(lost, is_resolved=True, resolution="never arrived: rejected")
        )


def _meet_foreign(look: _Look, theirs: VenueOrder) -> None:
    """An order that is not ours."""
    key, policy = f"foreign:{theirs.venue_order_id}", look.policy
    known = look.memory.manual.get(theirs.client_order_id, ManualTrack())
    filled = max(known.filled_lots, theirs.filled_lots)
    if known.is_closed or filled >= theirs.lots > 0:
        return  # it ended behind this look
    found = Discrepancy(
        kind=D.FOREIGN_ORDER, instrument=theirs.instrument,
        client_order_id=theirs.client_order_id, ours=0, theirs=theirs.lots - filled,
        is_resolved=policy.foreign_orders is OnDifference.UNALLOCATED,
        resolution=f"{theirs.venue_order_id} is not ours",
    )  # fmt: skip
    text = ": ignored" * found.is_resolved
    if policy.foreign_orders is OnDifference.ADOPT:
        strategy = policy.adopt_into.get(theirs.instrument, "")
        why = _find_hindrance(look, theirs, strategy)
        if not why:
            if _confirm(look, key, theirs.venue_order_id):
                _adopt(look, theirs, strategy, filled, found)
            return
        text = f", and not adopted, because {why}"
    told = msgspec.structs.replace(found, resolution=found.resolution + text)
    _confirm(look, key, theirs.venue_order_id + text, told)


def _find_hindrance(look: _Look, theirs: VenueOrder, strategy: str) -> str:
    """Why nobody adopts an order; empty: the strategy does."""
    if not find_manual(theirs.client_order_id):
        return "another session has given it"
    if not strategy:
        return "it is of no strategy's instrument"
    return theirs.problem or look.refuse(theirs, strategy)


def _adopt(look: _Look, theirs: VenueOrder, strategy: str, filled: int, found: Discrepancy) -> None:
    adopted = OrderAdopted(
        client_order_id=theirs.client_order_id, venue_order_id=theirs.venue_order_id,
        strategy=strategy, instrument=theirs.instrument, side=theirs.side,
        order_type=theirs.order_type, time_in_force=theirs.time_in_force, lots=theirs.lots,
        filled_lots=filled, limit_ticks=theirs.limit_ticks, stop_ticks=theirs.stop_ticks,
        ts_expire=theirs.ts_expire, conditions=theirs.conditions,
    )  # fmt: skip
    resolution = f"{found.resolution}: adopted by {strategy}"
    look.results.append(msgspec.structs.replace(found, is_resolved=True, resolution=resolution))
    look.results.append(adopted)
    look.memory.adopt(adopted)


def _confirm(look: _Look, key: str, difference: str, person: Discrepancy | None = None) -> bool:
    """Whether a difference counts now; `person` goes on the tape then, once."""
    suspect = note(look.reports, key, difference)
    if not _counts(suspect, look.policy):
        look.memory.wants_look = True
        return False
    if person is None:
        del look.memory.suspects[key]
        return True
    if suspect.told != difference:
        suspect.told = difference
        suspect.blocks = not person.is_resolved
        look.results.append(person)
    return True


def note(reports: VenueReports, key: str, difference: str) -> Suspect:
    """A look has seen a difference."""
    memory = reports.memory
    suspect = memory.suspects.get(key)
    if suspect is None or suspect.look < memory.looks - 1:
        suspect = memory.suspects[key] = Suspect(difference, 0, 0, 0)
    suspect.same = suspect.same + 1 if suspect.difference == difference else 1
    suspect.any += 1
    suspect.difference, suspect.look = difference, memory.looks
    return suspect


def _counts(suspect: Suspect, policy: ReconciliationPolicy) -> bool:
    return suspect.same >= policy.same_looks or suspect.any >= policy.any_looks


def compare(
    snapshot: VenueSnapshot,
    lots: Mapping[InstrumentId, int],
    cash: Mapping[str, int],
    reports: VenueReports,
    policy: ReconciliationPolicy,
    now: int,
) -> list[Discrepancy]:
    """Compare holdings and cash, after everything that `catch_up` of the same look gave is applied.

    Args:
        snapshot: What the venue says.
        lots: Signed lots of each instrument, the sum over the strategies.
        cash: Minor units of each currency, the sum over the strategies.
        reports: Of this account; its memory goes on.
        policy: What to do about a difference.
        now: Engine time, ns UTC.
    """
    found = [
        *_compare_positions(snapshot, lots, reports, policy, now),
        *_compare_cash(snapshot, cash, reports, policy, now),
    ]
    memory = reports.memory
    for key in [name for name, each in memory.suspects.items() if each.look < memory.looks]:
        if memory.suspects.pop(key).blocks:
            found.append(_gone(key))
    if not memory.wants_look and not memory.is_blocked:
        memory.forget(snapshot.ts_venue or memory.ts_newest)
    return found


def _gone(key: str) -> Discrepancy:
    """What a person was called for is equal again."""
    what, _, name = key.partition(":")
    kind = {"position": D.POSITION, "cash": D.CASH, "lost": D.LOST_ORDER}.get(what)
    if kind is None:
        kind = D.FOREIGN_ORDER if what in ("foreign", "stray") else D.MISSED_REPORT
    return Discrepancy(
        kind=kind, instrument=InstrumentId(name) if kind is D.POSITION else _NOBODY,
        client_order_id=name if kind not in (D.POSITION, D.CASH) else "", ours=0, theirs=0,
        is_resolved=True, resolution="gone", currency=name if kind is D.CASH else "",
    )  # fmt: skip


def tell_suspect(key: str, difference: str) -> str:
    """What a difference that counts is, for people."""
    what, _, name = key.partition(":")
    match what:
        case "position":
            return f"position {name}: {int(difference) / E8:+,.8g} at the venue beside ours"
        case "cash":
            return f"cash {name}: {int(difference) / E8:+,.2f} at the venue beside ours"
        case "lost":
            return f"order {name}: open here and not at the venue, which does not say why"
        case "stray":
            return f"order {name}: closed here, open at the venue; its cancel is sent"
        case "foreign":
            return f"order at the venue is not ours: {difference}"
        case "fills":
            return f"order {name}: the venue counts fills that it does not tell ({difference})"
        case _:
            return f"{key}: {difference}"


def _compare_positions(
    snapshot: VenueSnapshot,
    lots: Mapping[InstrumentId, int],
    reports: VenueReports,
    policy: ReconciliationPolicy,
    now: int,
) -> Iterator[Discrepancy]:
    memory = reports.memory
    held = {each.instrument: each for each in snapshot.positions}
    for identity, unit in reports.lot_units.items():
        at_venue = held.get(identity) or VenuePosition(instrument=identity, lots=0)
        ours = lots.get(identity, 0) * unit + sum(
            each.get(identity, 0) for each in memory.dust.values()
        )
        theirs = at_venue.lots * unit + at_venue.rest_units
        is_first = identity not in memory.unallocated_units
        beyond = memory.unallocated_units.get(identity, 0)
        units = theirs - ours - beyond
        if is_first and abs(units) < unit:  # a rest of before
            memory.unallocated_units[identity] = units
            continue
        rounding = explain(memory, f"position:{identity}", units, now)
        if rounding:
            memory.unallocated_units[identity] = beyond + rounding
            yield Discrepancy(
                kind=D.POSITION, instrument=identity, client_order_id="",
                ours=(ours + beyond) // unit, theirs=at_venue.lots, is_resolved=True,
                resolution=f"{rounding:+} units (1e-8) {_ROUNDED}",
            )  # fmt: skip
        if not units or rounding is not None:
            continue
        found = Discrepancy(
            kind=D.POSITION, instrument=identity, client_order_id="",
            ours=(ours + beyond) // unit, theirs=at_venue.lots,
            is_resolved=policy.positions is OnDifference.UNALLOCATED,
            resolution=f"{units:+} units (1e-8) at the venue"
            + (": of no strategy" if policy.positions is OnDifference.UNALLOCATED else ""),
        )  # fmt: skip
        yield from _judge(reports, policy, f"position:{identity}", units, found)
        if found.is_resolved and f"position:{identity}" not in memory.suspects:
            memory.unallocated_units[identity] = beyond + units


def _compare_cash(
    snapshot: VenueSnapshot,
    cash: Mapping[str, int],
    reports: VenueReports,
    policy: ReconciliationPolicy,
    now: int,
) -> Iterator[Discrepancy]:
    memory = reports.memory
    there = {each.currency: each.amount for each in snapshot.balances}
    for currency, ours in cash.items():
        theirs = there.get(currency, 0)
        is_first = currency not in memory.unallocated_cash
        beyond = memory.unallocated_cash.get(currency, 0)
        amount = theirs - ours - beyond
        if is_first and amount >= 0:  # what the strategies were not given
            memory.unallocated_cash[currency] = amount
            continue
        rounding = explain(memory, f"cash:{currency}", amount, now)
        if rounding:
            memory.unallocated_cash[currency] = beyond + rounding
            yield Discrepancy(
                kind=D.CASH, instrument=_NOBODY, client_order_id="", ours=ours + beyond,
                theirs=theirs, is_resolved=True, currency=currency,
                resolution=f"{rounding:+} minor units {_ROUNDED}",
            )  # fmt: skip
        if not amount or rounding is not None:
            continue
        free = policy.cash is OnDifference.UNALLOCATED and beyond + amount >= 0
        found = Discrepancy(
            kind=D.CASH, instrument=_NOBODY, client_order_id="", ours=ours + beyond,
            theirs=theirs, is_resolved=free, currency=currency,
            resolution=f"{amount:+} minor units at the venue" + (": of no strategy" * free),
        )  # fmt: skip
        yield from _judge(reports, policy, f"cash:{currency}", amount, found)
        if free and f"cash:{currency}" not in memory.suspects:
            memory.unallocated_cash[currency] = beyond + amount


def _judge(
    reports: VenueReports,
    policy: ReconciliationPolicy,
    key: str,
    amount: int,
    found: Discrepancy,
) -> Iterator[Discrepancy]:
    """A difference of holdings or cash: on the tape when it counts; taken over if it may be."""
    memory = reports.memory
    suspect = note(reports, key, str(amount))
    if not _counts(suspect, policy):
        memory.wants_look = True
    elif found.is_resolved:
        del memory.suspects[key]
        yield found
    elif suspect.told != str(amount):
        suspect.told, suspect.blocks = str(amount), True
        yield found
