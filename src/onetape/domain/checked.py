"""Integer arithmetic that never wraps, for compiled code.

A Python int has no end; a compiled one has 64 bits and wraps. `rewrite_checked` turns everything in
a function's source that could leave int64 (sums, products, quotients, negation, `abs`, shifts,
conversions to int) into a call of this module, which raises `OverflowError` instead. Floats pass
through to the same machine instruction.

Above 2**53 a float64 no longer holds every whole number. Python still divides such numbers
correctly, and compares them with floats as they are; with `exact=True` rewritten code does too.

Importing this module imports Numba: import it where it is used.
"""

# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import ast
import copy
import math
import operator
import sys
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic
from numba.extending import overload, register_jitable

intrinsic: Any = _intrinsic  # what it makes takes one argument less than it says

_LIMIT = 9_223_372_036_854_775_808.0
_EXACT = 9_007_199_254_740_992
_COMPENSATES = sys.version_info >= (3, 12)
"""Whether Python's `sum` of floats keeps what rounding loses (Neumaier 1974)."""


def _is_int(kind: Any) -> bool:
    return isinstance(kind, types.Integer | types.Boolean | types.IntEnumMember)


@intrinsic
def _word(_typing: Any, value: Any) -> Any:
    """A bool or a member of an `IntEnum` as a whole number."""
    if not _is_int(value):
        return None
    return types.int64(types.int64), lambda _context, _builder, _signature, values: values[0]


