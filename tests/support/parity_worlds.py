"""Worlds in which two hosts run one strategy, and what each of them tells of it.

A `Plan` is everything that makes a world, written so that its repr makes it again. Hypothesis draws
plans through `make_plan` and shrinks them; a seeded `random.Random` gives the same kind of plan.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.events import (
    Event,
    KillSwitchSet,
    OrderFilled,
    Payload,
    PositionChanged,
    SessionStarted,
    SessionStopped,
)
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.numbers import to_minor
from onetape.domain.ports import TapeWriter
from onetape.domain.timestamps import to_iso
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fee_presets import make_alpaca_us, make_ibkr_us_tiered
from onetape.execution.simulated.fees import (
    BpsFees,
    FeeModel,
    FeeTier,
    NoFees,
    PerContractFees,
    PerOrderFees,
    PerShareFees,
    PerShareTieredFees,
    ShareTier,
    TieredFees,
    build_fee_schedule,
)
from onetape.execution.simulated.fill_terms import FillTerms
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.slippage import (
    FixedSlippage,
    NoSlippage,
    SlippageModel,
    SquareRootSlippage,
    VolumeSlippage,
    build_slippage,
)
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.timeline import Timeline, TimelineKind, build_timeline
from onetape.portfolio.equity_curve import Marks, compute_equity_curves
from onetape.portfolio.performance_summary import (
    choose_returns_clock,
    compute_growth,
    compute_returns,
    period_ends,
    summarize_performance,
)
from onetape.portfolio.round_trips import pair_round_trips
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.pacing import Pacer
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.python_host import CompiledFirst, PythonHost
from onetape.runtime.set_outcome import GivenUp, SetOutcome
from onetape.strategy.declaration import Param
from onetape.strategy.sdk import Strategy
from onetape.tape.block import decode_record, split_records
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.repeated import RepeatedTape
from onetape.tape.store import MemoryTape
from onetape.telemetry.run_projection import project_run
from tests.support.random_strategies import COARSE, COIN, SHARE, make_random_prints
from tests.support.session_runs import make_terms
from tests.support.timelines import MINUTE, T0, make_columns

PICKY = Instrument(
    id=InstrumentId("IBM.XNYS"), kind=InstrumentKind.EQUITY, quote_currency="USD",
    tick_size=Decimal("0.01"), lot_size=Decimal(1), calendar="XNYS", min_lots=5, max_lots=400,
    min_notional=Decimal(700),
)  # fmt: skip
"""Bounds the quantity and notional of an order."""

ODD = Instrument(
    id=InstrumentId("ODD.TEST"), kind=InstrumentKind.INDEX, quote_currency="USD",
    tick_size=Decimal("0.025"), lot_size=Decimal("0.5"), multiplier=Decimal(3),
)  # fmt: skip
"""A contract of three units."""

INSTRUMENTS = (SHARE, COARSE, COIN, PICKY, ODD)

STEPS = {"1m": MINUTE, "1h": 60 * MINUTE, "1d": 1_440 * MINUTE}

FEES: tuple[FeeModel, ...] = (
    NoFees(),
    PerShareFees(rate="0.01"),
    PerShareFees(rate="0.01", minimum="1", maximum_ratio="0.01"),
    PerOrderFees(amount="0.35"),
    BpsFees(maker_bps=-2, taker_bps="7.5"),
    TieredFees(
        tiers=(
            FeeTier(from_notional=0, maker_bps=5, taker_bps=10),
            FeeTier(from_notional=20_000, maker_bps=-1, taker_bps=4),
        )
    ),
    PerContractFees(rate="0.5", exchange_rate="0.1", minimum="1", maximum="9"),
    PerShareTieredFees(
        tiers=(
            ShareTier(from_quantity=0, rate="0.01"),
            ShareTier(from_quantity=50, rate="0.004"),
            ShareTier(from_quantity="200.5", rate="0.001"),
        ),
        minimum="0.05",
        maximum_ratio="0.01",
    ),
    make_ibkr_us_tiered(maker_rate="-0.002"),
    make_alpaca_us(),
)
SLIPPAGE: tuple[SlippageModel, ...] = (
    NoSlippage(),
    FixedSlippage(bps=5),
    FixedSlippage(ticks=3),
    VolumeSlippage(base_bps=1, volume_factor="0.05"),
    SquareRootSlippage(coefficient="0.01"),
)
LATENCY = (
    LatencyModel(),
    LatencyModel(mean_ms=40),
    LatencyModel(mean_ms="0.000001"),
    LatencyModel(mean_ms=20_000, std_ms=30_000),
    LatencyModel(mean_ms=200_000),
)
NO_LIMITS = RiskLimits()


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What an instrument is charged, and how it fills."""

    fees: FeeModel = FEES[0]
    slippage: SlippageModel = SLIPPAGE[0]
    is_touched: bool = False
    max_volume_ratio: float | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Plan:
    """What a world is made of.

    Attributes:
        seed: Of prices, volumes and gaps.
        rows: Bars or prints of each instrument, before some bars are dropped.
        instruments: Positions in `INSTRUMENTS`, in the order of the timeline.
        kind: Whether they are bars or prints; `timeframe`, `level`, `swing` and `gap_ratio` are of
            bars.
        level: First price.
        swing: Standard deviation of a bar's return.
        gap_ratio: Share of the bars that are dropped.
        controls: (row, ns behind it, whether the kill switch is set from then on).
        venue_seed: Of latency.
        overrides: Of the instruments behind the first, other costs than those of the plan.
    """

    seed: int = 0
    rows: int = 30
    instruments: tuple[int, ...] = (0,)
    kind: TimelineKind = "bars"
    timeframe: str = "1m"
    level: float = 100.0
    swing: float = 0.01
    gap_ratio: float = 0.0
    capital: float = 20_000.0
    fees: FeeModel = FEES[0]
    slippage: SlippageModel = SLIPPAGE[0]
    latency: LatencyModel = LATENCY[0]
    is_touched: bool = False
    max_volume_ratio: float | None = None
    limits: RiskLimits = NO_LIMITS
    controls: tuple[tuple[int, int, bool], ...] = ()
    venue_seed: int = 0
    overrides: tuple[Costs, ...] = ()

    def __repr__(self) -> str:
        """Only what is not the default, so that a small world looks small."""
        told = [
            f"{each.name}={show_limits(value) if each.name == 'limits' else repr(value)}"
            for each in fields(self)
            for value in [getattr(self, each.name)]
            if value != each.default
        ]
        return f"Plan({', '.join(told)})"


