"""`CompiledHost`: runs sets of one strategy over one timeline, in compiled code.

What a set asks for and compiled code can't give (a strategy that raises, a number beyond int64) is
given up: the Python host alone says what such a set comes to.

Importing this module imports Numba: import it where it is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numba.core.errors import NumbaError

from onetape.domain.events import (
    CapitalDeposited,
    KillSwitchSet,
    SessionStarted,
    SessionStopped,
)
from onetape.domain.numbers import INT64_MAX
from onetape.domain.orders import OrderStatus
from onetape.domain.ports import EncodedTapeWriter
from onetape.domain.rule_compiler import Packed
from onetape.execution.oms import MOVES
from onetape.execution.simulated.fee_rules import MonthVolume
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.terms import VenueTerms
from onetape.features import FeatureMap
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.performance_summary import (
    BookFigures,
    choose_returns_clock,
    compute_returns,
    summarize_figures,
)
from onetape.risk.gates.order_rate import OrderRate
from onetape.risk.limits import RiskLimits, build_gates
from onetape.runtime.compiled.attempt import Attempt, NoRoom
from onetape.runtime.compiled.callbacks import REFUSED, ContextType, PackedContext
from onetape.runtime.compiled.carried import check_carried
from onetape.runtime.compiled.compiling import compute_code_hash
from onetape.runtime.compiled.engine import EVENTS
from onetape.runtime.compiled.event_layout import EventLayouts
from onetape.runtime.compiled.gate_limits import GateLimits
from onetape.runtime.compiled.loop import run_bars, run_trades
from onetape.runtime.compiled.market import Market
from onetape.runtime.compiled.python_strategy import PythonStrategy, find_type
from onetape.runtime.compiled.state import ASKED_WIDTH, make_engine_type
from onetape.runtime.compiled.strategy_code import (
    PYTHON_HOST,
    NotCompilable,
    StrategyCode,
    read_strategy,
)
from onetape.runtime.session_spec import (
    OnProgress,
    Progress,
    SessionIdentity,
    StrategySpec,
    compute_session_id,
)
from onetape.runtime.set_outcome import GivenUp, SetOutcome
from onetape.strategy.checks.finding import Finding
from onetape.strategy.sdk import Strategy
from onetape.strategy.slice_features import check_slice_features

__all__ = ["CompiledHost", "NotCompilable"]

_TRIPS = ("trip_sign", "trip_entered", "trip_exited", "trip_entry_notional",
          "trip_exit_notional", "trip_fees", "trip_ts")  # fmt: skip
ORDER_SLOTS = 64
"""Open orders that a set has room for at first, beside two an instrument."""
_NO_LOG = np.zeros(0, dtype=np.int64)
_GROWTH = 8
_ROOMS = 5
"""So often a set is tried, each time with more room, before it is handed to the Python host."""


class CompiledHost:
    """Runs sets of one strategy; thread-safe, and without the interpreter's lock while it runs.

    Args:
        timeline: The market data, shared by all sets.
        spec: The strategy; its params are not used.
        terms: How the simulated venue fills and charges.
        limits: Risk limits.
        identity: What the sessions are called after.
        controls: Operators' commands with their times, in order.
        in_python: Whether the strategy stays in Python; else its callbacks are compiled.

    Raises:
        NotCompilable: The strategy uses what the compiled host does not carry.
        ConfigError: The session is one that the compiled host does not carry.
        DataError: A close can't be counted in ticks.
    """

    def __init__(
        self,
        timeline: Timeline,
        spec: StrategySpec,
        terms: VenueTerms,
        limits: RiskLimits,
        identity: SessionIdentity | None = None,
        controls: Sequence[tuple[int, KillSwitchSet]] = (),
        *,
        in_python: bool = False,
    ) -> None:
        check_carried(timeline, spec, terms, limits)
        identity = identity or SessionIdentity()
        self._spec = spec
        self._clock = choose_returns_clock(timeline.instruments, timeline.timeframe)
        self._market = Market(timeline, self._clock, limits.trading_day)
        self._engine_type, self._parts = make_engine_type(compute_code_hash())
        self._gates = GateLimits(build_gates(limits), timeline.instruments)
        self._controls = controls
        self._run: Any = run_trades if timeline.kind == "trades" else run_bars
        named = spec.strategy.features()
        check_slice_features(spec.strategy, named)
        names = tuple(named)
        self._code = None if in_python else read_strategy(type(spec.strategy), names)
        self._labels = [""] if self._code is None else list(self._code.labels)
        self._timeline = timeline
        session = identity.session or compute_session_id(timeline, identity)
        self._order_prefix = prefix = f"{session[:8]}-{spec.name}-"
        self._layouts = EventLayouts(
            timeline.instruments,
            spec.name,
            prefix,
            self._gates,
            self._labels,
        )
        self._values = self._make_values(terms)
        self._templates: dict[int, Packed] = {}
        self._compile(spec.strategy)

    def run(self, params: Mapping[str, Any]) -> SetOutcome:
        """Run one set.

        Raises:
            GivenUp: Compiled code can't run it; the Python host can.
            StrategyError: The strategy refuses the params, or its features raise.
            InvariantBroken: A promise of ours does not hold.
        """
        rows = len(self._timeline)
        strategy = type(self._spec.strategy)(**params)
        attempt = self._attempt(strategy, lambda attempt: attempt.advance(rows))
        return self._measure(attempt.engine)

    def check_labels(self) -> None:
        """Refuse a strategy whose tape compiled code can't write, though it can run it.

        Raises:
            NotCompilable: A label of an order is computed.
        """
        if self._code is not None and self._code.unlabeled is not None:
            name = type(self._spec.strategy).__name__
            raise NotCompilable(name, self._code.file, (self._code.unlabeled,))

    def record(
        self,
        strategy: Strategy,
        open_tape: Callable[[], EncodedTapeWriter],
        header: SessionStarted,
        on_progress: OnProgress | None = None,
    ) -> dict[str, Any]:
        """Run the session of `strategy` and write its tape, as the Python host does.

        Args:
            strategy: An object of the class of this host; it is left as it is.
            open_tape: Gives its tape, from the start; again, when it needs more room.
            header: Its first event.
            on_progress: Told after each stretch.

        Returns:
            The final state of the strategy; order ids as the tape has them.

        Raises:
            NotCompilable: A label of an order is not carried; nothing is on the tape.
            GivenUp: Compiled code can't go on; what is on the tape is right.
            InvariantBroken: A promise of ours does not hold.
        """
        self.check_labels()
        deposit = CapitalDeposited(self._spec.name, self._spec.currency, self._spec.capital)
        footer = SessionStopped(reason="end of data", market_events=len(self._timeline))
        commands = [command for _, command in self._controls]
        layouts = self._layouts.with_inputs(header, deposit, footer, commands)
        ts_known = self._market.ts_known

        def drive(attempt: Attempt) -> None:
            def tell(done: int) -> None:
                if on_progress is not None:
                    equity = _equity_at(attempt.engine, self._market, done - 1)
                    ts = int(ts_known[done - 1])
                    on_progress(Progress(done, len(ts_known), ts, equity))

            attempt.record(layouts, open_tape(), tell)

        return self._read_state(strategy, self._attempt(strategy, drive).state)

    def _read_state(self, strategy: Strategy, state: Packed | PythonStrategy) -> dict[str, Any]:
        if isinstance(state, PythonStrategy):
            return {name: getattr(state.strategy, name) for name in strategy.declared_state}
        values: dict[str, Any] = {}
        for name, declared in strategy.declared_state.items():
            value = state.read(name)
            if declared.type_name == "str":
                value = declared.default or self._layouts.order_id(value)  # only "" ever changes
            values[name] = value
        return values

    # Running.

    def _attempt(self, strategy: Strategy, drive: Callable[[Attempt], None]) -> Attempt:
        """Have `drive` run a set, with as much room as it needs.

        Raises:
            GivenUp: Compiled code can't.
        """
        named = dict(strategy.features())
        if self._code is not None and named.keys() != set(self._code.features):
            raise GivenUp("its features have other names than those of the class")
        check_slice_features(strategy, named)
        for room in range(_ROOMS):
            attempt = self._begin(strategy, named, self._make_engine(room))
            try:
                drive(attempt)
            except NoRoom:  # it is run again with more
                continue
            return attempt
        raise GivenUp("too many orders are open at once")

    def _begin(self, strategy: Strategy, named: FeatureMap, engine: Packed) -> Attempt:
        """A session at its start.

        Raises:
            GivenUp: A param is beyond int64.
        """
        code = self._code
        if code is None:
            columns = self._market.features(dict(named))
            state = PythonStrategy(
                self._spec.name, strategy.renew(), self._timeline, self._market.close_ticks,
                dict(zip(named, columns, strict=True)), engine, self._order_prefix,
                self._labels,
            )  # fmt: skip
            return Attempt(self._run, engine, state, PackedContext(engine, ()))
        try:
            state = Packed(code.type, code.values(strategy))
        except OverflowError as error:
            raise GivenUp("a param is beyond int64") from error
        columns = self._market.features({name: named[name] for name in code.features})
        engine.write("feature_columns", [each.ctypes.data for each in columns])
        return Attempt(self._run, engine, state, PackedContext(engine, code.features))

    def _make_engine(self, room: int) -> Packed:
        template = self._templates.get(room)
        if template is None:
            template = Packed(self._engine_type, self._values | self._make_room(room))
            self._templates[room] = template
        engine = template.copy()
        for name in ("month", "order", "rate"):
            engine.write(name, engine.keep(self._values[name].copy()))
        return engine

    def _make_room(self, room: int) -> dict[str, Any]:
        """Everything whose size is a capacity."""
        instruments = int(self._values["instruments"])
        slots = 1 << ((ORDER_SLOTS + 2 * instruments) * _GROWTH**room - 1).bit_length()
        names = [name for name, kind in self._engine_type.fields if kind == "int_slots"]
        sized = {
            "order_": slots, "intent_": slots, "command_": 2 * slots, "change_": slots,
            "met_": 2 * slots,
        }  # fmt: skip
        found: dict[str, Any] = {
            name: np.zeros(size, dtype=np.int64)
            for name in names
            for prefix, size in sized.items()
            if name.startswith(prefix)
        }
        found["asked"] = np.zeros(slots * ASKED_WIDTH, dtype=np.int64)
        return found | {"slots": slots, "open_slots": np.arange(slots), "log": _NO_LOG}

    def _make_values(self, terms: VenueTerms) -> dict[str, Any]:
        """Every field of `Engine` but those of `_make_room`, as it is before the first row."""
        parts = self._parts
        market = self._market.values
        count = int(market["instruments"])
        capital = self._spec.capital
        ids = self._layouts.instrument_ids
        gates = self._gates
        slippages = [terms.slippage_of(each) for each in ids]
        ratios = [terms.max_volume_ratio_of(each) for each in ids]
        zeros = [0] * count
        values: dict[str, Any] = {
            name: 0 if kind in ("int", "bool") else 0.0
            for name, kind in self._engine_type.fields
            if kind in ("int", "bool", "float")
        }
        order = {name: 0 for name, _ in parts["RiskInput"].fields}
        return (
            values
            | market
            | {
                "schedules": [_pack(parts["FeeSchedule"], terms.fees[each]) for each in ids],
                "slippages": [_pack(parts["SlippageTerms"], each) for each in slippages],
                "slips": [int(each != SlippageTerms()) for each in slippages],
                "latency": _pack(parts["LatencyTerms"], terms.latency),
                "is_instant": terms.latency.mean_ns == terms.latency.std_ns == 0,
                "limit_reach": [terms.fill_of(each).limit_reach for each in ids],
                "is_capped": [int(each is not None) for each in ratios],
                "max_volume_ratio": [each or 0.0 for each in ratios],
                "moves": _list_moves(),
                "gate_is_on": gates.is_on,
                "gate_limit": gates.limit,
                "power": _pack(parts["BuyingPower"], gates.power),
                "has_rate": gates.rate is not None,
                "rate": _pack(parts["OrderRate"], gates.rate or OrderRate(1, 0, [0])),
                "watches": gates.watches,
                "controls": len(self._controls),
                "control_ts": [ts for ts, _ in self._controls],
                "control_active": [int(command.active) for _, command in self._controls],
                "capital": capital,
                "log_pause": 1,
                "row": -1,
                "now": self._market.ts_start,
                "accounted": -1,
                "accounted_equity": capital,
                "last_row": [-1] * count,
                "mark": zeros,
                "feature_columns": [0] * len(self._code.features if self._code else ()),
                "feature_row": -1,
                "cash": capital,
                "peak": capital,
                "session_start_equity": capital,
                "position_lots": zeros,
                "position_cost": zeros,
                "position_units": [0.0] * count,
                "month": _pack(parts["MonthVolume"], MonthVolume()),
                "order": Packed(parts["RiskInput"], order),
                "book_count": zeros,
                "other_buys": zeros,
                "other_sells": zeros,
                "next_arrival": INT64_MAX,
                "growth_high": 1.0,
                "high_from": capital - (capital >> 50),
                "low_equity": capital,
                "high_row": -1,
                "high_slice": -1,
                "period_equity": [0] * self._market.periods,
                **dict.fromkeys(_TRIPS, zeros),
            }
        )

    def _compile(self, strategy: Strategy) -> None:
        """Compile, or load from disk, what runs this strategy.

        Raises:
            NotCompilable: Numba refuses a callback.
        """
        code = self._code
        if code is None:
            kind = find_type(type(strategy), self._timeline)
            self._run.compile((self._engine_type, kind, ContextType(self._engine_type, ())))
            return
        context = ContextType(self._engine_type, code.features)
        try:
            self._run.compile((self._engine_type, code.type, context))
        except NumbaError as error:
            finding = _explain(str(error), code)
            raise NotCompilable(type(strategy).__name__, code.file, (finding,)) from error

    # Figures.

    def _measure(self, engine: Packed) -> SetOutcome:
        read = engine.read
        market = self._market
        slices = read("slices")
        capital = self._spec.capital
        equity = _equity_at(engine, market, len(self._timeline) - 1)
        period_equity = read("period_equity")
        growth = 1.0 * (period_equity / capital)
        fell = read("depth") < 0.0
        end_row, end_slice = read("deep_end_row"), read("deep_end_slice")
        if read("is_deep_open"):
            end_row, end_slice = market.ends[1], slices - 1
        peak_row = read("deep_high_row")
        ts = market.ts_known
        trips = read("trips")
        figures = BookFigures(
            ts_start=int(ts[market.ends[0]]),
            ts_end=int(ts[-1]),
            slices=slices,
            slices_held=read("slices_held"),
            slices_solvent=read("slices_solvent"),
            deposited=capital,
            equity=equity,
            equity_sum=read("equity_units") * 100_000_000 + read("equity_rest"),
            exposure_sum=read("exposure_sum"),
            growth=float(1.0 * (np.int64(equity) / capital)),
            depth=read("depth"),
            fall_peak=read("deep_high_slice") if fell else -1,
            fall_end=end_slice if fell else -1,
            ts_peak=int(ts[peak_row if peak_row >= 0 else market.ends[0]]) if fell else 0,
            ts_fall_end=int(ts[end_row]) if fell else 0,
            fills=read("fills"),
            traded=read("traded_units") * 100_000_000 + read("traded_rest"),
            fees=read("fees"),
            trips=trips,
            trips_open=int(np.count_nonzero(read("trip_sign"))),
            trips_won=read("trips_won"),
            trips_won_sum=read("trip_won_sum"),
            trips_lost_sum=read("trip_lost_sum"),
            trips_net_sum=read("trip_net_sum"),
            trips_duration_ns=read("trip_seconds") * 1_000_000_000 + read("trip_nanoseconds"),
            trip_best=read("trip_best"),
            trip_worst=read("trip_worst"),
        )
        returns = compute_returns(growth)
        return SetOutcome(
            summary=summarize_figures(figures, returns, self._clock),
            returns=returns,
            orders=read("orders"),
            denied=read("denied"),
        )


def _equity_at(engine: Packed, market: Market, row: int) -> int:
    """Cash plus positions at their marks; `row` is the newest."""
    lots = engine.read("position_lots").tolist()
    factors = market.values["instrument_factor"]
    if len(lots) == 1:
        marks = [int(market.values["ticks"][row])]
    else:
        marks = engine.read("mark").tolist()
    held = sum(a * b * c for a, b, c in zip(lots, factors, marks, strict=True))
    return engine.read("cash") + held


def _pack(record: Any, value: Any) -> Packed:
    return Packed(record, msgspec.structs.asdict(value))


def _list_moves() -> list[int]:
    """The table of moves, row-major (status, event); -1 where there is none."""
    return [int(MOVES.get((status, event), -1)) for status in OrderStatus for event in EVENTS]


_PLACE = re.compile(r' at (\S.*?) \((\d+)\)$|File "([^"]+)", line (\d+)', re.MULTILINE)


def _explain(message: str, code: StrategyCode) -> Finding:
    """What Numba refuses, as one finding at the innermost line of the strategy."""
    files = {Path(file).resolve(): file for file, _ in code.lines}
    found = [(match[1] or match[3], match[2] or match[4]) for match in _PLACE.finditer(message)]
    places = [(files.get(Path(file).resolve(), ""), int(line)) for file, line in found]
    file, line = next((each for each in places if each in code.lines), (code.file, 0))
    text = code.lines.get((file, line))
    refusal = re.search(f"{REFUSED}(.*)", message)
    if refusal is not None:
        what = refusal[1]
    elif text is not None:
        what = f"Numba can't compile {text!r}"
    else:
        what = next(each.strip() for each in message.splitlines()[::-1] if each.strip())
    if file != code.file:
        line, what = 0, f"{what}, in {file}:{line}"
    return Finding(line, "not-compilable", what, PYTHON_HOST)
