"""The backtest session: history through the one pipeline, as fast as it goes or paced."""

from __future__ import annotations

import gc
import hashlib
import platform
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

import onetape
from onetape.domain.errors import ConfigError, OnetapeError, StrategyError
from onetape.domain.events import CapitalDeposited, SessionStarted, StrategyQuarantined
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import to_minor
from onetape.domain.ports import TapeWriter
from onetape.execution.oms import Oms
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fees import build_fee_schedule
from onetape.execution.simulated.latency import build_latency
from onetape.execution.simulated.slippage import build_slippage
from onetape.execution.simulated.venue import SimulatedVenue, VenueTerms
from onetape.features.columns import compute_feature_columns
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.timeline import Timeline, load_timeline
from onetape.portfolio.ledger import Ledger
from onetape.risk.approval import RiskEngine
from onetape.risk.limits import RiskLimits, build_gates
from onetape.runtime.config import (
    ExecutionConfig,
    HistoricalClock,
    SessionConfig,
    StrategyConfig,
    config_hash,
    decision_json,
    resolved_json,
)
from onetape.runtime.equity_watch import EquityWatch
from onetape.runtime.market_state import MarketState, Valuation
from onetape.runtime.order_desk import OrderDesk
from onetape.runtime.pacing import Pacer
from onetape.runtime.pipeline import Pipeline
from onetape.runtime.runner import Runner
from onetape.runtime.session_view import SessionView
from onetape.runtime.step_log import StepLog
from onetape.strategy.context import Context
from onetape.strategy.guard import watching
from onetape.strategy.registry import load_strategy, strategy_version
from onetape.strategy.sdk import Strategy
from onetape.tape.sqlite_store import SqliteTape

BLOCK_ROWS = 4096

COLLECT_AFTER = 50_000
"""New containers after which garbage is collected while a session runs."""


class StrategySpec(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy of a session: the object, its name, its capital (minor units), its universe."""

    name: str
    strategy: Strategy
    capital: int
    currency: str = "USD"
    version: str = ""
    instruments: tuple[InstrumentId, ...] | None = None


class SessionIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What the header of the tape says about a session besides its inputs."""

    config: str = "{}"
    config_hash: str = ""
    seed: int = 0
    mode: str = "backtest"


class Progress(msgspec.Struct, frozen=True):
    """How far a session is. `equity` is the account's, in minor units."""

    rows_done: int
    rows_total: int
    ts: int
    equity: int


OnProgress = Callable[[Progress], None]


class BacktestResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a backtest leaves behind. `digest` is the tape's, `seconds` wall time of the run."""

    run_dir: Path
    session: str
    digest: str
    market_events: int
    timeline: Timeline
    quarantined: tuple[StrategyQuarantined, ...]
    seconds: float


def run_backtest(
    config: SessionConfig, run_dir: Path, on_progress: OnProgress | None = None
) -> BacktestResult:
    """Run a configured backtest; writes config.json, versions.json and tape.db into `run_dir`.

    Raises:
        ConfigError: The configuration does not fit the instruments.
        DataError: The catalog lacks what is asked for.
        StrategyError: A strategy can't be loaded, or refuses its params.
    """
    begun = time.perf_counter()
    clock = config.clock
    if not isinstance(clock, HistoricalClock):
        raise ConfigError("a backtest needs a historical clock", where="clock.type")
    specs = [build_spec(each) for each in config.enabled_strategies]
    catalog = Catalog(Path(config.data.path))
    timeline = load_timeline(
        catalog, config.data.instruments, config.data.timeframe, clock.ts_start, clock.ts_end,
        config.data.versions,
    )  # fmt: skip
    terms = build_terms(config.execution, config.seed, timeline)
    identity = SessionIdentity(
        config=decision_json(config), config_hash=config_hash(config), seed=config.seed
    )
    (run_dir / "config.json").write_text(resolved_json(config), encoding="utf-8")
    (run_dir / "versions.json").write_bytes(encode_versions(specs))
    tape = SqliteTape.create(run_dir / "tape.db")
    try:
        session = BacktestSession(timeline, specs, terms, config.risk.limits(), tape, identity)
        with watching([type(spec.strategy) for spec in specs]):
            session.run(on_progress, Pacer(clock.speed))
    finally:
        tape.close()
    return BacktestResult(
        run_dir=run_dir,
        session=session.session,
        digest=tape.digest,
        market_events=len(timeline),
        timeline=timeline,
        quarantined=tuple(session.pipeline.quarantined),
        seconds=time.perf_counter() - begun,
    )


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


def build_terms(config: ExecutionConfig, seed: int, timeline: Timeline) -> VenueTerms:
    """What the simulated venue does with the orders of a session.

    Raises:
        ConfigError: A fee can't be exact for an instrument.
    """
    ratio = config.max_volume_ratio
    fees = config.fee_model()
    return VenueTerms(
        fees={each.id: build_fee_schedule(fees, each) for each in timeline.instruments},
        slippage=build_slippage(config.slippage_model()),
        latency=build_latency(config.latency_model(), seed),
        limit_reach=LIMIT_TOUCHED if config.limit_fill == "touch" else LIMIT_TRADED_THROUGH,
        max_volume_ratio=None if ratio is None else float(ratio),
    )


def encode_versions(specs: Sequence[StrategySpec]) -> bytes:
    """What the run was made with, as JSON: code, strategies, interpreter, libraries."""
    libraries = ("deltalake", "msgspec", "numba", "numpy", "polars")
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "onetape": onetape.__version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "strategies": {spec.name: spec.version for spec in specs},
                "libraries": {name: metadata.version(name) for name in libraries},
            }
        )
    )


