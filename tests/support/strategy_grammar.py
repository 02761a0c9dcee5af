"""Writes strategies: a seed becomes the source of a class in the compilable subset.

The grammar is typed and holds every construct of the subset: arithmetic, comparison chains and
Boolean logic, branches, loops with `break` and `continue`, lists that are filled, sorted and cut,
helper methods, params and state of every kind, features of both kinds of callbacks, and every call
of the context. What it writes ends (loops are bounded), and mostly runs: what could raise is
guarded, but not always.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from onetape.strategy.registry import load_strategy
from onetape.strategy.sdk import Strategy

HEADER = '''\
"""Written by tests/support/strategy_grammar.py from seed {seed}."""

from __future__ import annotations

import math

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import AggressorSide, Bar, TimeSlice, TradeTick
from onetape.domain.orders import OrderStatus, OrderType, Side, TimeInForce
from onetape.domain.timestamps import compute_month
from onetape.features import Atr, Ema, FeatureMap, LogReturn, RollingStd, Rsi, SimpleReturn, Sma, ZScore
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state

LEVEL = {level}
MINUTE = 60_000_000_000


def blend(left: float, right: float) -> float:
    """A helper outside of the class."""
    if left {compare} right:
        return left * {level} + right
    return (left - right) / 3.0


class Written{seed}(Strategy):
    """A strategy that nobody thought of."""

'''  # noqa: E501

ROLL = '''
    def roll(self, bound: int) -> int:
        """A number in [0, bound) that follows from everything before."""
        self.dice = (self.dice * 1_103_515_245 + 12_345) % 2_147_483_648
        return self.dice // 65_536 % bound
'''

ESTIMATORS = (
    "Sma(self.window)", "Ema(self.window)", 'Sma(self.window, inputs=("volume",))',
    "RollingStd(self.window + 1)", "ZScore(self.window + 1)", "SimpleReturn(self.window)",
    "LogReturn(self.window)", "Rsi(self.window + 1)", "Atr(self.window)",
    'Ema(self.window + 2, inputs=("high",))',
)  # fmt: skip
BAR_PRICES = ("open", "high", "low", "close", "close", "volume")
FLOATS = ("0.0", "0.5", "1.0", "-1.0", "2.0", "0.001", "1e-9", "100.0", "3.3", "LEVEL", "-0.25")
IMMORTAL = ("", "", "", ", time_in_force=TimeInForce.GTC")
MORTAL = (
    ", time_in_force=TimeInForce.DAY", ", time_in_force=TimeInForce.IOC",
    ", time_in_force=TimeInForce.FOK",
    ", time_in_force=TimeInForce.GTD, ts_expire=ctx.now + {minutes} * MINUTE + 1",
)  # fmt: skip


@dataclass(frozen=True)
class Scope:
    """What an expression may name here.

    `bars`, `prints` and `instruments` hold expressions of that type. `has_features` says that
    `ctx.features` is a row, `has_context` that there is a `ctx`, `is_entry` that this is no helper.
    """

    floats: tuple[str, ...] = ()
    ints: tuple[str, ...] = ()
    bools: tuple[str, ...] = ()
    bars: tuple[str, ...] = ()
    prints: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    has_features: bool = False
    has_context: bool = True
    in_loop: bool = False
    is_entry: bool = True


@dataclass
class Writer:
    """One strategy on its way to paper."""

    chance: random.Random
    lines: list[str] = field(default_factory=list)
    depth: int = 2
    names: int = 0
    budget: int = 0
    features: tuple[str, ...] = ()
    has_score: bool = False

    # Paper.

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    @contextmanager
    def block(self, head: str) -> Generator[None]:
        self.put(head)
        self.depth += 1
        yield
        self.depth -= 1

    def fresh(self, stem: str) -> str:
        self.names += 1
        return f"{stem}{self.names}"

    def one(self, *choices: str) -> str:
        return self.chance.choice(choices)

    def happens(self, probability: float) -> bool:
        return self.chance.random() < probability

    # Expressions.

    def number(self, scope: Scope, depth: int) -> str:
        """A float."""
        if depth <= 0 or self.happens(0.25):
            return self.float_leaf(scope)
        left = self.number(scope, depth - 1)
        right = self.number(scope, depth - 1)
        match self.chance.randrange(17):
            case 0 | 1:
                return f"({left} + {right})"
            case 2 | 3:
                return f"({left} - {right})"
            case 4 | 5:
                return f"({left} * {right})"
            case 6:
                return f"({left} / (abs({right}) + 1.0))"
            case 7:
                return f"({left} {self.one('//', '%')} (abs({right}) + 0.5))"
            case 8:
                return f"{self.one('min', 'max')}({left}, {right})"
            case 9:
                return f"math.sqrt(abs({left}))"
            case 10:
                return f"({left} if {self.truth(scope, depth - 1)} else {right})"
            case 11:
                return f"-{left}" if left[0] != "-" else f"abs({left})"
            case 12 if self.has_score:
                return f"self.score({left}, {right})"
            case 13:
                return f"float({self.count(scope, depth - 1)})"
            case 14:
                return f"blend({left}, {right})"
            case 15:
                return self.one(f"math.fabs({left})", f"round({self.float_leaf(scope)}, 2)")
            case 16 if self.happens(0.15):  # raises now and then
                return f"({left} {self.one('/', '//', '%')} {right})"
            case _:
                return f"min(max({left}, -1000.0), {right})"

    def float_leaf(self, scope: Scope) -> str:
        leaves = [
            self.one("self.p0", "self.p1", "self.p2"),
            self.one("self.x0", "self.x1"),
            self.one(*FLOATS),
            *scope.floats,
        ]
        for bar in scope.bars:
            leaves += [f"{bar}.{self.one(*BAR_PRICES)}"] * 2
        for each in scope.prints:
            leaves += [f"{each}.price", f"{each}.price", f"{each}.size"]
        if scope.has_features:
            leaves += [f"ctx.features.{self.one(*self.features)}"] * 3
        if scope.has_context:
            name = self.instrument(scope)
            leaves += ["ctx.cash", "ctx.equity", f"ctx.position({name})", f"ctx.mark({name})"]
            for each in (*scope.bars, *scope.prints):
                feature = self.one(*self.features)
                leaves.append(f"ctx.features_of({each}.instrument).{feature}")
        return self.one(*leaves)

    def count(self, scope: Scope, depth: int) -> str:
        """An int, far from the ends of int64."""
        if depth <= 0 or self.happens(0.25):
            return self.int_leaf(scope)
        left = self.count(scope, depth - 1)
        right = self.count(scope, depth - 1)
        match self.chance.randrange(11):
            case 0 | 1:
                return f"({left} + {right})"
            case 2:
                return f"({left} - {right})"
            case 3:
                return f"({left} * {right} % 10_007)"
            case 4:
                return f"({left} // ({right} % 7 + 1))"
            case 5:
                return f"({left} % -(abs({right}) + 1))"
            case 6:
                return f"{self.one('min', 'max')}({left}, {right})"
            case 7:
                return f"abs({left})"
            case 8:
                return f"({left} if {self.truth(scope, depth - 1)} else {right})"
            case 9 if self.happens(0.1):  # raises now and then
                return f"({left} {self.one('//', '%')} {right})"
            case _:
                return f"self.roll(abs({left}) + 1)"

    def int_leaf(self, scope: Scope) -> str:
        leaves = [
            self.one("self.n0", "self.n1"), self.one("self.i0", "self.i1"),
            self.one("0", "1", "2", "7", "-3", "100"), f"self.roll({self.chance.randint(2, 90)})",
            *scope.ints,
        ]  # fmt: skip
        leaves += [f"len({each})" for each in scope.lists]
        if scope.has_context:
            leaves += [
                "len(ctx.instruments)", "(ctx.now // MINUTE % 97)", "compute_month(ctx.now)",
                f"len(ctx.open_orders({self.instrument(scope)}))",
            ]  # fmt: skip
        for bar in scope.bars:
            leaves += [
                f"(({bar}.ts_close - {bar}.ts_open) // MINUTE)",
                f"({bar}.ts_open // MINUTE % 1_440)",
                f"(({bar}.session_close - {bar}.ts_close) // MINUTE)",
                f"({bar}.ts_known % 1_009)",
            ]  # fmt: skip
        for each in scope.prints:
            leaves += [f"({each}.ts_event // MINUTE % 1_440)", f"({each}.ts_known % 1_009)"]
        return self.one(*leaves)

    def truth(self, scope: Scope, depth: int) -> str:
        """A bool."""
        leaves = ["self.b0", "self.b1", "self.q0", *scope.bools]
        leaves.append(self.one('self.o0 != ""', "self.o0 == self.o1", 'self.o1 == ""'))
        if scope.has_context:
            leaves.append(f"not ctx.open_orders({self.instrument(scope)})")
        leaves += [f"{each}.aggressor == AggressorSide.SELLER" for each in scope.prints]
        if len(scope.instruments) > 1:
            leaves.append(f"{scope.instruments[0]} {self.one('==', '!=')} {scope.instruments[-1]}")
        if depth <= 0 or self.happens(0.15):
            return self.one(*leaves)
        compare = ("<", "<=", ">", ">=", "==", "!=")
        match self.chance.randrange(9):
            case 0 | 1 | 2:
                left, right = self.number(scope, depth - 1), self.number(scope, depth - 1)
                return f"{left} {self.one(*compare)} {right}"
            case 3:
                left, right = self.count(scope, depth - 1), self.count(scope, depth - 1)
                return f"{left} {self.one(*compare)} {right}"
            case 4:
                parts = [self.number(scope, depth - 1) for _ in range(3)]
                return f" {self.one('<', '<=')} ".join(parts)
            case 5:
                left, right = self.truth(scope, depth - 1), self.truth(scope, depth - 1)
                return f"({left} {self.one('and', 'or')} {right})"
            case 6:
                return f"not ({self.truth(scope, depth - 1)})"
            case 7:
                return f"math.{self.one('isnan', 'isfinite')}({self.number(scope, depth - 1)})"
            case _:
                return f"self.roll({self.chance.randint(2, 9)}) < {self.chance.randint(1, 3)}"

    def instrument(self, scope: Scope) -> str:
        """An instrument id."""
        names = scope.instruments * 3
        return self.one(*names, "ctx.instruments[0]", "ctx.instruments[-1]")

    # Statements.

    def body(self, scope: Scope, most: int) -> None:
        """Some statements; each may use the locals of those before."""
        before = len(self.lines)
        for _ in range(self.chance.randint(1, most)):
            if self.budget <= 0:
                break
            scope = self.statement(scope)
        if len(self.lines) == before:
            self.put(f"self.i0 = (self.i0 + {self.chance.randint(1, 9)}) % 1_009")

    def statement(self, scope: Scope) -> Scope:
        """One statement; gives the scope behind it."""
        self.budget -= 1
        kinds: list[tuple[int, Callable[[Scope], Scope | None]]] = [
            (4, self.assign_local), (4, self.assign_state), (4, self.branch), (2, self.loop),
            (1, self.while_loop),
        ]  # fmt: skip
        if scope.has_context:
            kinds += [
                (8, self.order), (3, self.sized_order), (2, self.change), (4, self.change_open),
                (2, self.ranking), (1, self.collect), (2, self.call_helper),
            ]  # fmt: skip
        if scope.in_loop:
            kinds.append((4, self.leave_loop))
        weights, actions = zip(*kinds, strict=True)
        (action,) = self.chance.choices(actions, weights)
        return action(scope) or scope

    def assign_local(self, scope: Scope) -> Scope:
        match self.chance.randrange(5):
            case 0 | 1:
                name = self.fresh("f")
                self.put(f"{name} = {self.number(scope, 3)}")
                return replace(scope, floats=(*scope.floats, name))
            case 2:
                name = self.fresh("n")
                self.put(f"{name} = {self.count(scope, 3)}")
                return replace(scope, ints=(*scope.ints, name))
            case 3:
                name = self.fresh("b")
                self.put(f"{name} = {self.truth(scope, 2)}")
                return replace(scope, bools=(*scope.bools, name))
            case _:
                if not scope.has_context:
                    return scope
                name = self.fresh("id")
                at = f"{self.count(scope, 1)} % len(ctx.instruments)"
                self.put(f"{name} = ctx.instruments[{at}]")
                return replace(scope, instruments=(*scope.instruments, name))

    def assign_state(self, scope: Scope) -> None:
        x, i, b = self.one("x0", "x1"), self.one("i0", "i1"), self.one("b0", "b1")
        match self.chance.randrange(7):
            case 6:
                self.put(self.one("self.o1 = self.o0", 'self.o0 = ""', "self.b1 = not self.b1"))
            case 0:
                self.put(f"self.{x} = {self.number(scope, 3)}")
            case 1:
                value = self.number(scope, 2)
                self.put(f"self.{x} {self.one('+=', '-=')} {value}")
                with self.block(f"if not abs(self.{x}) < 1e12:"):
                    self.put(f"self.{x} = {self.one(*FLOATS)}")
            case 2:
                self.put(f"self.{i} = ({self.count(scope, 2)}) % 100_003")
            case 3:
                self.put(f"self.{i} += {self.one('1', '-1', '2')}")
            case 4:
                self.put(f"self.{b} = {self.truth(scope, 2)}")
            case _:
                name = self.fresh("f")
                self.put(f"{name} = {self.number(scope, 2)}")
                guard = "" if self.happens(0.04) else f"if abs({name}) < 1e9:"
                exact = self.one("int", "math.floor", "math.ceil", "round")
                if not guard:
                    self.put(f"self.{i} = {exact}({name}) % 1_000")
                    return
                with self.block(guard):
                    self.put(f"self.{i} = {exact}({name})")

    def branch(self, scope: Scope) -> None:
        with self.block(f"if {self.truth(scope, 3)}:"):
            self.body(scope, 3)
        for _ in range(self.chance.choice((0, 0, 1, 2))):
            with self.block(f"elif {self.truth(scope, 2)}:"):
                self.body(scope, 2)
        if self.happens(0.5):
            with self.block("else:"):
                self.body(scope, 2)

    def loop(self, scope: Scope) -> None:
        inner = replace(scope, in_loop=True)
        if scope.has_context and self.happens(0.5):
            name = self.fresh("id")
            inner = replace(inner, instruments=(*scope.instruments, name))
            head = f"for {name} in ctx.instruments:"
        else:
            name = self.fresh("n")
            inner = replace(inner, ints=(*scope.ints, name))
            head = self.one(
                f"for {name} in range({self.chance.randint(1, 4)}):",
                f"for {name} in range(1, {self.count(scope, 1)} % 5, 2):",
                f"for {name} in range({self.chance.randint(2, 5)}, 0, -1):",
            )
        with self.block(head):
            self.body(inner, 2)

    def while_loop(self, scope: Scope) -> None:
        name = self.fresh("n")
        self.put(f"{name} = 0")
        inner = replace(scope, ints=(*scope.ints, name), in_loop=True)
        with self.block(f"while {name} < {self.chance.randint(1, 4)} and {self.truth(scope, 1)}:"):
            self.put(f"{name} += 1")
            self.body(inner, 2)

    def leave_loop(self, scope: Scope) -> None:
        with self.block(f"if {self.truth(scope, 1)}:"):
            self.put(self.one("break", "continue", "continue"))

    def call_helper(self, scope: Scope) -> None:
        if scope.is_entry:
            self.put(f"self.trade({self.instrument(scope)}, {self.number(scope, 1)}, ctx)")

    def bind_instrument(self, scope: Scope) -> str:
        name = self.fresh("id")
        self.put(f"{name} = {self.instrument(scope)}")
        return name

    def quantity(self, scope: Scope, name: str) -> str:
        """A local with a tradable quantity, zero now and then."""
        quantity = self.fresh("q")
        match self.chance.randrange(6):
            case 0 | 1:
                size = f"float(self.roll({self.chance.randint(3, 90)}))"
            case 2 | 3:
                size = "self.size"
            case 4:
                self.put(f"{quantity} = abs(ctx.position({name}))")
                return quantity
            case _:
                self.put(f"{quantity} = {self.number(scope, 2)}")
                with self.block(f"if not 0.0 <= {quantity} < 1e6:"):
                    self.put(f"{quantity} = {self.chance.randint(1, 20)}.0")
                size = quantity
        self.put(f"{quantity} = ctx.round_quantity({name}, {size})")
        return quantity

    def price(self, name: str, side: str) -> str:
        """A local with a price near the mark of an instrument that has one."""
        price = self.fresh("p")
        offset = self.one(
            "(float(self.roll(41)) - 20.0) / 1_000.0", "self.p1 / 100.0", "(self.p2 - 0.5) / 30.0"
        )
        near = f"ctx.mark({name}) * (1.0 + {offset})"
        self.put(f"{price} = ctx.round_price({name}, {near}, Side.{side})")
        if self.happens(0.04):  # off the grid, mostly
            with self.block("if self.roll(30) == 0:"):
                self.put(f"{price} = {near}")
        return price

    def order(self, scope: Scope) -> None:
        """An order of any type and time in force."""
        side = self.one("BUY", "SELL")
        name = self.bind_instrument(scope)
        kind = self.one("", "limit", "limit", "stop", "both")
        wants = ["limit", "stop"] if kind == "both" else [kind] if kind else []
        with self.block(f"if ctx.mark({name}) > 0.0:"):
            quantity = self.quantity(scope, name)
            prices = {each: self.price(name, side) for each in wants}
            guards = " and ".join(f"{each} > 0.0" for each in (quantity, *prices.values()))
            tif = self.one(*IMMORTAL, *MORTAL).format(minutes=f"self.roll({self.one('3', '50')})")
            options = "".join(f", {each}={price}" for each, price in prices.items()) + tif
            if self.happens(0.15):
                options += f", reduce_only={self.truth(scope, 1)}"
            call = f"ctx.{side.lower()}({name}, {quantity}{options})"
            target = self.one("", "", "self.o0 = ", "self.o1 = ")
            if self.happens(0.03):  # raises when the quantity is zero
                with self.block("if self.roll(20) == 0:"):
                    self.put(target + call)
            with self.block(f"if {guards}:"):
                self.put(target + call)

    def sized_order(self, scope: Scope) -> None:
        """A target, a weight, or a size found at the fill."""
        name = self.bind_instrument(scope)
        match self.chance.randrange(5):
            case 0:
                quantity = self.quantity(scope, name)
                self.put(f"ctx.target({name}, {self.one('', '-')}{quantity})")
            case 1:
                self.put(f"ctx.target({name}, 0)")
            case 2:
                weight = self.one("self.p0 / 3.0", "(self.p1 - 0.3) * 0.5", "1.0 / 3.0", "0.0")
                self.put(f"self.o1 = ctx.target_weight({name}, {weight})")
            case 3:
                side = self.one("", "", ", Side.SELL", ", Side.BUY")
                self.put(f"ctx.spend({name}, 1.0 + float(self.roll(3_000)) / 7.0{side})")
            case _:
                side = self.one("", "", ", Side.SELL")
                part = f"{self.one('self.p0', 'self.p2')} * 0.3 + 1e-6"
                weight = self.fresh("f")
                self.put(f"{weight} = {part}")
                with self.block(f"if {weight} >= 1e-8:"):
                    self.put(f"ctx.spend_ratio({name}, {weight}{side})")

    def change(self, scope: Scope) -> None:
        """A cancel or a replace of an order remembered, open or not."""
        order = self.one("self.o0", "self.o1")
        if self.happens(0.6):
            self.put(f"ctx.cancel({order})")
            return
        # A remembered order may be of any instrument; where there is one, it is of that.
        name = "ctx.instruments[0]"
        with self.block(f"if len(ctx.instruments) == 1 and ctx.mark({name}) > 0.0:"):
            self.replace_order(scope, order, name, "BUY")

    def replace_order(self, scope: Scope, order: str, name: str, side: str) -> None:
        what = self.one("quantity", "limit", "stop", "two")
        news: dict[str, str] = {}
        if what in ("quantity", "two"):
            news["quantity"] = self.quantity(scope, name)
        if what in ("limit", "two"):
            news["limit"] = self.price(name, side)
        if what == "stop":
            news["stop"] = self.price(name, side)
        guards = " and ".join(f"{each} > 0.0" for each in news.values())
        options = "".join(f", {each}={value}" for each, value in news.items())
        with self.block(f"if {guards}:"):
            self.put(f"ctx.replace({order}, {name}{options})")

    def change_open(self, scope: Scope) -> None:
        """A look at what is open, and a change of some of it."""
        name = self.bind_instrument(scope)
        order = self.fresh("order")
        source = f"ctx.open_orders({name})"
        if self.happens(0.5):
            orders = self.fresh("orders")
            self.put(f"{orders} = {source}")
            source = orders
        side = self.one("BUY", "SELL")
        condition = self.one(
            f"{order}.side == Side.{side}", f"{order}.order_type == OrderType.LIMIT",
            f"{order}.order_type != OrderType.MARKET and {order}.filled < {order}.quantity",
            f"{order}.status == OrderStatus.ACCEPTED",
            f"{order}.limit > self.x0", f"{order}.stop > ctx.mark({name})",
        )  # fmt: skip
        with self.block(f"for {order} in {source}:"):
            if self.happens(0.3):
                field_ = self.one("quantity", "filled", "limit", "stop")
                self.put(f"self.x1 = {order}.{field_}")
            with self.block(f"if {condition}:"):
                if self.happens(0.6):
                    self.put(f"ctx.cancel({order}.client_order_id)")
                else:
                    with self.block(f"if ctx.mark({name}) > 0.0:"):
                        self.replace_order(scope, f"{order}.client_order_id", name, side)
                if self.happens(0.3):
                    self.put("break")

    def ranking(self, scope: Scope) -> None:
        """Instruments by some number, and orders for the first of them."""
        ranked, each, value = self.fresh("ranked"), self.fresh("id"), self.fresh("f")
        self.put(f"{ranked}: list[tuple[float, InstrumentId]] = []")
        inner = replace(scope, instruments=(each,))
        with self.block(f"for {each} in ctx.instruments:"):
            self.put(f"{value} = {self.one(f'ctx.position({each})', self.number(inner, 2))}")
            with self.block(f"if {value} == {value}:"):
                self.put(f"{ranked}.append(({value}, {each}))")
        reverse = self.one("", ", reverse=True")
        self.put(f"{ranked}.sort(key=lambda pair: pair[0]{reverse})")
        held = self.fresh("held")
        self.put(f"{held} = [each for each in ctx.instruments if ctx.position(each) != 0.0]")
        best = self.fresh("best")
        self.put(f"{best} = [each for _, each in {ranked}]")
        fresh = self.fresh("fresh")
        self.put(f"{fresh} = [each for each in {best} if each not in {held}]")
        cut = self.one("[: self.n0 % 3 + 1]", "[:1]", "[-1:]", "[1:]")
        chosen = self.fresh("id")
        with self.block(f"for {chosen} in {self.one(best + cut, f'{held} + {fresh}{cut}')}:"):
            test = self.one(f"{chosen} in {held}", f"{chosen} not in {held}", f"len({held}) < 2")
            inner = replace(scope, instruments=(chosen,), lists=(*scope.lists, held), in_loop=True)
            with self.block(f"if {test}:"):
                self.chance.choice((self.order, self.sized_order))(inner)

    def collect(self, scope: Scope) -> Scope:
        """A list of floats: filled, sorted, read."""
        values, each = self.fresh("values"), self.fresh("f")
        self.put(f"{values}: list[float] = []")
        inner = self.fresh("n")
        with self.block(f"for {inner} in range({self.chance.randint(1, 5)}):"):
            self.put(f"{values}.append({self.number(replace(scope, ints=(inner,)), 2)})")
        with self.block(f"if {values}[0] == {values}[0]:"):
            self.put(f"{values}.append({values}[-1] + 1.0)")
        total = self.fresh("f")
        at = self.fresh("n")
        match self.chance.randrange(4):
            case 0:
                self.put(f"{total} = sum({values})")
            case 1:
                known = self.fresh("known")
                self.put(f"{known} = [each for each in {values} if each == each] + [0.5]")
                self.put(f"{total} = sorted({known}{self.one('', ', reverse=True')})[-1]")
            case 2:
                self.put(f"{total} = 0.0")
                with self.block(f"for {at}, {each} in enumerate({values}):"):
                    self.put(f"{total} += {each} * float({at})")
            case _:
                self.put(f"{total} = 0.0")
                with self.block(f"for {each}, {at} in zip({values}, {values}[1:]):"):
                    self.put(f"{total} += {each} / (abs({at}) + 1.0)")
        return replace(scope, floats=(*scope.floats, total), lists=(*scope.lists, values))

    # The class.

    def declarations(self) -> None:
        chance = self.chance
        self.depth = 1
        for number in range(3):
            low = chance.choice((-2, 0, 0))
            self.put(f"p{number}: float = param({chance.randint(1, 9) / 10}, ge={low}, le=3)")
        self.put(f"n0: int = param({chance.randint(1, 5)}, ge=0, le=9)")
        self.put(f"n1: int = param({chance.randint(-9, 20)}, ge=-50, le=50)")
        self.put(f"window: int = param({chance.randint(1, 6)}, ge=1, le=20)")
        self.put(f"size: float = param({chance.randint(1, 60)}.0, ge=0, le=5_000)")
        self.put(f"q0: bool = param({chance.random() < 0.5})")
        self.put(f"dice: int = state({chance.randint(0, 2**31 - 1)})")
        self.put(f"i0: int = state({chance.randint(-5, 5)})")
        self.put("i1: int = state(0)")
        self.put(f"x0: float = state({chance.randint(-20, 20) / 4})")
        self.put("x1: float = state(0.0)")
        self.put("b0: bool = state(False)")
        self.put("b1: bool = state(True)")
        self.put('o0: str = state("")')
        self.put('o1: str = state("")')

    def feature_map(self) -> None:
        count = self.chance.randint(1, 3)
        self.features = tuple(f"v{at}" for at in range(count))
        made = self.chance.sample(ESTIMATORS, count)
        self.lines.append("")
        with self.block("def features(self) -> FeatureMap:"):
            pairs = (f'"{name}": {each}' for name, each in zip(self.features, made, strict=True))
            self.put(f"return {{{', '.join(pairs)}}}")

    def score(self) -> None:
        self.lines.append("")
        with self.block("def score(self, left: float, right: float) -> float:"):
            scope = Scope(floats=("left", "right"), has_context=False)
            self.budget = 3
            if self.happens(0.7):
                with self.block(f"if {self.truth(scope, 2)}:"):
                    self.put(f"return {self.number(scope, 2)}")
            self.body(scope, 2)
            self.put(f"return {self.number(scope, 2)}")
        self.has_score = True

    def trade(self) -> None:
        self.lines.append("")
        head = "def trade(self, instrument: InstrumentId, value: float, ctx: Context) -> None:"
        with self.block(head):
            scope = Scope(floats=("value",), instruments=("instrument",), is_entry=False)
            self.budget = 6
            if self.happens(0.5):
                with self.block(f"if {self.truth(scope, 2)}:"):
                    self.put("return")
            self.order(scope)
            self.body(scope, 3)

    def callbacks(self) -> None:
        style = self.chance.choice(("bar", "bar", "bar", "both", "slice"))
        if self.happens(0.4):
            self.lines.append("")
            with self.block("def on_start(self, ctx: Context) -> None:"):
                self.budget = 3
                self.body(Scope(), 3)
        if self.happens(0.2):
            self.lines.append("")
            with self.block("def on_stop(self, ctx: Context) -> None:"):
                self.budget = 3
                self.body(Scope(), 3)
        if style in ("bar", "both"):
            self.lines.append("")
            with self.block("def on_bar(self, bar: Bar, ctx: Context) -> None:"):
                self.put("self.dice = (self.dice + bar.ts_close // MINUTE * 7_919) % 2_147_483_648")
                scope = Scope(bars=("bar",), instruments=("bar.instrument",), has_features=True)
                self.budget = 22
                if self.happens(0.4):
                    with self.block(f"if {self.one('self.roll(3) == 0', 'self.roll(5) < 3')}:"):
                        self.put("return")
                self.order(scope)
                self.body(scope, 7)
        if self.happens(0.35):
            self.lines.append("")
            with self.block("def on_trade(self, trade: TradeTick, ctx: Context) -> None:"):
                scope = Scope(
                    prints=("trade",), instruments=("trade.instrument",), has_features=True
                )
                side = self.one("BUYER", "SELLER", "UNKNOWN")
                self.put(f"self.b0 = trade.aggressor == AggressorSide.{side}")
                self.budget = 8
                self.order(scope)
                self.body(scope, 4)
        if style in ("slice", "both"):
            self.lines.append("")
            with self.block("def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:"):
                self.put("self.dice = (self.dice + slice_.ts_known // MINUTE) % 2_147_483_648")
                scope = Scope(has_features=style == "both")
                self.budget = 16
                inner = replace(scope, bars=("bar",), instruments=("bar.instrument",), in_loop=True)
                with self.block("for bar in slice_.bars:"):
                    self.order(inner)
                    self.body(inner, 4)
                self.body(replace(scope, lists=("slice_.bars",)), 4)


def write_strategy(seed: int) -> str:
    """The source of the strategy of a seed."""
    chance = random.Random(f"strategy {seed}")
    writer = Writer(chance)
    writer.declarations()
    writer.lines += ROLL.splitlines()
    writer.feature_map()
    writer.score()
    writer.trade()
    writer.callbacks()
    header = HEADER.format(
        seed=seed, level=chance.choice((0.5, 1.5, 97.25)), compare=chance.choice(("<", ">="))
    )
    return header + "\n".join(writer.lines) + "\n"


def make_strategies(folder: Path, seeds: Sequence[int]) -> list[type[Strategy]]:
    """The strategies of some seeds, each from a file of its own in `folder`, as users have them."""
    made: list[type[Strategy]] = []
    for seed in seeds:
        path = folder / f"written_{seed}.py"
        text = write_strategy(seed)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        made.append(load_strategy(path.stem, str(path)))
    return made
