"""The backtest session: history through the one pipeline, as fast as it goes or paced."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

import onetape
from onetape.domain.errors import ConfigError, DataError, OnetapeError, StrategyError
from onetape.domain.events import (
    CapitalDeposited,
    KillSwitchSet,
    SessionStarted,
    TransferOrdered,
)
from onetape.domain.instrument import Instrument, InstrumentId, OptionTerms
from onetape.domain.legs import index_of, make_legs, spread_to_legs
from onetape.domain.market import CorporateActionKind
from onetape.domain.numbers import to_minor, to_ratio_e8
from onetape.domain.ports import SnapshotKeeper, TapeWriter
from onetape.execution.oms import Oms
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.carrying import build_carrying
from onetape.execution.simulated.latency import build_latency
from onetape.execution.simulated.slippage import build_slippage
from onetape.execution.simulated.terms import Transfer, VenueTerms
from onetape.features.columns import compute_feature_columns
from onetape.features.cross_section import split_cross_sections
from onetape.features.drift import DriftSettings
from onetape.features.estimator import FeatureMap
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.currency_ledger import CurrencyLedger, open_ledger
from onetape.portfolio.currency_pairs import find_pairs
from onetape.portfolio.ledger import Ledger
from onetape.portfolio.option_adjustment import find_options
from onetape.risk.approval import RiskEngine
from onetape.risk.breakers import build_breakers
from onetape.risk.gates.gate import Gate
from onetape.risk.limits import RiskLimits, build_gates
from onetape.runtime.breakers import Breakers
from onetape.runtime.carrying_costs import CarryingCosts
from onetape.runtime.config import (
    ExecutionConfig,
    StrategyConfig,
)
from onetape.runtime.config_margin import build_agreement
from onetape.runtime.config_slippage import build_slippage_model
from onetape.runtime.contract_desk import ContractDesk
from onetape.runtime.conversion_desk import ConversionDesk
from onetape.runtime.currency_exchange import CurrencyExchange
from onetape.runtime.currency_valuation import CurrencyValuation, CurrencyWatch
from onetape.runtime.drift_watch import Watched
from onetape.runtime.equity_watch import AccountBooks, ClosingSideWatch, EquityWatch, WatchedBooks
from onetape.runtime.margin_desk import MarginDesk
from onetape.runtime.market_state import MarketState, Valuation
from onetape.runtime.order_desk import OrderDesk
from onetape.runtime.pacing import Pacer
from onetape.runtime.pipeline import DayEndTask, Pipeline
from onetape.runtime.risk_audit import RiskAudit
from onetape.runtime.risk_controls import RiskControls
from onetape.runtime.run_monitor import RunMonitor
from onetape.runtime.runner import Runner
from onetape.runtime.session_spec import (
    OnProgress,
    Progress,
    SessionIdentity,
    StrategySpec,
    compute_session_id,
)
from onetape.runtime.session_view import SessionView
from onetape.runtime.sessions.drift_alerts import Alert, find_alerts
from onetape.runtime.sessions.instrument_terms import build_instrument_terms
from onetape.runtime.sessions.laid_features import compute_laid_features
from onetape.runtime.sessions.schedule import Agenda, Schedule
from onetape.runtime.sessions.session_state import STATE_VERSION, SessionState, encode_state
from onetape.runtime.sessions.venue_choice import (
    build_emulator,
    build_venue,
    capabilities_of,
    check_fills,
    refuse_closing_marks,
    refuse_legs,
)
from onetape.runtime.settlement import Settlement
from onetape.runtime.step_log import StepLog
from onetape.runtime.uptick_watch import UptickWatch
from onetape.strategy.context import Context
from onetape.strategy.registry import load_strategy, strategy_version
from onetape.strategy.sdk import Strategy
from onetape.strategy.slice_features import check_slice_features

BLOCK_ROWS = 4096

RELEASE_ROWS = 1 << 17
"""Rows after which the memory of those behind is free again, where they lie on disk."""

SNAPSHOT_EVENTS = 50_000
"""Events between two snapshots: about a second of work, which is what a kill loses."""

SNAPSHOT_ROWS_PER_EVENT = 10
"""Rows that count as much as an event: quiet rows are that much quicker."""


def _never() -> bool:
    return False


class Snapshots(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session keeps its state, and how often: each so many events or 10 times the rows.

    The place of a snapshot depends on the session alone. `is_stop_asked` is asked after each block
    of rows; where it says yes the state is kept and the session is interrupted.
    """

    keeper: SnapshotKeeper
    events: int = SNAPSHOT_EVENTS
    is_stop_asked: Callable[[], bool] = _never