def show_limits(limits: RiskLimits) -> str:
    """The limits that are set, as their repr would have them."""
    told = [
        f"{each.name}={value!r}"
        for each in msgspec.structs.fields(limits)
        for value in [getattr(limits, each.name)]
        if value != each.default
    ]
    return f"RiskLimits({', '.join(told)})"


@dataclass(frozen=True)
class World:
    """A plan carried out. `controls` are (ts, whether the kill switch is set), in order of time."""

    plan: Plan
    timeline: Timeline
    terms: VenueTerms
    controls: tuple[tuple[int, bool], ...]

    def spec(self, strategy: Strategy) -> StrategySpec:
        """The strategy as part of a session."""
        return StrategySpec(
            name="s0", strategy=strategy, capital=to_minor(self.plan.capital, "capital")
        )


@dataclass(frozen=True)
class Case:
    """A world, and the sets of params that are run in it one after the other."""

    plan: Plan
    params: tuple[dict[str, Any], ...]


def make_case(chance: random.Random, strategy: type[Strategy], sets: int = 2) -> Case:
    """A random case for a strategy."""
    hears_prints = strategy.on_trade is not Strategy.on_trade
    plan = make_plan(chance, ("bars", "bars", "bars", "trades") if hears_prints else ("bars",))
    return Case(plan, tuple(make_params(chance, strategy) for _ in range(sets)))


