"""How rules run under Numba: the same source with checked integers, records as blocks of memory.

A record that rules read and write (a state, a schedule, a limit) is a block of 8-byte words: the
fields in order, then the values of its arrays. `RecordType` tells Numba how `record.field` reads
and writes that block, so a rule compiles unchanged. The type carries a hash of the definitions that
use it: compiled code on disk is never used for a rule whose source has changed since.

| kind of field           | words | holds                                                          |
| ----------------------- | ----- | -------------------------------------------------------------- |
| `int`, `bool`           | 1     | the number                                                     |
| `float`                 | 1     | the bits                                                       |
| `ints`, `floats`        | 2     | where the values start in the block, how many                  |
| `int_slots`, ..        | 2     | the same, for code that checks its own indices                 |
| `float_view`            | 2     | address of the values (in the block), how many                 |
| `int_column`, ..       | 1     | address of such an array outside the block                     |
| a Numba type            | 1     | a whole number of that type                                    |
| a `RecordType`          | 1     | address of another block                                       |
| `records` of one        | 2     | where the addresses start in the block, how many               |

Importing this module imports Numba (a quarter of a second or more): import it where it is used.
"""

from __future__ import annotations

import ast
import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import llvmlite.ir as ir
import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate
from numba.core.typing.templates import infer_global as _infer_global
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
from numba.extending import intrinsic as _intrinsic

from onetape.domain.checked import NAMES, rewrite_checked
from onetape.domain.rule_definition import Rule, compute_definition_hash, list_rules, parse_function

intrinsic: Any = _intrinsic  # what it makes takes one argument less than it says
infer_global: Any = _infer_global

OPTIONS: Any = {"boundscheck": True}

_COMPILABLE: set[Rule] = set()


def make_compilable(function: Rule, *, inline: bool = False) -> None:
    """Let compiled code call the rule `function` and the rules it calls.

    Indices are checked and whole numbers never wrap: both raise, as in Python. The source is read
    when the first caller is compiled. With `inline` it becomes a part of each caller.
    """
    if function in _COMPILABLE:
        return
    _COMPILABLE.add(function)

    options: Any = {**OPTIONS, "forceinline": inline}

    @overload(function, jit_options=options, strict=False)
    def find(*_inputs: Any) -> Rule:  # pyright: ignore[reportUnusedFunction]
        for each in list_rules(function):
            make_compilable(each, inline=inline)
        return _make_twin(function)


@cache
def _make_twin(function: Rule) -> Rule:
    return rehome(function, f"{function.__name__}_{compute_definition_hash(function, ())}")


def rehome(
    function: Rule,
    name: str,
    names: Mapping[str, Any] | None = None,
    rewrite: Callable[[ast.FunctionDef], ast.FunctionDef] | None = None,
) -> Rule:
    """`function` with checked arithmetic, as a function of this module called `name`.

    Loading compiled code from disk imports the module each of its functions came from, and links
    them by name. That module may be gone (a strategy file), or its name in use for something else.
    This module can always be imported, and two functions share a name only if they are the same.

    Args:
        function: Any function whose source can be read.
        name: One that is different for a different source.
        names: Names that the compiled code uses besides its own.
        rewrite: What else to change in the source.
    """
    definition = parse_function(function)[1]
    ast.increment_lineno(definition, function.__code__.co_firstlineno - 1)
    definition = definition if rewrite is None else rewrite(definition)
    definition = rewrite_checked(definition, exact=True)
    definition.name = name
    definition.args.defaults = []  # those of the function are kept; their names may be gone
    home = {**function.__globals__, **NAMES, **(names or {}), "__name__": __name__}
    code = compile(ast.Module([definition], []), function.__code__.co_filename, "exec")
    exec(code, home)
    twin: Any = home[name]
    twin.__defaults__ = function.__defaults__
    twin.__qualname__ = name
    return twin


# Records.

Kind = Any
"""`int`, `bool`, `float`, `ints`, `floats`, `float_view`, `int_slots`, `float_slots`, `int_column`,
`float_column`, `byte_column`, a Numba type (a `RecordType` for another block), or
`("records", RecordType)`."""

Fields = tuple[tuple[str, Kind], ...]


