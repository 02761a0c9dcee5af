"""The realtime session: inputs in, events and commands out; without a clock and without I/O.

Paper and live are this one class. In paper the venue is the simulated one, inside; in live commands
leave by the outbox and the venue's reports are inputs. Every input stands on the tape, so a session
is a function of them: it runs again, to the byte, when they are given again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

import onetape
from onetape.domain.errors import ConfigError, DataError
from onetape.domain.events import CapitalDeposited, OrderSubmitted, SessionStarted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import index_of, make_legs
from onetape.domain.market import BookDelta, CorporateAction
from onetape.domain.orders import OrderStatus
from onetape.domain.ports import TapeWriter
from onetape.domain.venue import ReportKind, RowHeard, VenueReport
from onetape.execution.emulation import EmulatorState
from onetape.execution.oms import Oms, Order
from onetape.execution.outbox import VenueOutbox
from onetape.execution.reconciliation import ReconciliationPolicy
from onetape.execution.simulated.terms import VenueTerms
from onetape.execution.simulated.venue import SimulatedVenue, VenueState
from onetape.execution.venue_memory import VenueMemory
from onetape.features.drift import DriftSettings
from onetape.marketdata.session_rows import LiveRows
from onetape.marketdata.standing_ticks import StandingState
from onetape.portfolio.ledger import Ledger
from onetape.risk.approval import RiskEngine
from onetape.risk.breakers import build_breakers
from onetape.risk.limits import RiskLimits, build_gates
from onetape.runtime.breakers import Breakers
from onetape.runtime.contract_desk import ContractDesk
from onetape.runtime.drift_watch import DriftWatch, Watched, WatchState
from onetape.runtime.equity_watch import AccountBooks, EquityWatch, WatchedBooks
from onetape.runtime.live_log import LiveLog
from onetape.runtime.live_market import HISTORY_BARS, LiveMarket, LiveMarketState
from onetape.runtime.live_pipeline import LiveInput, LivePipeline, LivePipelineState
from onetape.runtime.live_runner import (
    BAR_FIELDS,
    LiveFeatures,
    LiveFeaturesState,
    LiveRunner,
)
from onetape.runtime.market_state import Valuation
from onetape.runtime.order_desk import DeskState, OrderDesk
from onetape.runtime.pipeline import PipelineState
from onetape.runtime.refusals import Refusal, refuse_first
from onetape.runtime.risk_controls import RiskControls
from onetape.runtime.session_view import SessionView
from onetape.runtime.sessions.backtest import SessionIdentity, StrategySpec
from onetape.runtime.sessions.venue_choice import (
    build_emulator,
    build_venue,
    check_fills,
    refuse_legs,
)
from onetape.runtime.step_log import StepLogState
from onetape.runtime.venue_desk import VenueDesk
from onetape.strategy.context import Context
from onetape.strategy.slice_features import check_slice_features

_WAITING = (OrderStatus.SUBMITTED, OrderStatus.CANCEL_PENDING, OrderStatus.REPLACE_PENDING)
_NOT_CANCELED = (OrderStatus.CANCEL_PENDING, OrderStatus.UNKNOWN)

STATE_VERSION = 1
"""Version of everything below; a session goes on from its own version only."""


class RealtimeState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a realtime session knows between two inputs.

    `venue` is None where it is a real one; `standing` is what stands behind the newest ticks;
    `actions` are the corporate actions that it has met.
    """

    version: int
    now: int
    ts_start: int
    log: StepLogState
    market: LiveMarketState
    features: dict[str, LiveFeaturesState]
    desk: DeskState
    pipeline: PipelineState
    live: LivePipelineState
    venue: VenueState | None = None
    memory: VenueMemory | None = None
    drift: WatchState | None = None
    standing: list[StandingState] = []
    emulator: EmulatorState | None = None
    actions: list[CorporateAction] = []


