"""SHA-256 for compiled code: that of the OpenSSL which Python's `hashlib` itself calls.

A record is short: what `hashlib` and Python do around its digest takes twice as long as the digest.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import Any, NamedTuple

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic  # what it makes takes one argument less than it says

DIGEST_BYTES = 32
STATE_BYTES = 256
"""Room for what OpenSSL keeps of a digest under way (`SHA256_CTX` has 112 bytes)."""


class Sha256(NamedTuple):
    """Addresses of `SHA256_Init`, `SHA256_Update` and `SHA256_Final`; 0 where they are not."""

    begin: int = 0
    add: int = 0
    end: int = 0


def find_sha256() -> Sha256:
    """The functions in this process; none where Python comes without OpenSSL, or hides it."""
    try:
        library = ctypes.CDLL(str(importlib.import_module("_hashlib").__file__))
        found = [getattr(library, f"SHA256_{name}") for name in ("Init", "Update", "Final")]
    except (AttributeError, ImportError, OSError):
        return Sha256()
    return Sha256(*(ctypes.cast(each, ctypes.c_void_p).value or 0 for each in found))


def _call(builder: Any, address: Any, arguments: list[Any]) -> None:
    kind = ir.FunctionType(ir.IntType(32), [each.type for each in arguments])
    builder.call(builder.inttoptr(address, kind.as_pointer()), arguments)


@intrinsic
def begin_digest(_typing: Any, address: Any, state: Any) -> Any:
    """Begin a digest in `state`."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        _call(builder, values[0], [values[1]])
        return context.get_dummy_value()

    return types.none(address, state), generate


@intrinsic
def add_to_digest(
    _typing: Any, address: Any, state: Any, column: Any, _start: Any, _size: Any
) -> Any:
    """Take so many bytes of `column`, from a place on, into the digest."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        function, under_way, data, start, size = values
        _call(builder, function, [under_way, builder.gep(data, [start]), size])
        return context.get_dummy_value()

    return types.none(address, state, column, types.int64, types.int64), generate


@intrinsic
def end_digest(_typing: Any, address: Any, state: Any, column: Any, _start: Any) -> Any:
    """Write the digest to a place of `column`."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        function, under_way, data, start = values
        _call(builder, function, [builder.gep(data, [start]), under_way])
        return context.get_dummy_value()

    return types.none(address, state, column, types.int64), generate
