"""From a strategy class to compiled code: what it may use, and its callbacks as Numba takes them.

The callbacks stay as they are written. Their source is read, checked against what the compiled host
carries, and rewritten only where Python's meaning would be lost: integer arithmetic that would
wrap, state that would be cut off, a sort that would not be stable, the empty order id.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any, cast

import msgspec
from numba.extending import overload

from onetape.domain.errors import StrategyError
from onetape.domain.numbers import INT64_MAX
from onetape.domain.orders import OrderType, TimeInForce
from onetape.domain.rule_compiler import OPTIONS, Fields, make_compilable, rehome
from onetape.domain.rule_definition import compute_definition_hash, parse_function
from onetape.domain.rules import registered_rules
from onetape.runtime.compiled.callbacks import (
    CALLBACKS,
    StrategyType,
    has_callbacks,
    make_setter,
    no_order,
    order_id_type,
    register_callbacks,
    sort_by,
    sorted_by,
)
from onetape.runtime.compiled.compiling import compute_code_hash
from onetape.runtime.compiled.unassigned import find_unassigned
from onetape.strategy.checks.finding import Finding
from onetape.strategy.context import Context
from onetape.strategy.declaration import Param, State
from onetape.strategy.sdk import Strategy

PYTHON_HOST = "the Python host runs it"

_OTHER_CALLBACKS = (
    "on_market_event", "on_quote", "on_book", "on_funding", "on_mark", "on_settlement",
    "on_expiry", "on_status", "on_margin", "on_connection", "on_order_update", "on_timer",
    "generate_orders",
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
     "replace", "round_quantity", "round_price", "is_member")
)  # fmt: skip

_LABELED = ("buy", "sell", "target", "target_weight", "spend", "spend_ratio")
"""Methods of `ctx` whose `label` is carried, as its number."""

_INSTEAD = {"regime": ("read the feature itself: ctx.features.NAME",)}
"""What to write in place of attributes of `ctx` that are not carried."""

_BUILTINS = frozenset(
    ("abs", "bool", "float", "int", "len", "max", "min", "range", "round", "sorted", "sum",
     "enumerate", "zip", "list", "True", "False", "None")
)  # fmt: skip

_REPLACED = frozenset(("abs", "int", "round", "sorted", "sum"))
"""Builtins that rewritten code calls by other names."""

_MATH = frozenset(
    ("sqrt", "floor", "ceil", "isnan", "isinf", "isfinite", "fabs", "inf", "nan", "pi")
)

_MEMBERS: Mapping[type[IntEnum], tuple[str, ...]] = {
    OrderType: ("MARKET", "LIMIT", "STOP", "STOP_LIMIT"),
    TimeInForce: ("GTC", "DAY", "GTD", "IOC", "FOK"),
}
"""Members that the compiled engine has, of enums where it does not have all."""


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
        lines: The text of its functions, by file and line.
        labels: What it calls its orders, by number; 0 is empty.
        unlabeled: A label that has no number, so that only the Python host can write the tape.
        uses: Module-level names with what they stood for: (names of the module, name, value).
    """

    strategy: type[Strategy]
    type: StrategyType
    features: tuple[str, ...]
    file: str
    lines: dict[tuple[str, int], str]
    uses: list[tuple[dict[str, Any], str, object]]
    labels: tuple[str, ...]
    unlabeled: Finding | None

    def values(self, strategy: Strategy) -> dict[str, Any]:
        """Params and state of an object of the class, as the record takes them."""
        return {
            name: 0 if kind is order_id_type else getattr(strategy, name)
            for name, kind in self.type.fields
        }


def read_strategy(strategy: type[Strategy], features: tuple[str, ...]) -> StrategyCode:
    """Check the callbacks of a class, and let compiled code call them.

    Args:
        strategy: The class.
        features: The names of its features.

    Raises:
        NotCompilable: A callback uses what the compiled host does not carry.
    """
    code = _read(strategy, features)
    if any(names.get(name) is not value for names, name, value in code.uses):
        _read.cache_clear()
        code = _read(strategy, features)
    return code