def build_spec(config: StrategyConfig) -> StrategySpec:
    """The strategy of a configuration, its params validated.

    Raises:
        StrategyError: Not found, refused by the validator, or params out of range.
        ConfigError: Its version is not the one that the configuration asks for.
    """
    strategy = load_strategy(config.name, config.path)
    if config.version is not None and config.version != strategy.version:
        raise ConfigError(
            f"strategy {config.name} has version {strategy.version}, not {config.version}",
            where="strategies",
            remedy="change the version in the configuration, or install that strategy version",
        )
    return StrategySpec(
        name=config.name,
        strategy=strategy(**config.params),
        capital=to_minor(config.capital, f"capital of {config.name}", error=ConfigError),
        currency=config.currency,
        version=strategy_version(strategy),
        instruments=config.instruments,
    )


def build_terms(
    config: ExecutionConfig, seed: int, instruments: Sequence[Instrument]
) -> VenueTerms:
    """What the simulated venue does with the orders of a session on these instruments.

    Raises:
        ConfigError: A fee can't be exact for an instrument, an override is for none, or margin
            does not fit them.
    """
    has_legs = config.position_mode == "hedging"
    legs = make_legs(instruments) if has_legs else ()
    margin = build_agreement(config.margin, instruments)
    if margin is not None:
        margin = msgspec.structs.replace(margin, schedules=spread_to_legs(margin.schedules, legs))
    terms = build_instrument_terms(config, instruments, legs)
    ratio = config.max_volume_ratio
    return VenueTerms(
        fees=terms.fees,
        slippage=build_slippage(build_slippage_model(config.slippage)),
        latency=build_latency(config.latency_model(), seed),
        limit_reach=LIMIT_TOUCHED if config.limit_fill == "touch" else LIMIT_TRADED_THROUGH,
        max_volume_ratio=None if ratio is None else float(ratio),
        routes=config.route_terms(seed),
        limit_slippage=config.limit_slippage,
        fills=terms.fills,
        carrying=(
            build_carrying(config.carrying.model(), instruments)
            if config.carrying is not None
            else None
        ),
        conversion_e8=(
            int(config.currencies.spread_bps * 10_000) if config.currencies is not None else None
        ),
        conversion_minimum=(
            to_minor(config.currencies.minimum, "minimum") if config.currencies is not None else 0
        ),
        holds_currencies=(
            config.currencies is not None and config.currencies.foreign_cash == "hold"
        ),
        settlement_days=config.settlement_days,
        transfers=tuple(
            sorted(
                (
                    Transfer(each.at, each.source, each.target, to_minor(each.amount, "transfer"))
                    for each in config.transfers
                ),
                key=lambda each: each.ts,
            )
        ),
        margin=margin,
        holds_in_halts=config.while_halted == "hold",
        capabilities=capabilities_of(config.capabilities or config.venue),
        has_legs=has_legs,
        marks_closing_side=config.marks == "closing_side",
        slippages=terms.slippages,
        max_volume_ratios=terms.max_volume_ratios,
        fee_groups=terms.fee_groups,
    )


