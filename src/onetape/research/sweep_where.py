"""`--where`: a condition on the params of a set, such as `fast < slow / 2 and slow <= 200`.

The text is parsed into a tree, and only the nodes below become functions; nothing is evaluated by
Python itself. Known are names of params, numbers, `+ - * / // %`, comparisons (also chained),
`and`, `or`, `not` and brackets.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from onetape.domain.errors import ConfigError
from onetape.domain.nearest import nearest

Values = Mapping[str, Any]
Node = tuple[str, Callable[[Values], Any]]
"""Kind of the result (`number` or `condition`), and what computes it."""

MAX_LENGTH = 500

_ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_SIGNS: dict[type[ast.AST], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_REMEDY = "use names of params, numbers, + - * / // %, comparisons, and, or, not"


class Condition:
    """A condition on the params of a set.

    Args:
        text: As the user wrote it.
        kinds: Type name (`int`, `float`, `bool`, `str`) of every param of the strategy.

    Raises:
        ConfigError: Not an expression of the language above, or an unknown param.
    """

    def __init__(self, text: str, kinds: Mapping[str, str]) -> None:
        self.text = text
        self._kinds = kinds
        if len(text) > MAX_LENGTH:
            raise ConfigError(f"--where has {len(text)} characters, more than {MAX_LENGTH}")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ConfigError(f"--where {text!r} is not an expression", remedy=_REMEDY) from None
        self._holds = self._build(tree, "condition")

    def holds(self, values: Values) -> bool:
        """Whether the condition holds for a set.

        Raises:
            ConfigError: It can't be computed: a division by zero, a number beyond float64.
        """
        try:
            return self._holds(values)
        except ArithmeticError as error:
            told = ", ".join(f"{name}={value}" for name, value in values.items())
            raise ConfigError(
                f"--where {self.text!r} can't be computed for {told}: {error}",
                remedy="leave such sets out first, as in `slow > 0 and 10 / slow < 1`",
            ) from None

    def _build(self, node: ast.expr, wanted: str) -> Callable[[Values], Any]:
        kind, compute = self._compile(node)
        if kind != wanted:
            raise self._refusal(node, f"is a {kind} where a {wanted} is needed")
        return compute

    def _compile(self, node: ast.expr) -> Node:
        match node:
            case ast.Constant(value=value) if type(value) in (int, float):
                return "number", lambda _: value
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return "number", _binary(
                    _ARITHMETIC[type(op)],
                    self._build(left, "number"),
                    self._build(right, "number"),
                )
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._build(operand, "condition")
                return "condition", lambda values: not inner(values)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
                sign, inner = _SIGNS[type(op)], self._build(operand, "number")
                return "number", lambda values: sign(inner(values))
            case ast.BoolOp(op=op, values=operands):
                parts = [self._build(each, "condition") for each in operands]
                join = all if isinstance(op, ast.And) else any
                return "condition", lambda values: join(part(values) for part in parts)
            case ast.Compare():
                return "condition", self._compare(node)
            case _:
                raise self._refusal(node, "is not allowed")

    def _name(self, node: ast.expr, name: str) -> Node:
        kind = self._kinds.get(name)
        if kind is None:
            raise ConfigError(f"--where {self.text!r} names {name!r}, which is no param",
                              remedy=nearest(name, self._kinds))  # fmt: skip
        if kind == "str":
            raise self._refusal(node, "is text, which has no order")
        return "condition" if kind == "bool" else "number", lambda values: values[name]

    def _compare(self, node: ast.Compare) -> Callable[[Values], bool]:
        sides = [self._build(each, "number") for each in (node.left, *node.comparators)]
        if not all(type(op) in _COMPARISONS for op in node.ops):
            raise self._refusal(node, "is not allowed")
        signs = [_COMPARISONS[type(op)] for op in node.ops]
        if len(signs) == 1:  # nearly always, and it is asked a million times
            return _binary(signs[0], *sides)
        steps = list(zip(signs, sides, sides[1:], strict=False))
        return lambda values: all(sign(a(values), b(values)) for sign, a, b in steps)

    def _refusal(self, node: ast.expr, what: str) -> ConfigError:
        part = ast.get_source_segment(self.text.strip(), node) or self.text
        return ConfigError(f"--where {self.text!r}: {part!r} {what}", remedy=_REMEDY)


def _binary(
    operate: Callable[[Any, Any], Any],
    left: Callable[[Values], Any],
    right: Callable[[Values], Any],
) -> Callable[[Values], Any]:
    return lambda values: operate(left(values), right(values))