class RealtimeIdentity(SessionIdentity, frozen=True, kw_only=True):
    """What the header of a realtime session says. `ts_start` (ns UTC) makes its id its own."""

    ts_start: int = 0

    def session_id(self, instruments: Sequence[Instrument]) -> str:
        """16 hex digits of configuration, seed, instruments and start."""
        parts = [self.config_hash, str(self.seed), str(self.ts_start)]
        parts += [msgspec.json.encode(each).decode() for each in instruments]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class RealtimePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a realtime session behaves where people choose.

    Attributes:
        history_bars: Bars of each instrument that strategies may ask back for.
        pauses_in_outage: Whether entries are paused while the feed is down.
        cancels_on_stop: Whether open orders are canceled when the session is asked to stop.
        is_simulated: Whether the venue is the simulated one.
        reconciliation: What to do where a real venue's books differ from ours.
        drift: How features are watched; None: not at all.
    """

    history_bars: int = HISTORY_BARS
    pauses_in_outage: bool = True
    cancels_on_stop: bool = True
    is_simulated: bool = True
    reconciliation: ReconciliationPolicy = ReconciliationPolicy()
    drift: DriftSettings | None = None


class RealtimeSession:
    """One wiring of a session that gets its inputs one by one.

    Args:
        instruments: In the order that breaks ties in time.
        timeframe: Length of the bars; or which ticks, as a configuration says it.
        source: Provenance of the rows, as strategies see it.
        specs: The strategies, in the order in which they see each event.
        terms: How the simulated venue fills and charges; of a real one the fees are expected.
        limits: Risk limits, for each strategy on its own books.
        tape: Where the events go.
        identity: What the header says.
        policy: What people choose.

    Attributes:
        session: Its id.
        actions: The corporate actions that it has met, in order.
        now: The time of its newest input, or up to which it has advanced, ns UTC.
        ts_start: When it began, ns UTC.

    Raises:
        ConfigError: Something is asked for that a realtime session does not carry.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        timeframe: str,
        source: str,
        specs: Sequence[StrategySpec],
        terms: VenueTerms,
        limits: RiskLimits,
        tape: TapeWriter,
        identity: RealtimeIdentity,
        policy: RealtimePolicy,
    ) -> None:
        check_carried(instruments, specs, terms, limits, is_simulated=policy.is_simulated)
        self._specs = specs
        self._identity = identity
        self._instruments = tuple(instruments)
        self.session = identity.session or identity.session_id(instruments)
        self._log = LiveLog(tape)
        self._rows = LiveRows(instruments, timeframe, source, has_legs=terms.has_legs)
        tradable = self._rows.tradable
        check_fills(self._rows, terms)
        self._market = LiveMarket(self._rows, limits.trading_day, policy.history_bars)
        self._oms = Oms()
        self._view = SessionView(self._rows, self._market, self._oms, self._log)
        self._index = {each.id: at for at, each in enumerate(instruments)}
        ledgers: list[Ledger] = []
        account = None
        if limits.account.watches:
            account = self._build_watch(AccountBooks(ledgers), None)
        self._is_watched = account is not None or limits.watches
        self.runners = {each.name: self._build_runner(each, limits, account) for each in specs}
        ledgers += [each.ledger for each in self.runners.values()]
        if account is not None:
            account.begin()
        self._view.runners = self.runners
        controls = RiskControls(
            limits, self._log, self._market, self._oms, tradable, self.runners, account
        )
        self.desk = OrderDesk(
            self._log, self._market, self._oms, tradable, terms.fees, self.runners,
            controls=controls, is_cash_account=limits.is_cash_account,
            allows_short=limits.allow_short,
        )  # fmt: skip
        self.outbox = VenueOutbox()
        self._simulated: SimulatedVenue | None = None
        if policy.is_simulated:
            self._simulated = build_venue(self._rows, terms, self._market, self.desk)
        venue = self._simulated or self.outbox
        self._emulator = build_emulator(
            venue, self._rows, terms.capabilities, self._oms, self.desk, self._log
        )
        breakers = None
        if limits.breakers:
            breakers = Breakers(
                build_breakers(limits.breakers), self._rows, self._market, self._log, self.desk,
                self.runners,
            )  # fmt: skip
        self.pipeline = LivePipeline(
            self._rows, self._market, list(self.runners.values()), self.desk,
            self._emulator or venue, self._log,
            ContractDesk(self._log, self._market, tradable, self.runners, self.desk),
            None, breakers,
        )  # fmt: skip
        self._venue_desk: VenueDesk | None = None
        if not policy.is_simulated:
            self._venue_desk = self.pipeline.correspondence = VenueDesk(
                instruments, self._oms, self.runners, self.desk, self._log, policy.reconciliation,
                self.outbox.strays.append,
            )  # fmt: skip
        self.pipeline.emulator = self._emulator
        self.pipeline.attach(
            self._market, self._log, pauses_in_outage=policy.pauses_in_outage,
            cancels_on_stop=policy.cancels_on_stop,
        )  # fmt: skip
        self._drift: DriftWatch | None = None
        if policy.drift is not None:
            self._drift = DriftWatch(
                [Watched(name, each.live.features, each.context.instruments)
                 for name, each in self.runners.items()],
                policy.drift,
            )  # fmt: skip
        self.actions: list[CorporateAction] = []
        self.now = 0
        self.ts_start = 0

    def _build_watch(self, books: WatchedBooks, account: EquityWatch | None) -> EquityWatch:
        index = index_of(self._rows.tradable)
        owners = None if len(index) == 1 else self._rows.row_owners
        return EquityWatch(books, self._market, index, owners, self._rows.row_ends, account)

    def _build_runner(
        self, spec: StrategySpec, limits: RiskLimits, account: EquityWatch | None
    ) -> LiveRunner:
        wanted = spec.instruments or tuple(self._index)
        for identity in wanted:
            if identity not in self._index:
                raise ConfigError(f"strategy {spec.name} trades unknown instrument {identity!r}",
                                  remedy="add it to data.instruments")  # fmt: skip
        instruments = [self._instruments[self._index[each]] for each in wanted]
        tradable = [*instruments, *(make_legs(instruments) if self._rows.legs else ())]
        features = dict(spec.strategy.features() if spec.features is None else spec.features)
        check_slice_features(spec.strategy, features)
        ledger = Ledger(spec.name, spec.currency, tradable)
        ledger.deposit(spec.capital)
        prefix = f"{self.session[:8]}-{spec.name}-"
        empty: dict[str, npt.NDArray[np.float64]] = {name: np.zeros(0) for name in features}
        runner = LiveRunner(
            spec.name,
            spec.strategy,
            Context(spec.name, tradable, self._view, prefix),
            ledger,
            Valuation(ledger, self._market, index_of(self._rows.tradable)),
            self._build_watch(ledger, account) if self._is_watched else None,
            empty,
            tradable,
            None if len(wanted) == len(self._index) else [each in wanted for each in self._index],
            prefix,
            RiskEngine(build_gates(limits)),
            self._rows.kind,
        )
        columns = BAR_FIELDS if self._rows.kind == "bars" else self._rows.columns
        runner.attach(LiveFeatures(features, wanted, columns), self._market)
        return runner

    # Inputs.

    @property
    def next_due(self) -> int:
        """When `advance` has something to do, ns UTC; the largest int64: not by time alone."""
        return self.pipeline.next_due

    def start(self, ts: int) -> None:
        """The first steps: header, capital, `on_start`."""
        deposits = [
            CapitalDeposited(each.name, each.currency, each.capital) for each in self._specs
        ]
        self.now = self.ts_start = ts
        if self._venue_desk is not None:
            self._venue_desk.doubt()
        self.pipeline.start(self._header(), deposits, ts)

    def take_rows(self, heard: Sequence[RowHeard]) -> None:
        """The bars or ticks of one slice, all with the same `ts_known`, later than `now`."""
        self._move_to(heard[0].ts_known)
        first_row = self._rows.total
        given = self._rows.take(heard)
        self.pipeline.take_slice(given, first_row)
        if self._drift is not None:
            for name, runner in self.runners.items():
                for row, values in zip(given.rows, runner.slice_values, strict=False):
                    if values is not None:
                        self._drift.take(name, row.instrument, values)
            for drifted in self._drift.end_slice():
                self.pipeline.tell(drifted, self.now)

    def take(self, given: LiveInput, ts: int) -> None:
        """Any other input, at `ts`, which is later than `now`."""
        self._move_to(ts)
        self.pipeline.take(given, ts)
        if isinstance(given, CorporateAction):
            self.actions.append(given)

    def advance(self, ts: int) -> None:
        """Process what has come due by `ts`."""
        if ts > self.now:
            self.now = ts
            self.pipeline.advance(ts)

    def stop(self, reason: str, ts: int) -> None:
        """The last step: `on_stop`, then the footer."""
        self._move_to(ts)
        self.pipeline.stop(reason, ts)

    def _move_to(self, ts: int) -> None:
        """Time goes on; behind a corporate action something else may come at its time."""
        is_behind_action = self.actions and self.actions[-1].ts_known == self.now == ts
        if ts <= self.now and not is_behind_action:
            raise DataError(f"an input of {ts} comes after {self.now}")
        self.now = ts

    def equity(self, strategy: str) -> int:
        """Equity of a strategy at the marks, in minor units."""
        return self._view.equity(strategy)

    @property
    def rows(self) -> int:
        """How many bars or ticks have come."""
        return self._rows.total

    @property
    def events(self) -> int:
        """How many events have been written."""
        return self._log.emitted + self._rows.total

    @property
    def wants_look(self) -> str:
        """Why the venue's books are to be asked for; empty: they need not be."""
        desk = self._venue_desk
        return "something is unclear" if desk is not None and desk.wants_look else ""

    @property
    def look_since(self) -> int:
        """From when on fills may be unknown, ns UTC."""
        since = self._venue_desk.look_since if self._venue_desk is not None else 0
        return since or self.ts_start

    @property
    def strategies(self) -> Sequence[str]:
        """The names of its strategies."""
        return list(self.runners)

    def encode_state(self) -> bytes:
        """`save`, as bytes."""
        return encode_realtime(self.save())

    def newest_closes(self) -> dict[InstrumentId, int]:
        """When the newest row of each instrument closed, ns UTC; -1 where there is none."""
        return {each.id: self._market.last_close(each.id) for each in self._instruments}

    def clear_depth(self) -> list[tuple[BookDelta, ...]]:
        """What leaves no level of any depth: a feed that begins anew tells the levels again."""
        return self._rows.clear_depth(max(self.newest_closes().values()))

    def newest_prints(self) -> dict[InstrumentId, str]:
        """`trade_id` of the newest print of each instrument, as far as one is remembered."""
        return {each.id: self._market.newest_print(each.id) for each in self._instruments}

    def submitted_orders(self) -> list[OrderSubmitted]:
        """The orders that are open at the venue, as they would be submitted now."""
        return [
            OrderSubmitted(
                each.client_order_id, each.strategy, each.instrument, each.side, each.order_type,
                each.time_in_force, each.lots, each.limit_ticks, each.stop_ticks, each.ts_expire,
                reduce_only=each.reduce_only, conditions=each.conditions,
            )
            for each in self._oms.open.values()
            if each.status is not OrderStatus.EMULATED
        ]  # fmt: skip

    def unanswered(self) -> list[VenueReport]:
        """For each command that has no answer: that it may have left, or may not."""
        return [
            VenueReport(
                kind=ReportKind.UNANSWERED, client_order_id=each.client_order_id,
                instrument=each.instrument, side=each.side, reason="the process began anew",
            )
            for each in self._oms.open.values()
            if each.status in _WAITING
        ]  # fmt: skip

    def state_of(self, strategy: str) -> str:
        """`paused` or `running`."""
        return "paused" if self.desk.is_paused(strategy) else "running"

    def list_differences(self) -> list[str]:
        """What differs at the venue so that nothing may open, for people."""
        return self._venue_desk.list_differences() if self._venue_desk is not None else []

    @property
    def instruments(self) -> dict[InstrumentId, Instrument]:
        """Everything that can be traded, by its id."""
        return {each.id: each for each in self._rows.tradable}

    def list_open(self) -> list[Order]:
        """The open orders, oldest first."""
        return list(self._oms.open.values())

    @property
    def open_orders(self) -> int:
        """How many orders are open."""
        return len(self._oms.open)

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self.pipeline.is_stopping

    @property
    def uncanceled_orders(self) -> int:
        """How many orders are open that could be asked to be canceled."""
        return sum(each.status not in _NOT_CANCELED for each in self._oms.open.values())

    def is_open(self, client_order_id: str) -> bool:
        """Whether an order of ours is open."""
        return client_order_id in self._oms.open

    # State.

    def save_books(self) -> tuple[int, DeskState, PipelineState]:
        """The newest row, orders and strategies; between two steps, also within a slice."""
        return self._market.row, self.desk.save(), self.pipeline.save()

    def save(self) -> RealtimeState:
        """The state of the session between two inputs."""
        return RealtimeState(
            version=STATE_VERSION,
            now=self.now,
            ts_start=self.ts_start,
            log=self._log.save(),
            market=self._market.save(),
            features={name: each.live.save() for name, each in self.runners.items()},
            desk=self.desk.save(),
            pipeline=self.pipeline.save(),
            live=self.pipeline.save_live(),
            venue=self._simulated.save() if self._simulated is not None else None,
            memory=self._venue_desk.save() if self._venue_desk is not None else None,
            drift=self._drift.save() if self._drift is not None else None,
            standing=self._rows.save(),
            emulator=self._emulator.save() if self._emulator is not None else None,
            actions=list(self.actions),
        )

    def restore(self, state: RealtimeState) -> None:
        """Go on where `state` was saved by a session of the same configuration.

        Raises:
            DataError: The state is of another version of onetape.
            StrategyError: A strategy is another one than then.
        """
        if state.version != STATE_VERSION:
            raise DataError(
                f"a snapshot of version {state.version}, and this onetape goes on from version "
                f"{STATE_VERSION}",
                remedy="go on with the onetape that the session ran on",
            )
        self.now, self.ts_start = state.now, state.ts_start
        self._market.load(state.market)
        self._rows.load(state.standing)
        self._log.restore(state.log)
        for name, each in self.runners.items():
            each.live.restore(state.features[name])
        self.desk.restore(state.desk)
        if self._simulated is not None and state.venue is not None:
            self._simulated.restore(state.venue)
        if self._emulator is not None and state.emulator is not None:
            self._emulator.restore(state.emulator)
        if self._venue_desk is not None and state.memory is not None:
            self._venue_desk.restore(state.memory)
        if self._drift is not None and state.drift is not None:
            self._drift.restore(state.drift)
        self.actions = list(state.actions)
        for each in self.actions:
            self.desk.end(each)
        self.pipeline.restore(state.pipeline)
        self.pipeline.restore_live(state.live)

    def _header(self) -> SessionStarted:
        return SessionStarted(
            session=self.session,
            mode=self._identity.mode,
            config=self._identity.config,
            config_hash=self._identity.config_hash,
            code_version=onetape.__version__,
            strategy_versions={spec.name: spec.version for spec in self._specs},
            seed=self._identity.seed,
            datasets=[],
            instruments=list(self._rows.tradable),
            feature_versions=self._identity.feature_versions,
        )


