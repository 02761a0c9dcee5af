"""The compiled host is the Python host, bit for bit: every event, every figure, the final state.

A case is a strategy, a world (`tests/support/parity_worlds.py`) and the params of a set. The
strategies are a fixed family, most of them written by a grammar
(`tests/support/strategy_grammar.py`). `make soak` has it write 200 more: `ONETAPE_SOAK` says how
many, `ONETAPE_SOAK_SEED` from which seed on.
"""

from __future__ import annotations

import ast
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.domain.events import (
    OrderCanceled,
    OrderDenied,
    OrderFilled,
    OrderSubmitted,
    StrategyQuarantined,
)
from onetape.domain.orders import DenialCode, OrderConditions, OrderType, TimeInForce
from onetape.runtime.compiled import attempt, host
from onetape.runtime.compiled.engine import DENIALS
from onetape.runtime.compiled.gate_limits import GATES
from onetape.runtime.compiled.host import NotCompilable
from onetape.strategy.registry import load_strategy
from onetape.strategy.sdk import Strategy
from tests.support.compiled_actor import Actor, Hoarder, SliceActor
from tests.support.compiled_meanings import Meanings
from tests.support.parity_worlds import (
    Case,
    Plan,
    Told,
    build_world,
    compare_events,
    compare_figures,
    compare_records,
    compare_state,
    make_case,
    run_compiled,
    run_python,
)
from tests.support.python_actor import PythonActor
from tests.support.strategy_grammar import Scope, Writer, make_strategies, write_strategy

SETS = 2
"""Sets of params that a host runs one after the other in each world."""

ACTORS: dict[str, type[Strategy]] = {each.__name__: each for each in (Actor, SliceActor)}
WRITTEN = (6, 14, 27, 31, 36, 39, 53, 78, 85)
"""Seeds of the grammar whose strategies trade, and hold every construct between them."""

FAMILY = (*ACTORS, *map(str, WRITTEN))
CASES = 1_000
SOAKED = int(os.environ.get("ONETAPE_SOAK", "0"))
SOAK_SEED = int(
    os.environ.get("ONETAPE_SOAK_SEED") or random.SystemRandom().randrange(10**6, 10**9)
)
SOAK_CASES = 100

chances = st.randoms(use_true_random=False)


