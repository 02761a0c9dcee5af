"""The compiled host of estimators: the same `update`, compiled by Numba over a block of memory.

A state lives in one block of 8-byte words: the fields in order (an array field is two words, where
its values start and how many there are), then the values of the arrays. `StateType` tells Numba how
`state.field` reads and writes that block, so a rule compiles unchanged, once for all windows. The
type carries the hash of the definition: compiled code on disk is never used for a rule whose source
has changed since.

Importing this module imports Numba (a quarter of a second or more): import it where it is used.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import FunctionType
from typing import Any

import msgspec
import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    lower_setattr_generic,
    models,
    overload,
    register_model,
    typeof_impl,
    unbox,
)

from onetape.features.definition import (
    Layout,
    Rule,
    compute_definition_hash,
    compute_layout,
    list_rules,
)
from onetape.features.estimator import Estimator, FloatColumn

_UPDATES: dict[str, Rule] = {}
"""The update rule of each definition hash that was packed in this process."""

_COMPILABLE: set[Rule] = set()

_OPTIONS: Any = {"boundscheck": True}
_ARRAY = types.float64[::1]
_TYPES = {"int": types.int64, "float": types.float64, "array": _ARRAY}
_WORDS = {"int": 1, "float": 1, "array": 2}


def make_compilable(update: Rule) -> None:
    """Let compiled code call `update` and the rules it calls; indices are checked, as in Python."""
    for function in list_rules(update):
        if function not in _COMPILABLE:
            _COMPILABLE.add(function)
            overload(function, jit_options=_OPTIONS, strict=False)(_rehome(function))


def _rehome(function: Rule) -> Callable[..., Rule]:
    """The implementation that Numba compiles for a rule: the same code under a name of ours.

    Loading compiled code from disk imports the module each of its functions came from, and links
    them by name. That module may be gone (a strategy file), or its name in use for something else.
    The name given here can always be imported, and two rules share it only if they are the same.
    """
    name = f"{function.__name__}_{compute_definition_hash(function, ())}"
    home = {**function.__globals__, "__name__": __name__}
    twin = FunctionType(function.__code__, home, name, function.__defaults__)
    twin.__qualname__ = name
    return lambda *_inputs: twin


class PackedState:
    """The state of an estimator before its first bar, as compiled code takes it.

    Attributes:
        definition: Hash of the update rule and the layout.
        layout: The fields.
        words: The block, viewed as float64.
    """

    def __init__(self, estimator: Estimator) -> None:
        update = type(estimator).update
        state = estimator.start_state()
        self.layout = compute_layout(type(state))
        self.definition = compute_definition_hash(update, self.layout)
        self.words = _pack(self.layout, msgspec.structs.asdict(state))
        make_compilable(update)
        _UPDATES[self.definition] = update


def _pack(layout: Layout, values: dict[str, Any]) -> FloatColumn:
    arrays = [name for name, kind in layout if kind == "array"]
    head = sum(_WORDS[kind] for _, kind in layout)
    words = np.zeros(head + sum(len(values[name]) for name in arrays))
    ints = words.view(np.int64)
    word = 0
    for name, kind in layout:
        value = values[name]
        if kind == "array":
            ints[word : word + 2] = head, len(value)
            words[head : head + len(value)] = value
            head += len(value)
        elif kind == "int":
            ints[word] = operator.index(value)  # a fraction raises instead of being cut off
        else:
            words[word] = value
        word += _WORDS[kind]
    return words


class StateType(types.Type):
    """Numba type of the state of one definition; its value is the address of the block."""

    def __init__(self, definition: str, layout: Layout) -> None:
        self.definition = definition
        self.layout = layout
        super().__init__(name=f"State({definition}, {layout})")

    def find(self, attribute: str) -> tuple[str, int]:
        """Kind and first word of a field."""
        word = 0
        for name, kind in self.layout:
            if name == attribute:
                return kind, word
            word += _WORDS[kind]
        raise AttributeError(attribute)


register_model(StateType)(models.OpaqueModel)


@typeof_impl.register(PackedState)
def _typeof_state(value: PackedState, _context: object) -> StateType:
    return StateType(value.definition, value.layout)


@unbox(StateType)
def _unbox_state(_type: StateType, value: Any, c: Any) -> NativeValue:
    """The address of the block. The caller's reference to the object keeps the block alive."""
    words = c.pyapi.object_getattr_string(value, "words")
    native = c.unbox(_ARRAY, words)
    array = c.context.make_array(_ARRAY)(c.context, c.builder, native.value)
    address = c.builder.bitcast(array.data, cgutils.voidptr_t)
    c.context.nrt.decref(c.builder, _ARRAY, native.value)
    c.pyapi.decref(words)
    return NativeValue(address, is_error=native.is_error)


