"""The pipeline of a session whose inputs come from outside, one at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import msgspec

from onetape.domain.errors import InvariantBroken, StrategyStuck
from onetape.domain.events import KillSwitchSet, OrderReport, StrategyQuarantined, StrayFilled
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import BarBlock, CorporateAction, RowEvent
from onetape.domain.venue import (
    ConnectionChanged,
    ConnectionPart,
    OperatorAction,
    OperatorCommand,
    ReportKind,
    SessionResumed,
    VenueReport,
    VenueSnapshot,
)
from onetape.execution.emulation import OrderEmulator
from onetape.marketdata.session_rows import Row, RowSlice
from onetape.runtime.live_log import LiveLog
from onetape.runtime.live_market import LiveMarket
from onetape.runtime.live_runner import FeatureFailed, LiveRunner
from onetape.runtime.pipeline import Pipeline
from onetape.runtime.runner import Runner
from onetape.runtime.venue_desk import Settle

LiveInput = (
    ConnectionChanged | CorporateAction | KillSwitchSet | OperatorCommand | SessionResumed
    | VenueReport | VenueSnapshot
)  # fmt: skip
"""What comes besides rows: each is the first event of a step of its own."""

OPERATOR, OUTAGE = "operator", "outage"
"""Who may pause a session, besides its breakers."""

_ENDING = {ReportKind.FILLED, ReportKind.CANCELED, ReportKind.EXPIRED, ReportKind.REJECTED,
           ReportKind.NOT_FOUND}  # fmt: skip
"""Behind these an order may be gone, or what is held another."""


FEATURE = "feature "
"""What stands for the callback where a feature has failed; its name follows."""

FEATURES = -1
"""The number of the call that moves the features of a slice."""

_STUCK = re.compile(r"did not come back within .*; call ([1-9]\d*) of the step$")

StuckCall = tuple[str, int, int, int]
"""Where a strategy did not come back: its name, the step's first seq and market index, and which of
its calls in that step it was (from 1, or `FEATURES`)."""


def next_call(event: StrategyQuarantined) -> StuckCall:
    """For a run whose steps are others: the next call, or the features of the next slice."""
    return event.strategy, -1, -1, FEATURES if event.callback.startswith(FEATURE) else 0


class LivePipelineState(msgspec.Struct, frozen=True, kw_only=True):
    """What a `LivePipeline` remembers besides what a `Pipeline` does.

    `down` are the parts whose connection is gone, `operator_pauses` the strategies that an operator
    has paused, `flattening` those of them whose positions are to be closed. `obsolete` are orders
    from before a corporate action that are to be gone at the venue.
    """

    down: list[tuple[str, str]]
    operator_pauses: list[str]
    is_stopping: bool
    flattening: list[str] = []
    obsolete: list[str] = []


class Correspondence(Protocol):
    """What follows the account at a real venue: reports of orders, and reconciliation."""

    def doubt(self) -> None:
        """From now on nothing opens anything, until a look finds the books equal."""
        ...

    def expect(self, action: CorporateAction) -> AbstractContextManager[None]:
        """What is booked inside the block the venue may book earlier, later, or rounded."""
        ...

    def take_report(self, report: VenueReport, settle: Settle, seq: int) -> None:
        """What a report means for the order that it is of."""
        ...

    def take_snapshot(self, snapshot: VenueSnapshot, settle: Settle, seq: int) -> None:
        """What the venue's books say beside ours."""
        ...