def encode_realtime(state: RealtimeState) -> bytes:
    """The same bytes for the same state."""
    return msgspec.msgpack.encode(state)


def decode_realtime(data: bytes) -> RealtimeState:
    """The state that `encode_realtime` wrote.

    Raises:
        DataError: It is of another version, or no state.
    """
    try:
        return msgspec.msgpack.decode(data, type=RealtimeState)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"a snapshot can't be read: {error}",
            remedy="go on with the onetape that the session ran on",
        ) from error


def check_carried(
    instruments: Sequence[Instrument],
    specs: Sequence[StrategySpec],
    terms: VenueTerms,
    limits: RiskLimits,
    *,
    is_simulated: bool = True,
) -> None:
    """Refuse by name what a realtime session does not carry.

    Raises:
        ConfigError: It is asked for.
    """
    refuse_first(
        [
            Refusal(
                terms.has_legs and not is_simulated,
                "long and short legs are not held side by side at a real venue",
                "execution.position_mode",
                "set position_mode: netting, or run it in paper",
            )
        ]
    )
    if terms.has_legs:
        refuse_legs(instruments, limits, terms)
    asked = {
        "execution.marks": terms.marks_closing_side,
        "execution.carrying": terms.carrying is not None,
        "execution.margin": terms.margin is not None,
        "execution.currencies": terms.conversion_e8 is not None,
        "execution.settlement_days": bool(terms.settlement_days),
        "execution.transfers": bool(terms.transfers),
        "risk.short_sale.uptick_rule": limits.short_sale.uptick_rule,
    }
    refuse_first(
        Refusal(
            is_asked, "is not carried in paper and live", key, "leave it out, or run a backtest"
        )
        for key, is_asked in asked.items()
    )
    currencies = sorted({spec.currency for spec in specs})
    for each in instruments:
        refuse_first(
            [
                Refusal(
                    each.is_contract or each.is_margined,
                    f"{each.id} is a {each.kind.value}, which is not carried in paper and live",
                    "data.instruments",
                    "trade equities and spot pairs, or run a backtest",
                ),
                Refusal(
                    currencies != [each.settlement_currency],
                    f"{each.id} is settled in {each.settlement_currency}, and the capital is in "
                    f"{' and '.join(currencies)}",
                    "strategies",
                    "give all strategies capital in that one currency",
                ),
            ]
        )