class BacktestSession:
    """One wiring from start to stop.

    Args:
        timeline: The bars, or the trade prints.
        specs: The strategies, in the order in which they see each event.
        terms: How the simulated venue fills and charges.
        limits: Risk limits, for each strategy on its own books.
        tape: Where the events go.
        identity: What the header says.
        drift: How features are watched; None: not at all.
        audit: Other limits, to be asked beside; what they say changes nothing.

    Attributes:
        audit: What they say; None without them.

    Raises:
        ConfigError: A strategy trades an instrument of another currency without
            `conversion_e8`, or one to which there is no pair, or an unknown one.
    """

    def __init__(
        self,
        timeline: Timeline,
        specs: Sequence[StrategySpec],
        terms: VenueTerms,
        limits: RiskLimits,
        tape: TapeWriter,
        identity: SessionIdentity,
        drift: DriftSettings | None = None,
        audit: RiskLimits | None = None,
    ) -> None:
        currencies = sorted({spec.currency for spec in specs})
        if len(currencies) > 1:
            raise ConfigError(
                f"the strategies hold capital in {' and '.join(currencies)}",
                where="strategies",
                remedy="give all the same currency; one account has one currency in this version",
            )
        check_fills(timeline, terms)
        if terms.has_legs:
            refuse_legs(timeline.instruments, limits, terms)
            timeline = timeline.with_legs()
        if terms.marks_closing_side:
            refuse_closing_marks(timeline, terms)
            timeline = timeline.at_closing_side()
        self._timeline = timeline
        self._specs = specs
        self._tape = tape
        self._identity = identity
        self.session = identity.session or compute_session_id(timeline, identity)
        self._conversion_e8 = terms.conversion_e8
        self._terms = terms
        self._log = StepLog(tape)
        self._market = MarketState(timeline, limits.trading_day)
        self._oms = Oms()
        self._view = SessionView(timeline, self._market, self._oms, self._log, timeline.universe)
        is_margin = terms.margin is not None
        ledgers: list[Ledger] = []
        asked = [each for each in (limits, audit) if each is not None]
        account = None
        if any(each.account.watches for each in asked):
            account = self._build_watch(AccountBooks(ledgers), None)
        self._is_watched = account is not None or any(each.watches for each in asked)
        self.runners = {
            spec.name: self._build_runner(spec, limits, account, is_margin=is_margin)
            for spec in specs
        }
        ledgers += [each.ledger for each in self.runners.values()]
        if account is not None:
            account.begin()
        self._view.runners = self.runners
        is_controlled = limits.beyond_gates or timeline.universe is not None
        controls = self._build_controls(limits, account) if is_controlled else None
        self.audit = None
        if audit is not None:
            engines = {
                name: RiskEngine(self._build_gates(audit, is_margin=is_margin))
                for name in self.runners
            }
            self.audit = RiskAudit(self._build_controls(audit, account, engines))
        self.desk = OrderDesk(
            self._log, self._market, self._oms, timeline.tradable, terms.fees, self.runners,
            controls=controls, audit=self.audit,
            is_cash_account=limits.is_cash_account and terms.margin is None,
            allows_short=limits.allow_short,
        )  # fmt: skip
        leverage = limits.max_leverage
        self.desk.conversions = ConversionDesk(
            self._log, self.desk.claims, self.desk.check,
            None if leverage is None else to_ratio_e8(leverage, "leverage"),
        )  # fmt: skip
        self._view.halted = self.desk.halted
        self._venue = build_venue(timeline, terms, self._market, self.desk)
        self._emulator = build_emulator(
            self._venue, timeline, terms.capabilities, self._oms, self.desk, self._log
        )
        self._contracts = ContractDesk(
            self._log, self._market, timeline.tradable, self.runners, self.desk
        )
        self._view.options = self._contracts.options
        self._margin: MarginDesk | None = None
        if terms.margin is not None:
            self._margin = self.desk.check.margin = MarginDesk(
                terms.margin, self._log, self._market, timeline.tradable,
                self._contracts.options, self.desk.halted, self.desk.books,
            )  # fmt: skip
        else:
            _refuse_unmargined(timeline)
        if terms.conversion_e8 is not None:
            _refuse_currencies(terms)
        _refuse_option_actions(timeline)
        self.pipeline = Pipeline(
            timeline, self._market, list(self.runners.values()), self.desk,
            self._emulator or self._venue, self._log, self._contracts, self._margin,
            self._build_breakers(limits),
        )  # fmt: skip
        self._run_block = self.pipeline.run_block
        self._snapshot_rows = self._snapshot_events = self._released = 0
        self._controls: deque[tuple[int, KillSwitchSet]] = deque()
        self._day_end_tasks: tuple[DayEndTask, ...] = ()
        self._plan(terms, drift)
        self._settlement: Settlement | None = None
        if terms.settlement_days:
            self._settlement = self.desk.books.settlement = Settlement(
                terms.settlement_days, timeline.instruments, self.runners, self._log
            )
            self.at_day_ends(self._settlement)
        self._carrying: CarryingCosts | None = None
        if terms.carrying is not None:
            self._carrying = CarryingCosts(
                terms.carrying, timeline.tradable, self._market, self.runners, self.desk.books
            )
            self.at_day_ends(self._carrying)

    def at_day_ends(self, task: DayEndTask) -> None:
        """Ask `task` at the end of every trading day; before the session begins or goes on."""
        self._day_end_tasks += (task,)
        ends = self._timeline.day_ends
        self._day_ends.set_times([each.ts for each in ends], [each.rows for each in ends])

    def _plan(self, terms: VenueTerms, drift: DriftSettings | None) -> None:
        """What happens beside the rows; at one time in this order."""
        timeline = self._timeline
        ts_known = timeline.columns["ts_known"]
        alerts = self._find_alerts(drift) if drift is not None else []
        transfers = [each for each in terms.transfers if each.ts <= ts_known[-1]]
        actions, steps = timeline.actions, timeline.steps

        def tell(at: int) -> None:
            row, drifted = alerts[at]
            self.pipeline.tell(drifted, int(ts_known[row]))

        def transfer(at: int) -> None:
            each = transfers[at]
            order = TransferOrdered(each.source, each.target, each.amount)
            self.pipeline.transfer(order, each.ts)

        def end_day(at: int) -> None:
            self.pipeline.end_day(timeline.day_ends[at], self._day_end_tasks)

        self._alerts = Agenda(
            [int(ts_known[each.row]) for each in alerts], [each.row + 1 for each in alerts], tell
        )
        self._transfers = Agenda(
            [each.ts for each in transfers],
            np.searchsorted(ts_known, [each.ts for each in transfers]).tolist(),
            transfer,
        )
        self._actions = Agenda(
            [each.ts_known for each in actions],
            timeline.action_rows,
            lambda at: self.pipeline.apply_action(actions[at]),
        )
        self._steps = Agenda(
            [each.ts_known for each in steps],
            timeline.step_rows,
            lambda at: self.pipeline.apply_step(steps[at]),
        )
        self._day_ends = Agenda([], [], end_day)
        self._schedule = Schedule(
            self._alerts, self._transfers, self._actions, self._steps, self._day_ends
        )

    def measure(self, monitor: RunMonitor) -> None:
        """Have `monitor` measure what runs from now on; the session is the same."""
        self._run_block = monitor.around(self.pipeline.run_block, self.runners.values())

    def _build_controls(
        self,
        limits: RiskLimits,
        account: EquityWatch | None,
        engines: Mapping[str, RiskEngine] | None = None,
    ) -> RiskControls:
        return RiskControls(
            limits, self._log, self._market, self._oms, self._timeline.tradable, self.runners,
            account, engines,
            UptickWatch(self._timeline, self._market) if limits.short_sale.uptick_rule else None,
            self._timeline.universe,
        )  # fmt: skip

    def _build_gates(self, limits: RiskLimits, *, is_margin: bool) -> tuple[Gate[Any], ...]:
        has_universe = self._timeline.universe is not None
        return build_gates(
            limits, is_margin=is_margin, has_universe=has_universe,
            holds_currencies=self._terms.holds_currencies,
        )  # fmt: skip

    def _build_breakers(self, limits: RiskLimits) -> Breakers | None:
        if not limits.breakers:
            return None
        return Breakers(
            build_breakers(limits.breakers), self._timeline, self._market, self._log, self.desk,
            self.runners,
        )  # fmt: skip

    def _build_watch(self, books: WatchedBooks, account: EquityWatch | None) -> EquityWatch:
        timeline = self._timeline
        index = index_of(timeline.tradable)
        rows_index = None if len(index) == 1 else timeline.row_owners
        watch = ClosingSideWatch if timeline.marks_closing_side else EquityWatch
        return watch(books, self._market, index, rows_index, timeline.row_ends, account)

    def _build_runner(
        self,
        spec: StrategySpec,
        limits: RiskLimits,
        account: EquityWatch | None,
        *,
        is_margin: bool,
    ) -> Runner:
        timeline = self._timeline
        index = {each.id: at for at, each in enumerate(timeline.instruments)}
        wanted = spec.instruments or tuple(index)
        for identity in wanted:
            if identity not in index:
                raise ConfigError(f"strategy {spec.name} trades unknown instrument {identity!r}",
                                  remedy="add it to data.instruments")  # fmt: skip
        instruments = [timeline.instruments[index[identity]] for identity in wanted]
        tradable = [*instruments, *(make_legs(instruments) if timeline.legs else ())]
        marks = index_of(timeline.tradable)
        for action in timeline.actions:
            if action.instrument in wanted and action.new_instrument not in ("", *wanted):
                raise ConfigError(
                    f"strategy {spec.name} trades {action.instrument}, which turns into "
                    f"{action.new_instrument} ({action.kind.value}), but not that",
                    remedy="add it to the instruments of the strategy",
                )
        if self._conversion_e8 is None:
            _require_one_currency(spec, instruments)
        for each in instruments:
            if isinstance(each.terms, OptionTerms) and each.terms.underlying not in wanted:
                raise ConfigError(
                    f"strategy {spec.name} trades {each.id} and not {each.terms.underlying}, by "
                    "which it settles",
                    remedy="add it to the instruments of the strategy",
                )
        ledger = open_ledger(spec.name, spec.currency, tradable)
        ledger.deposit(spec.capital)
        watch = exchange = None
        valuation = Valuation(ledger, self._market, marks)
        if isinstance(ledger, CurrencyLedger):
            currencies = {each.id: each.settlement_currency for each in tradable}
            pairs = find_pairs(timeline.instruments, spec.currency, ledger.others)
            exchange = CurrencyExchange(
                ledger, pairs, self._market, self._conversion_e8 or 0,
                self._terms.conversion_minimum, holds=self._terms.holds_currencies,
            )  # fmt: skip
            valuation = CurrencyValuation(ledger, self._market, marks, currencies, exchange)
            if self._is_watched:
                watch = CurrencyWatch(
                    ledger, self._market, marks, timeline.row_owners, timeline.row_ends,
                    currencies, pairs,
                )  # fmt: skip
        elif self._is_watched:
            watch = self._build_watch(ledger, account)
        prefix = f"{self.session[:8]}-{spec.name}-"
        return Runner(
            spec.name,
            spec.strategy,
            Context(spec.name, tradable, self._view, prefix),
            ledger,
            valuation,
            watch,
            compute_features(timeline, spec.strategy, wanted, spec.features),
            tradable,
            None if len(wanted) == len(index) else [each in wanted for each in index],
            prefix,
            RiskEngine(self._build_gates(limits, is_margin=is_margin)),
            timeline.kind,
            exchange,
        )

    def _find_alerts(self, drift: DriftSettings) -> list[Alert]:
        everything = tuple(each.id for each in self._timeline.instruments)
        watched = [
            Watched(
                spec.name,
                spec.strategy.features() if spec.features is None else spec.features,
                spec.instruments or everything,
            )
            for spec in self._specs
        ]
        return find_alerts(self._timeline, self.runners, watched, drift)

    def save(self) -> SessionState:
        """The state of the session between two steps."""
        return SessionState(
            version=STATE_VERSION,
            row=self._market.row,
            log=self._log.save(),
            desk=self.desk.save(),
            venue=self._venue.save(),
            pipeline=self.pipeline.save(),
            actions=self._actions.done,
            steps=self._steps.done,
            margin=self._margin.save() if self._margin is not None else [],
            day_ends=self._day_ends.done,
            transfers=self._transfers.done,
            nights=self._carrying.save() if self._carrying is not None else [],
            proceeds=self._settlement.save() if self._settlement is not None else [],
            halted=list(self.desk.halted.values()),
            options=self._contracts.save(),
            emulator=self._emulator.save() if self._emulator is not None else None,
        )

    def restore(self, state: SessionState) -> None:
        """Go on where `state` was saved by a session of the same inputs; this one has not begun.

        Raises:
            DataError: The state is of another version of onetape, or of other market data.
            StrategyError: A strategy is another one than then.
        """
        if (
            state.version != STATE_VERSION
            or not 0 <= state.row < len(self._timeline)
            or not 0 <= state.actions <= len(self._timeline.actions)
            or not 0 <= state.steps <= len(self._timeline.steps)
            or not 0 <= state.day_ends <= len(self._day_ends)
            or not 0 <= state.transfers <= len(self._transfers)
        ):
            raise DataError(
                f"a snapshot of version {state.version} after row {state.row}, and this onetape "
                f"goes on from version {STATE_VERSION} in {len(self._timeline)} rows",
                remedy="run the session again",
            )
        self._market.restore(state.row, state.actions, state.steps)
        for action in self._timeline.actions[: state.actions]:
            self.desk.end(action)
        for step in self._timeline.steps[: state.steps]:
            self._contracts.follow(step)
        self._alerts.done = self._alerts.count_before(state.row + 1)
        self._actions.done = state.actions
        self._steps.done = state.steps
        self._contracts.restore(state.options)
        if self._margin is not None:
            self._margin.restore(state.margin)
        self._day_ends.done = state.day_ends
        self._transfers.done = state.transfers
        if self._carrying is not None:
            self._carrying.restore(state.nights)
        if self._settlement is not None:
            self._settlement.restore(state.proceeds)
        self._log.restore(state.log)
        self.desk.restore(state.desk)
        self._venue.restore(state.venue)
        if self._emulator is not None and state.emulator is not None:
            self._emulator.restore(state.emulator)
        self.pipeline.restore(state.pipeline)
        self._snapshot_rows, self._snapshot_events = state.row + 1, state.log.emitted

    def run(
        self,
        on_progress: OnProgress | None = None,
        pacer: Pacer | None = None,
        controls: Sequence[tuple[int, KillSwitchSet]] = (),
        snapshots: Snapshots | None = None,
    ) -> None:
        """Run to the last row, in blocks, or a time slice at a time when paced.

        Args:
            on_progress: Told after each block.
            pacer: Holds the session back.
            controls: Operators' commands with their times (ns UTC), in order; one that is later
                than the last row never comes.
            snapshots: Where and how often the state is kept.

        Raises:
            InvariantBroken: A promise of ours does not hold; the tape ends where it was found.
            KeyboardInterrupt: `snapshots` was asked to stop; the state is kept.
        """
        if self._market.row < 0:
            self.start()
        self.expect(controls)
        paced = pacer is not None and pacer.is_paced
        ts_known = self._timeline.columns["ts_known"]
        for start, stop in self.cut_blocks(1 if paced else BLOCK_ROWS):
            if pacer is not None:
                pacer.wait_until(int(ts_known[start]))
            self.advance(stop, snapshots)
            if on_progress is not None:
                equity = sum(self._view.equity(name) for name in self.runners)
                on_progress(Progress(stop, len(ts_known), int(ts_known[stop - 1]), equity))
        self.finish()

    def start(self, ts: int = 0, history_rows: int = 0) -> None:
        """The first steps: header, capital, `on_start`.

        Args:
            ts: When, ns UTC; 0: when the first row opens.
            history_rows: So many rows are from before: they move features and marks only.
        """
        deposits = [
            CapitalDeposited(each.name, each.currency, each.capital) for each in self._specs
        ]
        self.pipeline.start(self.header(), deposits, ts or self._timeline.ts_first)
        self._market.row = history_rows - 1
        self._tape.commit()  # whatever happens now, the tape says what session it was

    def expect(self, controls: Sequence[tuple[int, KillSwitchSet]]) -> None:
        """Operators' commands that will come, with their times (ns UTC), in order."""
        self._controls = deque(controls)

    def advance(self, stop: int, snapshots: Snapshots | None = None) -> None:
        """Process the rows up to `stop` (not included), which begins a time slice.

        And the transfers, corporate actions, ends of trading days and expected commands before each
        of them; what comes between the last one and `stop` waits.
        """
        ts_known = self._timeline.columns["ts_known"]
        while self._controls and self._controls[0][0] <= ts_known[stop - 1]:
            ts, command = self._controls.popleft()
            self._advance_rows(int(np.searchsorted(ts_known, ts)), snapshots)
            self._schedule.advance(self.row, ts)
            self.pipeline.control(command, ts)
        self._advance_rows(stop, snapshots)

    def _advance_rows(self, stop: int, snapshots: Snapshots | None) -> None:
        row = self.row
        while row < stop:
            self._schedule.advance(row)
            if snapshots is not None:
                self.pipeline.pause_events = self._snapshot_events + snapshots.events
            until = self._schedule.find_stop(stop)
            row = self._run_block(next(self._timeline.blocks(until - row, row)), row)
            if row - self._released >= RELEASE_ROWS:
                self._timeline.release()
                self._released = row
            if snapshots is not None:
                self._keep(snapshots)

    def finish(self) -> None:
        """The last steps: what comes after the last row, then `on_stop` and the footer."""
        self._schedule.advance(self.row)
        self.pipeline.stop("end of data", int(self._timeline.columns["ts_known"][-1]))
        self._tape.commit()

    @property
    def row(self) -> int:
        """The next row to process."""
        return self._market.row + 1

    def cut_blocks(self, rows: int) -> Iterator[tuple[int, int]]:
        """Ranges of what is left, of at least `rows` rows, that end where a slice ends.

        They end at the same rows wherever the session stands.
        """
        for start, stop in self._timeline.cut(rows):
            if stop > self.row:
                yield max(start, self.row), stop

    def _keep(self, snapshots: Snapshots) -> None:
        """Keep the state where it is time to, or where the session is asked to stop."""
        rows, events = self.row, self._log.emitted
        is_asked = snapshots.is_stop_asked()
        if (
            is_asked
            or events - self._snapshot_events >= snapshots.events
            or rows - self._snapshot_rows >= snapshots.events * SNAPSHOT_ROWS_PER_EVENT
        ):
            self._snapshot_rows, self._snapshot_events = rows, events
            snapshots.keeper.keep(rows, self._log.now, encode_state(self.save()))
        if is_asked:
            raise KeyboardInterrupt

    def header(self) -> SessionStarted:
        """The first event of its tape."""
        return SessionStarted(
            session=self.session,
            mode=self._identity.mode,
            config=self._identity.config,
            config_hash=self._identity.config_hash,
            code_version=onetape.__version__,
            strategy_versions={spec.name: spec.version for spec in self._specs},
            seed=self._identity.seed,
            datasets=list(self._timeline.pins),
            instruments=list(self._timeline.tradable),
            feature_versions=self._identity.feature_versions,
        )