class BacktestSession:
    """One wiring from start to stop.

    Args:
        timeline: The bars.
        specs: The strategies, in the order in which they see each event.
        terms: How the simulated venue fills and charges.
        limits: Risk limits, for each strategy on its own books.
        tape: Where the events go.
        identity: What the header says.

    Raises:
        ConfigError: A strategy trades an instrument of another currency, or an unknown one.
    """

    def __init__(
        self,
        timeline: Timeline,
        specs: Sequence[StrategySpec],
        terms: VenueTerms,
        limits: RiskLimits,
        tape: TapeWriter,
        identity: SessionIdentity,
    ) -> None:
        currencies = sorted({spec.currency for spec in specs})
        if len(currencies) > 1:
            raise ConfigError(
                f"the strategies hold capital in {' and '.join(currencies)}",
                where="strategies",
                remedy="give all the same currency; one account has one currency in this version",
            )
        self._timeline = timeline
        self._specs = specs
        self._tape = tape
        self._identity = identity
        self.session = compute_session_id(timeline, identity)
        self._log = StepLog(tape)
        self._market = MarketState(timeline)
        self._oms = Oms()
        self._view = SessionView(timeline, self._market, self._oms, self._log)
        self.runners = {spec.name: self._build_runner(spec, limits) for spec in specs}
        self._view.runners = self.runners
        self.pipeline = Pipeline(
            timeline,
            self._market,
            list(self.runners.values()),
            OrderDesk(
                self._log, self._market, self._oms, timeline.instruments,
                terms.fees, self.runners,
            ),
            SimulatedVenue(timeline.instruments, terms),
            self._log,
        )  # fmt: skip

    def _build_runner(self, spec: StrategySpec, limits: RiskLimits) -> Runner:
        timeline = self._timeline
        index = {each.id: at for at, each in enumerate(timeline.instruments)}
        wanted = spec.instruments or tuple(index)
        for identity in wanted:
            if identity not in index:
                raise ConfigError(f"strategy {spec.name} trades unknown instrument {identity!r}",
                                  remedy="add it to data.instruments")  # fmt: skip
        instruments = [timeline.instruments[index[identity]] for identity in wanted]
        for each in instruments:
            if each.quote_currency != spec.currency:
                raise ConfigError(
                    f"{each.id} is quoted in {each.quote_currency}, but the capital of strategy "
                    f"{spec.name} is in {spec.currency}",
                    remedy="give the strategy capital in that currency",
                )
        ledger = Ledger(spec.name, spec.currency, instruments)
        ledger.deposit(spec.capital)
        watch = None
        if limits.max_daily_loss_pct is not None or limits.max_drawdown_pct is not None:
            watch = EquityWatch(ledger, self._market, index, timeline)
        prefix = f"{self.session[:8]}-{spec.name}-"
        return Runner(
            spec.name,
            spec.strategy,
            Context(spec.name, instruments, self._view, prefix),
            ledger,
            Valuation(ledger, self._market, index),
            watch,
            compute_features(timeline, spec.strategy, wanted),
            instruments,
            None if len(wanted) == len(index) else [each in wanted for each in index],
            prefix,
            RiskEngine(build_gates(limits)),
        )

    def run(self, on_progress: OnProgress | None = None, pacer: Pacer | None = None) -> None:
        """Run from the first bar to the last, in blocks, or a time slice at a time when paced.

        Raises:
            InvariantBroken: A promise of ours does not hold; the tape ends where it was found.
        """
        timeline = self._timeline
        ts_known = timeline.columns["ts_known"]
        deposits = [
            CapitalDeposited(each.name, each.currency, each.capital) for each in self._specs
        ]
        self.pipeline.start(self._header(), deposits, int(timeline.columns["ts_open"].min()))
        self._tape.commit()  # whatever happens now, the tape says what session it was
        paced = pacer is not None and pacer.is_paced
        with collecting_rarely():
            for start, stop in cut_blocks(timeline.slice_end, 1 if paced else BLOCK_ROWS):
                if pacer is not None:
                    pacer.wait_until(int(ts_known[start]))
                self.pipeline.run_block(next(timeline.blocks(stop - start, start)), start)
                if on_progress is not None:
                    equity = sum(self._view.equity(name) for name in self.runners)
                    on_progress(Progress(stop, len(timeline), int(ts_known[stop - 1]), equity))
        self.pipeline.stop("end of data", int(ts_known[-1]))
        self._tape.commit()

    def _header(self) -> SessionStarted:
        return SessionStarted(
            session=self.session,
            mode=self._identity.mode,
            config=self._identity.config,
            config_hash=self._identity.config_hash,
            code_version=onetape.__version__,
            strategy_versions={spec.name: spec.version for spec in self._specs},
            seed=self._identity.seed,
            datasets=list(self._timeline.datasets),
        )