class LivePipeline(Pipeline):
    """Takes rows, reports, commands and news of connections, each at a later time than the last.

    Attributes:
        correspondence: Who follows a real venue; None: the venue is simulated.
        emulator: What holds orders that the venue lacks; None: it lacks nothing.
        is_stopping: Whether an operator has asked the session to stop.
        stuck: In a re-run: the calls that did not come back. The strategy is taken out instead of
            being called.
    """

    correspondence: Correspondence | None = None
    emulator: OrderEmulator | None = None
    is_stopping: bool = False

    def attach(
        self, market: LiveMarket, log: LiveLog, *, pauses_in_outage: bool, cancels_on_stop: bool
    ) -> None:
        """Give it what is its own; once, when it is built."""
        self._live_market = market
        self._live_log = log
        self._pauses_in_outage = pauses_in_outage
        self._cancels_on_stop = cancels_on_stop
        self.stuck: dict[StuckCall, StrategyQuarantined] = {}
        self._calls: dict[str, int] = {}
        self._counted_step = 0
        self._failed: list[tuple[LiveRunner, StrategyQuarantined]] = []
        self._down: set[tuple[str, str]] = set()
        self._operator_pauses: set[str] = set()
        self._flattening: set[str] = set()
        self._obsolete: list[str] = []

    @property
    def down(self) -> list[tuple[str, str]]:
        """(part, name) of each connection that is gone."""
        return sorted(self._down)

    def save_live(self) -> LivePipelineState:
        """What it remembers besides `save`."""
        return LivePipelineState(
            down=sorted(self._down),
            operator_pauses=sorted(self._operator_pauses),
            is_stopping=self.is_stopping,
            flattening=sorted(self._flattening),
            obsolete=list(self._obsolete),
        )

    def restore_live(self, state: LivePipelineState) -> None:
        """Go on where `state` was saved."""
        self._down = set(state.down)
        self._operator_pauses = set(state.operator_pauses)
        self._flattening = set(state.flattening)
        self._obsolete = list(state.obsolete)
        self.is_stopping = state.is_stopping

    # Rows.

    def take_slice(self, given: RowSlice, first_row: int) -> None:
        """Process the bars or ticks of one time slice, the rows from `first_row` on."""
        self._live_log.begin_slice(first_row, given.heard)
        self._live_market.begin_slice(first_row, given.rows, given.owners)
        for runner in self._runners.values():
            self._move_features(self._live(runner), first_row, given.rows)
        if given.heard[0].is_history:
            self._warm_up(first_row, len(given.rows))
        else:
            self.run_block(given.block, first_row)
        for runner in self._runners.values():
            if runner.watch is not None:
                runner.watch.advance()

    def _warm_up(self, first_row: int, rows: int) -> None:
        """Rows from before the session move marks and features; nobody hears them."""
        for row in range(first_row, first_row + rows):
            self._log.begin_market(row, self._live_log.ts_of(row))
            self._take_out_failed()
            self._market.row = row
            self._log.finish()

    def _move_features(self, runner: LiveRunner, first_row: int, rows: Sequence[Row]) -> None:
        """Move the features of a strategy; where one fails, the first row's step takes it out.

        A feature of a strategy that is out already is told too: a re-run may not call what did not
        come back.
        """
        place = next((each for each in self.stuck if each[0] == runner.name
                      and each[-1] == FEATURES), None)  # fmt: skip
        if place is not None:
            runner.live.drop()
            self._failed.append((runner, self.stuck.pop(place)))
        try:
            runner.begin_slice(first_row, rows)
        except FeatureFailed as failed:
            event = StrategyQuarantined(
                runner.name, f"{FEATURE}{failed.name}", failed.text, failed.place
            )
            self._failed.append((runner, event))

    def _begin_row(self, block: BarBlock, first_row: int, row: int, event: RowEvent) -> int:
        ts = super()._begin_row(block, first_row, row, event)
        self._take_out_failed()
        return ts

    def _take_out_failed(self) -> None:
        failed, self._failed = self._failed, []
        for runner, event in failed:
            self._take_out(runner, event)

    def _live(self, runner: Runner) -> LiveRunner:
        if not isinstance(runner, LiveRunner):
            raise InvariantBroken(f"strategy {runner.name} has no live features")
        return runner

    def _is_rows_only(self) -> bool:
        return False  # every row stands on the tape

    def _hears_rows(self) -> bool:
        return True

    def _heard_row(self, runner: Runner) -> int:
        if runner.on_row is None:
            return -1
        return max(map(self._live_market.newest_row, runner.context.instruments))

    # What comes besides.

    def take(self, given: LiveInput, ts: int) -> None:
        """Process an input that is no row, as a step of its own."""
        if isinstance(given, CorporateAction):
            self._apply_at(given, ts)
            return
        ts = max(ts, self._log.now)
        self._deliver(ts - 1, ts - 1)
        log = self._log
        log.begin(ts, self._market.row)
        log.origin = log.cause = seq = log.emit(given, 0, 0)
        match given:
            case VenueReport():
                self._correspond().take_report(given, self._settle_as(seq), seq)
                if given.kind in _ENDING:
                    self._flatten_again(seq, behind=given.client_order_id)
            case VenueSnapshot():
                self._correspond().take_snapshot(given, self._settle_as(seq), seq)
                self._cancel_again(seq)
                self._obsolete = self._desk.closing.cancel_each(self._obsolete, seq)
                self._flatten_again(seq)
            case ConnectionChanged():
                self._connect(given)
            case OperatorCommand():
                self._operate(given, seq)
            case KillSwitchSet():
                self._kill(given, seq)
            case SessionResumed():
                self._down.clear()  # connections are new; one that can't be made is told again
                self._pause_outage()
                if self.correspondence is not None:
                    self.correspondence.doubt()
        self._end_step()
        self._deliver(ts, ts - 1)

    def _apply_at(self, action: CorporateAction, ts: int) -> None:
        if action.ts_known != ts:
            raise InvariantBroken(f"a corporate action known at {action.ts_known} comes at {ts}")
        venue = self.correspondence
        with venue.expect(action) if venue is not None else nullcontext():
            self.apply_action(action)

    def _take_off(self, instrument: InstrumentId, reason: str, seq: int) -> None:
        super()._take_off(instrument, reason, seq)
        if self.correspondence is not None:  # a real venue is asked, until they are gone
            found = self._desk.closing.cancel_each(self._desk.claims.open_in(instrument), seq)
            self._obsolete += [each for each in found if each not in self._obsolete]

    def advance(self, ts: int) -> None:
        """Time has come to `ts`: what is due by then is processed."""
        self._deliver(ts, ts)

    def _cancel_again(self, seq: int) -> None:
        """What was to be canceled while nobody knew whether it was there, and is there now."""
        for runner in self._runners.values():
            if self.is_stopping and self._cancels_on_stop:
                self._desk.closing.cancel_orders(runner, seq)
            elif runner.quarantined or self._desk.is_killed:
                self._desk.closing.cancel_entries(runner, seq)

    def _flatten_again(self, seq: int, behind: str = "") -> None:
        """Close what could not be closed before, or came after.

        What becomes of a closing order itself brings no new one before the next look: a venue that
        refuses it would be asked without end.
        """
        for name in sorted(self._flattening):
            runner = self._runners[name]
            if self._desk.closing.is_flat(runner):
                self._flattening.discard(name)
            elif not self._desk.closing.is_closing(runner, behind):
                self._desk.closing.flatten(runner, seq)

    def _correspond(self) -> Correspondence:
        if self.correspondence is None:
            raise InvariantBroken("a venue reports to a session that has none")
        return self.correspondence

    def _settle_as(self, cause: int) -> Settle:
        def settle(report: OrderReport | StrayFilled) -> None:
            self._settle(report, cause)
            if self.emulator is not None:
                self.emulator.hear(report)

        return settle

    def _connect(self, change: ConnectionChanged) -> None:
        key = (change.part.value, change.name)
        if not change.instruments:
            (self._down.discard if change.is_up else self._down.add)(key)
        if change.part is ConnectionPart.VENUE and self.correspondence is not None:
            self.correspondence.doubt()
        self._pause_outage()
        for runner in self._active:
            hear = runner.on_connection
            if hear is not None and (
                not change.instruments or any(map(runner.hears, change.instruments))
            ):
                self._call(runner, "on_connection", hear, change, runner.context)
                self._ask(runner)

    def _pause_outage(self) -> None:
        """While the venue is gone nothing can be sent; without data it is for the policy to say."""
        is_paused = any(
            part == ConnectionPart.VENUE.value or self._pauses_in_outage for part, _ in self._down
        )
        self._desk.pause(self._runners if is_paused else (), OUTAGE)

    def _kill(self, command: KillSwitchSet, seq: int) -> None:
        self._desk.apply_control(command)
        if command.active:
            for runner in self._runners.values():
                self._desk.closing.cancel_entries(runner, seq)

    def _operate(self, command: OperatorCommand, seq: int) -> None:
        whose = [command.strategy] if command.strategy else list(self._runners)
        if command.action is OperatorAction.RESUME:
            self._operator_pauses.difference_update(whose)
            self._flattening.difference_update(whose)
        else:
            self._operator_pauses.update(whose)
        self._desk.pause(self._operator_pauses, OPERATOR)
        if command.action is OperatorAction.FLATTEN:
            if self.correspondence is not None:  # the simulated venue trims what closes
                self._flattening.update(whose)
            for name in whose:
                self._desk.closing.flatten(self._runners[name], seq)
        elif command.action is OperatorAction.STOP:
            self.is_stopping = True
            if self._cancels_on_stop:
                for runner in self._runners.values():
                    self._desk.closing.cancel_orders(runner, seq)

    # A strategy that does not come back stops where chance has it, so the tape says in which call.

    def _call(self, runner: Runner, name: str, callback: Callable[..., None], *args: Any) -> None:
        log = self._live_log
        if self._counted_step != log.steps:
            self._counted_step = log.steps
            self._calls.clear()
        number = self._calls[runner.name] = self._calls.get(runner.name, 0) + 1
        if self.stuck:
            stuck = self.stuck.pop((runner.name, *log.step, number), None)
            stuck = self.stuck.pop((runner.name, -1, -1, 0), stuck)
            if stuck is not None and not runner.quarantined:
                self._take_out(runner, stuck)
                return
        try:
            super()._call(runner, name, callback, *args)
        except StrategyStuck as error:
            what = f"{error}; call {number} of the step"
            self._take_out(
                runner, StrategyQuarantined(runner.name, name, what, runner.place_of(error))
            )


def find_call(quarantined: StrategyQuarantined) -> int:
    """In which call of a step a strategy did not come back; 0 where it raised by itself."""
    if quarantined.callback.startswith(FEATURE):
        return FEATURES if quarantined.error.startswith("did not come back within ") else 0
    found = _STUCK.search(quarantined.error)
    return int(found[1]) if found else 0
