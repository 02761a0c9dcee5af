"""Vectors of float64 in compiled code: four blocks side by side.

The additions of a block wait for each other row by row, those of another block don't. So the same
row of four blocks that follow each other goes into one vector, a lane each. Every lane makes the
additions of its block in their order, so its bits are those of the block by itself. A compiler does
not find this by itself: it looks for rows that don't wait for each other, and there are none.

`+`, `-`, `*`, `/` and comparisons work lane by lane, between lanes or lanes and a number. LLVM
makes of a vector what the processor has: one register, or two, or four numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate
from numba.core.typing.templates import infer_global as _infer_global
from numba.extending import models, register_model

from onetape.features.kernels.memory import intrinsic

infer_global: Any = _infer_global

LANES = 4
"""Blocks side by side. Eight are no faster, and fight for the same lines of a cache."""

_FLOATS = ir.VectorType(ir.DoubleType(), LANES)
_BITS = ir.VectorType(ir.IntType(1), LANES)
_WORD = ir.IntType(32)
_NOTHING = ir.Constant(_FLOATS, ir.Undefined)


class LanesType(types.Type):
    """Numba type of `LANES` float64."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes({LANES})")


class MaskType(types.Type):
    """Numba type of what is true or false in each lane."""

    def __init__(self) -> None:
        super().__init__(name=f"Mask({LANES})")


LANES_TYPE = LanesType()
MASK_TYPE = MaskType()
_PAIRS = (
    (LANES_TYPE, LANES_TYPE),
    (LANES_TYPE, types.float64),
    (types.float64, LANES_TYPE),
)


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: LanesType) -> None:
        super().__init__(manager, kind, _FLOATS)


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: MaskType) -> None:
        super().__init__(manager, kind, _BITS)


def _spread(builder: Any, value: Any, kind: Any) -> Any:
    if kind == LANES_TYPE:
        return value
    first = builder.insert_element(_NOTHING, value, _WORD(0))
    same = ir.Constant(ir.VectorType(_WORD, LANES), [0] * LANES)
    return builder.shuffle_vector(first, _NOTHING, same)


def _spread_both(builder: Any, signature: Any, values: Any) -> list[Any]:
    return [_spread(builder, *each) for each in zip(values, signature.args[:2], strict=True)]


