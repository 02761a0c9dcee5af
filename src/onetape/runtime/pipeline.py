"""The one pipeline: the only place that connects the stages.

    market event -> venue -> ledger -> features -> strategy -> intent -> risk -> OMS -> venue
                                     (the events of every arrow) -> tape

A *step* processes one input (a market row, venue reports that have come due, a timer, an operator's
command, a corporate action, a contract step, the end of a trading day) to its end and puts
everything that it caused on the tape. Commands leave for the venue only after the tape has their
step. All steps are in the order of DESIGN section 4: by time, and at one time control, execution
reports, corporate actions, contract steps, market, timers; the end of a day comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import compress, islice
from typing import Any, Protocol

import msgspec

from onetape.domain.errors import InvariantBroken, StrategyError
from onetape.domain.events import (
    CapitalDeposited,
    FeatureDrifted,
    KillSwitchSet,
    OrderEvent,
    OrderFilled,
    OrderReport,
    PositionChanged,
    SessionStarted,
    SessionStopped,
    SignalRecorded,
    StrategyQuarantined,
    StrayFilled,
    TimerFired,
    TransferOrdered,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import (
    Bar,
    BarBlock,
    ContractExpiry,
    ContractStep,
    CorporateAction,
    CorporateActionKind,
    RowEvent,
    TimeSlice,
    TradingStatus,
)
from onetape.domain.numbers import INT64_MAX
from onetape.domain.orders import ExerciseIntent, Intent
from onetape.domain.ports import SimulatedExchange
from onetape.marketdata.session_rows import SessionRows
from onetape.marketdata.timeline import DayEnd
from onetape.runtime.breakers import Breakers, BreakersState
from onetape.runtime.contract_desk import ContractDesk
from onetape.runtime.margin_desk import MarginDesk
from onetape.runtime.market_state import MarketState
from onetape.runtime.order_desk import OrderDesk
from onetape.runtime.runner import STEP_CALLBACKS, Runner, RunnerState
from onetape.runtime.step_log import StepLog
from onetape.runtime.timers import Timers, TimersState
from onetape.strategy.context import Context, TimerRequest

OnRow = Callable[[Any, Context], None]
OnUpdate = Callable[[OrderEvent, Context], None]

_CANCEL_REASONS = {
    CorporateActionKind.SPLIT: "its instrument splits",
    CorporateActionKind.STOCK_DIVIDEND: "its instrument pays a dividend in shares",
    CorporateActionKind.SPIN_OFF: "its instrument spins off {new}",
    CorporateActionKind.MERGER: "its instrument is merged into {new}",
    CorporateActionKind.SYMBOL_CHANGE: "its instrument is {new} from now on",
    CorporateActionKind.DELISTING: "its instrument is delisted",
}

STEPS_WITHOUT_TIME_MAX = 10_000
"""Rounds of decisions at one time after which a strategy that keeps deciding is quarantined."""


class PipelineState(msgspec.Struct, frozen=True, kw_only=True):
    """What a `Pipeline` and its strategies remember between two steps."""

    timers: TimersState
    strategies: dict[str, RunnerState]
    quarantined: list[StrategyQuarantined]
    breakers: BreakersState | None = None


class DayEndTask(Protocol):
    """What is due when trading days end."""

    def end_day(self, day_end: DayEnd) -> None:
        """Put what is due into the current step; a day at which nothing is due leaves no step."""
        ...


class Pipeline:
    """Drives the stages of one session, one step at a time.

    Attributes:
        quarantined: Strategies that have raised, in order.
        breakers: Circuit breakers; None: the session has none.
        pause_events: Events on the tape from which on `run_block` stops at the end of a slice.
    """

    def __init__(
        self,
        timeline: SessionRows,
        market: MarketState,
        runners: Sequence[Runner],
        desk: OrderDesk,
        venue: SimulatedExchange,
        log: StepLog,
        contracts: ContractDesk,
        margin: MarginDesk | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        self.breakers = breakers
        self._market = market
        self._contracts = contracts
        self._margin = margin
        self._runners = {each.name: each for each in runners}
        self._active = tuple(runners)
        self._desk = desk
        self._venue = venue
        self._log = log
        self._timers = Timers()
        self._slice_end = timeline.row_ends
        self._find_slice_end = timeline.find_slice_end
        self._index = timeline.row_owners
        self._stopping = False
        self.quarantined: list[StrategyQuarantined] = []
        self.pause_events = INT64_MAX

    # Between two steps.

    def save(self) -> PipelineState:
        """Timers and strategies, between two steps."""
        row = self._market.row
        return PipelineState(
            timers=self._timers.save(),
            strategies={name: each.save(row) for name, each in self._runners.items()},
            quarantined=list(self.quarantined),
            breakers=self.breakers.save() if self.breakers is not None else None,
        )

    def restore(self, state: PipelineState) -> None:
        """Go on at the market's row, where `state` was saved by a session of the same inputs.

        Raises:
            StrategyError: A strategy is another one than then.
            InvariantBroken: The books that were saved don't balance.
        """
        row = self._market.row
        self._timers.restore(state.timers)
        for name, runner in self._runners.items():
            runner.restore(state.strategies[name], row, self._heard_row(runner))
        self._active = tuple(each for each in self._runners.values() if not each.quarantined)
        self.quarantined = list(state.quarantined)
        if self.breakers is not None and state.breakers is not None:
            self.breakers.restore(state.breakers)

    def _heard_row(self, runner: Runner) -> int:
        """The last row that `runner` was called with; -1 if there was none."""
        row = self._market.row if runner.on_row is not None else -1
        while row >= 0 and not runner.wants(self._index[row]):
            row -= 1
        return row

    @property
    def next_due(self) -> int:
        """When the next report or timer comes due, ns UTC; the largest int64 when none does."""
        return min(self._venue.next_arrival, self._timers.next_due)

    # A session from start to stop.

    def start(self, header: SessionStarted, deposits: Sequence[CapitalDeposited], ts: int) -> None:
        """First steps: header, capital, `on_start`."""
        self._log.begin(ts, -1)
        self._log.emit(header, 0, 0)
        for deposit in deposits:
            self._log.emit(deposit, 0, 0)
        for runner in self._active:
            self._call(runner, "on_start", runner.strategy.on_start, runner.context)
        if self.breakers is not None:
            for name, after_ns in self.breakers.first_check():
                self._timers.set("", name, ts + after_ns)
        for runner in self._active:
            self._ask(runner)
        self._end_step()
        self._deliver(ts, ts)

    def run_block(self, block: BarBlock, first_row: int) -> int:
        """Process the bars or prints of `block`: the timeline's rows from `first_row` on.

        A block ends where a time slice ends, and so does what is processed; it may be less than the
        block, see `pause_events`. Rows at which nothing rests, nothing is due and nobody decides
        take a quiet path that only calls the strategy; the result is the same.

        Returns:
            The next row to process.
        """
        stop = first_row + len(block)
        row = first_row
        while row < stop and not self._is_pause(row - 1):
            runner = self._active[0] if self._is_rows_only() else None
            if runner is not None and runner.on_row is not None:
                row = self._run_alone(runner, runner.on_row, block, first_row, row)
            else:
                row = self._run_rows(block, first_row, row)
        return row

    def _is_pause(self, row: int) -> bool:
        """Whether enough has happened to pause behind `row`."""
        return self._log.emitted >= self.pause_events and self._slice_end[row]

    def control(self, command: KillSwitchSet, ts: int) -> None:
        """An operator's command, as a step of its own."""
        ts = max(ts, self._log.now)
        self._deliver(ts - 1, ts - 1)
        self._log.begin(ts, self._market.row)
        self._log.emit(command, 0, 0)
        self._desk.apply_control(command)
        self._end_step()
        self._deliver(ts, ts - 1)

    def transfer(self, order: TransferOrdered, ts: int) -> None:
        """Capital between strategies, as a step of its own before the rows of its time."""
        ts = max(ts, self._log.now)
        self._deliver(ts - 1, ts - 1)
        self._log.begin(ts, self._market.row)
        self._desk.transfer(order, self._log.emit(order, 0, 0))
        self._end_step()
        self._deliver(ts, ts - 1)

    def apply_action(self, action: CorporateAction) -> None:
        """A corporate action, as a step of its own before the rows of its time.

        First the books, so that whoever hears of it finds them adjusted; then the orders of the
        instrument, which a cash dividend leaves as they are; then the strategies.
        """
        log = self._log
        ts = max(action.ts_known, log.now)
        self._deliver(ts, ts - 1)
        log.begin(ts, self._market.row)
        log.origin = log.cause = seq = log.emit(action, 0, 0)
        adjusted = self._contracts.adjust(action, seq)
        self._desk.adjust(action, seq)
        for name in adjusted:
            text = f"its contract is adjusted: {action.kind.value} of {action.instrument}"
            for report in self._venue.cancel_all(name, text):
                self._settle(report, seq)
        reason = _CANCEL_REASONS.get(action.kind)
        if reason is not None:
            text = reason.format(new=action.new_instrument or "cash")
            self._take_off(action.instrument, text, seq)
        for runner in self._active:
            hear = runner.on_corporate_action
            if hear is not None and runner.hears(action.instrument):
                self._call(runner, "on_corporate_action", hear, action, runner.context)
                self._ask(runner)
        self._end_step()
        self._deliver(ts, ts - 1)

    def _take_off(self, instrument: InstrumentId, reason: str, seq: int) -> None:
        """Take every order of an instrument off."""
        for report in self._venue.cancel_all(instrument, reason):
            self._settle(report, seq)

    def tell(self, drifted: FeatureDrifted, ts: int) -> None:
        """Put an alert on the tape, as a step of its own behind the newest row; nobody hears it."""
        log = self._log
        log.begin(max(ts, log.now), self._market.row)
        log.emit(drifted, log.market_seq, log.market_seq)
        log.finish()

    def apply_step(self, step: ContractStep) -> None:
        """What happens to a contract, as a step of its own before the rows of its time.

        First the books and, where the contract expires, its orders; then the margin; then the
        strategies.
        """
        log = self._log
        ts = max(step.ts_known, log.now)
        self._deliver(ts, ts - 1)
        log.begin(ts, self._market.row)
        log.origin = log.cause = seq = log.emit(step, 0, 0)
        self._contracts.apply(step, seq)
        if isinstance(step, ContractExpiry):
            for report in self._venue.cancel_all(step.instrument, "its instrument has expired"):
                self._settle(report, seq)
        if self._margin is not None and not isinstance(step, TradingStatus):  # it moves no mark
            self._check_margin(self._margin, seq)
        for runner in self._active:
            hear = runner.on_step.get(type(step))
            if hear is not None and runner.hears(step.instrument):
                self._call(runner, STEP_CALLBACKS[type(step)], hear, step, runner.context)
                self._ask(runner)
        self._end_step()
        self._deliver(ts, ts - 1)

    def end_day(self, day_end: DayEnd, tasks: Sequence[DayEndTask]) -> None:
        """The end of trading days, as a step of its own behind the rows and timers of its time.

        Without anything that is due it leaves nothing on the tape.
        """
        log = self._log
        ts = max(day_end.ts, log.now)
        self._deliver(ts, ts)
        log.begin(ts, self._market.row)
        for task in tasks:
            task.end_day(day_end)
        self._end_step()
        self._deliver(ts, ts)

    def stop(self, reason: str, ts: int) -> None:
        """Last step: `on_stop`, then the footer. Nothing is sent any more."""
        rows = self._market.row + 1
        self._log.begin(max(ts, self._log.now), rows - 1)
        self._stopping = True
        for runner in self._active:
            self._call(runner, "on_stop", runner.strategy.on_stop, runner.context)
            for each in runner.context.queue:
                if isinstance(each, SignalRecorded):
                    self._take_request(runner, each)
            runner.context.queue.clear()
        self._log.emit(SessionStopped(reason=reason, market_events=rows), 0, 0)
        self._log.finish()

    # Rows.

    def _is_rows_only(self) -> bool:
        """Whether one strategy is active and listens to every row and nothing else."""
        if len(self._active) != 1 or self._margin is not None or self.breakers is not None:
            return False
        runner = self._active[0]
        return (
            runner.on_row is not None
            and runner.on_slice is None
            and runner.generate is None
            and runner.subscribed is None
        )

    def _run_alone(
        self, runner: Runner, on_row: OnRow, block: BarBlock, first_row: int, row: int
    ) -> int:
        """Rows for one strategy that listens to rows; returns the next row to process."""
        stop = first_row + len(block)
        items = zip(
            range(row, stop),
            block.events(row - first_row),
            runner.feature_rows(row, stop),
            strict=True,
        )
        while not runner.quarantined:
            if not self._venue.active and not self._timers.waiting:
                row = self._run_quiet(runner, on_row, items)
                if row < 0:
                    return stop
                self._log.begin_market(row, block.ts_known[row - first_row])
                self._end_row(row)
                if self._log.emitted >= self.pause_events and self._slice_end[row]:
                    return row + 1
                continue
            item = next(items, None)
            if item is None:
                return stop
            row, event, features = item
            self._begin_row(block, first_row, row, event)
            runner.context.features = features
            self._call(runner, runner.row_callback, on_row, event, runner.context)
            self._end_row(row)
            if self._log.emitted >= self.pause_events and self._slice_end[row]:
                return row + 1
        return row + 1

    def _run_quiet(
        self, runner: Runner, on_row: OnRow, items: Iterator[tuple[int, RowEvent, Any]]
    ) -> int:
        """Call the strategy until it asks for something; returns that row, -1 at the end."""
        context = runner.context
        queue = context.queue
        market = self._market
        try:
            for row, event, features in items:
                market.row = row
                context.features = features
                on_row(event, context)
                if queue:
                    return row
        except InvariantBroken:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the edge to user code
            runner.failure = (runner.row_callback, error)
            return market.row
        return -1

    def _run_rows(self, block: BarBlock, first_row: int, row: int) -> int:
        """Rows for any mix of strategies; returns the next row to process."""
        stop = first_row + len(block)
        heard = self._hears_rows()
        ends = self._slice_end
        while row < stop:
            if not heard and not self._venue.active and not self._timers.waiting:
                row = self._find_slice_end(row)  # nothing happens before
            event = block.event(row - first_row)
            ts = self._begin_row(block, first_row, row, event)
            if self.breakers is not None and ends[row]:
                self.breakers.look()
            index = self._index[row]
            for runner in self._active:
                if runner.on_row is not None and runner.wants(index):
                    runner.context.features = runner.feature_row(row)
                    self._call(runner, runner.row_callback, runner.on_row, event, runner.context)
            if ends[row]:
                self._slice(block, first_row, row, ts)
            self._generate(index)
            self._end_row(row)
            row += 1
            if self._is_rows_only() or self._is_pause(row - 1):
                break
        return row

    def _hears_rows(self) -> bool:
        """Whether every row has to be gone through; else those that end no slice are skipped."""
        return any(each.on_row is not None or each.generate is not None for each in self._active)

    def _begin_row(self, block: BarBlock, first_row: int, row: int, event: RowEvent) -> int:
        """Before strategies see a row: what is due, then the venue; returns its time."""
        ts = block.ts_known[row - first_row]
        if self._venue.next_arrival <= ts or self._timers.next_due < ts:
            self._deliver(ts, ts - 1)
        log = self._log
        log.begin_market(row, ts)
        if self._venue.active:
            bar = event if isinstance(event, Bar) else block.bar(row - first_row)
            for report in self._venue.on_bar(bar, self._desk):
                self._settle(report, log.market_seq)
        self._market.row = row
        if self._margin is not None and self._slice_end[row]:
            self._check_margin(self._margin, log.market_seq)
        return ts

    def _end_row(self, row: int) -> None:
        """After strategies have seen a row: decisions, then what they make due at once.

        At one time timers come last, so they wait for the end of the slice.
        """
        self._end_step()
        ts = self._log.now
        timers_ts = ts if self._slice_end[row] else ts - 1
        if self._venue.next_arrival <= ts or self._timers.next_due <= timers_ts:
            self._deliver(ts, timers_ts)

    def _slice(self, block: BarBlock, first_row: int, row: int, ts: int) -> None:
        if all(each.on_slice is None for each in self._active):
            return
        start = row
        while start > first_row and not self._slice_end[start - 1]:
            start -= 1
        bars = tuple(islice(block.bars(start - first_row), row + 1 - start))
        for runner in self._active:
            if runner.on_slice is None:
                continue
            mine = bars
            if runner.subscribed is not None:
                of_bar = self._index[start : row + 1]
                mine = tuple(compress(bars, map(runner.subscribed.__getitem__, of_bar)))
            if mine:
                self._call(runner, "on_slice", runner.on_slice, TimeSlice(ts, mine), runner.context)

    # Between rows.

    def _deliver(self, ts: int, timers_ts: int) -> None:
        """Process what is due: venue reports up to `ts`, timers up to `timers_ts`, in order."""
        venue, timers, log = self._venue, self._timers, self._log
        while True:
            arrival, due = venue.next_arrival, timers.next_due
            if arrival <= ts and arrival <= due:
                market, now = self._market, log.now
                log.begin(arrival if arrival > now else now, market.row)
                for report in venue.arrive(arrival, market.last_close, market.session_close):
                    self._settle(report, 0)
            elif due <= timers_ts:
                log.begin(max(due, log.now), self._market.row)
                self._fire(*timers.pop())
            else:
                return
            self._end_step()

    def _fire(self, due: int, strategy: str, name: str) -> None:
        log = self._log
        if not strategy:  # a breaker's own, which looks at the data and not at a strategy
            if self.breakers is not None:
                self._timers.set("", name, self.breakers.check_data(name))
            return
        log.origin = log.cause = log.emit(TimerFired(strategy, name, due), 0, 0)
        runner = self._runners[strategy]
        self._count_round(runner)
        self._call(runner, "on_timer", runner.on_timer, name, runner.context)
        self._ask(runner)

    def _check_margin(self, margin: MarginDesk, cause: int) -> None:
        """Judge the margin of every strategy at the marks, liquidate, and tell them."""
        log = self._log
        for runner in self._runners.values():
            for status in margin.check(runner, cause, self._cancel_orders):
                if runner.on_margin is None:
                    continue
                origin, before = log.origin, log.cause
                log.cause = log.first_seq + len(log.events) - 1
                self._call(runner, "on_margin", runner.on_margin, status, runner.context)
                self._ask(runner)
                log.origin, log.cause = origin, before

    def _cancel_orders(self, runner: Runner, instrument: InstrumentId, cause: int) -> None:
        """Take the orders of a strategy off, in one instrument or (empty) in all."""
        for name in (instrument,) if instrument else runner.context.instruments:
            for report in self._venue.cancel_all(name, "liquidation", runner.name):
                self._settle(report, cause)

    def _settle(self, report: OrderReport | StrayFilled, cause: int) -> None:
        """A venue report: OMS, ledger, tape, then the strategy whose order it is."""
        log = self._log
        seq = log.first_seq + len(log.events)
        runner = self._desk.settle(report, cause)
        if runner is None:
            return
        if self.breakers is not None:
            newest = log.events[-1][0]
            change = newest if isinstance(newest, PositionChanged) else None
            self.breakers.hear(runner, report, change)
        if runner.on_order_update is not None:
            self._notify(runner, runner.on_order_update, report, seq)
        if runner.quarantined and isinstance(report, OrderFilled):
            self._desk.closing.cancel_entries(runner, seq)

    def _notify(self, runner: Runner, hear: OnUpdate, event: OrderEvent, seq: int) -> None:
        """Tell a strategy what happened to its order; what it asks for then is caused by that."""
        log = self._log
        origin, cause = log.origin, log.cause
        log.origin, log.cause = log.events[seq - log.first_seq][1], seq
        self._call(runner, "on_order_update", hear, event, runner.context)
        self._ask(runner)
        log.origin, log.cause = origin, cause

    # Decisions.

    def _end_step(self) -> None:
        """Take every decision of this step, give it to the tape, then send the commands."""
        for runner in self._active:
            if runner.failure is not None:
                self._quarantine(runner, *runner.failure)
            elif runner.context.queue and runner.generate is None:
                self._decide(runner)
        log = self._log
        log.finish()
        commands = self._desk.route.commands
        if commands:
            self._venue.receive(commands, log.now)
            commands.clear()

    def _generate(self, index: int) -> None:
        """Ask the strategies that override `generate_orders`, once an event of their market."""
        for runner in self._active:
            if runner.generate is not None and runner.wants(index):
                self._ask(runner)

    def _ask(self, runner: Runner) -> None:
        """What a strategy wants after it was heard: `generate_orders`, then the decisions."""
        self._generate_for(runner)
        if runner.context.queue:
            self._decide(runner)

    def _generate_for(self, runner: Runner) -> None:
        if runner.generate is not None:
            self._call(runner, "generate_orders", _queue_generated, runner, runner.generate)

    def _decide(self, runner: Runner) -> None:
        """Everything that a strategy asks for, and what it asks for when that is denied.

        Requests come before intents. What a denial makes it ask for waits behind the rest.
        """
        log = self._log
        origin, cause = log.origin, log.cause
        waiting: list[tuple[Intent, int, int]] = []
        self._take_queue(runner, waiting)
        for intent, began, asked in waiting:  # it grows meanwhile
            if runner.quarantined:
                break
            log.origin, log.cause = began, asked
            if type(intent) is ExerciseIntent:
                denied = self._contracts.exercise(runner, intent)
            else:
                denied = self._desk.decide(runner, intent)
            if denied is not None and runner.on_order_update is not None:
                log.cause = log.first_seq + len(log.events) - 1
                self._call(
                    runner, "on_order_update", runner.on_order_update, denied, runner.context
                )
                self._generate_for(runner)
                self._take_queue(runner, waiting)
        log.origin, log.cause = origin, cause

    def _take_queue(self, runner: Runner, waiting: list[tuple[Intent, int, int]]) -> None:
        """Carry out the requests that are queued; the intents wait for their turn."""
        queue = runner.context.queue
        if not queue:
            return
        self._count_round(runner)
        log = self._log
        for each in queue:
            if type(each) is TimerRequest or type(each) is SignalRecorded:
                self._take_request(runner, each)
            else:
                waiting.append((each, log.origin, log.cause))
        queue.clear()

    def _count_round(self, runner: Runner) -> None:
        """Quarantine a strategy that is heard too often without time moving on."""
        now = self._log.now
        if runner.ts_rounds != now:
            runner.ts_rounds = now
            runner.rounds = 0
        runner.rounds += 1
        if runner.rounds > STEPS_WITHOUT_TIME_MAX:
            error = StrategyError(
                f"decided {STEPS_WITHOUT_TIME_MAX} times without time moving on",
                remedy="don't answer every order update with a new order",
            )
            self._quarantine(runner, "on_order_update", error)

    def _take_request(self, runner: Runner, request: TimerRequest | SignalRecorded) -> None:
        if isinstance(request, TimerRequest):
            self._timers.set(runner.name, request.name, max(request.ts_due, self._log.now))
        else:
            self._log.emit(request, self._log.origin, self._log.cause)

    # A failure stays where it happens.

    def _call(self, runner: Runner, name: str, callback: Callable[..., None], *args: Any) -> None:
        if runner.quarantined:
            return
        try:
            callback(*args)
        except InvariantBroken:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the edge to user code
            self._quarantine(runner, name, error)

    def _quarantine(self, runner: Runner, callback: str, error: BaseException) -> None:
        """Take a strategy out: its queue is dropped, its orders that protect a position stay."""
        if runner.quarantined:
            return
        text = (
            str(error) if isinstance(error, StrategyError) else f"{type(error).__name__}: {error}"
        )
        self._take_out(
            runner, StrategyQuarantined(runner.name, callback, text, runner.place_of(error))
        )

    def _take_out(self, runner: Runner, event: StrategyQuarantined) -> None:
        """What `_quarantine` does, as `event` tells it."""
        runner.quarantined = True
        runner.failure = None
        runner.context.queue.clear()
        self._active = tuple(each for each in self._active if each is not runner)
        self.quarantined.append(event)
        seq = self._log.emit(event, self._log.origin, self._log.cause)
        if not self._stopping:
            self._desk.closing.cancel_entries(runner, seq)


def _queue_generated(runner: Runner, generate: Callable[[Context], Sequence[Intent]]) -> None:
    """Queue what an overridden `generate_orders` returns."""
    context = runner.context
    for intent in generate(context):
        context.check_intent(intent)
        runner.take_number(intent.intent)
        context.queue.append(intent)