@infer_getattr
class _StateAttributes(AttributeTemplate):
    key = StateType

    def generic_resolve(self, state: StateType, attribute: str) -> types.Type:
        return _TYPES[state.find(attribute)[0]]


def _locate(context: Any, builder: Any, state: StateType, address: Any, attribute: str) -> Any:
    """Kind of a field, the block as a pointer to words, a typed pointer to the field."""
    kind, word = state.find(attribute)
    block = builder.bitcast(address, context.get_value_type(types.int64).as_pointer())
    field = cgutils.gep(builder, block, word)
    if kind == "float":
        field = builder.bitcast(field, context.get_value_type(types.float64).as_pointer())
    return kind, block, field


@lower_getattr_generic(StateType)
def _load(context: Any, builder: Any, state: StateType, address: Any, attribute: str) -> Any:
    kind, block, field = _locate(context, builder, state, address, attribute)
    if kind != "array":
        return builder.load(field)
    first = cgutils.gep(builder, block, builder.load(field))
    double = context.get_value_type(types.float64)
    size = context.get_constant(types.intp, 8)
    array = context.make_array(_ARRAY)(context, builder)
    context.populate_array(
        array,
        data=builder.bitcast(first, double.as_pointer()),
        shape=[builder.load(cgutils.gep(builder, field, 1))],
        strides=[size],
        itemsize=size,
        meminfo=None,
    )
    return array._getvalue()


@lower_setattr_generic(StateType)
def _store(context: Any, builder: Any, signature: Any, values: Any, attribute: str) -> None:
    address, value = values
    kind, _, field = _locate(context, builder, signature.args[0], address, attribute)
    if kind == "array":
        raise TypeError(f"field {attribute!r} is an array: set its items")
    builder.store(value, field)


def advance(state: Any, *inputs: float) -> float:
    """In compiled code: the `update` that belongs to `state`, with the next bar's inputs."""
    raise NotImplementedError("advance is for compiled code only")


@overload(advance)
def _compile_advance(state: Any, *inputs: Any) -> Callable[..., float]:  # noqa: ARG001
    update = _UPDATES[state.definition]

    def call(state: Any, *inputs: Any) -> float:
        return update(state, *inputs)

    return call


def _fill(state: Any, inputs: tuple[FloatColumn, ...], out: FloatColumn) -> None:
    row = 0
    for values in zip(*inputs):  # noqa: B905  (Numba knows no `strict`; lengths are checked before)
        out[row] = advance(state, *values)
        row += 1  # noqa: SIM113  (`enumerate` over a star-zip does not compile)


try:
    fill_column = njit(cache=True)(_fill)
except RuntimeError:  # no folder to cache in is writable
    fill_column = njit(_fill)


def compute_column_compiled(estimator: Estimator, inputs: tuple[FloatColumn, ...]) -> FloatColumn:
    """The estimator's value at every row of its inputs, by the compiled host.

    The inputs are contiguous, writable and of one length.
    """
    out = np.empty(len(inputs[0]))
    fill_column(PackedState(estimator), inputs, out)
    return out
