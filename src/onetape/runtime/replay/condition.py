"""Conditions over named values: `close > 100 and features.fast < features.slow`.

| may stand in it | how                                                                           |
| --------------- | ----------------------------------------------------------------------------- |
| names           | `close`, `features.fast`, `close["AAPL.XNAS"]`, as the vocabulary has them    |
| constants       | numbers, text in quotes, True, False                                          |
| arithmetic      | `+ - * / // %` of numbers; what is not defined (a division by 0) is NaN       |
| comparison      | `== != < <= > >=` also chained; `in`, `not in` for text in text or in a list  |
| logic           | `and`, `or`, `not`                                                            |

The text is parsed, never executed: whatever else Python can say is refused. Every part has a kind
that is known before anything is looked at, so a condition that was taken never fails. A comparison
with NaN is false, but for `!=`.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import from_iso

P = TypeVar("P")

LENGTH_MAX = 1000
_DEPTH_MAX = 60


class Kind(Enum):
    """What a part of a condition is."""

    NUMBER = "a number"
    TEXT = "text"
    TIME = "a time"
    TRUTH = "true or false"


class Term(msgspec.Struct, Generic[P], frozen=True):
    """A name of a vocabulary: its kind, and how it is read at a place.

    A time is int ns UTC. `choices` are the only texts that it can be; none: any.
    """

    kind: Kind
    read: Callable[[P], Any]
    choices: tuple[str, ...] = ()


Vocabulary = Mapping[str, Term[P]]
"""Terms by name, written `close`, `features.fast` or `close[AAPL.XNAS]`."""


class Condition(msgspec.Struct, Generic[P], frozen=True):
    """A condition that was understood: its text, the names in it, and its test."""

    text: str
    names: frozenset[str]
    holds: Callable[[P], bool]


class _Part(msgspec.Struct, Generic[P], frozen=True):
    kind: Kind
    read: Callable[[P], Any]
    choices: tuple[str, ...] = ()
    constant: Any = None


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_EQUAL: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_WITHIN: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
}


def compile_condition(text: str, vocabulary: Vocabulary[P]) -> Condition[P]:
    """The condition that `text` states.

    Raises:
        ConfigError: It is no condition of the language above, or names what is not there (the
            nearest name is told).
    """
    if len(text) > LENGTH_MAX:
        raise ConfigError(f"a condition has {len(text)} characters, and {LENGTH_MAX} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the text, such as an unknown escape
            root = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"{text!r} is no condition: {reason}",
                          remedy="write it like close > 100") from None  # fmt: skip
    if _depth(root) > _DEPTH_MAX:
        raise ConfigError(f"the condition is nested more than {_DEPTH_MAX} deep")
    compiler = _Compiler(vocabulary)
    part = compiler.compile(root)
    if part.kind is not Kind.TRUTH:
        raise ConfigError(
            f"{text!r} is {part.kind.value}, not true or false",
            remedy="compare it with something, like close > 100",
        )
    return Condition(text.strip(), frozenset(compiler.names), part.read)


class _Compiler(Generic[P]):
    def __init__(self, vocabulary: Vocabulary[P]) -> None:
        self._vocabulary = vocabulary
        self.names: set[str] = set()

    def compile(self, node: ast.expr) -> _Part[P]:
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._name(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.BoolOp():
                return self._logic(node)
            case ast.Compare():
                return self._comparison(node)
            case _:
                raise _refused(node)

    def _constant(self, node: ast.Constant) -> _Part[P]:
        value = node.value
        match value:
            case bool():
                kind = Kind.TRUTH
            case int() | float():
                kind = Kind.NUMBER
            case str():
                kind = Kind.TEXT
            case _:
                raise _refused(node)
        return _Part(kind, lambda _: value, constant=value)

    def _name(self, node: ast.expr) -> _Part[P]:
        name = _spell(node)
        term = self._vocabulary.get(name)
        if term is None:
            raise ConfigError(f"there is no name {_show(name)}",
                              remedy=_show(nearest(name, self._vocabulary)))  # fmt: skip
        self.names.add(name)
        return _Part(term.kind, term.read, term.choices)

    def _unary(self, node: ast.UnaryOp) -> _Part[P]:
        part = self.compile(node.operand)
        read = part.read
        match node.op:
            case ast.Not():
                _need(part, Kind.TRUTH, node.operand)
                return _Part(Kind.TRUTH, lambda place: not read(place))
            case ast.USub():
                _need(part, Kind.NUMBER, node.operand)
                return _Part(Kind.NUMBER, lambda place: -read(place))
            case ast.UAdd():
                return _need(part, Kind.NUMBER, node.operand)
            case _:
                raise _refused(node)

    def _arithmetic(self, node: ast.BinOp) -> _Part[P]:
        compute = _ARITHMETIC.get(type(node.op))
        if compute is None:
            raise _refused(node)
        left = _need(self.compile(node.left), Kind.NUMBER, node.left).read
        right = _need(self.compile(node.right), Kind.NUMBER, node.right).read

        def read(place: P) -> Any:
            try:
                return compute(left(place), right(place))
            except ArithmeticError:
                return float("nan")

        return _Part(Kind.NUMBER, read)

    def _logic(self, node: ast.BoolOp) -> _Part[P]:
        parts = [_need(self.compile(each), Kind.TRUTH, each).read for each in node.values]
        if isinstance(node.op, ast.And):
            return _Part(Kind.TRUTH, lambda place: all(read(place) for read in parts))
        return _Part(Kind.TRUTH, lambda place: any(read(place) for read in parts))

    def _comparison(self, node: ast.Compare) -> _Part[P]:
        tests: list[Callable[[P], bool]] = []
        left = self.compile(node.left)
        for sign, right_node in zip(node.ops, node.comparators, strict=True):
            if type(sign) in _WITHIN and isinstance(right_node, ast.Tuple | ast.List):
                listed = [self.compile(each) for each in right_node.elts]
                tests.append(_is_listed(left, listed, _WITHIN[type(sign)], node))
                if right_node is not node.comparators[-1]:
                    raise _refused(right_node)
                break
            right = self.compile(right_node)
            tests.append(_compare(left, sign, right, node))
            left = right
        if len(tests) == 1:
            return _Part(Kind.TRUTH, tests[0])
        return _Part(Kind.TRUTH, lambda place: all(holds(place) for holds in tests))


def _compare(
    left: _Part[P], sign: ast.cmpop, right: _Part[P], node: ast.expr
) -> Callable[[P], bool]:
    """The test of one comparison."""
    left, right = _as_time(left, right), _as_time(right, left)
    if left.kind is not right.kind:
        raise ConfigError(
            f"{_text(node)} compares {left.kind.value} with {right.kind.value}",
            remedy="text stands in quotes, numbers don't",
        )
    kind = left.kind
    test = _EQUAL.get(type(sign))
    if kind in (Kind.NUMBER, Kind.TIME):
        test = test or _ORDER.get(type(sign))
    elif kind is Kind.TEXT:
        test = test or _WITHIN.get(type(sign))
    if test is None:
        raise ConfigError(f"{_text(node)}: {kind.value} can't be compared like that",
                          remedy="use ==, != or `in` for text")  # fmt: skip
    if type(sign) in _EQUAL:
        _check_choice(left, right)
        _check_choice(right, left)
    one, other = left.read, right.read
    return lambda place: test(one(place), other(place))


def _is_listed(
    left: _Part[P], listed: list[_Part[P]], test: Callable[[Any, Any], bool], node: ast.expr
) -> Callable[[P], bool]:
    """The test of `left in (a, b)`."""
    for each in listed:
        if each.constant is None or each.kind is not left.kind:
            raise ConfigError(f"{_text(node)}: the list must hold constants that are "
                              f"{left.kind.value}")  # fmt: skip
        _check_choice(left, each)
    values = [each.constant for each in listed]
    one = left.read
    return lambda place: test(one(place), values)


def _as_time(part: _Part[P], other: _Part[P]) -> _Part[P]:
    """A constant text as a time, where it is compared with one."""
    if other.kind is not Kind.TIME or part.kind is not Kind.TEXT or part.constant is None:
        return part
    ts = from_iso(part.constant, "the time", error=ConfigError)
    return _Part(Kind.TIME, lambda _: ts, constant=ts)


def _check_choice(part: _Part[P], other: _Part[P]) -> None:
    """Refuse a constant that the name beside it can never be."""
    value = other.constant
    if part.choices and isinstance(value, str) and value not in part.choices:
        raise ConfigError(f"nothing here is called {value!r}",
                          remedy=nearest(value, part.choices))  # fmt: skip


def _need(part: _Part[P], kind: Kind, node: ast.expr) -> _Part[P]:
    if part.kind is not kind:
        raise ConfigError(f"{_text(node)} is {part.kind.value}, and {kind.value} is needed here")
    return part


def _spell(node: ast.expr) -> str:
    """A name as the vocabulary writes it."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{_spell(node.value)}.{node.attr}"
        case ast.Subscript(slice=ast.Constant(value=str() as key)):
            return f"{_spell(node.value)}[{key}]"
        case _:
            raise _refused(node)


def _show(name: str) -> str:
    """A name as people write it."""
    return name.replace("[", '["').replace("]", '"]')


def _refused(node: ast.expr) -> ConfigError:
    return ConfigError(
        f"a condition can't hold {_text(node)}",
        remedy="it takes names, constants, + - * / // %, comparisons, and, or, not",
    )


def _depth(root: ast.expr) -> int:
    """How deep the tree is, found without recursion."""
    depth, level = 0, list[ast.AST]([root])
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _text(node: ast.expr) -> str:
    return ast.unparse(node)