@lru_cache(maxsize=256)
def _read(strategy: type[Strategy], features: tuple[str, ...]) -> StrategyCode:
    reader = _Reader(strategy, features)
    reader.read()
    if reader.findings:
        raise NotCompilable(strategy.__name__, reader.file, tuple(sorted(reader.findings)))
    return reader.make()


class _Function(msgspec.Struct):
    """A function that compiled code will call, and its definition with lines of the file."""

    function: Any
    source: str
    definition: ast.FunctionDef
    is_method: bool

    @property
    def own(self) -> str:
        """What a method calls its object; empty for a function."""
        return self.definition.args.args[0].arg if self.is_method else ""


class _Reader:
    """Follows the callbacks of one class to everything that they use."""

    def __init__(self, strategy: type[Strategy], features: tuple[str, ...]) -> None:
        self.strategy = strategy
        self.features = features
        self.file = _find_file(strategy)
        self.findings: list[Finding] = []
        self.methods: dict[str, _Function] = {}
        self.helpers: dict[FunctionType, _Function] = {}
        self.values: list[tuple[str, str]] = []
        self.uses: list[tuple[dict[str, Any], str, object]] = []
        self.labels = [""]
        self.unlabeled: Finding | None = None
        self._reading = self.file

    def read(self) -> None:
        """Find every function, and what none of them may do."""
        for name in _OTHER_CALLBACKS:
            callback = getattr(self.strategy, name)
            if callback is not getattr(Strategy, name):
                line = 0
                if isinstance(callback, FunctionType):
                    self._reading, line = _place(callback)
                self._find(line, f"{name} is not carried", "decide in on_bar, on_trade or on_slice")
                self._reading = self.file
        for name in CALLBACKS:
            if getattr(self.strategy, name) is not getattr(Strategy, name):
                self._take(name, getattr(self.strategy, name))

    def make(self) -> StrategyCode:
        """Register the functions under the hash of all of them."""
        fields = self._fields()
        definition = self._hash(fields)
        if not has_callbacks(definition):
            self._register(definition)
        functions = [*self.methods.values(), *self.helpers.values()]
        lines = {
            (file, first + at): line.strip()
            for each in functions
            for file, first in [_place(each.function)]
            for at, line in enumerate(each.source.splitlines())
        }
        kind = StrategyType(definition, fields)
        return StrategyCode(
            self.strategy, kind, self.features, self.file, lines, self.uses, tuple(self.labels),
            self.unlabeled,
        )  # fmt: skip

    def _register(self, definition: str) -> None:
        names = {f"__method_{name}": _make_placeholder() for name in self.methods}
        for name in self.strategy.declared_params:
            names[f"__set_{name}"] = make_setter(name, is_state=False)
        for name in self.strategy.declared_state:
            names[f"__set_{name}"] = make_setter(name, is_state=True)
        stands_for = {function: _make_placeholder() for function in self.helpers}
        callbacks: dict[str, Callable[..., Any]] = {}
        for name, each in self.methods.items():
            twin = self._rehome(each, f"{name}_{definition[:16]}", names, stands_for)
            overload(names[f"__method_{name}"], jit_options=OPTIONS, strict=False)(_always(twin))
            if name in CALLBACKS:
                callbacks[name] = twin
        for at, (function, each) in enumerate(self.helpers.items()):
            name = f"{at}_{function.__name__}_{definition[:16]}"
            twin = self._rehome(each, name, names, stands_for)
            overload(stands_for[function], jit_options=OPTIONS, strict=False)(_always(twin))
        register_callbacks(definition, callbacks)

    def _rehome(
        self,
        each: _Function,
        name: str,
        names: Mapping[str, Any],
        stands_for: Mapping[FunctionType, Callable[..., Any]],
    ) -> Callable[..., Any]:
        rewriter = _CallbackRewriter(each.own, frozenset(self.methods), names, self.labels)
        helpers = {
            called: stands_for[value]
            for called, value in each.function.__globals__.items()
            if isinstance(value, FunctionType) and value in stands_for
        }
        name = f"{self.strategy.__name__}_{name}"
        return rehome(each.function, name, {**_NAMES, **names, **helpers}, rewriter.rewrite)

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
            [
                (name, ast.unparse(each.definition), repr(each.function.__defaults__))
                for name, each in functions
            ],
            self.values,
        ]  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]

    # What a function does.

    def _find(self, line: int, message: str, remedy: str = PYTHON_HOST) -> None:
        self.findings.append(self._make_finding(line, message, remedy))

    def _make_finding(self, line: int, message: str, remedy: str) -> Finding:
        if self._reading != self.file:
            line, message = 0, f"{message}, in {self._reading}:{line}"
        return Finding(line, "not-compilable", message, remedy)

    def _take(self, name: str, function: Any) -> None:
        if name in self.methods:
            return
        if not isinstance(function, FunctionType):
            self._find(0, f"{name} is no plain method", "write it with def")
            return
        parsed = self._parse(function, is_method=True)
        if parsed is not None:
            self.methods[name] = parsed
            self._check(parsed)

    def _parse(self, function: FunctionType, *, is_method: bool) -> _Function | None:
        before = self._reading
        self._reading, line = _place(function)
        try:
            source, definition = parse_function(function)
            ast.increment_lineno(definition, line - 1)
            parsed = _Function(function, source, definition, is_method)
            return parsed if self._check_head(parsed, line) else None
        except StrategyError as error:
            self._find(line, f"{function.__name__} {error.what}", error.remedy)
            return None
        finally:
            self._reading = before

    def _check_head(self, parsed: _Function, line: int) -> bool:
        """Whether what stands outside of a function's body is carried."""
        function, arguments = parsed.function, parsed.definition.args
        found = len(self.findings)
        if function.__code__.co_freevars:
            names = ", ".join(function.__code__.co_freevars)
            self._find(line, f"{function.__name__} uses {names} of what encloses it",
                       "make it a param or a module-level number")  # fmt: skip
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
            self._find(line, f"{function.__name__} has arguments with * or /",
                       "write plain arguments")  # fmt: skip
        elif parsed.is_method and not arguments.args:
            self._find(line, f"{function.__name__} has no self", "write it as a plain method")
        for value in function.__defaults__ or ():
            if not isinstance(value, int | float | None):
                self._find(line, f"{function.__name__} has a {type(value).__name__} as default",
                           "use a number")  # fmt: skip
        return len(self.findings) == found

    def _check(self, each: _Function) -> None:
        before = self._reading
        self._reading = _place(each.function)[0]
        function, definition, own = each.function, each.definition, each.own
        code = function.__code__
        contexts = {"ctx"}
        if definition.name in CALLBACKS and each.is_method:
            contexts.add(definition.args.args[-1].arg)
        local = {*code.co_varnames, *code.co_cellvars, *_bound_names(definition)}
        for node in _walk_body(definition):
            words = _NOT_CARRIED.get(type(node))
            if words is not None:
                self._find(getattr(node, "lineno", definition.lineno), f"{words} is not carried")
            if isinstance(node, ast.Call):
                self._take_label(node)
            match node:
                case ast.BinOp(op=ast.Pow()) | ast.AugAssign(op=ast.Pow()):
                    self._find(node.lineno, "** is not carried", "multiply, or use math.sqrt")
                case ast.Constant(value=str(text)) if text:
                    self._find(node.lineno, f"the string {text!r} is not carried",
                               "decide by numbers")  # fmt: skip
                case ast.Constant(value=int(number)) if number > INT64_MAX:
                    self._find(node.lineno, f"the number {number} is beyond int64")
                case ast.Compare(ops=ops) if any(isinstance(op, ast.Is | ast.IsNot) for op in ops):
                    self._check_identity(node)
                case ast.Call(func=ast.Attribute(attr="sort") | ast.Name(id="sorted")):
                    self._check_sort(node)
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name))) if name in contexts:
                    self._check_call(node)
                case ast.For(target=target) | ast.comprehension(target=target) if any(
                    isinstance(part, ast.Attribute) for part in ast.walk(target)
                ):
                    self._find(target.lineno, "a loop over an attribute is not carried",
                               "loop over a plain name, and assign")  # fmt: skip
                case ast.Attribute(value=ast.Name(id=name)) if name == own:
                    self._check_own(node)
                case ast.Attribute(value=ast.Name(id=name)) if name in contexts:
                    if node.attr not in _CONTEXT:
                        self._find(node.lineno, f"ctx.{node.attr} is not carried",
                                   *_INSTEAD.get(node.attr, ()))  # fmt: skip
                case ast.Attribute(value=ast.Name(id="math")) if node.attr not in _MATH:
                    self._find(node.lineno, f"math.{node.attr} is not carried",
                               "its last bit depends on the machine's C library")  # fmt: skip
                case ast.Attribute(value=ast.Name(id=name)) if name not in local:
                    enum = function.__globals__.get(name)
                    if isinstance(enum, type) and issubclass(enum, IntEnum):
                        self._check_member(node.lineno, enum.__members__.get(node.attr))
                case ast.Name(id=name, ctx=ast.Load()) if name not in local:
                    self._check_global(node, function)
                case _:
                    pass
        for name in find_unassigned(definition):
            self._find(name.lineno, f"{name.id} may have no value here", "assign it on every path")
        self._reading = before

    def _take_label(self, node: ast.Call) -> None:
        """Give the label of an order a number, if it is written out where it is used."""
        if all(each.arg != "label" for each in node.keywords):
            return
        label = _read_label(node)
        if label is None:
            self.unlabeled = self.unlabeled or self._make_finding(
                node.lineno, "a label that is no plain text is not carried", PYTHON_HOST
            )
        elif label not in self.labels:
            self.labels.append(label)

    def _check_identity(self, node: ast.Compare) -> None:
        """`is` asks whether two objects are one; compiled numbers are no objects."""
        parts = [node.left, *node.comparators]
        for op, left, right in zip(node.ops, parts, parts[1:], strict=False):
            is_none = [isinstance(each, ast.Constant) and each.value is None
                       for each in (left, right)]  # fmt: skip
            if isinstance(op, ast.Is | ast.IsNot) and not any(is_none):
                word = "is" if isinstance(op, ast.Is) else "is not"
                self._find(node.lineno, f"`{word}` is not carried, but with None",
                           "compare with == or !=")  # fmt: skip

    def _check_sort(self, node: ast.Call) -> None:
        is_method = isinstance(node.func, ast.Attribute)
        values = node.func.value if isinstance(node.func, ast.Attribute) else None
        if not is_method and len(node.args) == 1:
            values = node.args[0]
        if values is None or (is_method and node.args):
            self._find(node.lineno, "a sort of something else than one list", "give it one list")
        elif not _is_name(values):
            self._find(node.lineno, "a sort of what has no name", "give it a name first")
        for each in node.keywords:
            if isinstance(each.value, ast.Lambda) and len(each.value.args.args) != 1:
                self._find(node.lineno, "a key of other than one value", "write lambda each: ...")

    def _check_call(self, node: ast.Call) -> None:
        """Numba does not tell arguments by name alone from the others; Python does."""
        name = cast(ast.Attribute, node.func).attr
        if name in _CONTEXT and inspect.isfunction(method := getattr(Context, name)):
            plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            kinds = [each.kind for each in inspect.signature(method).parameters.values()]
            most = sum(each in plain for each in kinds) - 1
            if len(node.args) > most:
                self._find(node.lineno, f"ctx.{name} takes {most} arguments without a name",
                           "name the others")  # fmt: skip

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
        elif declared is None:
            value = inspect.getattr_static(self.strategy, name, None)
            if isinstance(value, FunctionType) and name not in CALLBACKS:
                self._take(name, value)
            else:
                self._find(node.lineno, f"self.{name} is neither param, state nor method",
                           "make it a param or a module-level number")  # fmt: skip

    def _check_global(self, node: ast.Name, function: FunctionType) -> None:
        name = node.id
        value = function.__globals__.get(name)
        place = f"{function.__qualname__}.{name}"
        self.uses.append((function.__globals__, name, value))
        if name not in function.__globals__:
            if name not in _BUILTINS:
                self._find(node.lineno, f"{name} is not carried")
        elif name in _REPLACED:
            self._find(node.lineno, f"{name} hides the builtin", "give it another name")
        elif isinstance(value, bool | int | float):
            self._check_member(node.lineno, value)
            self.values.append((place, repr(value)))
            if abs(value) > INT64_MAX and isinstance(value, int):
                self._find(node.lineno, f"the number {name} is beyond int64")
        elif isinstance(value, FunctionType):
            self.values.append((place, self._take_helper(node, value)))
        elif isinstance(value, type) and issubclass(value, IntEnum):
            members = [(each, int(value[each])) for each in value.__members__]
            self.values.append((place, repr(members)))
        elif value is not math or name != "math":
            kind = "module" if isinstance(value, ModuleType) else type(value).__name__
            remedy = "use params, numbers, math and functions of your own"
            self._find(node.lineno, f"the {kind} {name} is not carried",
                       "write `import math`" if value is math else remedy)  # fmt: skip

    def _check_member(self, line: int, value: object) -> None:
        if isinstance(value, OrderType | TimeInForce) and value.name not in _MEMBERS[type(value)]:
            self._find(line, f"{type(value).__name__}.{value.name} is not carried")

    def _take_helper(self, node: ast.Name, function: FunctionType) -> str:
        """Read a function of a module; returns what makes it the same one."""
        if function in registered_rules().values():
            try:
                definition = compute_definition_hash(function, ())
            except StrategyError as error:
                self._find(node.lineno, f"the rule {error.where} {error.what}", error.remedy)
                return ""
            make_compilable(function)
            return definition
        if function not in self.helpers:
            parsed = self._parse(function, is_method=False)
            if parsed is not None:
                self.helpers[function] = parsed
                self._check(parsed)
        return function.__qualname__


