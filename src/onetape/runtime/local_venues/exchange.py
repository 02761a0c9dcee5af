"""The engine of a local venue: accounts, checks, and our simulated venue on replayed rows.

It does no I/O and knows no wall clock: the same calls in the same order give the same books. Its
own clock is the time of the data. What arrives between two rows arrives at that time and meets what
comes behind it; a cancel that has arrived is carried out at once, since nobody has heard of
anything later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from onetape.domain.corporate_actions import compute_terms
from onetape.domain.errors import ConfigError, DataError
from onetape.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderReduced,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReport,
    OrderSubmitted,
    OrderTriggered,
    VenueCommand,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import BarBlock, CorporateAction
from onetape.domain.nearest import nearest
from onetape.domain.numbers import INT64_MAX
from onetape.domain.orders import LiquiditySide, Side
from onetape.execution.simulated.fee_rules import (
    FeeSchedule,
    MonthVolume,
    add_month_volume,
    compute_affordable_lots,
    compute_fill_fee,
    compute_volume,
)
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.timeline import Timeline
from onetape.runtime.local_venues.accounts import (
    Account,
    ExchangeRules,
    check_instrument,
    is_pair,
    units_per_lot,
)
from onetape.runtime.local_venues.messages import (
    Books,
    Changes,
    EndCause,
    Execution,
    Listener,
    MarketRow,
    NewOrder,
    OrderUpdate,
    PlacedOrder,
    PlacedStatus,
    Refusal,
    RefusalCode,
    UpdateKind,
)
from onetape.runtime.local_venues.order_checks import Draft, OrderChecks
from onetape.runtime.market_state import MarketState
from onetape.runtime.sessions.schedule import Agenda
from onetape.runtime.sessions.venue_choice import build_venue, check_fills

_BLOCK_ROWS = 4_096
_CAUSES = {
    "requested": EndCause.CLIENT,
    "not filled at once": EndCause.NOT_AT_ONCE,
    "not filled in the auction": EndCause.NOT_AT_ONCE,
    "post only, and it would take": EndCause.POST_ONLY,
    "the budget buys nothing": EndCause.BUDGET,
    "one cancels the other": EndCause.LINKED,
    "one updates the other": EndCause.LINKED,
    "its parent has ended": EndCause.LINKED,
    "its parent is not on the book": EndCause.LINKED,
}


class LocalExchange:
    """Accounts and a matching engine over the rows of a timeline.

    Args:
        timeline: What is replayed.
        terms: How orders fill, what they cost, and how long a command takes to the matching.
        rules: What this venue does otherwise than others.
        accounts: Balances (1e-8 units by currency) of each account.

    Attributes:
        now: Virtual time, ns UTC; before the first row the opening of the first bar.
        instruments: By the venue's symbol.
        halted: Symbols that don't trade; see `halt`.
        updates: How many things it has said of orders.
        rows_late: So many rows later than their time are corporate actions carried out; negative:
            earlier.
        split_fill: Parts (lots) in which a fill is told; None: in one. For storms of small fills.

    Raises:
        ConfigError: An instrument, its fees or the fills don't suit a local venue.
    """

    def __init__(
        self,
        timeline: Timeline,
        terms: VenueTerms,
        rules: ExchangeRules,
        accounts: Mapping[str, Mapping[str, int]],
    ) -> None:
        if timeline.steps:
            raise ConfigError(
                "the data has funding or halts, which a local venue does not carry",
                remedy="replay data without them",
            )
        for each in timeline.actions:
            if each.new_instrument or is_pair(_find(timeline, each.instrument)):
                raise ConfigError(
                    f"the data has a {each.kind.value} of {each.instrument}, which a local venue "
                    "does not carry", remedy="replay data without it",
                )  # fmt: skip
        check_fills(timeline, terms)
        self._timeline = timeline
        self._terms = terms
        self._fees = terms.fees
        self._rules = rules
        self._market = MarketState(timeline)
        self._by_id = {each.id: each for each in timeline.instruments}
        self._index = {each.id: at for at, each in enumerate(timeline.instruments)}
        self.instruments = {each.symbol: each for each in timeline.instruments}
        for each in timeline.instruments:
            check_instrument(each, terms.fees[each.id], rules)
        if len(self.instruments) < len(self._by_id):
            raise ConfigError(
                f"two of {', '.join(self._by_id)} have the same symbol",
                remedy="a local venue is one venue: leave one out",
            )
        if rules.fee_in_base_of_buys:  # an order sized at its fill spends all of its budget
            pairs = [each.id for each in timeline.instruments if is_pair(each)]
            free = {**terms.fees, **dict.fromkeys(pairs, FeeSchedule())}
            terms = msgspec.structs.replace(terms, fees=free)
        self._venue = build_venue(timeline, terms, self._market, self)
        self._accounts = {
            name: Account(name, balances, self._by_id, rules, self.mark)
            for name, balances in accounts.items()
        }
        self._checks = OrderChecks(self._fees, rules, self.mark)
        self._owner: dict[int, Account] = {}
        self._matching: dict[str, int] = {}
        self._key: dict[int, str] = {}
        self._changes: dict[str, list[tuple[Changes, Draft]]] = {}
        self._listeners: list[Listener] = []
        actions = timeline.actions
        self._actions = Agenda(
            [each.ts_known for each in actions], timeline.action_rows,
            lambda at: self._adjust(actions[at]),
        )  # fmt: skip
        self.rows_late = 0
        self._block: tuple[int, BarBlock] | None = None
        self._ts_known: list[int] = timeline.columns["ts_known"].tolist()
        self._told_row = -1
        self._executions = 0
        self.updates = 0
        self.split_fill: Callable[[int], Sequence[int]] | None = None
        self.halted: dict[str, str] = {}
        self.now = int(timeline.columns["ts_open"].min())

    # What happens is told to whoever listens, in order and at once.

    def listen(self, listener: Listener) -> None:
        """Call `listener` with everything that happens from now on, in order."""
        self._listeners.append(listener)

    def forget(self, listener: Listener) -> None:
        """Call it no more."""
        self._listeners.remove(listener)

    # Time.

    @property
    def next_row_ts(self) -> int | None:
        """When the next row is known; None: the last one was played."""
        row = self._market.row + 1
        return self._ts_known[row] if row < len(self._ts_known) else None

    @property
    def next_ts(self) -> int | None:
        """When the next row is known or the next command arrives; None: nothing comes any more."""
        arrival = self._venue.next_arrival
        ts = self.next_row_ts
        if arrival == INT64_MAX:
            return ts
        return arrival if ts is None else min(ts, arrival)

    @property
    def rows_played(self) -> int:
        """Rows so far."""
        return self._market.row + 1

    @property
    def rows_total(self) -> int:
        """Rows of the replayed data."""
        return len(self._ts_known)

    def step(self) -> bool:
        """Play the next row, and what arrives before it; False where there is none."""
        if not self.match_row():
            return False
        self.tell_row()
        return True

    def match_row(self) -> bool:
        """The first half of `step`: orders meet the next row, and what comes of it is told.

        A row that was matched before and has not been told is told first.
        """
        self.tell_row()
        row = self._market.row + 1
        if row >= len(self._ts_known):
            return False
        ts = self._ts_known[row]
        while self._actions.next_rows <= row - self.rows_late:
            self._actions.advance()
        self._deliver(ts)
        self.now = max(self.now, ts)
        if self._venue.active:
            first, block = self._block_of(row)
            bar = block.bar(row - first)
            if self._by_id[bar.instrument].symbol not in self.halted:
                for report in self._venue.on_bar(bar, self):
                    self._settle(report)
        self._market.row = row
        return True

    def tell_row(self) -> None:
        """The second half: the row itself is told, once."""
        row = self._market.row
        if self._told_row == row:
            return
        self._told_row = row
        first, block = self._block_of(row)
        ends = bool(self._timeline.slice_end[row])
        event = block.event(row - first)
        self._tell(MarketRow(row=row, ts=self._ts_known[row], event=event, ends_slice=ends))

    def advance(self, ts: int) -> None:
        """Play everything up to `ts` (included), and stand there."""
        while True:
            row = self._market.row + 1
            if row >= len(self._ts_known) or self._ts_known[row] > ts:
                break
            self.step()
        while not self.rows_late and self._actions.next_ts(self._market.row + 1) <= ts:
            self._actions.advance()
        self._deliver(ts)
        self.now = max(self.now, ts)

    def _adjust(self, action: CorporateAction) -> None:
        """Orders are gone first; then every account and the mark are adjusted."""
        if not self.rows_late:
            self._deliver(action.ts_known)
            self.now = max(self.now, action.ts_known)
        instrument = self._by_id[action.instrument]
        if not action.kind.is_cash:
            for report in self._venue.cancel_all(action.instrument, action.kind.value):
                self._settle(report)
        terms, mark = compute_terms(action, instrument), self.mark(action.instrument)
        for account in self._accounts.values():
            account.adjust(action, instrument, terms, mark)
        self._market.adjust(action)
        if action.kind.ends:
            self.halted[instrument.symbol] = "it is delisted"

    def _block_of(self, row: int) -> tuple[int, BarBlock]:
        if self._block is None or row >= self._block[0] + len(self._block[1]):
            self._block = (row, next(self._timeline.blocks(_BLOCK_ROWS, row)))
        return self._block

    def _deliver(self, ts: int) -> None:
        venue, market = self._venue, self._market
        while (arrival := venue.next_arrival) <= ts:
            self.now = max(self.now, arrival)
            for report in venue.arrive(arrival, lambda _: INT64_MAX, market.session_close):
                self._settle(report)

    # Commands. A refusal is a value.

    def submit(self, account: str, request: NewOrder) -> PlacedOrder | Refusal:
        """Take an order, or say why not. What it does at once is told before this returns."""
        owner = self._accounts[account]
        draft = self._draft(owner, request)
        if isinstance(draft, Refusal):
            return draft
        number = len(self._owner) + 1
        order = PlacedOrder(
            number=number, account=account, client_order_id=request.client_order_id,
            instrument=draft.instrument.id, side=request.side, order_type=request.order_type,
            time_in_force=request.time_in_force, lots=draft.lots, budget=draft.budget,
            limit_ticks=draft.limit_ticks, stop_ticks=draft.stop_ticks, ts_created=self.now,
            ts_updated=self.now, request=request, hold_asset=draft.hold_asset,
            hold_per_lot=draft.hold_per_lot, hold_fee=draft.hold_fee,
        )  # fmt: skip
        self._enter(owner, order, str(number))
        self._say(UpdateKind.ACCEPTED, order)
        self._send(
            OrderSubmitted(
                str(number), account, order.instrument, order.side, order.order_type,
                order.time_in_force, order.lots, order.limit_ticks, order.stop_ticks,
                request.ts_expire, budget=order.budget, conditions=draft.conditions,
            )
        )  # fmt: skip
        return owner.orders[number]

    def check(self, account: str, request: NewOrder) -> Refusal | None:
        """What `submit` would say against it."""
        draft = self._draft(self._accounts[account], request)
        return draft if isinstance(draft, Refusal) else None

    def cancel(self, account: str, number: int) -> PlacedOrder | Refusal:
        """Cancel an order; still open in the answer where the command takes time to arrive."""
        order = self._find_open(account, number)
        if isinstance(order, Refusal):
            return order
        owner = self._owner[number]
        owner.keep(self._now(order, is_canceling=True))
        self._send(OrderCancelPending(self._key[number]))
        return owner.orders[number]

    def replace(self, account: str, number: int, changes: Changes) -> PlacedOrder | Refusal:
        """Change an order. The answer is the order that holds the place, or the old one.

        The old one (still open) where the command takes time to arrive.
        """
        order = self._find_open(account, number)
        if isinstance(order, Refusal):
            return order
        if not order.lots:
            return Refusal(
                code=RefusalCode.UNSUPPORTED, message="it is sized at its fill", order=order
            )
        owner = self._owner[number]
        wanted = _merge(order.request, changes)
        if order.order_type.is_trailing:  # it goes on from where it has trailed to
            stop = self._by_id[order.instrument].ticks_to_price(self.stop_of(number))
            wanted = msgspec.structs.replace(wanted, stop=stop)
        new_id = changes.client_order_id
        if self._rules.replace_makes_new_order:
            duplicate = self._checks.refuse_duplicate(owner, new_id)
            if duplicate is not None:
                return duplicate
        symbol = self._by_id[order.instrument].symbol
        if symbol in self.halted:
            return Refusal(code=RefusalCode.HALTED, message=self.halted[symbol], order=order)
        draft = self._checks.draft(owner, self._by_id[order.instrument], wanted, order)
        if isinstance(draft, Refusal):
            return draft
        if draft.lots <= order.filled_lots:
            return Refusal(
                code=RefusalCode.QUANTITY_BELOW_FILLED,
                message="quantity is not above what is filled", order=order,
            )  # fmt: skip
        key = self._key[number]
        self._changes.setdefault(key, []).append((changes, draft))
        self._send(
            OrderReplacePending(key, draft.lots, draft.limit_ticks, draft.stop_ticks)
        )  # fmt: skip
        return owner.orders[self._matching.get(key, number)]

    def cancel_all(self, account: str, symbol: str = "") -> list[PlacedOrder]:
        """Cancel what is open, of one symbol or of all; each as `cancel` answers it."""
        answers = [
            self.cancel(account, number)
            for number, order in list(self._accounts[account].open.items())
            if symbol in ("", self._by_id[order.instrument].symbol)
        ]
        return [each for each in answers if isinstance(each, PlacedOrder)]

    def halt(self, symbol: str, reason: str) -> None:
        """A symbol doesn't trade until `resume`: new orders are refused, the others wait."""
        self.instrument_of(symbol)
        self.halted[symbol] = reason

    def resume(self, symbol: str) -> None:
        """It trades again."""
        self.halted.pop(symbol, None)

    # Questions.

    @property
    def accounts(self) -> tuple[str, ...]:
        """Names of the accounts."""
        return tuple(self._accounts)

    def instrument_of(self, symbol: str) -> Instrument:
        """The instrument of a symbol.

        Raises:
            DataError: There is none; the nearest is named.
        """
        found = self.instruments.get(symbol)
        if found is None:
            raise DataError(
                f"no symbol {symbol!r} at this venue", remedy=nearest(symbol, self.instruments)
            )
        return found

    def mark(self, instrument: InstrumentId) -> int:
        """Newest price in ticks; 0 before the first."""
        return self._market.mark_ticks(self._index[instrument])

    def find(
        self, account: str, *, number: int = 0, client_order_id: str = ""
    ) -> PlacedOrder | None:
        """An order by the exchange's number, or the newest with a client's id."""
        owner = self._accounts[account]
        return owner.orders.get(number or owner.by_client_id.get(client_order_id, 0))

    def stop_of(self, number: int) -> int:
        """Where the trigger of an order stands, in ticks: of a trailing one, by now."""
        key = self._key[number]
        for resting in self._venue.save().orders:
            if resting.identity == key:
                return resting.stop_ticks
        return self._owner[number].orders[number].stop_ticks

    def open_orders(self, account: str, symbol: str = "") -> list[PlacedOrder]:
        """Open orders, oldest first."""
        return [
            each
            for each in self._accounts[account].open.values()
            if symbol in ("", self._by_id[each.instrument].symbol)
        ]

    def orders(self, account: str, symbol: str = "") -> list[PlacedOrder]:
        """All orders, oldest first."""
        return [
            each
            for each in self._accounts[account].orders.values()
            if symbol in ("", self._by_id[each.instrument].symbol)
        ]

    def executions(self, account: str, since: int = 0, symbol: str = "") -> list[Execution]:
        """Fills that were told at `since` (ns UTC) or later, in order."""
        return [
            each
            for each in self._accounts[account].executions
            if each.ts >= since and symbol in ("", self._by_id[each.instrument].symbol)
        ]

    def books(self, account: str) -> Books:
        """Everything of an account, as a value."""
        return self._accounts[account].show(self.now)

    def equity(self, account: str, currency: str) -> int:
        """Cash and positions of a currency at the marks, minor units; other currencies are not."""
        return self._accounts[account].equity(currency)

    def buying_power(self, account: str, currency: str) -> int:
        """What may still be bought, minor units; below zero where prices have moved against it."""
        return self._accounts[account].buying_power(currency)

    def rows(self, symbol: str, start: int = 0, end: int = INT64_MAX) -> list[MarketRow]:
        """Rows of a symbol that are known by now and happened in [start, end] (ns UTC), in order.

        Of bars it is their opening that counts.
        """
        timeline = self._timeline
        times = timeline.columns["ts_open" if timeline.kind == "bars" else "ts_event"]
        rows = timeline.rows_of(self.instrument_of(symbol).id)
        known = rows[: np.searchsorted(rows, self._market.row, side="right")]
        wanted = known[(times[known] >= start) & (times[known] <= end)]
        return [self._row(row) for row in wanted.tolist()]

    def _row(self, row: int) -> MarketRow:
        event = next(self._timeline.blocks(1, row)).event(0)
        ends = bool(self._timeline.slice_end[row])
        return MarketRow(row=row, ts=self._ts_known[row], event=event, ends_slice=ends)

    # What the simulated venue asks of its clients.

    def equity_at(self, strategy: str, instrument: InstrumentId, ticks: int) -> int:
        """Equity of an account with `instrument` marked at `ticks`."""
        one = self._by_id[instrument]
        owner = self._accounts[strategy]
        moved = (ticks - self.mark(instrument)) * one.minor_per_tick_lot
        return owner.equity(one.quote_currency) + owner.position_lots(one) * moved

    def position_lots(self, strategy: str, instrument: InstrumentId) -> int:
        """Signed lots of an account."""
        return self._accounts[strategy].position_lots(self._by_id[instrument])

    # Inside.

    def _draft(self, owner: Account, request: NewOrder) -> Draft | Refusal:
        instrument = self.instruments.get(request.symbol)
        if instrument is None:
            return Refusal(code=RefusalCode.UNKNOWN_SYMBOL, message=f"no symbol {request.symbol!r}")
        if request.symbol in self.halted:
            return Refusal(code=RefusalCode.HALTED, message=self.halted[request.symbol])
        duplicate = self._checks.refuse_duplicate(owner, request.client_order_id)
        return duplicate or self._checks.draft(owner, instrument, request)

    def _find_open(self, account: str, number: int) -> PlacedOrder | Refusal:
        order = self._accounts[account].orders.get(number)
        if order is None:
            return Refusal(code=RefusalCode.UNKNOWN_ORDER, message=f"no order {number}")
        if not order.is_open:
            return Refusal(
                code=RefusalCode.ORDER_CLOSED, message=f"it is {order.status.value}", order=order
            )
        return order

    def _enter(self, owner: Account, order: PlacedOrder, key: str) -> None:
        self._owner[order.number] = owner
        self._matching[key] = order.number
        self._key[order.number] = key
        if order.client_order_id:
            owner.by_client_id[order.client_order_id] = order.number
        owner.keep(order)

    def _send(self, command: VenueCommand) -> None:
        self._venue.receive((command,), self.now)
        self._deliver(self.now)

    def _now(self, order: PlacedOrder, **fields: object) -> PlacedOrder:
        return msgspec.structs.replace(order, ts_updated=self.now, **fields)

    def _say(
        self,
        kind: UpdateKind,
        order: PlacedOrder,
        *,
        execution: Execution | None = None,
        replaced: PlacedOrder | None = None,
        reason: str = "",
    ) -> None:
        self.updates += 1
        self._tell(
            OrderUpdate(
                seq=self.updates, ts=self.now, account=order.account, kind=kind, order=order,
                execution=execution, replaced=replaced, reason=reason,
            )
        )  # fmt: skip

    def _tell(self, happening: OrderUpdate | MarketRow) -> None:
        for listener in tuple(self._listeners):
            listener(happening)

    def _settle(self, report: OrderReport) -> None:
        """What the matching says of an order, into its account; nothing of a closed one counts."""
        if isinstance(report, OrderAccepted):
            return  # said at the receipt
        number = self._matching[report.client_order_id]
        owner = self._owner[number]
        order = owner.orders[number]
        if not order.is_open and not isinstance(report, OrderCancelRejected | OrderReplaceRejected):
            return
        match report:
            case OrderFilled():
                self._fill(owner, order, report)
            case OrderCanceled(reason=reason):
                cause = _CAUSES.get(reason, EndCause.VENUE)
                self._end(owner, order, UpdateKind.CANCELED, cause, reason)
            case OrderExpired(reason=reason):
                self._end(owner, order, UpdateKind.EXPIRED, EndCause.TIME_IN_FORCE, reason)
            case OrderTriggered():
                self._say(UpdateKind.TRIGGERED, owner.keep(self._now(order, is_triggered=True)))
            case OrderReduced(lots=lots, reason=reason):
                reduced = owner.keep(self._now(order, lots=lots))
                self._say(UpdateKind.REDUCED, reduced, reason=reason)
            case OrderReplaced():
                self._replaced(owner, order, report)
            case OrderReplaceRejected(reason=reason):
                self._changes[report.client_order_id].pop(0)
                self._say(UpdateKind.REPLACE_REFUSED, order, reason=reason)
            case OrderCancelRejected(reason=reason):
                order = owner.keep(self._now(order, is_canceling=False))
                self._say(UpdateKind.CANCEL_REFUSED, order, reason=reason)
            case _:
                raise TypeError(f"the simulated venue says {report!r}")

    def _end(
        self, owner: Account, order: PlacedOrder, kind: UpdateKind, cause: EndCause, reason: str
    ) -> None:
        expired = kind is UpdateKind.EXPIRED
        status = PlacedStatus.EXPIRED if expired else PlacedStatus.CANCELED
        ended = owner.keep(self._now(order, status=status, cause=cause, reason=reason))
        self._say(kind, ended, reason=reason)

    def _replaced(self, owner: Account, order: PlacedOrder, report: OrderReplaced) -> None:
        changes, draft = self._changes[report.client_order_id].pop(0)
        fields = {
            "lots": report.lots, "limit_ticks": report.limit_ticks,
            "stop_ticks": report.stop_ticks, "request": _merge(order.request, changes),
            "hold_asset": draft.hold_asset, "hold_per_lot": draft.hold_per_lot,
            "hold_fee": draft.hold_fee,
        }  # fmt: skip
        if not self._rules.replace_makes_new_order:
            self._say(UpdateKind.REPLACED, owner.keep(self._now(order, **fields)))
            return
        number = len(self._owner) + 1
        identity = changes.client_order_id
        new = self._now(
            order, number=number, client_order_id=identity, ts_created=self.now,
            replaces=order.number, is_canceling=False, **fields,
        )  # fmt: skip
        old = owner.keep(self._now(order, status=PlacedStatus.REPLACED, replaced_by=number))
        self._enter(owner, new, report.client_order_id)
        self._say(UpdateKind.REPLACED, new, replaced=old)

    def _fill(self, owner: Account, order: PlacedOrder, report: OrderFilled) -> None:
        instrument = self._by_id[order.instrument]
        lots, wanted = report.lots, report.lots
        if self._rules.never_overdraws and order.side is Side.BUY:
            lots = min(lots, self._payable(owner, order, instrument, report))
        leaves = report.leaves
        if lots:
            if lots < wanted:
                leaves = 0
            left = lots
            for part in self.split_fill(lots) if self.split_fill is not None else (lots,):
                left -= part
                order = self._book(
                    owner, order, instrument, report, part, left + leaves, is_cut=lots < wanted
                )
        if lots < wanted:
            if report.leaves:
                self._venue.receive((OrderCancelPending(report.client_order_id),), self.now)
            reason = "the balance does not pay for more"
            self._end(owner, order, UpdateKind.CANCELED, EndCause.FUNDS, reason)

    def _payable(
        self, owner: Account, order: PlacedOrder, instrument: Instrument, report: OrderFilled
    ) -> int:
        free = owner.free(instrument.quote_currency, without=order.number)
        fees = FeeSchedule() if self._pays_in_base(order) else self._fees[instrument.id]
        return compute_affordable_lots(
            fees, report.liquidity, free, report.ticks, instrument.minor_per_tick_lot, 0
        )

    def _pays_in_base(self, order: PlacedOrder) -> bool:
        return (
            self._rules.fee_in_base_of_buys
            and order.side is Side.BUY
            and is_pair(self._by_id[order.instrument])
        )

    def _book(
        self,
        owner: Account,
        order: PlacedOrder,
        instrument: Instrument,
        report: OrderFilled,
        lots: int,
        leaves: int,
        *,
        is_cut: bool,
    ) -> PlacedOrder:
        notional = lots * report.ticks * instrument.minor_per_tick_lot
        fee, fee_asset = self._fee(owner, order, report, lots, notional)
        in_base = self._pays_in_base(order)
        self._executions += 1
        execution = Execution(
            number=self._executions, order=order.number, account=owner.name,
            client_order_id=order.client_order_id, instrument=order.instrument, side=order.side,
            lots=lots, ticks=report.ticks, notional=notional, fee=fee, fee_asset=fee_asset,
            liquidity=LiquiditySide(report.liquidity), ts=self.now, ts_fill=report.ts_fill,
            leaves=leaves, position_lots=0,
        )  # fmt: skip
        owner.book(instrument, execution)
        position = owner.position_lots(instrument)
        execution = msgspec.structs.replace(execution, position_lots=position)
        owner.executions.append(execution)
        filled = order.filled_lots + lots
        status = PlacedStatus.PARTIALLY_FILLED if leaves or is_cut else PlacedStatus.FILLED
        order = owner.keep(
            self._now(
                order, status=status, filled_lots=filled,
                lots=order.lots or (0 if is_cut else filled + leaves),
                filled_notional=order.filled_notional + notional,
                fees_quote=order.fees_quote + (0 if in_base else fee),
                fees_base=order.fees_base + (fee if in_base else 0),
            )
        )  # fmt: skip
        self._say(UpdateKind.FILLED, order, execution=execution)
        return order

    def _fee(
        self, owner: Account, order: PlacedOrder, report: OrderFilled, lots: int, notional: int
    ) -> tuple[int, str]:
        """What a fill costs, and of which currency; rounded up, against the client."""
        instrument = self._by_id[order.instrument]
        schedule = self._fees[instrument.id]
        before_lots, before = order.filled_lots, order.filled_notional
        if self._pays_in_base(order):
            units = units_per_lot(instrument)
            before_lots, before, notional = before_lots * units, before_lots * units, lots * units
        month = 0
        if schedule.tiers > 1:
            volume = compute_volume(schedule, lots, notional)
            whose = self._terms.month_of(owner.name, instrument.id)
            record = owner.months.setdefault(whose, MonthVolume())
            month = add_month_volume(record, report.ts_fill, volume)
        fee = compute_fill_fee(
            schedule, order.side, report.liquidity, before_lots, before, lots, notional, month,
            report.ts_fill,
        )  # fmt: skip
        in_base = self._pays_in_base(order)
        return fee, instrument.base_currency if in_base else instrument.quote_currency


def _find(timeline: Timeline, identity: InstrumentId) -> Instrument:
    return next(each for each in timeline.instruments if each.id == identity)


def _merge(request: NewOrder, changes: Changes) -> NewOrder:
    """The request as a replace makes it."""
    return msgspec.structs.replace(
        request,
        quantity=request.quantity if changes.quantity is None else changes.quantity,
        limit=request.limit if changes.limit is None else changes.limit,
        stop=request.stop if changes.stop is None else changes.stop,
        client_order_id=changes.client_order_id or request.client_order_id,
    )
