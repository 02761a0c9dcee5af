"""From a strategy class to compiled code: what it may use, and its callbacks as Numba takes them.

The callbacks stay as they are written. Their source is read, checked against what the compiled host
carries, and rewritten only where Python's meaning would be lost: integer arithmetic that would
wrap, a sort that would not be stable, the empty order id.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any, cast

import msgspec
from numba.extending import overload

from onetape.domain.errors import StrategyError
from onetape.domain.rule_compiler import OPTIONS, Fields, make_compilable, rehome
from onetape.domain.rule_definition import compute_definition_hash, parse_function
from onetape.domain.rules import registered_rules
from onetape.runtime.compiled.callbacks import (
    CALLBACKS,
    StrategyType,
    no_order,
    order_id_type,
    register_callbacks,
    sort_by,
    sorted_by,
)
from onetape.runtime.compiled.compiling import compute_code_hash
from onetape.strategy.checks.finding import Finding
from onetape.strategy.declaration import Param, State
from onetape.strategy.sdk import Strategy

PYTHON_HOST = "the Python host runs it"

_OTHER_CALLBACKS = (
    "on_market_event", "on_quote", "on_book", "on_funding", "on_mark", "on_order_update",
    "on_timer", "generate_orders",
)  # fmt: skip

_NOT_CARRIED: dict[type[ast.AST], str] = {
    ast.Try: "try", ast.With: "with", ast.Dict: "a dict", ast.DictComp: "a dict", ast.Set: "a set",
    ast.SetComp: "a set", ast.JoinedStr: "an f-string", ast.Yield: "yield", ast.Await: "await",
    ast.FunctionDef: "a function inside a function", ast.ClassDef: "a class", ast.Match: "match",
    ast.GeneratorExp: "a generator expression", ast.Starred: "a starred argument",
    ast.NamedExpr: "an assignment inside an expression", ast.Delete: "del",
    ast.Import: "an import", ast.ImportFrom: "an import", ast.Global: "global",
    ast.Nonlocal: "nonlocal", ast.Assert: "assert",
}  # fmt: skip

_CONTEXT = frozenset(
    ("now", "cash", "equity", "features", "instruments", "position", "mark", "features_of",
     "open_orders", "buy", "sell", "target", "target_weight", "spend", "spend_ratio", "cancel",
     "replace", "round_quantity", "round_price")
)  # fmt: skip

_BUILTINS = frozenset(
    ("abs", "bool", "float", "int", "len", "max", "min", "range", "round", "sorted", "sum",
     "enumerate", "zip", "list", "True", "False", "None")
)  # fmt: skip

_MATH = frozenset(("sqrt", "floor", "ceil", "isnan", "isfinite", "fabs", "inf", "nan", "pi"))


class NotCompilable(StrategyError):
    """The compiled host can't run a strategy; the Python host can.

    Attributes:
        file: The file of the strategy.
        findings: What it does that is not carried, by line.
    """

    def __init__(self, strategy: str, file: str, findings: tuple[Finding, ...]) -> None:
        self.file = file
        self.findings = findings
        first = findings[0]
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        place = f"{file}:{first.line}" if first.line else file
        super().__init__(
            f"{strategy} does not compile: {first.message}{more}",
            where=place,
            remedy=first.remedy,
        )


class StrategyCode(msgspec.Struct, frozen=True, eq=False):
    """A strategy class that the compiled host can run.

    Attributes:
        strategy: The class.
        type: Its params and state as a record; the name holds the hash of its code.
        features: The names of its features.
        file: Where it was written.
    """

    strategy: type[Strategy]
    type: StrategyType
    features: tuple[str, ...]
    file: str

    def values(self, strategy: Strategy) -> dict[str, Any]:
        """Params and state of an object of the class, as the record takes them."""
        return {
            name: 0 if kind is order_id_type else getattr(strategy, name)
            for name, kind in self.type.fields
        }


@lru_cache(maxsize=256)
def read_strategy(strategy: type[Strategy], features: tuple[str, ...]) -> StrategyCode:
    """Check the callbacks of a class, and let compiled code call them.

    Args:
        strategy: The class.
        features: The names of its features.

    Raises:
        NotCompilable: A callback uses what the compiled host does not carry.
    """
    reader = _Reader(strategy, features)
    reader.read()
    if reader.findings:
        raise NotCompilable(strategy.__name__, reader.file, tuple(sorted(reader.findings)))
    return reader.make()


class _Function(msgspec.Struct):
    """A function that compiled code will call, and its definition with lines of the file."""

    function: Callable[..., Any]
    definition: ast.FunctionDef
    is_method: bool


class _Reader:
    """Follows the callbacks of one class to everything that they use."""

    def __init__(self, strategy: type[Strategy], features: tuple[str, ...]) -> None:
        self.strategy = strategy
        self.features = features
        self.file = inspect.getsourcefile(strategy) or strategy.__module__
        self.findings: list[Finding] = []
        self.methods: dict[str, _Function] = {}
        self.helpers: dict[Callable[..., Any], _Function] = {}
        self.numbers: dict[str, str] = {}

    def read(self) -> None:
        """Find every function, and what none of them may do."""
        for name in _OTHER_CALLBACKS:
            if getattr(self.strategy, name) is not getattr(Strategy, name):
                line = _line_of(getattr(self.strategy, name))
                self._find(line, f"{name} is not carried", "decide in on_bar, on_trade or on_slice")
        for name in CALLBACKS:
            if getattr(self.strategy, name) is not getattr(Strategy, name):
                self._take(name, getattr(self.strategy, name))

    def make(self) -> StrategyCode:
        """Register the functions under the hash of all of them."""
        fields = self._fields()
        definition = self._hash(fields)
        names = {f"__method_{name}": _make_placeholder() for name in self.methods}
        twins = {
            name: self._rehome(each, f"{self.strategy.__name__}_{name}_{definition[:16]}", names)
            for name, each in self.methods.items()
        }
        for name, twin in twins.items():
            overload(names[f"__method_{name}"], jit_options=OPTIONS, strict=False)(_always(twin))
        for function, each in self.helpers.items():
            if function in _COMPILABLE:
                continue
            _COMPILABLE.add(function)
            twin = self._rehome(each, f"{function.__name__}_{definition[:16]}", names)
            overload(function, jit_options=OPTIONS, strict=False)(_always(twin))
        kind = StrategyType(definition, fields)
        register_callbacks(
            definition, {name: twin for name, twin in twins.items() if name in CALLBACKS}
        )
        return StrategyCode(self.strategy, kind, self.features, self.file)

    def _rehome(self, each: _Function, name: str, names: Mapping[str, Any]) -> Callable[..., Any]:
        own = each.definition.args.args[0].arg if each.is_method else ""
        rewriter = _CallbackRewriter(own, frozenset(self.methods))
        return rehome(each.function, name, {**_NAMES, **names}, rewriter.rewrite)

    def _fields(self) -> Fields:
        kinds: dict[str, Any] = {"int": "int", "float": "float", "bool": "bool"}
        params = [
            (name, kinds[each.type_name])
            for name, each in self.strategy.declared_params.items()
            if each.type_name in kinds
        ]
        states = [
            (name, kinds.get(each.type_name, order_id_type))
            for name, each in self.strategy.declared_state.items()
        ]
        return (*params, *states)

    def _hash(self, fields: Fields) -> str:
        functions = [*self.methods.items()]
        functions += [(each.function.__name__, each) for each in self.helpers.values()]
        parts: list[object] = [
            compute_code_hash(), self.strategy.__qualname__, self.features, repr(fields),
            [(name, ast.unparse(each.definition)) for name, each in functions],
            sorted(self.numbers.items()),
        ]  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]

    # What a function does.

    def _find(self, line: int, message: str, remedy: str = PYTHON_HOST) -> None:
        self.findings.append(Finding(line, "not-compilable", message, remedy))

    def _take(self, name: str, function: Any) -> None:
        if name in self.methods:
            return
        if not isinstance(function, FunctionType):
            self._find(0, f"{name} is no plain method", "write it with def")
            return
        parsed = self._parse(function)
        if parsed is not None:
            self.methods[name] = _Function(function, parsed, True)
            self._check(function, parsed, is_method=True)

    def _parse(self, function: FunctionType) -> ast.FunctionDef | None:
        try:
            definition = parse_function(function)[1]
        except StrategyError as error:
            self._find(_line_of(function), f"{function.__name__} {error.what}", error.remedy)
            return None
        if function.__code__.co_freevars:
            names = ", ".join(function.__code__.co_freevars)
            self._find(_line_of(function), f"{function.__name__} uses {names} of what encloses it",
                       "make it a param or a module-level number")  # fmt: skip
            return None
        ast.increment_lineno(definition, function.__code__.co_firstlineno - 1)
        return definition

    def _check(
        self, function: FunctionType, definition: ast.FunctionDef, *, is_method: bool
    ) -> None:
        names = [each.arg for each in definition.args.args]
        own = names[0] if is_method and names else ""
        code = function.__code__
        local = {*code.co_varnames, *code.co_cellvars, *_bound_names(definition)}
        for node in _walk_body(definition):
            words = _NOT_CARRIED.get(type(node))
            if words is not None:
                self._find(getattr(node, "lineno", definition.lineno), f"{words} is not carried")
            match node:
                case ast.BinOp(op=ast.Pow()) | ast.AugAssign(op=ast.Pow()):
                    self._find(node.lineno, "** is not carried", "multiply, or use math.sqrt")
                case ast.Constant(value=str(text)) if text:
                    self._find(node.lineno, f"the string {text!r} is not carried",
                               "decide by numbers")  # fmt: skip
                case ast.Call(func=ast.Attribute(value=each, attr="sort")) if not _is_name(each):
                    self._find(node.lineno, "a sort of what has no name", "give it a name first")
                case ast.Call(func=ast.Name(id="sorted"), args=[each]) if not _is_name(each):
                    self._find(node.lineno, "sorted() of what has no name", "give it a name first")
                case ast.Attribute(value=ast.Name(id=name)) if name == own:
                    self._check_own(node)
                case ast.Attribute(value=ast.Name(id="ctx")) if node.attr not in _CONTEXT:
                    self._find(node.lineno, f"ctx.{node.attr} is not carried")
                case ast.Attribute(value=ast.Name(id="math")) if node.attr not in _MATH:
                    self._find(node.lineno, f"math.{node.attr} is not carried",
                               "its last bit depends on the machine's C library")  # fmt: skip
                case ast.Name(id=name, ctx=ast.Load()) if name not in local:
                    self._check_global(node, function)
                case _:
                    pass

    def _check_own(self, node: ast.Attribute) -> None:
        name = node.attr
        declared: Param | State | None = self.strategy.declared_params.get(
            name
        ) or self.strategy.declared_state.get(name)
        if isinstance(declared, Param) and declared.type_name == "str":
            self._find(node.lineno, f"the str param {name!r} is not carried", "use an int param")
        if isinstance(declared, State) and declared.type_name == "str" and declared.default:
            self._find(node.lineno, f"the str state {name!r} does not start empty",
                       "str state holds order ids in compiled code, nothing else")  # fmt: skip
        if isinstance(node.ctx, ast.Store) and name not in self.strategy.declared_state:
            self._find(node.lineno, f"self.{name} is assigned and not declared as state",
                       "declare it with state(...)")  # fmt: skip
        if declared is None:
            value = inspect.getattr_static(self.strategy, name, None)
            if isinstance(value, FunctionType) and name not in CALLBACKS:
                self._take(name, value)
            else:
                self._find(node.lineno, f"self.{name} is neither param, state nor method")

    def _check_global(self, node: ast.Name, function: FunctionType) -> None:
        name = node.id
        value = function.__globals__.get(name)
        if name not in function.__globals__:
            if name not in _BUILTINS:
                self._find(node.lineno, f"{name} is not carried")
        elif isinstance(value, bool | int | float):
            self.numbers[f"{function.__module__}.{name}"] = repr(value)
        elif isinstance(value, FunctionType):
            self._take_helper(node, value)
        elif value is not math and not (isinstance(value, type) and issubclass(value, IntEnum)):
            kind = "module" if isinstance(value, ModuleType) else type(value).__name__
            self._find(node.lineno, f"the {kind} {name} is not carried",
                       "use params, numbers, math and functions of your own")  # fmt: skip

    def _take_helper(self, node: ast.Name, function: FunctionType) -> None:
        if function in registered_rules().values():
            make_compilable(function)
            self.numbers[f"rule {function.__name__}"] = compute_definition_hash(function, ())
        elif function not in self.helpers:
            parsed = self._parse(function)
            if parsed is not None:
                self.helpers[function] = _Function(function, parsed, False)
                self._check(function, parsed, is_method=False)


_COMPILABLE: set[Callable[..., Any]] = set()
"""The functions of strategies' modules that compiled code can call."""