def make_plan(chance: random.Random, kinds: Sequence[TimelineKind] = ("bars",)) -> Plan:
    """Any world of one of these kinds."""
    instruments = chance.choice((
        (0,), (0,), (2,), (1,), (3,), (4,), (0, 1), (2, 0), (0, 3), (0, 1, 2), (4, 2, 1), (3, 0, 1),
    ))  # fmt: skip
    plan = Plan(
        seed=chance.randint(0, 2**31),
        rows=chance.choice((chance.randint(1, 12), chance.randint(12, 60), chance.randint(12, 60),
                            chance.randint(60, 150))),
        instruments=instruments,
        kind=chance.choice(kinds),
        timeframe=chance.choice(("1m", "1m", "1h", "1d")),
        level=chance.choice((100.0, 100.0, 100.0, 37.5, 2_500.0, 0.4)),
        swing=chance.choice((0.01, 0.01, 0.003, 0.05)),
        gap_ratio=chance.choice((0.0, 0.3, 0.6)),
        capital=chance.choice((20_000.0, 20_000.0, 300.0, 2_500.25, 1e6, 3e8)),
        fees=chance.choice(FEES),
        slippage=chance.choice(SLIPPAGE),
        latency=chance.choice(LATENCY),
        is_touched=chance.random() < 0.5,
        max_volume_ratio=chance.choice((None, None, 0.1, 0.01, 1.0)),
        limits=make_limits(chance),
        controls=make_controls(chance),
        venue_seed=chance.randint(0, 1_000),
    )  # fmt: skip
    others = () if chance.random() < 0.5 else instruments[1:]
    return replace(plan, overrides=tuple(make_costs(chance) for _ in others))


def make_costs(chance: random.Random) -> Costs:
    """Any costs, but none that go by the volume of a month: compiled code counts one."""
    return Costs(
        fees=chance.choice([each for each in FEES if not hasattr(each, "tiers")]),
        slippage=chance.choice(SLIPPAGE),
        is_touched=chance.random() < 0.5,
        max_volume_ratio=chance.choice((None, 0.1, 0.01)),
    )


def make_limits(chance: random.Random) -> RiskLimits:
    """No limit, a few that let most pass, or any that bind at once."""

    def maybe(probability: float, *values: Any) -> Any:
        return chance.choice(values) if chance.random() < probability else None

    style = chance.choice((0.0, 0.15, 0.15, 0.4))
    if not style:
        return RiskLimits(max_leverage=chance.choice((None, 4)))
    return RiskLimits(
        allowed_instruments=maybe(0.2 * style, ("AAPL.XNAS", "BTC-USD.TEST")),
        forbidden_instruments=maybe(0.2 * style, ("AAPL.XNAS",), ("MSFT.XNAS", "ODD.TEST")) or (),
        max_order_quantity=maybe(style, 30, 2_000, "12.3"),
        max_order_notional=maybe(style, 2_000, 50_000, "999.99"),
        max_position_quantity=maybe(style, 60, 250, "0.5"),
        max_position_pct=maybe(style, 20, 75, "33.3"),
        max_concentration_pct=maybe(style, 20, 60),
        max_gross_exposure_pct=maybe(style, 60, 150),
        max_net_exposure_pct=maybe(style, 40, 120),
        max_leverage=maybe(0.5, 3, 10, "1.5"),
        allow_short=chance.random() < 0.7,
        max_daily_loss_pct=maybe(2 * style, 5, "0.1", "0.4"),
        max_drawdown_pct=maybe(2 * style, 10, "0.2"),
        max_orders_per_minute=maybe(style, 1, 3, 20),
    )


