"""Integer arithmetic that never wraps, for compiled code.

A Python int has no end; a compiled one has 64 bits and wraps. `rewrite_checked` turns everything in
a function's source that could leave int64 (sums, products, quotients, negation, `abs`, left shifts,
conversions to int) into a call of this module, which raises `OverflowError` instead. Floats pass
through to the same machine instruction.

Importing this module imports Numba: import it where it is used.
"""

# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic
from numba.extending import overload, register_jitable

intrinsic: Any = _intrinsic  # what it makes takes one argument less than it says

_LIMIT = 9_223_372_036_854_775_808.0


def _is_int(kind: Any) -> bool:
    return isinstance(kind, types.Integer | types.Boolean | types.IntEnumMember)


def _make_arithmetic(function: Callable[..., Any], name: str) -> Any:
    @intrinsic
    def checked(typing: Any, left: Any, right: Any) -> Any:
        if not (_is_int(left) and _is_int(right)):
            plain = typing.resolve_function_type(function, (left, right), {})
            if plain is None:
                return None

            def forward(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
                return context.get_function(function, plain)(builder, values)

            return plain, forward

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            word = ir.IntType(64)
            pair = ir.LiteralStructType([word, ir.IntType(1)])
            overflowing = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(pair, [word, word]),
                f"llvm.s{name}.with.overflow.i64",
            )
            result = builder.call(overflowing, values)
            with builder.if_then(builder.extract_value(result, 1), likely=False):
                context.call_conv.return_user_exc(
                    builder, OverflowError, ("a whole number leaves int64",)
                )
            return builder.extract_value(result, 0)

        return types.int64(types.int64, types.int64), generate

    return checked


checked_add = _make_arithmetic(operator.add, "add")
checked_sub = _make_arithmetic(operator.sub, "sub")
checked_mul = _make_arithmetic(operator.mul, "mul")


def checked_neg(value: Any) -> Any:
    """`-value`."""
    raise NotImplementedError("for compiled code only")


@overload(checked_neg, strict=False)
def _neg(value: Any) -> Any:
    if _is_int(value):
        return lambda value: checked_sub(0, value)
    return lambda value: -value


def checked_abs(value: Any) -> Any:
    """`abs(value)`."""
    raise NotImplementedError("for compiled code only")


@overload(checked_abs, strict=False)
def _abs(value: Any) -> Any:
    if _is_int(value):
        return lambda value: checked_sub(0, value) if value < 0 else value
    return lambda value: abs(value)


def checked_quotient(left: Any, right: Any) -> Any:
    """`left // right`, toward minus infinity."""
    raise NotImplementedError("for compiled code only")


@overload(checked_quotient, strict=False)
def _quotient(left: Any, right: Any) -> Any:
    if not (_is_int(left) and _is_int(right)):
        return lambda left, right: left // right

    def divide(left: Any, right: Any) -> Any:
        if right == -1:
            return checked_sub(0, left)
        return left // right

    return divide


def checked_shift(value: Any, count: Any) -> Any:
    """`value << count` for a count of 0 to 62."""
    raise NotImplementedError("for compiled code only")


@overload(checked_shift, strict=False)
def _shift(value: Any, count: Any) -> Any:
    if not (_is_int(value) and _is_int(count)):
        return None

    def shift(value: Any, count: Any) -> Any:
        if count < 0 or count > 62:
            raise OverflowError("a shift by less than 0 or more than 62 bits")
        return checked_mul(value, 1 << count)

    return shift


@register_jitable
def _to_word(value: Any) -> Any:
    if not -_LIMIT <= value < _LIMIT:
        raise OverflowError("a number has no int64 value")
    return int(value)


def checked_int(value: Any) -> Any:
    """`int(value)`, toward zero."""
    raise NotImplementedError("for compiled code only")


@overload(checked_int, strict=False)
def _int(value: Any) -> Any:
    if _is_int(value):
        return lambda value: int(value)
    if isinstance(value, types.Float):
        return lambda value: _to_word(value)
    return None


def checked_floor(value: Any) -> Any:
    """`math.floor(value)`."""
    raise NotImplementedError("for compiled code only")


@intrinsic
def _round_down(typing: Any, value: Any) -> Any:
    return _float_intrinsic("floor")


@intrinsic
def _round_up(typing: Any, value: Any) -> Any:
    return _float_intrinsic("ceil")


@intrinsic
def _round_even(typing: Any, value: Any) -> Any:
    return _float_intrinsic("rint")


def _float_intrinsic(name: str) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        double = ir.DoubleType()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(double, [double]), f"llvm.{name}.f64"
        )
        return builder.call(function, values)

    return types.float64(types.float64), generate


@overload(checked_floor, strict=False)
def _floor(value: Any) -> Any:
    if _is_int(value):
        return lambda value: int(value)
    if isinstance(value, types.Float):
        return lambda value: _to_word(_round_down(value))
    return None


def checked_ceil(value: Any) -> Any:
    """`math.ceil(value)`."""
    raise NotImplementedError("for compiled code only")


@overload(checked_ceil, strict=False)
def _ceil(value: Any) -> Any:
    if _is_int(value):
        return lambda value: int(value)
    if isinstance(value, types.Float):
        return lambda value: _to_word(_round_up(value))
    return None


def checked_sqrt(value: Any) -> Any:
    """`math.sqrt(value)`; raises for a negative number, as Python does."""
    raise NotImplementedError("for compiled code only")