def _always(twin: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_inputs, **_named: twin


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_name(node.value))


def _place(function: FunctionType) -> tuple[str, int]:
    """File and first line of a function."""
    return function.__code__.co_filename, function.__code__.co_firstlineno


def _find_file(strategy: type[Strategy]) -> str:
    """The file of a class, which is where its first function was written."""
    for each in vars(strategy).values():
        if isinstance(each, FunctionType):
            return _place(each)[0]
    try:
        return inspect.getsourcefile(strategy) or strategy.__module__
    except (OSError, TypeError):
        return strategy.__module__


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


def _read_label(node: ast.Call) -> str | None:
    """The label of an order, written as a text; None where there is no such."""
    if isinstance(node.func, ast.Attribute) and node.func.attr in _LABELED:
        for each in node.keywords:
            if each.arg == "label" and isinstance(each.value, ast.Constant):
                return each.value.value if isinstance(each.value.value, str) else None
    return None


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
        names: What the code may call; `__set_NAME` assigns a param or state.
        labels: What orders are called, by number.
    """

    def __init__(
        self, own: str, methods: frozenset[str], names: Mapping[str, Any], labels: Sequence[str]
    ) -> None:
        self._labels = labels
        self._own = own
        self._methods = methods
        self._names = names
        self._values = 0

    def rewrite(self, definition: ast.FunctionDef) -> ast.FunctionDef:
        """`definition` rewritten, and without its docstring."""
        body = definition.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            definition.body = [*body[1:], ast.copy_location(ast.Pass(), body[0])]
        return self.visit(definition)

    # Only a strategy has attributes that can be assigned.

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        setters: list[ast.stmt] = []
        targets = [self._replace(each, setters) for each in node.targets]
        if len(targets) == 1 and isinstance(node.targets[0], ast.Attribute) and setters:
            return self._set(node.targets[0], node.value)
        return [ast.copy_location(ast.Assign(targets, node.value), node), *setters]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.target, ast.Attribute) and node.value is not None:
            return self._set(node.target, node.value)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.target, ast.Attribute):
            return node
        read = copy.deepcopy(node.target)
        read.ctx = ast.Load()
        value = ast.copy_location(ast.BinOp(read, node.op, node.value), node)
        return self._set(node.target, value)

    def _replace(self, target: ast.expr, setters: list[ast.stmt]) -> ast.expr:
        """`target` with names for its attributes, which `setters` assign afterwards."""
        match target:
            case ast.Attribute(attr=name) if f"__set_{name}" in self._names:
                self._values += 1
                place = ast.copy_location(ast.Name(f"__value_{self._values}", ast.Store()), target)
                value = ast.copy_location(ast.Name(place.id, ast.Load()), target)
                setters.append(self._set(target, value))
                return place
            case ast.Tuple() | ast.List():
                target.elts = [self._replace(each, setters) for each in target.elts]
                return target
            case _:
                return target

    def _set(self, target: ast.Attribute, value: ast.expr) -> ast.stmt:
        if f"__set_{target.attr}" not in self._names:
            return ast.copy_location(ast.Assign([target], value), target)
        call = _call(f"__set_{target.attr}", [target.value, value], target)
        return ast.copy_location(ast.Expr(call), target)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        label = _read_label(node)
        node.keywords = [each for each in node.keywords if each.arg != "label"]
        if label:
            number = ast.copy_location(ast.Constant(self._labels.index(label)), node)
            node.keywords.append(ast.keyword("label", number))
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(value=ast.Name(id=name), attr=method) if (
                name == self._own and method in self._methods
            ):
                node.func = ast.copy_location(ast.Name(f"__method_{method}", ast.Load()), node)
                node.args = [ast.copy_location(ast.Name(name, ast.Load()), node), *node.args]
                return node
            case ast.Attribute(value=ast.Name() as values, attr="sort"):
                return _call("__sort_by", [values, *self._sort_inputs(values, node)], node)
            case ast.Name(id="sorted"):
                values = _list_of(node.args[0], ast.Name("__each", ast.Load()))
                return _call("__sorted_by", [values, *self._sort_inputs(node.args[0], node)], node)
            case _:
                return node

    def _sort_inputs(self, values: ast.expr, node: ast.Call) -> list[ast.expr]:
        """The key of each value, as a list, and whether the order is reversed."""
        given = {each.arg: each.value for each in node.keywords}
        no = ast.copy_location(ast.Constant(False), node)
        key, made = given.get("key"), cast(ast.expr, ast.Name("__each", ast.Load()))
        if isinstance(key, ast.Lambda):
            keys = _list_of(values, key.body, key.args.args[0].arg)
        elif key is not None:
            keys = _list_of(values, self.visit(_call_of(key, made)))
        else:
            keys = _list_of(values, made)
        return [keys, given.get("reverse", no)]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """Numba knows `not` of numbers alone; which way to go it finds out for everything."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.Not):
            return node
        no, yes = ast.Constant(False), ast.Constant(True)
        return ast.copy_location(ast.IfExp(node.operand, no, yes), node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return _call("__no_order", [], node) if node.value == "" else node


def _call_of(function: ast.expr, value: ast.expr) -> ast.Call:
    return ast.copy_location(ast.Call(function, [value], []), function)


def _list_of(values: ast.expr, made: ast.expr, name: str = "__each") -> ast.expr:
    """`[made for name in values]`."""
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