def examples(cases: int) -> Callable[[Any], Any]:
    """Settings for a number of cases, counting each set of params."""
    return settings(
        max_examples=-(-cases // SETS),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(scope="session")
def load(request: pytest.FixtureRequest) -> Callable[[str], type[Strategy]]:
    """Strategies by name. Files that were written before are used again, and so compiled once."""
    folder = request.config.cache.mkdir("written-strategies")
    return lambda name: ACTORS.get(name) or make_strategies(folder, [int(name)])[0]


def check(strategy: type[Strategy], case: Case, *, must_carry: bool = True) -> None:
    """Both hosts tell the same of a case; compiled code gives up no set that does not raise.

    With `must_carry` off it may: what can't be compiled is run by the Python host.
    """
    world = build_world(case.plan)
    compiled = run_compiled(world, strategy, case.params)
    mixed = run_compiled(world, strategy, case.params[:1], in_python=True)
    for params, *others in zip_longest(case.params, compiled, mixed):
        mine = run_python(world, strategy(**params))
        for other, name in zip(others, ("compiled", "mixed"), strict=True):
            if other is not None:
                compare(mine, other, name, f"{strategy.__name__}, {case!r}", must_carry=must_carry)


def compare(mine: Told, other: Told, name: str, case: str, *, must_carry: bool = True) -> None:
    """A host tells of a run what the Python host tells."""
    may_give_up = not must_carry or mine.outcome.quarantined
    differences = [
        compare_events(mine.events, other.events),
        compare_records(mine.records, other.records),
        compare_figures(mine.outcome, other.outcome),
        compare_state(mine.state, other.state),
        "" if other.is_carried or may_give_up else "compiled code gave it up",
    ]
    if any(differences):
        told = "\n".join(filter(None, differences))
        raise AssertionError(f"the {name} host disagrees:\n{told}\nagain: check({case})")


@pytest.mark.parametrize("name", FAMILY)
@examples(CASES // len(FAMILY))
@given(chance=chances)
def test_hosts_agree(
    name: str, load: Callable[[str], type[Strategy]], chance: random.Random
) -> None:
    strategy = load(name)
    check(strategy, make_case(chance, strategy, SETS))


@examples(CASES // len(FAMILY))
@given(chance=chances)
def test_hosts_agree_on_a_strategy_that_does_not_compile(chance: random.Random) -> None:
    case = make_case(chance, PythonActor, sets=1)
    world = build_world(case.plan)
    (mixed,) = run_compiled(world, PythonActor, case.params, in_python=True)
    compare(run_python(world, PythonActor(**case.params[0])), mixed, "mixed",
            f"PythonActor, {case!r}")  # fmt: skip


@pytest.mark.skipif(not SOAKED, reason="make soak")
@pytest.mark.parametrize("number", range(max(SOAKED, 1)))
@examples(SOAK_CASES)
@given(chance=chances)
def test_hosts_agree_on_strategies_never_seen_before(
    number: int, load: Callable[[str], type[Strategy]], chance: random.Random
) -> None:
    strategy = load(str(SOAK_SEED + number))
    check(strategy, make_case(chance, strategy, SETS))


@pytest.mark.parametrize(
    ("plan", "params"),
    [
        (Plan(rows=150, is_touched=True, capital=1e6), {"orders": 20, "every": 149}),
        (Plan(rows=150, instruments=(0, 2), capital=1e7, max_volume_ratio=0.1), {"orders": 9}),
        (Plan(rows=12, capital=1e8), {"orders": 600, "every": 3}),
        (Plan(rows=40, swing=0.05), {"orders": 30, "distance": 0.001}),
    ],
)
def test_hosts_agree_when_orders_pile_up(plan: Plan, params: dict[str, Any]) -> None:
    check(Hoarder, Case(plan, ({}, params, {})))


@pytest.mark.parametrize(("rows", "events", "slots"), [(1, 1, 64), (7, 3, 64), (2, 4096, 1)])
@examples(20)
@given(chance=chances)
def test_hosts_agree_wherever_compiled_code_pauses(
    rows: int, events: int, slots: int, chance: random.Random
) -> None:
    """After each row, each event, and begun anew for want of room with a part on the tape."""
    case = make_case(chance, Actor, SETS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempt, "STRETCH_ROWS", rows)
        patch.setattr(attempt, "PAUSE_EVENTS", events)
        patch.setattr(host, "ORDER_SLOTS", slots)
        check(Actor, case)


MISREAD = """\
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Misread(Strategy):
    bars: int = state(0)
    x: float = state(0.0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        {body}
"""


@pytest.mark.parametrize(
    "body",
    [
        "self.bars += 0.5",  # Python keeps the fraction in a state that is declared an int
        "self.bars = bar.close / 7",
        "for i in range(self.bars - 3): self.x += 1.0\n        self.x += i",  # i may be unbound
        "if bar.close > 1e9: v = 1.5\n        self.x = v",
    ],
)
def test_what_compiled_code_would_misread_is_refused(body: str, tmp_path: Path) -> None:
    path = tmp_path / "misread.py"
    path.write_text(MISREAD.format(body=body), encoding="utf-8")
    strategy = load_strategy("misread", str(path))
    try:
        check(strategy, Case(Plan(rows=9), ({},)), must_carry=False)
    except NotCompilable as refusal:
        assert refusal.findings[0].line in (12, 13)  # noqa: PT017


@examples(100)
@given(chance=chances)
def test_hosts_agree_on_what_python_means(chance: random.Random) -> None:
    check(Meanings, make_case(chance, Meanings, SETS), must_carry=False)


@pytest.mark.parametrize("seed", range(3))
def test_hosts_agree_over_thousands_of_rows(seed: int) -> None:
    plan = Plan(
        seed=seed, rows=3_000, instruments=(0, 1, 2)[: seed + 1], capital=1e6, swing=0.003,
        gap_ratio=0.2 * seed, controls=((2_000, 0, True), (2_500, 0, False)),
    )  # fmt: skip
    check(Actor, Case(plan, ({"seed": seed, "activity": 0.2, "changes": 9},)))


# The cases themselves, by the Python host alone.


def make_cases(strategy: type[Strategy], count: int) -> Iterator[Case]:
    for seed in range(count):
        yield make_case(random.Random(f"{strategy.__name__} {seed}"), strategy, SETS)


def test_cases_reach_what_they_are_made_for() -> None:
    """A test over random worlds shows nothing where nothing happens."""
    events: Counter[str] = Counter()
    denials: Counter[DenialCode] = Counter()
    filled: Counter[tuple[OrderType, TimeInForce]] = Counter()
    raised: set[str] = set()
    short = 0
    for strategy in ACTORS.values():
        for case in make_cases(strategy, 200):
            world = build_world(case.plan)
            for params in case.params:
                orders: dict[str, OrderSubmitted] = {}
                for _, event in run_python(world, strategy(**params)).events:
                    events[type(event).__name__] += 1
                    match event:
                        case OrderSubmitted():
                            orders[event.client_order_id] = event
                        case OrderFilled():
                            order = orders[event.client_order_id]
                            filled[order.order_type, order.time_in_force] += 1
                        case OrderDenied():
                            denials[event.code] += 1
                        case OrderCanceled():
                            short += event.wanted > event.found
                        case StrategyQuarantined():
                            raised.add(" ".join(event.error.split()[:3]))
                        case _:
                            pass
    told = (*DENIALS, *(gate.code for gate in GATES))
    assert [each for each in told if denials[each] < 5] == []
    carried = [tif for tif in TimeInForce if tif <= TimeInForce.FOK]
    pairs = [(kind, tif) for kind in OrderType if kind <= OrderType.STOP_LIMIT for tif in carried]
    assert [each for each in pairs if filled[each] < 5] == []
    assert events["StrategyQuarantined"] < 200
    assert len(raised) > 20
    assert short > 8
    rare = (
        "KillSwitchSet", "OrderCancelRejected", "OrderExpired", "OrderPartiallyFilled",
        "OrderReplaceRejected", "OrderReplaced", "OrderTriggered", "PositionClosed",
    )  # fmt: skip
    assert [each for each in rare if events[each] < 8] == []


def test_written_strategies_trade_and_hold_every_construct(
    load: Callable[[str], type[Strategy]],
) -> None:
    nodes: set[str] = set()
    calls: set[str] = set()
    for seed in WRITTEN:
        strategy = load(str(seed))
        runs = [
            run_python(build_world(case.plan), strategy(**case.params[0]))
            for case in make_cases(strategy, 12)
        ]
        assert sum(isinstance(event, OrderFilled) for run in runs for _, event in run.events) > 50
        for node in ast.walk(ast.parse(write_strategy(seed))):
            nodes.add(type(node).__name__)
            if isinstance(node, ast.Call):
                calls.add(ast.unparse(node.func).rpartition(".")[2])
            if isinstance(node, ast.FunctionDef):
                calls.add(node.name)
    assert nodes >= {
        "Add", "And", "AugAssign", "BoolOp", "Break", "Continue", "Div", "Eq", "FloorDiv", "For",
        "Gt", "GtE", "If", "IfExp", "In", "Lambda", "List", "ListComp", "Lt", "LtE", "Mod", "Mult",
        "Not", "NotEq", "NotIn", "Or", "Return", "Slice", "Sub", "Subscript", "Tuple", "USub",
        "While",
    }  # fmt: skip
    assert calls >= {
        "abs", "append", "blend", "buy", "cancel", "ceil", "compute_month", "enumerate", "fabs",
        "features_of", "float", "floor", "int", "isfinite", "isnan", "len", "mark", "max", "min",
        "on_bar", "on_slice", "on_start", "on_stop", "on_trade", "open_orders", "position", "range",
        "replace", "round", "round_price", "round_quantity", "score", "sell", "sort", "sorted",
        "spend", "spend_ratio", "sqrt", "sum", "target", "target_weight", "trade", "zip",
    }  # fmt: skip


def test_whole_numbers_that_are_written_stay_together_in_a_product() -> None:
    """`n * ts % 97` would multiply first, and leave int64; the grammar promises not to."""
    scope = Scope(ints=("n",), bars=("bar",), prints=("trade",), lists=("values",))
    writer = Writer(random.Random(0))
    for leaf in {writer.int_leaf(scope) for _ in range(2_000)}:
        product = ast.parse(f"left * {leaf}", mode="eval").body
        assert isinstance(product, ast.BinOp)
        assert ast.unparse(product.right) == ast.unparse(ast.parse(leaf, mode="eval").body)


# The comparison itself.


SPECIAL = OrderConditions(post_only=True)


def nudge(value: Any) -> Any:
    """The nearest other value of the same type."""
    match value:
        case None:
            return 1
        case bool():
            return not value
        case Enum():
            return next(each for each in type(value) if each is not value)
        case int():
            return value + 1
        case float():
            return math.nextafter(value, math.inf) if value == value else 0.0
        case Decimal():
            return value + Decimal("1e-8")
        case _:
            return value + "x"


def test_comparison_sees_a_change_of_any_field_of_any_event() -> None:
    changed: set[str] = set()
    for case in make_cases(Actor, 30):
        events = run_python(build_world(case.plan), Actor(**case.params[0])).events
        assert compare_events(events, events) == ""
        for at in random.Random(0).sample(range(len(events)), min(12, len(events))):
            ts, payload = events[at]
            others = [(ts + 1, payload)]
            for name in payload.__struct_fields__:
                value = getattr(payload, name)
                other = {name: SPECIAL if name == "conditions" else nudge(value)}
                others.append((ts, msgspec.structs.replace(payload, **other)))
                changed.add(f"{type(payload).__name__}.{name}")
            for each in others:
                told = compare_events(events, [*events[:at], each, *events[at + 1 :]])
                assert told.startswith(f"event {at} differs")
        assert compare_events(events, events[:-1]).startswith(f"event {len(events) - 1} differs")
    assert len(changed) > 60


def test_comparison_sees_a_change_of_any_figure_to_the_last_bit() -> None:
    case = next(make_cases(Actor, 1))
    told = run_python(build_world(case.plan), Actor(**case.params[0]))
    outcome = told.outcome
    assert compare_figures(outcome, outcome) == ""
    for name in outcome.summary.__struct_fields__:
        other = {name: nudge(getattr(outcome.summary, name))}
        summary = msgspec.structs.replace(outcome.summary, **other)
        changed = msgspec.structs.replace(outcome, summary=summary)
        assert compare_figures(outcome, changed).startswith(f"summary.{name}:")
    for name in ("orders", "denied", "quarantined"):
        other = {name: nudge(getattr(outcome, name))}
        assert compare_figures(outcome, msgspec.structs.replace(outcome, **other))
    returns = np.nextafter(outcome.returns, np.inf)
    assert compare_figures(outcome, msgspec.structs.replace(outcome, returns=returns))
    for name, value in told.state.items():
        assert compare_state(told.state, {**told.state, name: nudge(value)})
    assert compare_state({"zero": 0.0}, {"zero": -0.0})
    assert compare_state(told.state, {})
