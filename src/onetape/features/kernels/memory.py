"""What kernels are made with: compilation, and arrays without the checks of an index."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from numba import njit, types
from numba.extending import intrinsic as _intrinsic

from onetape.domain.rule_compiler import SlotsType

intrinsic: Any = _intrinsic  # what it makes takes one argument less than it says

CHUNK = 256
"""Rows that a kernel works on before it goes on: what it keeps of them stays in the nearest cache.

A window that is longer makes chunks of its own length."""

CHAIN_CHUNK = 64
"""The same where each row waits for the one before: few enough rows that the processor begins with
what the next chunk has to do while it waits."""

WIDE_CHUNK = 900
"""The same where a chunk is looked at again from a window before it on: more rows share that."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` when it is first called, and keep it on disk.

    It is kept under a name that changes with its source and that of the kernels it calls: Numba
    asks for the file of the function alone. A division by zero gives what IEEE 754 says, as nothing
    that raises can be vectorized.
    """
    named: Any = FunctionType(function.__code__, function.__globals__, function.__name__)
    named.__qualname__ = f"{function.__name__}_{_digest(function)}"
    named.__doc__ = function.__doc__
    options: Any = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(named)
    except RuntimeError:  # no folder to cache in is writable
        return njit(**options)(named)


def _digest(function: Any) -> str:
    """8 hex digits of the source of `function` and of what its names stand for."""
    parts = [inspect.getsource(function)]
    for name in sorted(function.__code__.co_names):
        value = function.__globals__.get(name)
        if isinstance(value, int | float):
            parts.append(repr(value))
        elif hasattr(value, "py_func"):
            parts.append(value.py_func.__qualname__)
        elif hasattr(value, "_defn"):  # and what its module defines beside it, as operators
            module: Any = inspect.getmodule(value._defn)
            parts.append(inspect.getsource(module))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


@intrinsic
def slots_of(_typing: Any, array: Any, first: Any) -> Any:  # noqa: ARG001
    """In compiled code: a contiguous array from item `first` on, as slots.

    No index is checked, none counts from the end: Numba asks of every index of an array whether it
    is negative, which costs as much as the addition behind it. Slots don't keep their array alive,
    so it has to be an argument of the function that was called from Python.
    """
    if not isinstance(array, types.Array) or array.layout != "C":
        return None

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        data = context.make_array(array)(context, builder, values[0]).data
        return builder.gep(data, [values[1]])

    return SlotsType(array.dtype)(array, types.int64), generate