def make_controls(chance: random.Random) -> tuple[tuple[int, int, bool], ...]:
    """Now and then a kill switch is set, and mostly lifted again."""
    if chance.random() < 0.7:
        return ()
    rows = sorted(chance.randint(0, 150) for _ in range(chance.choice((1, 2, 2, 2, 3, 4))))
    return tuple(
        (row, chance.choice((0, 0, -1, 1, 30_000_000_000)), at % 2 == 0)
        for at, row in enumerate(rows)
    )


def make_params(chance: random.Random, strategy: type[Strategy]) -> dict[str, Any]:
    """Params inside their bounds; half of them at their default."""
    return {
        name: declared.default if chance.random() < 0.5 else make_value(chance, declared)
        for name, declared in strategy.declared_params.items()
    }


def make_value(chance: random.Random, declared: Param) -> Any:
    """Any value a param may have; across orders of magnitude where its bounds lie far apart."""
    if declared.type_name == "bool":
        return chance.random() < 0.5
    below = declared.ge if declared.ge is not None else declared.gt
    above = declared.le if declared.le is not None else declared.lt
    low, high = -20.0 if below is None else below, 60.0 if above is None else above
    if declared.type_name == "int":
        first = int(low) + (declared.gt is not None)
        last = int(high) - (declared.lt is not None)
        return chance.choice((first, last, *(chance.randint(first, last) for _ in range(8))))
    inner = low + (high - low) / 1_024
    if low >= 0 and high > 1_000 * max(low, 1):
        return min(max(inner, 10.0 ** chance.uniform(0, float(np.log10(high)))), high)
    return chance.uniform(inner, low + (high - low) * 1_023 / 1_024)


def build_world(plan: Plan) -> World:
    """The world of a plan."""
    chance = random.Random(plan.seed)
    traded = [INSTRUMENTS[each] for each in plan.instruments]
    if plan.kind == "bars":
        timeline = build_timeline(
            [(each, make_bars(chance, plan, each)) for each in traded], source="parity",
            timeframe=plan.timeframe,
        )  # fmt: skip
    else:
        timeline = build_trade_timeline(
            [(each, make_random_prints(chance, each, plan.rows)) for each in traded],
            source="parity",
        )
    terms = make_terms(
        timeline,
        fees=plan.fees,
        slippage=plan.slippage,
        latency=plan.latency,
        limit_reach=LIMIT_TOUCHED if plan.is_touched else LIMIT_TRADED_THROUGH,
        max_volume_ratio=plan.max_volume_ratio,
        seed=plan.venue_seed,
    )
    terms = override_costs(terms, traded[1:], plan.overrides)
    known = timeline.columns["ts_known"].tolist()
    timed = [(known[row % len(known)] + off, active) for row, off, active in plan.controls]
    controls = tuple(sorted(each for each in timed if each[0] <= known[-1]))
    return World(plan, timeline, terms, controls)


def override_costs(
    terms: VenueTerms, instruments: Sequence[Instrument], overrides: Sequence[Costs]
) -> VenueTerms:
    """The terms with other costs of some instruments; of as many as there are overrides."""
    pairs = list(zip(instruments, overrides, strict=False))
    return msgspec.structs.replace(
        terms,
        fees={**terms.fees, **{each.id: build_fee_schedule(by.fees, each) for each, by in pairs}},
        slippages={each.id: build_slippage(by.slippage) for each, by in pairs},
        max_volume_ratios={each.id: by.max_volume_ratio for each, by in pairs},
        fills={
            each.id: FillTerms(limit_reach=LIMIT_TOUCHED if by.is_touched else LIMIT_TRADED_THROUGH)
            for each, by in pairs
        },
        fee_groups={each.id: str(at) for at, (each, _) in enumerate(pairs, 1)},
    )