def _always(twin: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_inputs: twin


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_name(node.value))


def _line_of(function: Any) -> int:
    code = getattr(function, "__code__", None)
    return 0 if code is None else code.co_firstlineno


def _walk_body(definition: ast.FunctionDef) -> Iterator[Any]:
    """Every node of a function's body, without annotations and docstrings."""
    waiting: list[ast.AST] = list(reversed(definition.body))
    if isinstance(waiting[-1], ast.Expr) and isinstance(waiting[-1].value, ast.Constant):
        waiting.pop()
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.AnnAssign):
            waiting += [each for each in (node.value, node.target) if each is not None]
        elif isinstance(node, ast.Call):
            given = [each.value for each in node.keywords if each.arg != "label"]
            waiting += [*given, *node.args, node.func]
        else:
            waiting += list(ast.iter_child_nodes(node))


def _bound_names(definition: ast.FunctionDef) -> Iterator[str]:
    """Names that lambdas and comprehensions bind."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Lambda):
            yield from (each.arg for each in node.args.args)
        elif isinstance(node, ast.comprehension):
            yield from (each.id for each in ast.walk(node.target) if isinstance(each, ast.Name))


def _make_placeholder() -> Callable[..., Any]:
    """What compiled code calls instead of a method; compiled code alone knows what it does."""

    def method(*_inputs: Any) -> Any:
        raise NotImplementedError("for compiled code only")

    return method


class _CallbackRewriter(ast.NodeTransformer):
    """Keeps the meaning of what Numba would read otherwise.

    Args:
        own: What the function calls its object; empty for a function.
        methods: The names of the object's methods.
    """

    def __init__(self, own: str, methods: frozenset[str]) -> None:
        self._own = own
        self._methods = methods

    def rewrite(self, definition: ast.FunctionDef) -> ast.FunctionDef:
        """`definition` rewritten, and without its docstring."""
        body = definition.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            definition.body = [*body[1:], ast.copy_location(ast.Pass(), body[0])]
        return self.visit(definition)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.keywords = [each for each in node.keywords if each.arg != "label"]
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(value=ast.Name(id=name), attr=method) if (
                name == self._own and method in self._methods
            ):
                node.func = ast.copy_location(ast.Name(f"__method_{method}", ast.Load()), node)
                node.args = [ast.copy_location(ast.Name(name, ast.Load()), node), *node.args]
                return node
            case ast.Attribute(value=ast.Name() as values, attr="sort"):
                return _call("__sort_by", [values, *_sort_inputs(values, node)], node)
            case ast.Name(id="sorted"):
                values = _list_of(node.args[0], None)
                return _call("__sorted_by", [values, *_sort_inputs(node.args[0], node)], node)
            case _:
                return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return _call("__no_order", [], node) if node.value == "" else node


def _sort_inputs(values: ast.expr, node: ast.Call) -> list[ast.expr]:
    """The key of each value, as a list, and whether the order is reversed."""
    given = {each.arg: each.value for each in node.keywords}
    no = ast.copy_location(ast.Constant(False), node)
    return [_list_of(values, given.get("key")), given.get("reverse", no)]


def _list_of(values: ast.expr, key: ast.expr | None) -> ast.expr:
    """`[key(each) for each in values]`; a lambda's body stands for its call."""
    name, made = "__each", cast(ast.expr, ast.Name("__each", ast.Load()))
    if isinstance(key, ast.Lambda):
        name, made = key.args.args[0].arg, key.body
    elif key is not None:
        made = ast.Call(key, [made], [])
    each = ast.comprehension(ast.Name(name, ast.Store()), copy.deepcopy(values), [], 0)
    return ast.copy_location(ast.ListComp(made, [each]), values)


def _call(name: str, inputs: list[ast.expr], node: ast.expr) -> ast.Call:
    function = ast.copy_location(ast.Name(name, ast.Load()), node)
    return ast.copy_location(ast.Call(function, inputs, []), node)


_NAMES: Mapping[str, Any] = {
    "__sort_by": sort_by,
    "__sorted_by": sorted_by,
    "__no_order": no_order,
}