def _require_one_currency(spec: StrategySpec, instruments: Sequence[Instrument]) -> None:
    for each in instruments:
        if each.settlement_currency != spec.currency:
            verb = "settled" if each.is_inverse else "quoted"
            raise ConfigError(
                f"{each.id} is {verb} in {each.settlement_currency}, but the capital of strategy "
                f"{spec.name} is in {spec.currency}",
                remedy="give the strategy capital in that currency, or have execution.currencies",
            )


def _refuse_currencies(terms: VenueTerms) -> None:
    if terms.margin is not None and terms.margin.is_isolated:
        raise ConfigError(
            "is isolated, which is measured in one currency",
            where="execution.margin.mode",
            remedy="set mode: cross, or leave out execution.currencies",
        )


def _refuse_option_actions(timeline: Timeline) -> None:
    for action in timeline.actions:
        if action.kind is CorporateActionKind.SPIN_OFF or action.kind.ends:
            for _, option in find_options(timeline.instruments, action):
                raise ConfigError(
                    f"{option.id} is on {action.instrument}, of which there is a "
                    f"{action.kind.value.replace('_', ' ')} before it expires, and what it would "
                    "deliver then is not carried",
                    where="data.corporate_actions",
                    remedy="leave the option out, or end the run before it",
                )


def _refuse_unmargined(timeline: Timeline) -> None:
    for each in timeline.instruments:
        if each.is_margined:
            raise ConfigError(
                f"{each.id} is a {each.kind.value}, which is held on margin",
                where="execution.margin",
                remedy="say how much, for example {model: fixed, initial_pct: 10, "
                "maintenance_pct: 5}",
            )