class SlotsType(types.Type):
    """Numba type of an array without a length: its value is the address of the first item."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Slots({dtype})")


@register_model(SlotsType)
class _SlotsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: SlotsType) -> None:
        item = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, item.as_pointer())


@infer_global(operator.getitem)
class _SlotsGet(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], SlotsType) and isinstance(args[1], types.Integer):
            return args[0].dtype(args[0], types.int64)
        return None


@infer_global(operator.setitem)
class _SlotsSet(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], SlotsType) and isinstance(args[1], types.Integer):
            return types.none(args[0], types.int64, args[0].dtype)
        return None


@lower_builtin(operator.getitem, SlotsType, types.int64)
def _get_slot(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
    first, at = values
    return builder.load(builder.gep(first, [at]))


@lower_builtin(operator.setitem, SlotsType, types.int64, types.Any)
def _set_slot(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
    first, at, value = values
    builder.store(value, builder.gep(first, [at]))
    return context.get_dummy_value()


@intrinsic
def prefetch(_typing: Any, slots: Any, at: Any) -> Any:
    """In compiled code: have the item at `at`, which is soon read, fetched; it need not exist."""
    if not isinstance(slots, SlotsType) or not isinstance(at, types.Integer):
        return None

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        hint = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte, hint, hint, hint]),
            "llvm.prefetch.p0i8",
        )
        address = builder.bitcast(builder.gep(values[0], [values[1]]), byte)
        builder.call(function, [address, hint(0), hint(3), hint(1)])
        return context.get_dummy_value()

    return types.none(slots, types.int64), generate


_INTS = types.Array(types.int64, 1, "C")
_FLOATS = types.Array(types.float64, 1, "C")
_INT_SLOTS = SlotsType(types.int64)
_FLOAT_SLOTS = SlotsType(types.float64)
_TYPES: dict[str, types.Type] = {
    "int": types.int64, "float": types.float64, "bool": types.boolean, "ints": _INTS,
    "floats": _FLOATS, "float_view": _FLOATS, "int_slots": _INT_SLOTS, "float_slots": _FLOAT_SLOTS,
    "int_column": _INT_SLOTS, "float_column": _FLOAT_SLOTS, "byte_column": SlotsType(types.uint8),
}  # fmt: skip
_OWN = ("ints", "floats", "float_view", "int_slots", "float_slots")
_OWN_FLOATS = ("floats", "float_view", "float_slots")
_COLUMNS = ("int_column", "float_column", "byte_column")


class RecordType(types.Type):
    """Numba type of a block of memory; its value is the address.

    Args:
        name: What it is, with a hash of the definitions that use it.
        fields: Name and kind of each field.
    """

    def __init__(self, name: str, fields: Fields) -> None:
        self.fields = fields
        self.places = _place(fields)
        layout = hashlib.sha256(repr(fields).encode()).hexdigest()[:8]
        super().__init__(name=f"{name}_{layout}")

    def find(self, attribute: str) -> tuple[Kind, int]:
        """Kind and first word of a field; raises `AttributeError` for an unknown one."""
        try:
            return self.places[attribute]
        except KeyError:
            raise AttributeError(attribute) from None

    @property
    def head(self) -> int:
        """Words of the fields, without the values of arrays."""
        return sum(_words(kind) for _, kind in self.fields)


def _words(kind: Kind) -> int:
    return 2 if kind in _OWN or isinstance(kind, tuple) else 1


def _is_number(kind: Kind) -> bool:
    return kind in ("int", "bool") or (
        isinstance(kind, types.Type) and not isinstance(kind, RecordType)
    )


def _place(fields: Fields) -> dict[str, tuple[Kind, int]]:
    places: dict[str, tuple[Kind, int]] = {}
    word = 0
    for name, kind in fields:
        places[name] = kind, word
        word += _words(kind)
    return places


class RecordsType(types.Type):
    """Numba type of a table of addresses of records."""

    def __init__(self, record: RecordType) -> None:
        self.record = record
        super().__init__(name=f"Records({record.name})")


_GAP = 8
"""Words between arrays: without, arrays of 2**n items would begin in the same lines of a cache."""


register_model(RecordType)(models.OpaqueModel)
register_model(RecordsType)(models.OpaqueModel)


class Packed:
    """A record in memory.

    Args:
        record: Its type.
        values: The value of every field: numbers, sequences of numbers for arrays, NumPy columns
            (int64, float64 or uint8, contiguous), other `Packed` records or sequences of them.

    Attributes:
        words: The block, viewed as float64.
        address: Where it is.

    Raises:
        TypeError: A fraction in an int field.
    """

    __slots__ = ("_kept", "address", "record", "words")

    def __init__(self, record: RecordType, values: Mapping[str, Any]) -> None:
        self.record = record
        self._kept = values  # what the block points to lives as long as the block
        head = record.head
        own = [
            values[name] for name, kind in record.fields if kind in _OWN or isinstance(kind, tuple)
        ]
        self.words = np.zeros(head + sum(len(each) + _GAP for each in own))
        self.address = self.words.ctypes.data
        ints = self.ints
        end = head
        for name, (kind, word) in record.places.items():
            value = values[name]
            if kind == "float":
                self.words[word] = value
            elif _is_number(kind):
                ints[word] = operator.index(value)  # a fraction raises instead of being cut off
            elif isinstance(kind, RecordType):
                ints[word] = value.address
            elif kind in _COLUMNS:
                ints[word] = value.ctypes.data
            else:
                first = self.address + 8 * end if kind == "float_view" else end
                ints[word : word + 2] = first, len(value)
                if kind in _OWN_FLOATS:
                    self.words[end : end + len(value)] = value
                elif kind in ("ints", "int_slots"):
                    ints[end : end + len(value)] = value
                else:
                    ints[end : end + len(value)] = [each.address for each in value]
                end += len(value) + _GAP

    def copy(self) -> Packed:
        """Another block of the same values; what it points to is shared."""
        twin = Packed.__new__(Packed)
        twin.record = self.record
        twin._kept = [self._kept]
        twin.words = self.words.copy()
        twin.address = twin.words.ctypes.data
        for kind, word in twin.record.places.values():
            if kind == "float_view":
                twin.ints[word] += twin.address - self.address
        return twin

    def keep(self, part: Packed) -> Packed:
        """Keep a record, that this one is going to point to, alive as long as this one."""
        self._kept = [self._kept, part]
        return part

    @property
    def ints(self) -> npt.NDArray[np.int64]:
        """The block, viewed as int64."""
        return self.words.view(np.int64)

    def read(self, name: str) -> Any:
        """The value of a field: a number, or a view of the values of an array of its own."""
        kind, word = self.record.find(name)
        if kind == "float":
            return float(self.words[word])
        if kind == "bool":
            return bool(self.ints[word])
        if _is_number(kind):
            return int(self.ints[word])
        first, count = self.ints[word : word + 2].tolist()
        if kind == "float_view":
            first = (first - self.address) // 8
        values = self.words if kind in _OWN_FLOATS else self.ints
        return values[first : first + count]

    def write(self, name: str, value: Any) -> None:
        """Set a field, or all values of an array of its own; a column is kept alive."""
        kind, word = self.record.find(name)
        if kind == "float":
            self.words[word] = value
        elif _is_number(kind):
            self.ints[word] = operator.index(value)
        elif isinstance(kind, RecordType):
            self.ints[word] = value.address
        elif kind in _COLUMNS:
            self.ints[word] = value.ctypes.data
            self._kept = [self._kept, value]
        else:
            items = self.read(name)
            if len(items) != len(value):
                raise ValueError(f"{name} has {len(items)} items and gets {len(value)}")
            items[:] = value


@typeof_impl.register(Packed)
def _typeof_packed(value: Packed, _context: object) -> RecordType:
    return value.record


def unbox_address(_type: types.Type, value: Any, c: Any) -> NativeValue:
    """The `address` of an object. The caller's reference to it keeps what is there alive."""
    number = c.pyapi.object_getattr_string(value, "address")
    address = c.pyapi.long_as_longlong(number)
    c.pyapi.decref(number)
    return NativeValue(c.builder.inttoptr(address, cgutils.voidptr_t))