def _forward(typing: Any, function: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """Signature and code of a call of `function`; None when these types have none."""
    is_member = [isinstance(each, types.IntEnumMember) for each in inputs]
    words = tuple(
        types.int64 if member else types.unliteral(each)
        for each, member in zip(inputs, is_member, strict=True)
    )
    kind = typing.resolve_value_type(function)
    plain = kind.get_call_type(typing, words if any(is_member) else inputs, {})
    if plain is None:
        return None

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        if any(is_member):  # the value of a member is its number
            wanted = zip(values, words, plain.args, strict=True)
            values = [context.cast(builder, *each) for each in wanted]
        return context.get_function(kind, plain)(builder, values)

    # Under types of its own: Numba keeps the code of an intrinsic by those of its signature.
    kinds = tuple(types.unliteral(each) for each in inputs)
    return plain.return_type(*kinds) if any(is_member) else plain, generate


def _make_arithmetic(function: Callable[..., Any], name: str) -> Any:
    @intrinsic
    def checked(typing: Any, left: Any, right: Any) -> Any:
        if not (_is_int(left) and _is_int(right)):
            return _forward(typing, function, (left, right))

        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
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
checked_iadd = _make_arithmetic(operator.iadd, "add")
checked_isub = _make_arithmetic(operator.isub, "sub")
checked_imul = _make_arithmetic(operator.imul, "mul")


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
        return lambda value: checked_sub(0, value) if _word(value) < 0 else _word(value)
    return lambda value: abs(value)


def checked_quotient(left: Any, right: Any) -> Any:
    """`left // right`, toward minus infinity."""
    raise NotImplementedError("for compiled code only")


@overload(checked_quotient, strict=False)
def _quotient(left: Any, right: Any) -> Any:
    if not (_is_int(left) and _is_int(right)):
        return lambda left, right: left // right

    def divide(left: Any, right: Any) -> Any:
        if _word(right) == -1:
            return checked_sub(0, left)
        return _word(left) // _word(right)

    return divide


def checked_shift(value: Any, count: Any) -> Any:
    """`value << count` for a count of 0 to 62."""
    raise NotImplementedError("for compiled code only")


@overload(checked_shift, strict=False)
def _shift(value: Any, count: Any) -> Any:
    if not (_is_int(value) and _is_int(count)):
        return None

    def shift(value: Any, count: Any) -> Any:
        count = _word(count)
        if count < 0 or count > 62:
            raise OverflowError("a shift by less than 0 or more than 62 bits")
        return checked_mul(value, 1 << count)

    return shift


def checked_shift_right(value: Any, count: Any) -> Any:
    """`value >> count`."""
    raise NotImplementedError("for compiled code only")


@overload(checked_shift_right, strict=False)
def _shift_right(value: Any, count: Any) -> Any:
    if not (_is_int(value) and _is_int(count)):
        return None

    def shift(value: Any, count: Any) -> Any:
        count = _word(count)
        if count < 0:
            raise ValueError("negative shift count")
        return _word(value) >> min(count, 63)

    return shift


def checked_divide(left: Any, right: Any) -> Any:
    """`left / right`; of whole numbers the float64 nearest to the quotient."""
    raise NotImplementedError("for compiled code only")


@overload(checked_divide, strict=False)
def _divide(left: Any, right: Any) -> Any:
    if not (_is_int(left) and _is_int(right)):
        return lambda left, right: left / right

    def divide(left: Any, right: Any) -> Any:
        left = _word(left)
        right = _word(right)
        if -_EXACT <= left <= _EXACT and -_EXACT <= right <= _EXACT:
            return left / right
        return divide_wide(left, right)

    return divide


@register_jitable
def divide_wide(left: Any, right: Any) -> float:
    """The float64 nearest to a quotient of whole numbers: long division to more than 54 bits.

    The last bit says whether anything is left, so the rounding to float64 is right.
    """
    if right == 0:
        raise ZeroDivisionError("division by zero")
    size = checked_abs(right)
    whole = checked_abs(left) // size
    rest = checked_abs(left) - whole * size
    scale = 1.0
    while rest > 0 and whole < 2 * _EXACT:
        bit = 1 if rest >= size - rest else 0
        rest = rest - (size - rest) if bit else rest + rest
        whole = 2 * whole + bit
        scale *= 0.5
    quotient = float(whole | (1 if rest > 0 else 0)) * scale
    return quotient if (left < 0) == (right < 0) else -quotient


def _make_comparison(function: Callable[..., Any]) -> Any:
    """A comparison that tells a whole number from the float64 nearest to it."""

    def mixed(left: Any, right: Any) -> Any:
        raise NotImplementedError("for compiled code only")

    @overload(mixed, strict=False)
    def find(left: Any, right: Any) -> Any:  # pyright: ignore[reportUnusedFunction]
        def compare_to_float(left: Any, right: Any) -> Any:
            near = float(left)
            if near != right:
                return function(near, right)
            return function(left, int(right)) if near < _LIMIT else function(0, 1)

        def compare_float(left: Any, right: Any) -> Any:
            near = float(right)
            if left != near:
                return function(left, near)
            return function(int(left), right) if near < _LIMIT else function(1, 0)

        return compare_to_float if isinstance(right, types.Float) else compare_float

    @intrinsic
    def checked(typing: Any, left: Any, right: Any) -> Any:
        kinds = {isinstance(each, types.Integer) for each in (left, right)}
        is_mixed = len(kinds) == 2 and any(isinstance(each, types.Float) for each in (left, right))
        return _forward(typing, mixed if is_mixed else function, (left, right))

    return checked


checked_eq = _make_comparison(operator.eq)
checked_ne = _make_comparison(operator.ne)
checked_lt = _make_comparison(operator.lt)
checked_le = _make_comparison(operator.le)
checked_gt = _make_comparison(operator.gt)
checked_ge = _make_comparison(operator.ge)


def checked_sum(values: Any, start: Any = 0) -> Any:
    """`sum(values, start)`, as this version of Python adds."""
    raise NotImplementedError("for compiled code only")


@overload(checked_sum, strict=False)
def _sum(values: Any, start: Any = 0) -> Any:
    if _COMPENSATES and isinstance(getattr(values, "dtype", None), types.Float):
        return lambda values, start=0: sum_compensated(values, start)

    def add(values: Any, start: Any = 0) -> Any:
        total = start
        for each in values:
            total = checked_add(total, each)
        return total

    return add


@register_jitable
def sum_compensated(values: Any, start: Any) -> float:
    """The sum of floats as Python adds from 3.12 on: what rounding loses is kept and added last."""
    total = float(start)
    lost = 0.0
    for each in values:
        near = total + each
        lost += (total - near) + each if abs(total) >= abs(each) else (each - near) + total
        total = near
    return total + lost if lost != 0.0 and math.isfinite(lost) else total


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
    size = abs(value)  # of a positive number the fraction is exact
    product = size * power
    if not product < 2.0**53:
        raise OverflowError("compiled code rounds numbers of up to 15 digits")
    split = 134_217_729.0
    big = size * split
    value_high = big - (big - size)
    value_low = size - value_high
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
    return below if value > 0.0 else -below


@register_jitable
def round_decimal(value: Any, digits: Any) -> float:
    """`round(value, digits)`: the quotient of two exact numbers is the correctly rounded one."""
    if not math.isfinite(value):
        return value
    power = 1.0
    for _ in range(digits):
        power *= 10.0
    return math.copysign(round_count(value, digits) / power, value)


_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "checked_add",
    ast.Sub: "checked_sub",
    ast.Mult: "checked_mul",
    ast.FloorDiv: "checked_quotient",
    ast.LShift: "checked_shift",
    ast.RShift: "checked_shift_right",
}
_IN_PLACE: dict[type[ast.AST], str] = {
    ast.Add: "checked_iadd",
    ast.Sub: "checked_isub",
    ast.Mult: "checked_imul",
}
_EXACT_OPERATORS: dict[type[ast.AST], str] = {
    ast.Div: "checked_divide",
    ast.Eq: "checked_eq",
    ast.NotEq: "checked_ne",
    ast.Lt: "checked_lt",
    ast.LtE: "checked_le",
    ast.Gt: "checked_gt",
    ast.GtE: "checked_ge",
}
_BUILTINS = {
    "abs": "checked_abs",
    "int": "checked_int",
    "round": "checked_round",
    "sum": "checked_sum",
}
_MATH = {"floor": "checked_floor", "ceil": "checked_ceil", "sqrt": "checked_sqrt"}