def make_bars(
    chance: random.Random, plan: Plan, instrument: Instrument
) -> dict[str, npt.NDArray[Any]]:
    """A random walk with gaps in price and time; some bars have no range, some no volume.

    Each instrument starts when it likes, closes early or not, and is known at once or later.
    """
    tick = instrument.tick_float
    is_on_grid = chance.random() < 0.6
    price = plan.level
    bars: list[tuple[float, ...]] = []
    for _ in range(plan.rows):
        open_ = price * (1 + chance.gauss(0, plan.swing / 2))
        if chance.random() < 0.03:
            open_ *= chance.choice((0.7, 1.4))
        close = open_ * (1 + max(-0.8, chance.gauss(0, plan.swing)))
        high = max(open_, close) * (1 + abs(chance.gauss(0, plan.swing / 2)))
        low = min(open_, close) * (1 - min(0.9, abs(chance.gauss(0, plan.swing / 2))))
        if chance.random() < 0.07:
            open_ = high = low = close
        values = (open_, high, low, close)
        if is_on_grid:
            values = tuple(max(tick, round(each / tick) * tick) for each in values)
        volume = chance.choice((0.0, 3.0, 30.0, 300.0, 3_000.0, 1e6)) * instrument.lot_float
        bars.append((*values, volume))
        price = close
    step = STEPS[plan.timeframe]
    columns = make_columns(
        bars,
        start=T0 + chance.choice((0, 0, 1, 7)) * step,
        step=step,
        length=chance.choice((step, step * 3 // 10)),
        session=chance.choice((1, 4, 1_000)),
    )
    keep = np.array([chance.random() >= plan.gap_ratio for _ in range(plan.rows)])
    keep[chance.randrange(plan.rows)] = True
    columns = {name: values[keep] for name, values in columns.items()}
    columns["ts_known"] = columns["ts_close"] + chance.choice((0, 0, 0, 1, 70_000_000_000))
    return columns


# What a host tells.


@dataclass(frozen=True)
class Told:
    """A run as one host tells it.

    Attributes:
        events: (engine time, payload) of every event between header and footer.
        records: The whole tape, a record an engine step.
        outcome: The figures.
        state: The strategy's declared state at the end.
        is_carried: Whether the host ran it by itself.
    """

    events: list[tuple[int, Payload]]
    records: list[bytes]
    outcome: SetOutcome
    state: dict[str, Any]
    is_carried: bool = True


class Operator(Pacer):
    """Sets the kill switch between time slices: a pacer that acts instead of waiting."""

    def __init__(self, session: BacktestSession, controls: Sequence[tuple[int, bool]]) -> None:
        super().__init__(10**15)
        self._session = session
        self._waiting = list(controls)

    def wait_until(self, ts: int) -> None:
        """Give every command that is due before the slice of `ts`."""
        while self._waiting and self._waiting[0][0] <= ts:
            at, active = self._waiting.pop(0)
            self._session.pipeline.control(KillSwitchSet(active=active, reason="control"), at)


def open_session(world: World, strategy: Strategy, tape: TapeWriter) -> BacktestSession:
    """The session of `onetape backtest`."""
    return BacktestSession(
        world.timeline, [world.spec(strategy)], world.terms, world.plan.limits, tape,
        SessionIdentity(),
    )  # fmt: skip


def run_python(world: World, strategy: Strategy) -> Told:
    """The Python host, which is the session of `onetape backtest`."""
    tape = MemoryTape()
    session = open_session(world, strategy, tape)
    session.run(None, Operator(session, world.controls) if world.controls else None)
    told = read_told(tape)
    ledger = session.runners["s0"].ledger
    assert fold_books(told) == (
        ledger.cash if told_fills(told) else None, ledger.fees, ledger.realized, ledger.inventory,
        {name: (each.lots, each.cost) for name, each in ledger.positions.items() if each.lots},
    )  # fmt: skip
    state = {name: getattr(strategy, name) for name in strategy.declared_state}
    return Told(
        told, read_records(tape),
        summarize_python(world.timeline, list(MemoryTapeReader(tape).events())),
        as_declared(type(strategy), state),
    )  # fmt: skip


def read_told(tape: MemoryTape) -> list[tuple[int, Payload]]:
    """Every event between header and footer with its engine time."""
    return [
        (each.ts_event, each.payload)
        for each in MemoryTapeReader(tape).events()
        if not isinstance(each.payload, SessionStarted | SessionStopped)
    ]


def read_records(tape: MemoryTape) -> list[bytes]:
    """Every record of a tape."""
    tape.commit()
    return [record for block in tape.blocks for record in split_records(block)]


def as_declared(strategy: type[Strategy], state: Mapping[str, Any]) -> dict[str, Any]:
    """State with its floats as floats: Python lets a strategy put an int where it declares one."""
    declared = strategy.declared_state
    return {
        name: float(value) if declared[name].type_name == "float" else value
        for name, value in state.items()
    }


def run_compiled(
    world: World,
    strategy: type[Strategy],
    params: Sequence[Mapping[str, object]],
    *,
    in_python: bool = False,
) -> list[Told]:
    """The compiled host: one host, as a sweep has it, runs the sets one after the other.

    With `in_python` the strategy stays in Python, and the host runs everything else.
    """
    host = CompiledHost(
        world.timeline,
        world.spec(strategy()),
        world.terms,
        world.plan.limits,
        controls=[(ts, KillSwitchSet(active, "control")) for ts, active in world.controls],
        in_python=in_python,
    )
    return [_record(world, host, strategy, each) for each in params]


def _record(
    world: World, host: CompiledHost, strategy: type[Strategy], params: Mapping[str, object]
) -> Told:
    """A set's tape, as `onetape backtest` writes it, and its figures, as a sweep has them."""
    mine = strategy(**params)
    tape = MemoryTape()
    session = open_session(world, mine, tape)
    controls = [(ts, KillSwitchSet(active, "control")) for ts, active in world.controls]
    try:
        state = host.record(mine, lambda: RepeatedTape(tape), session.header())
        is_carried = True
    except GivenUp:
        again = RepeatedTape(tape)
        session = open_session(world, mine, again)
        session.run(controls=controls)
        again.check_over()
        state = {name: getattr(mine, name) for name in mine.declared_state}
        is_carried = False
    first = CompiledFirst(host.run, lambda: _python_host(world, mine, controls))
    return Told(
        read_told(tape), read_records(tape), first.run(params), as_declared(strategy, state),
        is_carried,
    )  # fmt: skip


def _python_host(
    world: World, strategy: Strategy, controls: Sequence[tuple[int, KillSwitchSet]]
) -> PythonHost:
    """The Python host of a sweep."""
    return PythonHost(
        world.timeline, world.spec(strategy), world.terms, world.plan.limits, None, controls
    )


def told_fills(events: Sequence[tuple[int, Payload]]) -> list[OrderFilled]:
    """The fills among the events."""
    return [each for _, each in events if isinstance(each, OrderFilled)]


def fold_books(events: Sequence[tuple[int, Payload]]) -> tuple[object, ...]:
    """Cash after the last fill, fees, realized, inventory and positions, as the events tell."""
    changes = [each for _, each in events if isinstance(each, PositionChanged)]
    last = {each.instrument: (each.lots, each.cost) for each in changes}
    return (
        changes[-1].cash if changes else None,
        sum(each.fee for each in told_fills(events)),
        sum(each.realized for each in changes),
        sum(cost for _, cost in last.values()),
        {name: held for name, held in last.items() if held[0]},
    )


def summarize_python(timeline: Timeline, events: Sequence[Event]) -> SetOutcome:
    """The figures of a run from its tape, the way that reports measure it."""
    projection = project_run(events)
    marks = Marks(timeline)
    curve = compute_equity_curves(marks, projection.account_events).account
    clock = choose_returns_clock(timeline.instruments, timeline.timeframe)
    round_trips = pair_round_trips(marks, projection.account_events)
    fills = [fill for _, _, fill in projection.fills]
    failures = [failure for _, failure in projection.quarantined]
    return SetOutcome(
        summary=summarize_performance(curve, fills, round_trips, clock),
        returns=compute_returns(compute_growth(curve)[period_ends(curve.ts, clock)]),
        orders=projection.counts["risk.approved"],
        denied=projection.counts["risk.denied"],
        quarantined="".join(
            f"{each.callback}: {each.error}" + (f" ({each.where})" if each.where else "")
            for each in failures
        ),
    )


# Whether both tell the same.

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(Payload).decode


def to_bytes(payload: Payload) -> bytes:
    """A payload as a reader of the tape would write it again: the same bits or not the same."""
    return _encode(_decode(_encode(payload)))


def compare_events(
    python: Sequence[tuple[int, Payload]], compiled: Sequence[tuple[int, Payload]]
) -> str:
    """The first difference of two lists of events, readably; empty when there is none."""
    for at in range(max(len(python), len(compiled))):
        mine = python[at] if at < len(python) else None
        other = compiled[at] if at < len(compiled) else None
        if mine is not None and other is not None:
            (ts, payload), (other_ts, other_payload) = mine, other
            if ts == other_ts and to_bytes(payload) == to_bytes(other_payload):
                continue
        before = [f"       both  {show(each)}" for each in python[max(0, at - 6) : at]]
        return "\n".join((
            f"event {at} differs (python has {len(python)}, compiled {len(compiled)}):", *before,
            f"     python  {show(mine)}", f"   compiled  {show(other)}",
        ))  # fmt: skip
    return ""


def compare_records(python: Sequence[bytes], compiled: Sequence[bytes]) -> str:
    """The first record that is not the same bytes, readably; empty when there is none."""
    for at in range(max(len(python), len(compiled))):
        mine, other = (each[at] if at < len(each) else b"" for each in (python, compiled))
        if mine != other:
            told = [repr(decode_record(each)) if each else "no more" for each in (mine, other)]
            is_encoding = told[0] == told[1]
            return "\n".join((
                f"record {at} differs (python has {len(python)}, compiled {len(compiled)}):",
                f"     python  {mine.hex() if is_encoding else told[0]}",
                f"   compiled  {other.hex() if is_encoding else told[1]}",
            ))  # fmt: skip
    return ""


def show(event: tuple[int, Payload] | None) -> str:
    """One event on one line."""
    return f"{to_iso(event[0])} {event[1]!r}" if event is not None else "nothing more"


def to_comparable(value: object) -> object:
    """A figure such that equal means the same bits; any NaN is the same."""
    if isinstance(value, float):
        return "nan" if value != value else struct.pack(">d", value)
    if isinstance(value, np.ndarray):
        return [to_comparable(each) for each in value.tolist()]
    if isinstance(value, Decimal):
        return str(value.normalize())
    return value


def compare_figures(python: SetOutcome, compiled: SetOutcome) -> str:
    """Every figure that differs, one a line."""
    pairs = [
        (name, getattr(python, name), getattr(compiled, name))
        for name in ("returns", "orders", "denied", "quarantined")
    ]
    pairs += [
        (f"summary.{name}", getattr(python.summary, name), getattr(compiled.summary, name))
        for name in python.summary.__struct_fields__
    ]
    return "\n".join(
        f"{name}: python {mine!r}, compiled {other!r}"
        for name, mine, other in pairs
        if to_comparable(mine) != to_comparable(other)
    )


def compare_state(python: Mapping[str, Any], compiled: Mapping[str, Any]) -> str:
    """Every piece of declared state that differs, one a line."""
    return "\n".join(
        f"state {name}: python {value!r}, compiled {compiled.get(name)!r}"
        for name, value in python.items()
        if name not in compiled or to_comparable(value) != to_comparable(compiled[name])
    )
