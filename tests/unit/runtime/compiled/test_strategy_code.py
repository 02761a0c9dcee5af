from __future__ import annotations

import linecache
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from onetape.domain.errors import StrategyError
from onetape.domain.market import Bar
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost, NotCompilable
from onetape.runtime.compiled.strategy_code import PYTHON_HOST, read_strategy
from onetape.strategy.context import Context
from onetape.strategy.registry import load_strategy
from onetape.strategy.sdk import Strategy, state
from onetape.tape.repeated import RepeatedTape
from onetape.tape.store import MemoryTape
from tests.support.compiled_sources import (
    HEADER,
    find_mark,
    load_source,
    load_unchecked,
    write_source,
)
from tests.support.parity_worlds import (
    Plan,
    World,
    build_world,
    compare_events,
    compare_figures,
    compare_records,
    compare_state,
    open_session,
    run_compiled,
    run_python,
)

FEATURES = ("average",)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(Plan(rows=14, limits=RiskLimits(max_leverage=4)))


def make_host(world: World, strategy: type[Strategy]) -> CompiledHost:
    return CompiledHost(world.timeline, world.spec(strategy()), world.terms, world.plan.limits)


def run_state(world: World, strategy: type[Strategy]) -> dict[str, Any]:
    """The final state in the compiled host, which has run the set by itself."""
    return record_state(world, make_host(world, strategy), strategy)


def record_state(world: World, host: CompiledHost, strategy: type[Strategy]) -> dict[str, Any]:
    header = open_session(world, strategy(), MemoryTape()).header()
    return host.record(strategy(), lambda: RepeatedTape(MemoryTape()), header)


# What is refused from the source.


@dataclass(frozen=True)
class Refused:
    """A strategy, what is said of the line marked HERE, and what to do instead.

    `is_checked` says that the registry's validator lets it pass.
    """

    body: str
    says: str
    remedy: str = PYTHON_HOST
    how: Mapping[str, str] = field(default_factory=dict)
    is_checked: bool = True


def callback(head: str) -> dict[str, str]:
    return {"methods": f"{head}  # HERE\n    self.n += 1\n"}