@contextmanager
def collecting_rarely() -> Generator[None]:
    """Let garbage collection wait for more new objects than a block of the tape holds.

    The engine makes no cycles, but it keeps columns of the whole timeline, and the collector walks
    through them again and again: a quarter of a run over a year of minutes.
    """
    thresholds = gc.get_threshold()
    if thresholds[0]:  # 0 means never
        gc.set_threshold(max(thresholds[0], COLLECT_AFTER), *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def compute_session_id(timeline: Timeline, identity: SessionIdentity) -> str:
    """16 hex digits of what the session is made of: configuration, seed and data."""
    parts = [identity.config_hash, str(identity.seed)]
    parts += [f"{pin.instrument}:{pin.timeframe}:{pin.content_hash}" for pin in timeline.datasets]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def compute_features(
    timeline: Timeline, strategy: Strategy, instruments: Sequence[InstrumentId]
) -> Mapping[str, npt.NDArray[np.float64]]:
    """Feature columns in the order of the timeline; NaN for instruments not subscribed.

    Raises:
        StrategyError: `features` or an estimator of the strategy's own raises.
    """
    name = type(strategy).__name__
    try:
        features = strategy.features()
        if not features:
            return {}
        if len(timeline.instruments) == 1:
            return compute_feature_columns(features, timeline.columns)
        merged = {name: np.full(len(timeline), np.nan) for name in features}
        for identity in instruments:
            rows = timeline.rows_of(identity)
            columns = {name: values[rows] for name, values in timeline.columns.items()}
            computed = compute_feature_columns(features, columns, rows_total=len(timeline))
            for feature, values in computed.items():
                merged[feature][rows] = values
    except OnetapeError:
        raise
    except Exception as error:
        raise StrategyError(
            f"its features raise {type(error).__name__}: {error}",
            where=name,
            remedy="run the estimator on a few bars by hand: Estimator.start().update(...)",
        ) from error
    return merged


def cut_blocks(slice_end: npt.NDArray[np.bool_], rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of at least `rows` rows (the last may be shorter) that end where a slice ends."""
    ends = np.flatnonzero(slice_end) + 1
    start, total = 0, len(slice_end)
    while start < total:
        at = min(int(np.searchsorted(ends, start + rows)), len(ends) - 1)
        yield start, int(ends[at])
        start = int(ends[at])