unbox(RecordType)(unbox_address)


@infer_getattr
class _RecordAttributes(AttributeTemplate):
    key = RecordType

    def generic_resolve(self, record: RecordType, attribute: str) -> types.Type | None:
        if attribute not in record.places:
            return None
        kind = record.places[attribute][0]
        if isinstance(kind, types.Type):
            return kind
        if isinstance(kind, tuple):
            return RecordsType(kind[1])
        return _TYPES[kind]


def _word_pointer(context: Any, builder: Any, address: Any, word: int) -> tuple[Any, Any]:
    block = builder.bitcast(address, context.get_value_type(types.int64).as_pointer())
    return block, cgutils.gep(builder, block, word)


@lower_getattr_generic(RecordType)
def load_field(context: Any, builder: Any, record: RecordType, address: Any, attribute: str) -> Any:
    """Code that reads a field."""
    kind, word = record.find(attribute)
    block, field = _word_pointer(context, builder, address, word)
    if kind == "int" or (isinstance(kind, types.Type) and not isinstance(kind, RecordType)):
        return builder.load(field)
    if kind == "bool":
        return builder.icmp_signed("!=", builder.load(field), context.get_constant(types.int64, 0))
    if kind == "float":
        double = context.get_value_type(types.float64).as_pointer()
        return builder.load(builder.bitcast(field, double))
    if isinstance(kind, RecordType):
        return builder.inttoptr(builder.load(field), cgutils.voidptr_t)
    if isinstance(kind, tuple):
        return builder.bitcast(cgutils.gep(builder, block, builder.load(field)), cgutils.voidptr_t)
    array_type: Any = _TYPES[kind]
    item = context.get_value_type(array_type.dtype).as_pointer()
    if kind.endswith("column"):
        return builder.inttoptr(builder.load(field), item)
    if kind == "float_view":
        first = builder.inttoptr(builder.load(field), item)
    else:
        first = builder.bitcast(cgutils.gep(builder, block, builder.load(field)), item)
    if kind.endswith("slots"):
        return first
    size = context.get_constant(types.intp, 8)
    array = context.make_array(array_type)(context, builder)
    context.populate_array(
        array,
        data=first,
        shape=[builder.load(cgutils.gep(builder, field, 1))],
        strides=[size],
        itemsize=size,
        meminfo=None,
    )
    return array._getvalue()