REFUSED = {
    "try": Refused("try:  # HERE\n    self.n += 1\nexcept ValueError:\n    pass",
                   "try is not carried"),
    "with": Refused("with bar:  # HERE\n    self.n += 1", "with is not carried"),
    "dict": Refused("seen = {1: 2}  # HERE", "a dict is not carried"),
    "dict_comprehension": Refused("seen = {i: i for i in range(3)}  # HERE",
                                  "a dict is not carried"),
    "set": Refused("seen = {1, 2}  # HERE", "a set is not carried"),
    "f_string": Refused('self.o = f"{bar.close}"  # HERE', "an f-string is not carried"),
    "string": Refused('self.b = bar.instrument == "AAPL"  # HERE',
                      "the string 'AAPL' is not carried", "decide by numbers"),
    "power": Refused("self.x = bar.close ** 2  # HERE", "** is not carried",
                     "multiply, or use math.sqrt"),
    "power_in_place": Refused("self.x **= 2  # HERE", "** is not carried",
                              "multiply, or use math.sqrt"),
    "generator": Refused("self.x = sum(v for v in [1.0])  # HERE",
                         "a generator expression is not carried"),
    "star": Refused("self.n = max(*[1, 2])  # HERE", "a starred argument is not carried"),
    "walrus": Refused("if (v := bar.close) > 1.0:  # HERE\n    self.x = v",
                      "an assignment inside an expression is not carried"),
    "del": Refused("v = 1\ndel v  # HERE", "del is not carried"),
    "assert": Refused("assert bar.close > 0  # HERE", "assert is not carried"),
    "raise": Refused("raise ValueError  # HERE", "ValueError is not carried"),
    "import": Refused("import math  # HERE", "an import is not carried"),
    "match": Refused("match self.k:  # HERE\n    case _:\n        self.n += 1",
                     "match is not carried"),
    "inner_function": Refused("def inner():  # HERE\n    return 1\nself.n = inner()",
                              "a function inside a function is not carried"),
    "isinstance": Refused("self.b = isinstance(bar, Bar)  # HERE", "isinstance is not carried"),
    "any": Refused("self.b = any([True])  # HERE", "any is not carried"),
    "super": Refused("self.n += 1", "on_bar uses __class__ of what encloses it",
                     "make it a param or a module-level number",
                     {"head": "def on_bar(self, bar: Bar, ctx: Context) -> None:  # HERE\n"
                      "    super().on_bar(bar, ctx)"}),
    "history": Refused("closes = ctx.history(bar.instrument, 3)  # HERE",
                       "ctx.history is not carried"),
    "renamed_context": Refused("closes = where.history(event.instrument, 3)  # HERE",
                               "ctx.history is not carried",
                               how={"head": "def on_bar(self, event: Bar, where: Context):"}),
    "set_timer": Refused('ctx.set_timer(self.o, ctx.now)  # HERE', "ctx.set_timer is not carried"),
    "signal": Refused("ctx.signal(self.o, 1.0)  # HERE", "ctx.signal is not carried"),
    "submit": Refused("ctx.submit(self.make)  # HERE", "ctx.submit is not carried",
                      how={"methods": "def make(self, name, number):\n    return 1\n"}),
    "instrument": Refused("terms = ctx.instrument(bar.instrument)  # HERE",
                          "ctx.instrument is not carried"),
    "in_helper": Refused("self.look(ctx)", "ctx.history is not carried", how={
        "methods": "def look(self, ctx):\n    ctx.history(ctx.instruments[0], 2)  # HERE\n"}),
    "in_function": Refused("look(ctx)", "ctx.signal is not carried", how={
        "top": "def look(ctx):\n    ctx.signal(ctx, 1.0)  # HERE\n"}),
    "unnamed_limit": Refused("ctx.buy(bar.instrument, 1.0, 90.0)  # HERE",
                             "ctx.buy takes 2 arguments without a name", "name the others"),
    "str_param": Refused("self.b = not self.mode  # HERE", "the str param 'mode' is not carried",
                         "use an int param"),
    "str_state": Refused("self.b = not self.name  # HERE",
                         "the str state 'name' does not start empty",
                         "str state holds order ids in compiled code, nothing else"),
    "undeclared": Refused("self.fresh = 1  # HERE",
                          "self.fresh is assigned and not declared as state",
                          "declare it with state(...)", is_checked=False),
    "param": Refused("self.k = 1  # HERE", "self.k is assigned and not declared as state",
                     "declare it with state(...)", is_checked=False),
    "class_constant": Refused("self.n = self.LEVEL  # HERE",
                              "self.LEVEL is neither param, state nor method",
                              "make it a param or a module-level number",
                              {"methods": "LEVEL = 5\n"}),
    "property": Refused("self.n = self.level  # HERE",
                        "self.level is neither param, state nor method",
                        "make it a param or a module-level number",
                        {"methods": "@property\ndef level(self):\n    return 5\n"}),
    "exp": Refused("self.x = math.exp(1.0)  # HERE", "math.exp is not carried",
                   "its last bit depends on the machine's C library"),
    "other_math": Refused("self.n = m.floor(1e300)  # HERE", "the module m is not carried",
                          "write `import math`", {"top": "import math as m"}),
    "from_math": Refused("self.x = sqrt(2.0)  # HERE",
                         "the builtin_function_or_method sqrt is not carried",
                         "use params, numbers, math and functions of your own",
                         {"top": "from math import sqrt"}),
    "global_list": Refused("self.n = SEEN[0]  # HERE", "the list SEEN is not carried",
                           "use params, numbers, math and functions of your own",
                           {"top": "SEEN = [1, 2]"}),
    "global_text": Refused("self.b = self.o == WHICH  # HERE", "the str WHICH is not carried",
                           "use params, numbers, math and functions of your own",
                           {"top": 'WHICH = "AAPL"'}),
    "huge_global": Refused("self.b = self.n < HUGE  # HERE", "the number HUGE is beyond int64",
                           how={"top": "HUGE = 2 * 9_223_372_036_854_775_807"}),
    "huge_number": Refused("self.b = self.n < 9223372036854775808  # HERE",
                           "the number 9223372036854775808 is beyond int64"),
    "hides_builtin": Refused("self.n = round(2.5)  # HERE", "round hides the builtin",
                             "give it another name", {"top": "def round(v):\n    return 7\n"}),
    "identity": Refused("self.b = self.k is self.n  # HERE", "`is` is not carried, but with None",
                        "compare with == or !="),
    "no_identity": Refused("self.b = None is not self.k is not self.n  # HERE",
                           "`is not` is not carried, but with None", "compare with == or !="),
    "may_be_unassigned": Refused("if bar.close > 1e9:\n    v = 1.0\nself.x = v  # HERE",
                                 "v may have no value here", "assign it on every path"),
    "loop_over_attribute": Refused("for self.n in range(3):  # HERE\n    self.m += 1",
                                   "a loop over an attribute is not carried",
                                   "loop over a plain name, and assign"),
    "sort_of_expression": Refused("[3.0, 1.0].sort()  # HERE", "a sort of what has no name",
                                  "give it a name first"),
    "sorted_of_expression": Refused("self.x = sorted([3.0, 1.0])[0]  # HERE",
                                    "a sort of what has no name", "give it a name first"),
    "sorted_of_nothing": Refused("xs = sorted()  # HERE",
                                 "a sort of something else than one list", "give it one list"),
    "auction": Refused(
        "ctx.buy(bar.instrument, 1.0, time_in_force=TimeInForce.AT_THE_OPEN)  # HERE",
        "TimeInForce.AT_THE_OPEN is not carried"),
    "auction_by_another_name": Refused(
        "ctx.buy(bar.instrument, 1.0, time_in_force=LAST)  # HERE",
        "TimeInForce.AT_THE_CLOSE is not carried",
        how={"top": "LAST = TimeInForce.AT_THE_CLOSE"}),
    "order_type": Refused("self.b = OrderType.TRAILING_STOP > self.k  # HERE",
                          "OrderType.TRAILING_STOP is not carried"),
    "any_order": Refused("ctx.order(bar.instrument, Side.BUY, 1.0, touch=90.0)  # HERE",
                         "ctx.order is not carried"),
    "bracket": Refused(
        "ctx.bracket(bar.instrument, Side.BUY, 1.0, take_profit=9.0, stop_loss=1.0)  # HERE",
        "ctx.bracket is not carried"),
    "key_of_two": Refused("xs = [1.0]\nxs.sort(key=lambda *v: v)  # HERE",
                          "a key of other than one value", "write lambda each: ..."),
    "keywords_only": Refused("self.x = self.f(v=1.0)", "f has arguments with * or /",
                             "write plain arguments",
                             {"methods": "def f(self, *, v):  # HERE\n    return v\n"}),
    "star_arguments": Refused("self.n = f(1, 2)", "f has arguments with * or /",
                              "write plain arguments",
                              {"top": "def f(*values):  # HERE\n    return len(values)\n"}),
    "no_self": Refused("self.n = self.f()", "f has no self", "write it as a plain method",
                       {"methods": "def f():  # HERE\n    return 1\n"}),
    "default": Refused("self.x = self.f()", "f has a tuple as default", "use a number",
                       {"methods": "def f(self, v=(1, 2)):  # HERE\n    return v[0]\n"}),
    "unclean_rule": Refused("self.x = f(1.0)  # HERE", "is not a rule", "mark it with @rule", {
        "top": "def g(v):\n    return v\n\n@rule\ndef f(v):\n    return g(v)\n"}),
    "on_order_update": Refused("self.n += 1", "on_order_update is not carried",
                               "decide in on_bar, on_trade or on_slice",
                               callback("def on_order_update(self, update, ctx):")),
    "on_timer": Refused("self.n += 1", "on_timer is not carried",
                        "decide in on_bar, on_trade or on_slice",
                        callback("def on_timer(self, name, ctx):")),
    "generate_orders": Refused("self.n += 1", "generate_orders is not carried",
                               "decide in on_bar, on_trade or on_slice",
                               callback("def generate_orders(self, ctx):")),
    "on_market_event": Refused("self.n += 1", "on_market_event is not carried",
                               "decide in on_bar, on_trade or on_slice",
                               callback("def on_market_event(self, event, ctx):")),
    "on_quote": Refused("self.n += 1", "on_quote is not carried",
                        "decide in on_bar, on_trade or on_slice",
                        callback("def on_quote(self, quote, ctx):")),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_carried_is_refused_by_line_with_a_remedy(name: str, tmp_path: Path) -> None:
    case = REFUSED[name]
    text = write_source(case.body, **case.how)
    strategy = (load_source if case.is_checked else load_unchecked)(text, tmp_path)
    with pytest.raises(NotCompilable) as caught:
        read_strategy(strategy, FEATURES)
    error = caught.value
    assert error.file == str(tmp_path / "mine.py")
    found = [(each.line, each.remedy) for each in error.findings if case.says in each.message]
    assert found == [(find_mark(text), case.remedy)], error.findings
    assert {each.code for each in error.findings} == {"not-compilable"}
    assert list(error.findings) == sorted(error.findings)


def test_refusal_tells_file_line_and_how_many_more(tmp_path: Path) -> None:
    text = write_source("closes = ctx.history(bar.instrument, 3)  # HERE\nself.x = bar.close ** 2")
    with pytest.raises(NotCompilable) as caught:
        read_strategy(load_source(text, tmp_path), FEATURES)
    place = f"{tmp_path / 'mine.py'}:{find_mark(text)}"
    assert str(caught.value) == (
        f"{place}: Mine does not compile: ctx.history is not carried (and 1 more) ({PYTHON_HOST})"
    )
    assert isinstance(caught.value, StrategyError)


def test_strategy_that_closes_over_a_variable_is_refused() -> None:
    level = 5

    class Closes(Strategy):
        n: int = state(0)

        def on_bar(self, bar: Bar, ctx: Context) -> None:
            self.n += level

    with pytest.raises(NotCompilable, match="on_bar uses level of what encloses it"):
        read_strategy(Closes, ())


def test_callback_that_is_no_function_is_refused() -> None:
    class Odd(Strategy):
        on_bar = len  # pyright: ignore[reportAssignmentType]

    with pytest.raises(NotCompilable, match="on_bar is no plain method"):
        read_strategy(Odd, ())


def test_finding_in_another_file_names_it(tmp_path: Path) -> None:
    text = write_source("self.n += 1\ncloses = ctx.history(bar.instrument, 3)  # HERE")
    base = load_unchecked(text, tmp_path, "base.py")
    derived = type("Derived", (base,), {"on_start": FIRST, "__module__": __name__})
    with pytest.raises(NotCompilable) as caught:
        read_strategy(derived, FEATURES)
    (finding,) = caught.value.findings
    place = f"{tmp_path / 'base.py'}:{find_mark(text)}"
    assert (finding.line, finding.message) == (0, f"ctx.history is not carried, in {place}")
    assert caught.value.file == __file__


def FIRST(self: Any, ctx: Context) -> None:  # noqa: N802
    self.n += 1


# What Numba refuses.

NUMBA_REFUSES = {
    "int_state": Refused("self.n += 0.5  # HERE", "the state 'n' is of type int and gets float64"),
    "bool_state": Refused("self.b = self.n  # HERE",
                          "the state 'b' is of type bool and gets int64"),
    "order_state": Refused("self.o = 5  # HERE", "the state 'o' is an order id and gets int64"),
    "no_value": Refused("self.x = self.f()  # HERE",
                        "the state 'x' is of type float and gets none",
                        how={"methods": "def f(self):\n    pass\n"}),
    "param_by_another_name": Refused("me = self\nme.k = 5  # HERE", "the param 'k' is assigned"),
    "mixed_types": Refused("v = 1.0\nfor _ in range(3):  # HERE\n    v = [v]\nself.n += 1",
                           "Numba can't compile 'for _ in range(3):"),
    "unknown_attribute": Refused("self.n += 1\nself.x = bar.vwap  # HERE",
                                 "Numba can't compile 'self.x = bar.vwap"),
    "innermost": Refused("self.x = outer(bar)", "Numba can't compile 'return bar.vwap", how={
        "top": "def inner(bar):\n    return bar.vwap  # HERE\n\n"
               "def outer(bar):\n    return inner(bar)\n"}),
    "empty_list": Refused("xs = []  # HERE\nself.n = len(xs)", "Numba can't compile 'xs = []"),
    "float_time": Refused("ctx.buy(bar.instrument, 1.0, ts_expire=ctx.now + 6e10)  # HERE",
                          "Numba can't compile 'ctx.buy("),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBA_REFUSES)
def test_what_numba_refuses_is_told_at_the_innermost_line(
    name: str, world: World, tmp_path: Path
) -> None:
    case = NUMBA_REFUSES[name]
    text = write_source(case.body, **case.how)
    with pytest.raises(NotCompilable) as caught:
        make_host(world, load_source(text, tmp_path))
    (finding,) = caught.value.findings
    assert (finding.line, finding.remedy) == (find_mark(text), case.remedy)
    assert case.says in finding.message
    assert caught.value.file == str(tmp_path / "mine.py")


# What is carried.

TOP = '''
LEVEL = 3
STEP = 0.5
GTC = TimeInForce.GTC


class Mode(IntEnum):
    LOW = 2
    HIGH = 7


@rule
def half(value):
    return value * STEP


@rule
def blend(left, right):
    return half(left) + right


def score(value):
    """A key of a sort."""
    return -value


def scale(value, by=LEVEL, to=None):
    if to is None:
        return blend(value, by)
    return blend(value, to)
'''

METHODS = '''
def weigh(self, value: float, by: float = STEP, plus: int = 1) -> float:
    """Beside the callback; with defaults, called with and without names."""
    return value * by + plus + self.a

def draw(self) -> int:
    self.m = (self.m * 1_103_515_245 + 12_345) % 2_147_483_648
    return self.m // 65_536

def split(self, value: float) -> tuple[float, int]:
    return value / 3, int(value)

def order(self, bar: Bar, ctx: Context) -> None:
    price = ctx.round_price(bar.instrument, bar.close * 0.999, Side.BUY)
    if not self.o:
        self.o = ctx.buy(bar.instrument, 5.0, limit=price, label="first")
    elif self.n % 3 == 0:
        ctx.cancel(self.o)
        self.o = ""
    held = ctx.position(bar.instrument)
    for order in ctx.open_orders(bar.instrument):
        if order.side == Side.BUY and order.status == OrderStatus.ACCEPTED and held < 20:
            ctx.replace(order.client_order_id, bar.instrument, limit=price)
    ctx.target(bar.instrument, self.draw() % 7, label="second")
    ctx.sell(bar.instrument, 1.0, stop=price, time_in_force=GTC, reduce_only=held > 0)
'''

BODY = '''
"""The callback has a docstring."""
values = [bar.close, bar.open, bar.high, bar.low, bar.open]
values.sort()
self.x += values[0] - values[-1]
values.sort(key=score)
self.x += values[0] * 2
values.sort(key=self.weigh, reverse=True)
self.y = sorted(values, key=lambda v: abs(v - bar.close))[0]
pairs = [(i % 3, i) for i in range(20)]
pairs.sort(key=lambda pair: pair[0])
turned = sorted(pairs, key=lambda pair: pair[0], reverse=True)
self.n += pairs[7][1] * 100 + turned[7][1] * 10
self.y += sum([half(v) for v in values if v > bar.low]) + max(values) - min(values)
self.x += self.weigh(1.5) + self.weigh(1.5, plus=2) + self.weigh(value=2.0, by=0.25)
self.x += scale(2.0) + scale(2.0, to=1.0) + scale(value=1.0, by=Mode.HIGH)
self.y, self.n = self.split(self.x)
self.n += compute_month(ctx.now) + Mode.LOW * (1 if self.q else LEVEL)
self.x, w = 1, self.y
self.x = self.y = w + self.x
self.n -= 1
self.n <<= 2
self.n //= 3
self.x /= 4
self.b = self.n > 10 or self.b
self.b |= self.n == 7
chosen = None if self.b else self.x
if chosen is not None:
    self.y = chosen
grid = [[0.0] * 3 for _ in range(2)]
grid[self.draw() % 2][1] += 1.5
self.x += grid[0][1] * 2 + grid[1][1]
self.order(bar, ctx)
'''


def check_parity(world: World, strategy: type[Strategy], *sets: dict[str, Any]) -> None:
    for params, other in zip(sets, run_compiled(world, strategy, sets), strict=True):
        mine = run_python(world, strategy(**params))
        assert mine.outcome.quarantined == ""
        assert compare_events(mine.events, other.events) == ""
        assert compare_records(mine.records, other.records) == ""
        assert compare_figures(mine.outcome, other.outcome) == ""
        assert compare_state(mine.state, other.state) == ""
        assert other.is_carried


def test_language_that_is_carried_means_what_it_means_in_python(
    world: World, tmp_path: Path
) -> None:
    strategy = load_source(write_source(BODY.strip(), methods=METHODS, top=TOP), tmp_path)
    check_parity(world, strategy, {}, {"q": False, "k": 5, "a": -1.25})


TRUTHS = {
    "whole": "self.n % 2", "float": "self.x", "nan": "bar.close * math.nan", "zero": "-0.0",
    "orders": "ctx.open_orders()", "orders_here": "ctx.open_orders(bar.instrument)",
    "floats": "[each for each in [bar.close] if each > 100]", "tuple": "(0, 1.0)",
    "instruments": "ctx.instruments[self.n % 3 :]", "order_id": "self.o", "no_id": '""',
    "instrument": "bar.instrument", "bar": "bar", "member": "Side.SELL",
    "zero_member": "OrderType.MARKET", "none": "None",
    "maybe": "None if bar.close > 100 else self.x",
    "maybe_bar": "bar if bar.close > 100 else None",
}  # fmt: skip

TRUTH = """
self.n += 1
if self.n % 3 == 0:
    self.o = ctx.buy(bar.instrument, 5.0, limit=1.0)
elif self.n % 3 == 2:
    ctx.cancel(self.o)
    self.o = ""
value = {value}
self.b = not value
self.n += 10 if not value else 100
self.m += (not value) + 2 * (not not value) + 4 * bool(value)
if value or self.b:
    self.m += 8
if not value and not self.b:
    self.m += 16
while value and self.x < 1.5:
    self.x += 1.0
ctx.sell(bar.instrument, 1.0, reduce_only=not value or self.n % 5 == 0)
self.x = self.weigh(value)
"""

WEIGH = """
def weigh(self, value) -> float:
    return 0.0 if not (self.b or not value) else 0.5
"""


@pytest.mark.parametrize("name", TRUTHS)
def test_truth_of_everything_is_that_of_python(name: str, world: World, tmp_path: Path) -> None:
    text = write_source(TRUTH.strip().format(value=TRUTHS[name]), methods=WEIGH)
    check_parity(world, load_source(text, tmp_path), {})


NEIGHBORS = """
self.n += 1
for each in ctx.instruments[self.n % 4 - 1 :]:
    self.x += 1.0 if each in ctx.instruments[:1] else 0.25
for each, after in zip(ctx.instruments, ctx.instruments[1:]):
    self.x += 8.0 if each == after else 16.0
held = [each for each in ctx.instruments[:-1]] + [bar.instrument]
self.m += len(held) + 10 * len(ctx.instruments[-9:9]) + 100 * len(ctx.instruments[1:0])
self.m += 1_000 * (bar.instrument in ctx.instruments[1:])
self.m += 10_000 * (bar.instrument not in ctx.instruments)
self.y += float(bar.close > 100) + float(self.q) + float(ctx.instruments[1:][0] == bar.instrument)
self.b = math.isinf(bar.close * 1e308) and not math.isinf(self.n)
"""


def test_neighbors_of_a_tuple_are_those_of_python(tmp_path: Path) -> None:
    strategy = load_source(write_source(NEIGHBORS.strip()), tmp_path)
    check_parity(build_world(Plan(rows=14, instruments=(0, 2))), strategy, {}, {"q": False})


def test_slices_of_bars_are_those_of_python(tmp_path: Path) -> None:
    body = "for bar in slice_.bars[1:]:\n    self.x += bar.close\nself.n += 2 if slice_.bars else 1"
    head = "def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:"
    strategy = load_source(write_source(body, head=head), tmp_path)
    check_parity(build_world(Plan(rows=14, instruments=(0, 2))), strategy, {})


@pytest.mark.parametrize(
    ("body", "methods"),
    [
        ("self.n += len(ctx.instruments[::-1])", ""),
        ("self.order(bar, ctx)",
         "def order(self, bar: Bar, ctx: Context, how: TimeInForce = TimeInForce.AT_THE_OPEN):\n"
         "    ctx.buy(bar.instrument, 1.0, time_in_force=how)\n"),
    ],
)  # fmt: skip
def test_what_shows_at_run_time_alone_is_left_to_the_python_host(
    body: str, methods: str, world: World, tmp_path: Path
) -> None:
    strategy = load_source(write_source(body, methods=methods), tmp_path)
    (told,) = run_compiled(world, strategy, [{}])
    mine = run_python(world, strategy())
    assert not told.is_carried
    assert mine.outcome.quarantined == ""
    assert compare_events(mine.events, told.events) == ""
    assert compare_state(mine.state, told.state) == ""


def test_inherited_callbacks_and_methods_are_carried(world: World, tmp_path: Path) -> None:
    text = f'''{HEADER}

class Base(Strategy):
    n: int = state(0)
    x: float = state(0.0)

    def step(self) -> int:
        return 1

    def on_start(self, ctx: Context) -> None:
        self.n = 100

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.n += self.step()


class Mine(Base):
    by: int = param(7)

    def step(self) -> int:
        return self.by

    def on_stop(self, ctx: Context) -> None:
        self.x = ctx.equity


class Cross(SmaCross):
    """All of it is written elsewhere."""
'''
    path = tmp_path / "family.py"
    path.write_text(text)
    check_parity(world, load_strategy("family", f"{path}:Mine"), {}, {"by": -3})
    check_parity(world, load_strategy("family", f"{path}:Cross"), {"fast": 2, "slow": 3})


def test_classes_of_one_name_keep_their_own_code(world: World, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    first = load_source(write_source("self.n += 1"), tmp_path / "one")
    second = load_source(write_source("self.n += 2"), tmp_path / "two")
    classes = (first, second)
    hosts = [make_host(world, each) for each in classes]
    states = [record_state(world, *each) for each in zip(hosts, classes, strict=True)]
    assert [each["n"] for each in states] == [14, 28]


def test_class_that_is_edited_in_place_gets_new_code(world: World, tmp_path: Path) -> None:
    first = load_source(write_source("self.n += 1"), tmp_path)
    second = load_source(write_source("self.n += 2", top="# one line more"), tmp_path)
    assert run_state(world, second)["n"] == 28
    assert run_state(world, first)["n"] == 14


def test_file_that_is_edited_before_it_compiles_runs_as_it_was_loaded(
    world: World, tmp_path: Path
) -> None:
    strategy = load_source(write_source("self.n += 1"), tmp_path)
    (tmp_path / "mine.py").write_text("\n\n" + write_source("self.n += 2"))
    assert run_state(world, strategy)["n"] == 14


def test_class_of_a_notebook_cell_is_carried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    text = write_source("self.n += 1")
    cell = "<cell-1>"
    monkeypatch.setitem(linecache.cache, cell, (len(text), None, text.splitlines(True), cell))
    notebook = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    exec(compile(text, cell, "exec"), notebook.__dict__)
    assert run_state(world, notebook.Mine)["n"] == 14
    exec(compile("class Mine(Mine):\n    def on_bar(self, bar, ctx): 1 ** 1", "<gone>", "exec"),
         notebook.__dict__)  # fmt: skip
    with pytest.raises(NotCompilable, match="on_bar has no source text to read"):
        read_strategy(notebook.Mine, FEATURES)


def test_number_of_a_module_is_read_again_when_it_has_changed(world: World, tmp_path: Path) -> None:
    top = "LEVEL = 1\n\ndef pick():\n    return LEVEL\n"
    strategy = load_source(write_source("self.n += pick()", top=top), tmp_path)
    assert run_state(world, strategy)["n"] == 14
    sys.modules[strategy.__module__].LEVEL = 2  # pyright: ignore[reportAttributeAccessIssue]
    assert run_state(world, strategy)["n"] == 28


# Which code is the same.

SAME = write_source(
    "self.x = scale(self.weigh(self.a)) + LEVEL", methods=METHODS, top=TOP
)  # fmt: skip
CHANGES = {
    "number": ("LEVEL = 3\n", "LEVEL = 4\n"),
    "number_of_a_rule": ("STEP = 0.5", "STEP = 0.25"),
    "rule": ("return value * STEP", "return value + STEP"),
    "function": ("if to is None:", "if to is not None:"),
    "method": ("value * by + plus", "value * by - plus"),
    "default": ("plus: int = 1", "plus: int = 2"),
    "default_by_name": ("by=LEVEL", "by=GTC"),
    "callback": ("self.x = scale", "self.y = scale"),
    "kind_of_state": ("    m: int = state(0)", "    m: float = state(0.0)"),
    "param": ("    k: int = param(3)\n", ""),
}


def hash_of(text: str, folder: Path, features: tuple[str, ...] = FEATURES) -> str:
    return read_strategy(load_source(text, folder), features).type.definition


@pytest.mark.parametrize("name", CHANGES)
def test_hash_changes_with_everything_that_the_code_uses(name: str, tmp_path: Path) -> None:
    old, new = CHANGES[name]
    assert SAME.count(old) == 1
    assert hash_of(SAME, tmp_path) != hash_of(SAME.replace(old, new), tmp_path)


def test_hash_changes_with_the_members_of_an_enum(tmp_path: Path) -> None:
    text = write_source("self.n = Mode.LOW", top=TOP)
    assert hash_of(text, tmp_path) != hash_of(text.replace("LOW = 2", "LOW = 3"), tmp_path)


def test_hash_changes_with_the_features(tmp_path: Path) -> None:
    assert hash_of(SAME, tmp_path, ("a", "b")) != hash_of(SAME, tmp_path, ("b", "a"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# fmt", "# fmt"),
        ("LOW = 2", "LOW = 3"),
        ("    n: int = state(0)", "    n: int = state(5)"),
        ('"""A key of a sort."""', "# nothing"),
        ("LEVEL = 3\n", "LEVEL = 3  # as always\n\n"),
        ("def order(self, bar: Bar", "def order_nothing(self, bar: Bar"),
    ],
)
def test_hash_stays_when_nothing_changes_that_the_code_uses(
    old: str, new: str, tmp_path: Path
) -> None:
    assert hash_of(SAME, tmp_path) == hash_of(SAME.replace(old, new), tmp_path)


def test_hash_does_not_depend_on_the_file(tmp_path: Path) -> None:
    first = read_strategy(load_source(SAME, tmp_path, "one.py"), FEATURES)
    second = read_strategy(load_source("\n" + SAME, tmp_path, "two.py"), FEATURES)
    assert first.type == second.type
    assert (first.file, second.file) == (str(tmp_path / "one.py"), str(tmp_path / "two.py"))