def _define(
    function: Callable[..., Any],
    result: types.Type,
    generate: Callable[[Any, Any, Any], Any],
    takes: tuple[tuple[types.Type, types.Type], ...] = _PAIRS,
) -> None:
    """Make an operator work lane by lane."""

    @infer_global(function)
    class _Typed(AbstractTemplate):  # pyright: ignore[reportUnusedClass]
        def generic(self, args: Any, kws: Any) -> Any:
            return result(*args) if args in takes else None

    def lower(_context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if takes is _PAIRS:
            values = _spread_both(builder, signature, values)
        return generate(builder, *values)

    for one, other in takes:
        lower_builtin(function, one, other)(lower)


def _compare(sign: str) -> Callable[[Any, Any, Any], Any]:
    return lambda builder, one, other: builder.fcmp_ordered(sign, one, other)


for _operator, _make in (
    (operator.add, ir.IRBuilder.fadd),
    (operator.iadd, ir.IRBuilder.fadd),
    (operator.sub, ir.IRBuilder.fsub),
    (operator.mul, ir.IRBuilder.fmul),
    (operator.truediv, ir.IRBuilder.fdiv),
):
    _define(_operator, LANES_TYPE, _make)
for _operator, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _define(_operator, MASK_TYPE, _compare(_sign))
for _operator, _make in (
    (operator.or_, ir.IRBuilder.or_),
    (operator.and_, ir.IRBuilder.and_),
    (operator.iand, ir.IRBuilder.and_),
):
    _define(_operator, MASK_TYPE, _make, ((MASK_TYPE, MASK_TYPE),))


@intrinsic
def spread(_typing: Any, number: Any) -> Any:  # noqa: ARG001
    """In compiled code: a float64 in every lane."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return _spread(builder, values[0], types.float64)

    return LANES_TYPE(types.float64), generate


def _list_places(builder: Any, data: Any, first: Any, step: Any) -> list[Any]:
    """The addresses of `LANES` items that are `step` apart."""
    word = ir.IntType(64)
    return [
        builder.gep(data, [builder.add(first, builder.mul(step, word(lane)))])
        for lane in range(LANES)
    ]


@intrinsic
def gather(_typing: Any, slots: Any, first: Any, step: Any) -> Any:  # noqa: ARG001
    """In compiled code: the items `first`, `first + step`, .. of slots, one in each lane."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        lanes = _NOTHING
        for lane, place in enumerate(_list_places(builder, *values)):
            lanes = builder.insert_element(lanes, builder.load(place), _WORD(lane))
        return lanes

    return LANES_TYPE(slots, types.int64, types.int64), generate


@intrinsic
def scatter(_typing: Any, slots: Any, first: Any, step: Any, lanes: Any) -> Any:  # noqa: ARG001
    """In compiled code: write the lanes where `gather` reads them."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        *where, lanes = values
        for lane, place in enumerate(_list_places(builder, *where)):
            builder.store(builder.extract_element(lanes, _WORD(lane)), place)
        return context.get_dummy_value()

    return types.none(slots, types.int64, types.int64, LANES_TYPE), generate


@intrinsic
def load_lanes(_typing: Any, slots: Any, first: Any) -> Any:  # noqa: ARG001
    """In compiled code: `LANES` items of slots from `first` on."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        place = builder.bitcast(builder.gep(values[0], [values[1]]), _FLOATS.as_pointer())
        return builder.load(place, align=8)

    return LANES_TYPE(slots, types.int64), generate


@intrinsic
def store_lanes(_typing: Any, slots: Any, first: Any, lanes: Any) -> Any:  # noqa: ARG001
    """In compiled code: write the lanes where `load_lanes` reads them."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        place = builder.bitcast(builder.gep(values[0], [values[1]]), _FLOATS.as_pointer())
        builder.store(values[2], place, align=8)
        return context.get_dummy_value()

    return types.none(slots, types.int64, LANES_TYPE), generate


def _call(name: str, count: int) -> Any:
    """What computes by LLVM's function of that name."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * count)
        full_name = f"llvm.{name}.v{LANES}f64"
        called = cgutils.get_or_insert_function(builder.module, kind, full_name)
        return builder.call(called, values)

    return LANES_TYPE(*[LANES_TYPE] * count), generate


@intrinsic
def multiply_add_lanes(_typing: Any, _one: Any, _other: Any, _more: Any) -> Any:
    """In compiled code: the product of two plus a third, rounded once."""
    return _call("fma", 3)


@intrinsic
def root(_typing: Any, _square: Any) -> Any:
    """In compiled code: the square root in each lane."""
    return _call("sqrt", 1)


@intrinsic
def negative(_typing: Any, _lanes: Any) -> Any:
    """In compiled code: the lanes with the other sign."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.fneg(values[0])

    return LANES_TYPE(LANES_TYPE), generate


@intrinsic
def size_of(_typing: Any, _lanes: Any) -> Any:
    """In compiled code: the absolute value in each lane."""
    return _call("fabs", 1)


@intrinsic
def choose(_typing: Any, mask: Any, one: Any, other: Any) -> Any:
    """In compiled code: `one` where the mask is true, `other` elsewhere; numbers or lanes."""

    def generate(_context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pairs = zip(values[1:], signature.args[1:], strict=True)
        return builder.select(values[0], *(_spread(builder, *each) for each in pairs))

    return LANES_TYPE(mask, one, other), generate


@intrinsic
def is_all(_typing: Any, mask: Any) -> Any:  # noqa: ARG001
    """In compiled code: whether the mask is true in every lane."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        kind = ir.IntType(LANES)
        return builder.icmp_unsigned("==", builder.bitcast(values[0], kind), kind(2**LANES - 1))

    return types.boolean(MASK_TYPE), generate