@lower_setattr_generic(RecordType)
def _store(context: Any, builder: Any, signature: Any, values: Any, attribute: str) -> None:
    address, value = values
    record, given = signature.args
    kind, word = record.find(attribute)
    store_field(context, builder, kind, word, address, given, value, attribute)


def store_field(
    context: Any,
    builder: Any,
    kind: Kind,
    word: int,
    address: Any,
    given: types.Type,
    value: Any,
    attribute: str,
) -> None:
    """Code that writes a field; raises `TypeError` for a value that would lose something."""
    _, field = _word_pointer(context, builder, address, word)
    if kind == "float":
        double = context.get_value_type(types.float64).as_pointer()
        value = context.cast(builder, value, given, types.float64)
        builder.store(value, builder.bitcast(field, double))
    elif kind in ("int", "bool"):
        if isinstance(given, types.Float) or (kind == "bool") != isinstance(given, types.Boolean):
            raise TypeError(f"field {attribute!r} is of type {kind} and gets a {given}")
        builder.store(context.cast(builder, value, given, types.int64), field)
    elif kind == given:
        builder.store(value, field)
    else:
        raise TypeError(f"field {attribute!r} is an array: set its items")


@intrinsic
def record_at(typing: Any, records: Any, row: Any) -> Any:
    """In compiled code: the record at `row` of a table of records. The row is not checked."""
    if not isinstance(records, RecordsType) or not isinstance(row, types.Integer):
        return None

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        table, at = values
        words = builder.bitcast(table, context.get_value_type(types.int64).as_pointer())
        pointer = builder.gep(words, [at])
        return builder.inttoptr(builder.load(pointer), cgutils.voidptr_t)

    return records.record(records, types.int64), generate


@intrinsic
def copy_head(typing: Any, record: Any) -> Any:
    """In compiled code: a record with the same fields, on the stack of this function.

    The compiler sees that nothing else points there, so it can keep the fields in registers. Arrays
    of the kind `float_view` and columns are shared; others would not be found.
    """
    if not isinstance(record, RecordType):
        return None
    if any(kind in _OWN and kind != "float_view" for _, kind in record.fields):
        raise TypeError(f"{record.name} has arrays that are found from where the record is")

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        word = context.get_value_type(types.int64)
        copy = cgutils.alloca_once(builder, word, size=record.head)
        block = builder.bitcast(values[0], word.as_pointer())
        for at in range(record.head):
            builder.store(
                builder.load(cgutils.gep(builder, block, at)), cgutils.gep(builder, copy, at)
            )
        return builder.bitcast(copy, cgutils.voidptr_t)

    return record(record), generate


def get_fields(struct: type[Any], kinds: Mapping[object, Kind], skip: Sequence[str] = ()) -> Fields:
    """The fields of a struct class as a record has them: annotations through `kinds`.

    Raises:
        KeyError: A field is of a type that `kinds` does not have.
    """
    from typing import get_type_hints

    hints = get_type_hints(struct, include_extras=True)
    return tuple((name, kinds[hint]) for name, hint in hints.items() if name not in skip)
