"""How the compiled loop calls a strategy that stays in Python.

To the loop it is a strategy like any other: `strategy.on_bar(bar, ctx)` is a call. Here that call
leaves compiled code for a Python callable, which finds in the engine's record what it is called for
(`python_strategy.py`). What raises there goes up through the loop.
"""

# pyright: reportUnknownLambdaType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model, typeof_impl, unbox

from onetape.domain.checked import NAMES
from onetape.domain.rule_compiler import unbox_address
from onetape.runtime.compiled.callbacks import (
    CALLBACKS,
    engine_of,
    intrinsic,
    overload_attribute,
    overload_method,
    queue_intent,
)
from onetape.runtime.compiled.compiling import compiled
from onetape.runtime.compiled.state import ASKED_WIDTH, Engine

globals().update(NAMES)

CALLS = (*CALLBACKS, "quiet_rows")
"""What compiled code may call in Python, in the order of the table of callables."""


class PythonStrategyType(types.Type):
    """A strategy in Python; its value is the address of a table of callables.

    Args:
        heard: Which of `CALLS` it has; the others cost nothing.
    """

    def __init__(self, heard: frozenset[str]) -> None:
        self.heard = heard
        super().__init__(name=f"PythonStrategy({','.join(sorted(heard))})")


register_model(PythonStrategyType)(models.OpaqueModel)


class CallTable(Protocol):
    """A strategy in Python, as the loop takes it.

    Attributes:
        kind: Its type.
        address: Of a table of the addresses of its callables, an item for each of `CALLS`.
    """

    kind: PythonStrategyType
    address: int


def register_table(table: type[CallTable]) -> None:
    """Let compiled code take objects of this class."""

    @typeof_impl.register(table)
    def find_type(value: CallTable, _context: object) -> PythonStrategyType:  # pyright: ignore[reportUnusedFunction]
        return value.kind


unbox(PythonStrategyType)(unbox_address)


@intrinsic
def call_python(_typing: Any, strategy: Any, place: Any) -> Any:
    """Call the callable at a place of the table; what it raises, this raises."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        api = context.get_python_api(builder)
        table = builder.bitcast(values[0], api.pyobj.as_pointer())
        lock = api.gil_ensure()
        callee = builder.load(builder.gep(table, [values[1]]))
        kind = ir.FunctionType(api.pyobj, [api.pyobj])
        call = cgutils.get_or_insert_function(builder.module, kind, "PyObject_CallNoArgs")
        result = builder.call(call, [callee])
        has_raised = cgutils.is_null(builder, result)
        api.decref(result)  # of nothing: does nothing
        api.gil_release(lock)
        with builder.if_then(has_raised, likely=False):
            context.call_conv.return_exc(builder)
        return context.get_dummy_value()

    return types.void(strategy, types.int64), generate


@compiled
def call(engine: Engine, strategy: Any, place: int) -> None:
    """Call the callable at a place of the table, and queue what it asks for."""
    call_python(strategy, place)
    asked = engine.asked
    for number in range(engine.asked_count):
        at = number * ASKED_WIDTH
        queue_intent(
            engine, asked[at], asked[at + 1], asked[at + 2], asked[at + 3], asked[at + 4],
            asked[at + 5], asked[at + 6], asked[at + 7], asked[at + 8], asked[at + 9],
            asked[at + 10] != 0, asked[at + 11], asked[at + 12],
        )  # fmt: skip
    engine.asked_count = 0


def _make_call(name: str) -> Callable[..., Any]:
    place = CALLS.index(name)

    def find(self: Any, ctx: Any) -> Any:
        if name not in self.heard:
            return lambda self, ctx: None
        return lambda self, ctx: call(engine_of(ctx), self, place)

    def find_for_event(self: Any, event: Any, ctx: Any) -> Any:
        if name not in self.heard:
            return lambda self, event, ctx: None
        return lambda self, event, ctx: call(engine_of(ctx), self, place)

    return find if name in ("on_start", "on_stop", "quiet_rows") else find_for_event


for _name in CALLS:
    overload_method(PythonStrategyType, _name)(_make_call(_name))


def _listens_to_slices(strategy: Any) -> Any:
    hears = "on_slice" in strategy.heard
    return lambda strategy: hears


overload_attribute(PythonStrategyType, "is_python")(lambda strategy: lambda strategy: True)
overload_attribute(PythonStrategyType, "listens_to_slices")(_listens_to_slices)
# It reads its features in Python.
overload_attribute(PythonStrategyType, "listens_to_bars")(lambda strategy: lambda strategy: False)