@overload(checked_sqrt, strict=False)
def _sqrt(value: Any) -> Any:
    def root(value: Any) -> Any:
        if value < 0:
            raise ValueError("math domain error")
        return math.sqrt(value)

    return root if isinstance(value, types.Float | types.Integer) else None


def checked_round(value: Any, digits: Any = None) -> Any:
    """`round(value)` or `round(value, digits)` with 0 to 22 digits, halves to even."""
    raise NotImplementedError("for compiled code only")


@overload(checked_round, strict=False)
def _round(value: Any, digits: Any = None) -> Any:
    if _is_int(value):
        return (lambda value, digits=None: int(value)) if _is_nothing(digits) else None
    if not isinstance(value, types.Float):
        return None
    if _is_nothing(digits):
        return lambda value, digits=None: _to_word(_round_even(value))
    return lambda value, digits=None: round_decimal(value, digits)


def _is_nothing(kind: Any) -> bool:
    return kind is None or isinstance(kind, types.NoneType | types.Omitted)


@register_jitable
def round_count(value: Any, digits: Any) -> int:
    """The whole number nearest to `value * 10**digits`, halves to even, for 0 to 22 digits.

    The product is taken with its rounding error (Dekker 1971), so the choice is exact.
    """
    if not 0 <= digits <= 22:
        raise OverflowError("compiled code rounds to 0 to 22 digits")
    power = 1.0
    for _ in range(digits):
        power *= 10.0
    product = value * power
    if not abs(product) < 2.0**53:
        raise OverflowError("compiled code rounds numbers of up to 15 digits")
    split = 134_217_729.0
    big = value * split
    value_high = big - (big - value)
    value_low = value - value_high
    big = power * split
    power_high = big - (big - power)
    power_low = power - power_high
    error = value_low * power_low - (
        ((product - value_high * power_high) - value_low * power_high) - value_high * power_low
    )
    below = int(math.floor(product))
    part = (product - below) - 0.5
    if part + error > 0.0 or (part + error == 0.0 and below % 2 != 0):
        below += 1
    elif part == -0.5 and error == -0.5 and below % 2 != 0:
        below -= 1
    return below


@register_jitable
def round_decimal(value: Any, digits: Any) -> float:
    """`round(value, digits)`: the quotient of two exact numbers is the correctly rounded one."""
    if not math.isfinite(value):
        return value
    power = 1.0
    for _ in range(digits):
        power *= 10.0
    return math.copysign(round_count(value, digits) / power, value)


_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "checked_add",
    ast.Sub: "checked_sub",
    ast.Mult: "checked_mul",
    ast.FloorDiv: "checked_quotient",
    ast.LShift: "checked_shift",
}
_BUILTINS = {"abs": "checked_abs", "int": "checked_int", "round": "checked_round"}
_MATH = {"floor": "checked_floor", "ceil": "checked_ceil", "sqrt": "checked_sqrt"}

NAMES: dict[str, Any] = {
    "__checked_abs": checked_abs,
    "__checked_add": checked_add,
    "__checked_ceil": checked_ceil,
    "__checked_floor": checked_floor,
    "__checked_int": checked_int,
    "__checked_mul": checked_mul,
    "__checked_neg": checked_neg,
    "__checked_quotient": checked_quotient,
    "__checked_round": checked_round,
    "__checked_shift": checked_shift,
    "__checked_sqrt": checked_sqrt,
    "__checked_sub": checked_sub,
}
"""What rewritten code calls, by the names it uses."""


class _Rewriter(ast.NodeTransformer):
    """Replaces arithmetic by calls of this module."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        name = _OPERATORS.get(type(node.op))
        return node if name is None else _call(name, [node.left, node.right], node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        name = _OPERATORS.get(type(node.op))
        if name is None:
            return node
        read: Any = ast.parse(ast.unparse(node.target), mode="eval").body
        read = self.visit(read)
        value = _call(name, [read, node.value], node)
        return ast.copy_location(ast.Assign([node.target], value), node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
            return _call("checked_neg", [node.operand], node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node.func:
            case ast.Name(id=name) if name in _BUILTINS:
                node.func = _name(_BUILTINS[name], node)
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if name in _MATH:
                node.func = _name(_MATH[name], node)
            case _:
                pass
        return node


def _name(name: str, node: ast.expr | ast.stmt) -> ast.Name:
    return ast.copy_location(ast.Name(f"__{name}", ast.Load()), node)


def _call(name: str, arguments: list[ast.expr], node: ast.expr | ast.stmt) -> ast.Call:
    return ast.copy_location(ast.Call(_name(name, node), arguments, []), node)


def rewrite_checked(definition: ast.FunctionDef) -> ast.FunctionDef:
    """`definition` with checked arithmetic, and without decorators, annotations and docstring."""
    definition.decorator_list = []
    definition.returns = None
    arguments = definition.args
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        argument.annotation = None
    for node in ast.walk(definition):
        for field in ("body", "orelse"):
            statements = getattr(node, field, None)
            if isinstance(statements, list):
                setattr(node, field, [_plain_assignment(each) for each in statements])
    return ast.fix_missing_locations(_Rewriter().visit(definition))


def _plain_assignment(statement: Any) -> Any:
    """An annotated assignment without its annotation, which would look names up."""
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return ast.copy_location(ast.Assign([statement.target], statement.value), statement)
    return statement