NAMES: dict[str, Any] = {
    f"__{name}": globals()[name]
    for table in (_OPERATORS, _IN_PLACE, _EXACT_OPERATORS, _BUILTINS, _MATH, {"": "checked_neg"})
    for name in table.values()
}
"""What rewritten code calls, by the names it uses."""


class _Rewriter(ast.NodeTransformer):
    """Replaces arithmetic by calls of this module."""

    def __init__(self, *, exact: bool) -> None:
        self._operators = _OPERATORS | _EXACT_OPERATORS if exact else _OPERATORS

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        name = self._operators.get(type(node.op))
        return node if name is None else _call(name, [node.left, node.right], node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Parts of a chain that are no plain names are left alone: they are computed once."""
        names = [self._operators.get(type(each)) for each in node.ops]
        between = node.comparators[:-1]
        parts = [node.left, *node.comparators]
        self.generic_visit(node)
        if None in names or not all(isinstance(each, ast.Name | ast.Constant) for each in between):
            return node
        parts = [node.left, *node.comparators]
        calls: list[ast.expr] = [
            _call(str(name), [left, copy.deepcopy(right)], node)
            for name, left, right in zip(names, parts, parts[1:], strict=False)
        ]
        if len(calls) == 1:
            return calls[0]
        return ast.copy_location(ast.BoolOp(ast.And(), calls), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        name = _IN_PLACE.get(type(node.op)) or self._operators.get(type(node.op))
        before: list[ast.stmt] = []
        target = node.target
        if name is not None and isinstance(target, ast.Subscript):
            for part in ("value", "slice"):
                self._compute_once(target, part, before)
        self.generic_visit(node)
        if name is None:
            return node
        read = copy.deepcopy(target)
        read.ctx = ast.Load()
        call = _call(name, [read, node.value], node)
        return [*before, ast.copy_location(ast.Assign([target], call), node)]

    def _compute_once(self, target: ast.Subscript, part: str, before: list[ast.stmt]) -> None:
        """Give a part of a target that calls something a name: it is read and written."""
        value = getattr(target, part)
        if any(isinstance(each, ast.Call) for each in ast.walk(value)):
            name = f"__{part}_{target.lineno}_{target.col_offset}"
            place = ast.copy_location(ast.Name(name, ast.Store()), value)
            before.append(ast.copy_location(ast.Assign([place], self.visit(value)), value))
            setattr(target, part, ast.copy_location(ast.Name(name, ast.Load()), value))

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


def rewrite_checked(definition: ast.FunctionDef, *, exact: bool = False) -> ast.FunctionDef:
    """`definition` with checked arithmetic, and without decorators, annotations and docstring.

    Args:
        definition: Is changed.
        exact: Whether whole numbers beyond 2**53 are divided, and compared with floats, as Python
            does it; otherwise as float64, which is how NumPy does it.
    """
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
    return ast.fix_missing_locations(_Rewriter(exact=exact).visit(definition))


def _plain_assignment(statement: Any) -> Any:
    """An annotated assignment without its annotation, which would look names up."""
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return ast.copy_location(ast.Assign([statement.target], statement.value), statement)
    return statement