def compute_features(
    timeline: Timeline,
    strategy: Strategy,
    instruments: Sequence[InstrumentId],
    features: FeatureMap | None = None,
) -> Mapping[str, npt.NDArray[np.float64]]:
    """Feature columns in the order of the timeline; NaN for instruments not subscribed.

    `features` stand in for those of the strategy.

    Raises:
        StrategyError: `features` or an estimator of the strategy's own raises.
    """
    name = type(strategy).__name__
    try:
        if features is None:
            features = strategy.features()
        if not features:
            return {}
        check_slice_features(strategy, features)
        single, crossing = split_cross_sections(dict(features))
        if timeline.is_laid_aside:
            return compute_laid_features(timeline, single, crossing, instruments)
        if len(timeline.instruments) == 1:
            merged = compute_feature_columns(single, timeline.columns)
            for feature, cross in crossing.items():
                merged[feature] = cross.compute_slices(merged[feature], timeline.slice_end)
            return merged
        merged = {name: np.full(len(timeline), np.nan) for name in features}
        for identity in instruments:
            rows = timeline.rows_of(identity)
            columns = {name: values[rows] for name, values in timeline.columns.items()}
            computed = compute_feature_columns(single, columns, rows_total=len(timeline))
            for feature, values in computed.items():
                merged[feature][rows] = values
        for feature, cross in crossing.items():
            merged[feature] = cross.compute_slices(merged[feature], timeline.slice_end)
    except StrategyError as error:
        if not error.where.startswith("feature "):
            raise
        raise StrategyError(
            error.what, where=f"{name}: {error.where}", remedy=error.remedy
        ) from error
    except OnetapeError:
        raise
    except Exception as error:
        raise StrategyError(
            f"its features raise {type(error).__name__}: {error}",
            where=name,
            remedy="run the estimator on a few bars by hand: Estimator.start().update(...)",
        ) from error
    return merged
