"""How compiled code writes bytes: some at a time, past the end of what is asked for.

Whoever calls has `SLACK` bytes behind the last one of each column, read or written; what is written
past the end is overwritten by what comes next.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic  # what it makes takes one argument less than it says

SLACK = 16
"""Bytes that are moved at a time."""

_WORD = ir.IntType(64)


def _is_bytes(column: Any) -> bool:
    return getattr(column, "dtype", None) == types.uint8


def _point(builder: Any, column: Any, place: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(column, [place]), kind.as_pointer())


@intrinsic
def copy_slack(_typing: Any, out: Any, _at: Any, source: Any, _start: Any) -> Any:
    """`SLACK` bytes of `source` from its place, to a place of `out`."""
    if not (_is_bytes(out) and _is_bytes(source)):
        return None
    block = ir.VectorType(ir.IntType(8), SLACK)

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        to, place, data, first = values
        found = builder.load(_point(builder, data, first, block), align=1)
        builder.store(found, _point(builder, to, place, block), align=1)
        return context.get_dummy_value()

    return types.none(out, types.int64, source, types.int64), generate


@intrinsic
def put_big_endian(_typing: Any, out: Any, _at: Any, _value: Any, _size: Any) -> Any:
    """The lowest bytes of a number (1 to 8 of them) to a place of `out`, the highest first."""
    if not _is_bytes(out):
        return None

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        to, place, number, count = values
        bits = builder.shl(builder.sub(_WORD(8), count), _WORD(3))
        turned = builder.bswap(builder.shl(number, bits))
        builder.store(turned, _point(builder, to, place, _WORD), align=1)
        return context.get_dummy_value()

    return types.none(out, types.int64, types.int64, types.int64), generate
