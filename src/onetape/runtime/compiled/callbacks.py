"""What a compiled callback sees: `self`, `bar`, `ctx` and what they hand out, as Numba types.

The names and their meaning are those of `strategy/sdk.py`, `strategy/context.py` and
`domain/market.py`. What would raise there raises here, and the host then asks the Python host.
"""

# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import llvmlite.ir as ir
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import RefType, impl_ret_borrowed, iternext_impl, lower_builtin
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    lower_getattr_generic,
    make_attribute_wrapper,
    models,
    register_model,
    typeof_impl,
    unbox,
)
from numba.extending import intrinsic as _intrinsic
from numba.extending import overload as _overload
from numba.extending import overload_attribute as _overload_attribute
from numba.extending import overload_method as _overload_method

from onetape.domain.checked import NAMES, round_count
from onetape.domain.numbers import compute_ticks
from onetape.domain.rule_compiler import (
    Fields,
    Packed,
    RecordType,
    make_compilable,
    store_field,
    unbox_address,
)
from onetape.runtime.compiled.compiling import compiled
from onetape.runtime.compiled.engine import (
    CANCEL,
    REPLACE,
    SUBMIT,
    find_order,
    get_equity,
    get_units,
)
from onetape.runtime.compiled.state import Engine

globals().update(NAMES)

make_compilable(compute_ticks)

intrinsic: Any = _intrinsic  # what it makes takes one argument less than it says

# Without `strict`, annotations may differ between what Numba types and what it compiles.
overload = partial(_overload, strict=False)
_OPTIONS = {"strict": False}
overload_attribute: Any = partial(_overload_attribute, **_OPTIONS)
overload_method: Any = partial(_overload_method, **_OPTIONS)

_LOTS, _TARGET_LOTS, _TARGET_WEIGHT, _NOTIONAL_AT_FILL, _EQUITY_AT_FILL = range(5)
_E8 = 100_000_000


# `self`.


class StrategyType(RecordType):
    """Params and state of one strategy class, which its hash names."""

    def __init__(self, definition: str, fields: Fields) -> None:
        self.definition = definition
        super().__init__(f"Strategy({definition})", fields)


register_model(StrategyType)(models.OpaqueModel)

_CALLBACKS: dict[str, Mapping[str, Callable[..., Any]]] = {}
"""The callbacks of each strategy class that was prepared in this process, by its hash."""

CALLBACKS = ("on_start", "on_bar", "on_trade", "on_slice", "on_stop")
"""The callbacks that the compiled host calls; a strategy need not have all."""


def register_callbacks(definition: str, callbacks: Mapping[str, Callable[..., Any]]) -> None:
    """Let compiled code call the callbacks of a strategy class."""
    _CALLBACKS[definition] = callbacks


def has_callbacks(definition: str) -> bool:
    """Whether the callbacks of a class were registered in this process."""
    return definition in _CALLBACKS


def _hear(name: str) -> Callable[..., Any]:
    def nothing(self: Any, ctx: Any) -> None: ...

    def no_event(self: Any, event: Any, ctx: Any) -> None: ...

    def find(self: Any, ctx: Any) -> Any:
        return _CALLBACKS[self.definition].get(name, nothing)

    def find_for_event(self: Any, event: Any, ctx: Any) -> Any:
        return _CALLBACKS[self.definition].get(name, no_event)

    return find if name in ("on_start", "on_stop") else find_for_event


for _name in CALLBACKS:
    overload_method(StrategyType, _name, jit_options={"forceinline": True})(_hear(_name))


def _listens_to(callback: str) -> Callable[..., Any]:
    def listens(self: Any) -> Any:
        heard = callback in _CALLBACKS[self.definition]
        return lambda self: heard

    return listens


overload_attribute(StrategyType, "is_python")(lambda strategy: lambda strategy: False)
overload_method(StrategyType, "quiet_rows")(lambda _self, ctx: lambda _self, ctx: None)
overload_attribute(StrategyType, "listens_to_bars")(_listens_to("on_bar"))
overload_attribute(StrategyType, "listens_to_slices")(_listens_to("on_slice"))

REFUSED = "the compiled host refuses: "
"""Stands before a refusal of ours among what Numba says."""


def make_setter(name: str, *, is_state: bool) -> Any:
    """The assignment of a param or state: refuses what Python would keep and a word can't hold.

    Numba itself would cut a float off to fit an int.
    """

    @intrinsic
    def assign(_typing: Any, strategy: Any, value: Any) -> Any:
        if not isinstance(strategy, StrategyType):
            return None
        kind, word = strategy.find(name)
        value = types.unliteral(value)
        value = value.type if isinstance(value, types.Optional) else value
        if not is_state:
            raise TypingError(f"{REFUSED}the param {name!r} is assigned")
        if not isinstance(value, _STATE_TAKES.get(kind, OrderIdType)):
            what = "an order id" if kind == order_id_type else f"of type {kind}"
            raise TypingError(f"{REFUSED}the state {name!r} is {what} and gets {value.name}")

        taken = types.int64 if kind == "int" else value

        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            if kind == "float" and isinstance(value, types.Integer):
                _require_exact(context, builder, values[1])
            store_field(context, builder, kind, word, values[0], taken, values[1], name)
            return context.get_dummy_value()

        return types.void(strategy, taken), generate

    return assign


def _require_exact(context: Any, builder: Any, number: Any) -> None:
    """Code that raises when a whole number is none of the float64 ones."""
    limit = context.get_constant(types.int64, 1 << 53)
    beyond = builder.or_(
        builder.icmp_signed(">", number, limit),
        builder.icmp_signed("<", number, builder.neg(limit)),
    )
    with builder.if_then(beyond, likely=False):
        context.call_conv.return_user_exc(
            builder, OverflowError, ("a float state gets a whole number beyond 2**53",)
        )


# Numbers with a meaning.


class InstrumentType(types.Type):
    """An instrument id: its place in the session."""

    def __init__(self) -> None:
        super().__init__(name="InstrumentId")


class OrderIdType(types.Type):
    """A client order id: its number, 0 for the empty string."""

    def __init__(self) -> None:
        super().__init__(name="OrderId")


@register_model(InstrumentType)
@register_model(OrderIdType)
class _WordModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64))


instrument_type = InstrumentType()
order_id_type = OrderIdType()

_STATE_TAKES: dict[Any, Any] = {
    "int": types.Integer | types.Boolean | types.IntEnumMember,
    "float": types.Float | types.Integer | types.Boolean,
    "bool": types.Boolean,
}
"""What may be assigned to state of a kind; order ids to the others."""


def _reinterpret(_context: Any, _builder: Any, _signature: Any, values: Any) -> Any:
    return values[0]


@intrinsic
def as_instrument(_typing: Any, number: Any) -> Any:
    """An instrument by its place."""
    return instrument_type(types.int64), _reinterpret


@intrinsic
def as_order_id(_typing: Any, number: Any) -> Any:
    """An order id by its number."""
    return order_id_type(types.int64), _reinterpret


@intrinsic
def to_number(_typing: Any, word: Any) -> Any:
    """The number of an instrument or order id."""
    if not isinstance(word, InstrumentType | OrderIdType):
        return None
    return types.int64(word), _reinterpret


def no_order() -> Any:
    """The empty order id: what an empty string means in a compiled callback."""
    raise NotImplementedError("for compiled code only")


@overload(no_order)
def _no_order() -> Any:
    return lambda: as_order_id(0)


def _compare(same: bool) -> Callable[..., Any]:
    def compare(left: Any, right: Any) -> Any:
        if not isinstance(left, InstrumentType | OrderIdType) or left != right:
            return None
        if same:
            return lambda left, right: to_number(left) == to_number(right)
        return lambda left, right: to_number(left) != to_number(right)

    return compare


overload(operator.eq)(_compare(True))
overload(operator.ne)(_compare(False))


# Views of the engine.


class _View(types.Type):
    """Something that the engine's record knows, with up to two numbers that say where."""

    def __init__(self, engine: RecordType) -> None:
        self.engine = engine
        super().__init__(name=f"{type(self).__name__}({engine.name})")


class BarType(_View):
    """A bar: a row."""


class TradeType(_View):
    """A public print: a row."""


class OpenOrderType(_View):
    """An open order: a slot."""


class FeaturesType(types.Type):
    """The features of a row."""

    def __init__(self, engine: RecordType, names: tuple[str, ...]) -> None:
        self.engine = engine
        self.names = names
        super().__init__(name=f"Features({engine.name}, {names})")


class SliceType(_View):
    """A time slice: its first row and the row behind its last."""


class ContextType(types.Type):
    """`ctx` of a strategy with these features; its value is the address of the engine."""

    def __init__(self, engine: RecordType, features: tuple[str, ...]) -> None:
        self.engine = engine
        self.features = FeaturesType(engine, features)
        super().__init__(name=f"Context({engine.name}, {features})")


register_model(ContextType)(models.OpaqueModel)


class PackedContext:
    """`ctx` as compiled code takes it."""

    def __init__(self, engine: Packed, features: tuple[str, ...]) -> None:
        self.engine = engine
        self.address = engine.address
        self.kind = ContextType(engine.record, features)


@typeof_impl.register(PackedContext)
def _typeof_context(value: PackedContext, _context: object) -> ContextType:
    return value.kind


unbox(ContextType)(unbox_address)


def _register_place(kind: type[types.Type]) -> None:
    @register_model(kind)
    class _PlaceModel(models.StructModel):
        def __init__(self, manager: Any, type_: Any) -> None:
            super().__init__(manager, type_, [("engine", type_.engine), ("at", types.int64)])

    make_attribute_wrapper(kind, "engine", "_engine")
    make_attribute_wrapper(kind, "at", "_at")


for _kind in (BarType, TradeType, OpenOrderType, FeaturesType):
    _register_place(_kind)


@register_model(SliceType)
class _SliceModel(models.StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        members = [("engine", kind.engine), ("start", types.int64), ("stop", types.int64)]
        super().__init__(manager, kind, members)


make_attribute_wrapper(SliceType, "engine", "_engine")
make_attribute_wrapper(SliceType, "start", "_start")
make_attribute_wrapper(SliceType, "stop", "_stop")


@intrinsic
def engine_of(_typing: Any, ctx: Any) -> Any:
    """The engine behind `ctx`."""
    return ctx.engine(ctx), _reinterpret


def _make_place(kind: Any, context: Any, builder: Any, engine: Any, at: Any) -> Any:
    place = cgutils.create_struct_proxy(kind)(context, builder)
    place.engine = engine
    place.at = at
    return place._getvalue()


def _place_maker(make: Callable[[Any], types.Type]) -> Any:
    @intrinsic
    def place(_typing: Any, ctx: Any, at: Any) -> Any:
        kind = make(ctx)

        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            return _make_place(kind, context, builder, values[0], values[1])

        return kind(ctx, types.int64), generate

    return place


bar_at = _place_maker(lambda ctx: BarType(ctx.engine))
trade_at = _place_maker(lambda ctx: TradeType(ctx.engine))
open_order_at = _place_maker(lambda ctx: OpenOrderType(ctx.engine))
features_at = _place_maker(lambda ctx: ctx.features)


@intrinsic
def slice_at(_typing: Any, ctx: Any, start: Any, stop: Any) -> Any:
    """The slice of the rows [start, stop)."""
    kind = SliceType(ctx.engine)

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        place = cgutils.create_struct_proxy(kind)(context, builder)
        place.engine, place.start, place.stop = values
        return place._getvalue()

    return kind(ctx, types.int64, types.int64), generate


# Bars and prints.


def _row_attribute(kind: type[types.Type], name: str, column: str) -> None:
    source = f"lambda row: row._engine.{column}[row._at]"
    overload_attribute(kind, name)(eval(f"lambda row: ({source})"))


for _name in ("ts_open", "ts_close", "ts_known", "session_close", "open", "high", "low", "close",
              "volume"):  # fmt: skip
    _row_attribute(BarType, _name, _name)
_row_attribute(BarType, "ts_event", "ts_close")
for _name, _column in (("ts_event", "ts_close"), ("ts_known", "ts_known"), ("price", "close"),
                       ("size", "volume"), ("aggressor", "aggressor")):  # fmt: skip
    _row_attribute(TradeType, _name, _column)


@overload_attribute(BarType, "instrument")
@overload_attribute(TradeType, "instrument")
def _instrument(row: Any) -> Any:
    def read(row: Any) -> Any:
        engine = row._engine
        return as_instrument(0 if engine.is_single else engine.instrument[row._at])

    return read


# Features.


@infer_getattr
class _FeatureAttributes(AttributeTemplate):
    key = FeaturesType

    def generic_resolve(self, features: FeaturesType, attribute: str) -> types.Type | None:
        return types.float64 if attribute in features.names else None


@lower_getattr_generic(FeaturesType)
def _load_feature(context: Any, builder: Any, kind: Any, value: Any, attribute: str) -> Any:
    if attribute in ("_engine", "_at"):
        return getattr(cgutils.create_struct_proxy(kind)(context, builder, value), attribute[1:])
    place = cgutils.create_struct_proxy(kind)(context, builder, value)
    word = context.get_value_type(types.int64).as_pointer()
    _, first = kind.engine.find("feature_columns")
    block = builder.bitcast(place.engine, word)
    table = cgutils.gep(builder, block, builder.load(cgutils.gep(builder, block, first)))
    column = builder.load(cgutils.gep(builder, table, kind.names.index(attribute)))
    values = builder.inttoptr(column, context.get_value_type(types.float64).as_pointer())
    return builder.load(builder.gep(values, [place.at]))


# Slices, and what can be iterated over.


class BarsType(types.SimpleIterableType):
    """The bars of rows [start, stop)."""

    def __init__(self, engine: RecordType) -> None:
        self.engine = engine
        self.item = BarType(engine)
        super().__init__(f"Bars({engine.name})", RowIteratorType(self.item, engine))


class InstrumentsType(types.SimpleIterableType):
    """The instruments at places [start, stop)."""

    def __init__(self, engine: RecordType) -> None:
        self.engine = engine
        self.item = instrument_type
        super().__init__(f"Instruments({engine.name})", RowIteratorType(self.item, engine))


class RowIteratorType(types.SimpleIteratorType):
    """An iterator over places, as `item`."""

    def __init__(self, item: types.Type, engine: RecordType) -> None:
        self.engine = engine
        super().__init__(f"RowIterator({item.name})", item)


@register_model(BarsType)
@register_model(InstrumentsType)
class _RowsModel(models.StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        members = [("engine", kind.engine), ("start", types.int64), ("stop", types.int64)]
        super().__init__(manager, kind, members)


@register_model(RowIteratorType)
class _RowIteratorModel(models.StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        members = [("engine", kind.engine), ("at", types.EphemeralPointer(types.int64)),
                   ("stop", types.int64)]  # fmt: skip
        super().__init__(manager, kind, members)


def _make_rows(kind: Any) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        rows = cgutils.create_struct_proxy(kind)(context, builder)
        rows.engine, rows.start, rows.stop = values
        return rows._getvalue()

    return generate


@intrinsic
def bars_between(_typing: Any, engine: Any, start: Any, stop: Any) -> Any:
    """The bars of rows [start, stop)."""
    kind = BarsType(engine)
    return kind(engine, types.int64, types.int64), _make_rows(kind)


@intrinsic
def instruments_between(_typing: Any, engine: Any, start: Any, stop: Any) -> Any:
    """The instruments at places [start, stop)."""
    kind = InstrumentsType(engine)
    return kind(engine, types.int64, types.int64), _make_rows(kind)


def _item(context: Any, builder: Any, kind: Any, engine: Any, at: Any) -> Any:
    if kind == instrument_type:
        return at
    return _make_place(kind, context, builder, engine, at)


@lower_builtin("getiter", BarsType)
@lower_builtin("getiter", InstrumentsType)
def _getiter(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    rows = cgutils.create_struct_proxy(signature.args[0])(context, builder, values[0])
    iterator = context.make_helper(builder, signature.return_type)
    iterator.engine = rows.engine
    iterator.stop = rows.stop
    iterator.at = cgutils.alloca_once_value(builder, rows.start)
    return iterator._getvalue()


@lower_builtin("iternext", RowIteratorType)
@iternext_impl(RefType.UNTRACKED)
def _iternext(context: Any, builder: Any, signature: Any, values: Any, result: Any) -> None:
    kind = signature.args[0]
    iterator = context.make_helper(builder, kind, value=values[0])
    at = builder.load(iterator.at)
    is_valid = builder.icmp_signed("<", at, iterator.stop)
    result.set_valid(is_valid)
    with builder.if_then(is_valid):
        result.yield_(_item(context, builder, kind.yield_type, iterator.engine, at))
        builder.store(builder.add(at, context.get_constant(types.int64, 1)), iterator.at)


@intrinsic
def _count(_typing: Any, rows: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        proxy = cgutils.create_struct_proxy(signature.args[0])(context, builder, values[0])
        return builder.sub(proxy.stop, proxy.start)

    return types.int64(rows), generate


@intrinsic
def _get(_typing: Any, rows: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        proxy = cgutils.create_struct_proxy(signature.args[0])(context, builder, values[0])
        at = builder.add(proxy.start, values[1])
        return _item(context, builder, signature.return_type, proxy.engine, at)

    return rows.item(rows, types.int64), generate


@intrinsic
def _start(_typing: Any, rows: Any) -> Any:
    """The place of the first row in the whole."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return cgutils.create_struct_proxy(signature.args[0])(context, builder, values[0]).start

    return types.int64(rows), generate


@intrinsic
def _part(_typing: Any, rows: Any, start: Any, stop: Any) -> Any:
    """The rows from the `start`-th one to the one before the `stop`-th."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        part = cgutils.create_struct_proxy(signature.args[0])(context, builder, values[0])
        first = part.start
        part.start = builder.add(first, values[1])
        part.stop = builder.add(first, values[2])
        return part._getvalue()

    return rows(rows, types.int64, types.int64), generate


@overload(len)
def _len(rows: Any) -> Any:
    return (lambda rows: _count(rows)) if isinstance(rows, BarsType | InstrumentsType) else None


@overload(operator.getitem)
def _getitem(rows: Any, number: Any) -> Any:
    if not isinstance(rows, BarsType | InstrumentsType) or not isinstance(number, types.Integer):
        return None

    def get(rows: Any, number: Any) -> Any:
        at = number if number >= 0 else number + _count(rows)
        if at < 0 or at >= _count(rows):
            raise IndexError("tuple index out of range")
        return _get(rows, at)

    return get


@overload(operator.getitem)
def _getslice(rows: Any, cut: Any) -> Any:
    if not isinstance(rows, BarsType | InstrumentsType) or not isinstance(cut, types.SliceType):
        return None

    def get(rows: Any, cut: Any) -> Any:
        start, stop, step = cut.indices(_count(rows))
        if step != 1:
            raise ValueError("compiled code takes slices of neighbors")
        return _part(rows, start, max(start, stop))

    return get


@overload(operator.contains)
def _contains(rows: Any, word: Any) -> Any:
    if isinstance(rows, InstrumentsType) and isinstance(word, InstrumentType):
        return lambda rows, word: 0 <= to_number(word) - _start(rows) < _count(rows)
    return None


@overload_attribute(SliceType, "ts_known")
def _slice_ts_known(slice_: Any) -> Any:
    return lambda slice_: slice_._engine.ts_known[slice_._start]


@overload_attribute(SliceType, "bars")
def _slice_bars(slice_: Any) -> Any:
    return lambda slice_: bars_between(slice_._engine, slice_._start, slice_._stop)


# Open orders.


@overload_attribute(OpenOrderType, "client_order_id")
def _order_id(order: Any) -> Any:
    return lambda order: as_order_id(order._engine.order_number[order._at])


@overload_attribute(OpenOrderType, "instrument")
def _order_instrument(order: Any) -> Any:
    return lambda order: as_instrument(order._engine.order_instrument[order._at])


for _name, _column in (("side", "order_side"), ("order_type", "order_type"),
                       ("status", "order_status")):  # fmt: skip
    _row_attribute(OpenOrderType, _name, _column)


@compiled
def get_order_quantity(engine: Engine, slot: int, lots: int) -> float:
    """Quantity of an order, in units."""
    return get_units(engine, engine.order_instrument[slot], lots)


@compiled
def get_ordered_lots(engine: Engine, slot: int) -> int:
    """Lots of an order; the estimate where the venue sizes it."""
    lots = engine.order_lots[slot]
    return lots if lots != 0 else engine.order_estimated[slot]


@compiled
def get_price(engine: Engine, instrument: int, ticks: int) -> float:
    """The float64 nearest to the price of `ticks`."""
    return ticks / engine.instrument_ticks_per_unit[instrument]


@overload_attribute(OpenOrderType, "quantity")
def _order_quantity(order: Any) -> Any:
    return lambda order: get_order_quantity(
        order._engine, order._at, get_ordered_lots(order._engine, order._at)
    )


@overload_attribute(OpenOrderType, "filled")
def _order_filled(order: Any) -> Any:
    return lambda order: get_order_quantity(
        order._engine, order._at, order._engine.order_filled[order._at]
    )


@overload_attribute(OpenOrderType, "limit")
def _order_limit(order: Any) -> Any:
    return lambda order: get_price(
        order._engine,
        order._engine.order_instrument[order._at],
        order._engine.order_limit[order._at],
    )


@overload_attribute(OpenOrderType, "stop")
def _order_stop(order: Any) -> Any:
    return lambda order: get_price(
        order._engine,
        order._engine.order_instrument[order._at],
        order._engine.order_stop[order._at],
    )


# What counts as true.


@intrinsic
def _present(_typing: Any, value: Any) -> Any:
    """What an optional value holds, which is there."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        held = context.make_helper(builder, signature.args[0], value=values[0]).data
        return impl_ret_borrowed(context, builder, signature.return_type, held)

    return value.type(value), generate


_OBJECTS = (
    InstrumentType, BarType, TradeType, OpenOrderType, SliceType, FeaturesType, ContextType,
    StrategyType,
)  # fmt: skip


def _find_truth(value: Any) -> Callable[..., Any] | None:
    """`bool(value)` where Numba has none."""
    if isinstance(value, types.Optional):
        return lambda value: False if value is None else bool(_present(value))
    if isinstance(value, OrderIdType):
        return lambda value: to_number(value) != 0
    if isinstance(value, types.IntEnumMember):
        return lambda value: value.value != 0
    if isinstance(value, BarsType | InstrumentsType):
        return lambda value: _count(value) != 0
    return (lambda value: True) if isinstance(value, _OBJECTS) else None


overload(bool)(_find_truth)


@overload(float)
def _bool_as_float(value: Any) -> Any:
    return (lambda value: 1.0 if value else 0.0) if isinstance(value, types.Boolean) else None


# What is true now.


@compiled
def to_currency(amount: int) -> float:
    """Minor units as the float64 nearest to the amount of currency, as `amount / E8` in Python."""
    if -9_007_199_254_740_992 < amount < 9_007_199_254_740_992:
        return amount / _E8
    whole = amount // _E8
    return whole + (amount - whole * _E8) / _E8


@compiled
def get_now(engine: Engine) -> int:
    """Engine time."""
    if engine.row < 0:
        return engine.now
    return max(engine.now, engine.ts_known[engine.row])


@compiled
def get_last_row(engine: Engine, instrument: int) -> int:
    """Newest row of an instrument; -1 before its first bar."""
    return engine.row if engine.is_single else engine.last_row[instrument]


@compiled
def get_close(engine: Engine, instrument: int) -> float:
    """Newest close; NaN before the first bar."""
    row = get_last_row(engine, instrument)
    return engine.close[row] if row >= 0 else math.nan


@compiled
def get_feature_row(engine: Engine, row: int) -> int:
    """`row`, if it has features."""
    if row < 0:
        raise AttributeError("there are no features before the first bar")
    return row


@overload_attribute(ContextType, "now")
def _now(ctx: Any) -> Any:
    return lambda ctx: get_now(engine_of(ctx))


@overload_attribute(ContextType, "cash")
def _cash(ctx: Any) -> Any:
    return lambda ctx: to_currency(engine_of(ctx).cash)


@overload_attribute(ContextType, "equity")
def _equity(ctx: Any) -> Any:
    return lambda ctx: to_currency(get_equity(engine_of(ctx)))


@overload_attribute(ContextType, "instruments")
def _instruments(ctx: Any) -> Any:
    return lambda ctx: instruments_between(engine_of(ctx), 0, engine_of(ctx).instruments)


@overload_attribute(ContextType, "features")
def _features(ctx: Any) -> Any:
    if not ctx.features.names:
        return None

    def read(ctx: Any) -> Any:
        engine = engine_of(ctx)
        return features_at(ctx, get_feature_row(engine, engine.feature_row))

    return read


@overload_method(ContextType, "features_of")
def _features_of(ctx: Any, instrument: Any) -> Any:
    if not isinstance(instrument, InstrumentType) or not ctx.features.names:
        return None

    def read(ctx: Any, instrument: Any) -> Any:
        engine = engine_of(ctx)
        row = get_last_row(engine, to_number(instrument))
        return features_at(ctx, get_feature_row(engine, row))

    return read


@overload_method(ContextType, "position")
def _position(ctx: Any, instrument: Any) -> Any:
    if not isinstance(instrument, InstrumentType):
        return None
    return lambda ctx, instrument: engine_of(ctx).position_units[to_number(instrument)]


@overload_method(ContextType, "mark")
def _mark(ctx: Any, instrument: Any) -> Any:
    if not isinstance(instrument, InstrumentType):
        return None
    return lambda ctx, instrument: get_close(engine_of(ctx), to_number(instrument))


@overload_method(ContextType, "is_member")
def _is_member(ctx: Any, instrument: Any) -> Any:
    if not isinstance(instrument, InstrumentType):
        return None
    return lambda ctx, instrument: True


@overload_method(ContextType, "open_orders")
def _open_orders(ctx: Any, instrument: Any = None) -> Any:
    if instrument is None or isinstance(instrument, types.NoneType | types.Omitted):

        def find_all(ctx: Any, instrument: Any = None) -> Any:
            engine = engine_of(ctx)
            return [open_order_at(ctx, engine.open_slots[at]) for at in range(engine.open_count)]

        return find_all
    if not isinstance(instrument, InstrumentType):
        return None

    def find(ctx: Any, instrument: Any = None) -> Any:
        engine = engine_of(ctx)
        here = to_number(instrument)
        return [
            open_order_at(ctx, engine.open_slots[at])
            for at in range(engine.open_count)
            if engine.order_instrument[engine.open_slots[at]] == here
        ]

    return find


# What should happen.


@compiled
def to_lots(engine: Engine, instrument: int, quantity: float) -> int:
    """Exact lots of a quantity; raises for one that is off the grid, or too fine to tell here."""
    if not abs(quantity) < 9_007_199_254_740_992.0:
        raise ValueError("a quantity is not a number")
    steps = engine.instrument_lots_per_unit[instrument]
    if steps > 0:
        lots = round(quantity * steps)
        if lots / steps == quantity:
            return lots
    else:
        whole = engine.instrument_whole_lot[instrument]
        lots = round(quantity / whole)
        if float(lots * whole) == quantity:
            return lots
    raise ValueError("a quantity is off the grid")


@compiled
def to_ticks(engine: Engine, instrument: int, price: float) -> int:
    """Exact ticks of a price; raises for one that is not positive or off the grid."""
    steps = engine.instrument_ticks_per_unit[instrument]
    if not abs(price) < 9_007_199_254_740_992.0:
        raise ValueError("a price is not a number")
    ticks = round(price * steps)
    if ticks / steps != price or ticks <= 0:
        raise ValueError("a price is off the grid")
    return ticks


@compiled
def queue_intent(
    engine: Engine, kind: int, instrument: int, side: int, basis: int, amount: int,
    order_type: int, time_in_force: int, limit: int, stop: int, ts_expire: int, reduce_only: bool,
    target: int, label: int,
) -> int:  # fmt: skip
    """Put an intent behind those of this step; returns its number."""
    at = engine.queued
    if at >= engine.slots:
        raise MemoryError("too many intents in a step")
    number = engine.intent_count + 1
    engine.intent_count = number
    engine.queued = at + 1
    engine.intent_kind[at] = kind
    engine.intent_number[at] = number
    engine.intent_instrument[at] = instrument
    engine.intent_side[at] = side
    engine.intent_basis[at] = basis
    engine.intent_amount[at] = amount
    engine.intent_type[at] = order_type
    engine.intent_time_in_force[at] = time_in_force
    engine.intent_limit[at] = limit
    engine.intent_stop[at] = stop
    engine.intent_ts_expire[at] = ts_expire
    engine.intent_reduce_only[at] = 1 if reduce_only else 0
    engine.intent_target[at] = target
    engine.intent_label[at] = label
    return number


@compiled
def queue_order(
    engine: Engine, instrument: int, side: int, quantity: float, has_limit: bool, limit: float,
    has_stop: bool, stop: float, time_in_force: int, ts_expire: int, reduce_only: bool, label: int,
) -> int:  # fmt: skip
    """`buy` and `sell`."""
    lots = to_lots(engine, instrument, quantity)
    if lots <= 0:
        raise ValueError("a quantity is not positive")
    if not 0 <= time_in_force <= 4:
        raise ValueError("a time in force that the compiled engine does not have")
    if time_in_force != 0 and (time_in_force == 2) != (ts_expire > 0):
        raise ValueError("GTD needs the time when the order ends, the others have none")
    kind = 0
    limit_ticks = 0
    stop_ticks = 0
    if has_limit:
        kind = 1
        limit_ticks = to_ticks(engine, instrument, limit)
    if has_stop:
        kind = 3 if has_limit else 2
        stop_ticks = to_ticks(engine, instrument, stop)
    return queue_intent(
        engine, SUBMIT, instrument, side, _LOTS, lots, kind, time_in_force, limit_ticks,
        stop_ticks, ts_expire, reduce_only, 0, label,
    )  # fmt: skip


@compiled
def queue_sized(
    engine: Engine, instrument: int, side: int, basis: int, amount: int, label: int
) -> int:
    """A market order that is not given in lots."""
    return queue_intent(
        engine, SUBMIT, instrument, side, basis, amount, 0, 0, 0, 0, 0, False, 0, label
    )


@compiled
def to_target(engine: Engine, instrument: int, quantity: float) -> int:
    """Signed lots to hold."""
    lots = to_lots(engine, instrument, abs(quantity))
    return -lots if quantity < 0 else lots


@compiled
def require_positive(amount: int) -> int:
    """`amount`, if it is positive."""
    if amount <= 0:
        raise ValueError("an amount is not positive")
    return amount


@compiled
def queue_replace(
    engine: Engine, target: int, instrument: int, has_quantity: bool, quantity: float,
    has_limit: bool, limit: float, has_stop: bool, stop: float,
) -> None:  # fmt: skip
    """`replace`."""
    slot = find_order(engine, target)
    if slot >= 0 and engine.order_instrument[slot] != instrument:
        raise ValueError("an order is of another instrument")
    lots = 0
    limit_ticks = 0
    stop_ticks = 0
    if has_quantity:
        lots = require_positive(to_lots(engine, instrument, quantity))
    if has_limit:
        limit_ticks = to_ticks(engine, instrument, limit)
    if has_stop:
        stop_ticks = to_ticks(engine, instrument, stop)
    queue_intent(
        engine, REPLACE, instrument, 0, 0, lots, 0, 0, limit_ticks, stop_ticks, 0, False, target, 0
    )


@compiled
def round_units(engine: Engine, instrument: int, quantity: float) -> float:
    """The nearest tradable quantity toward zero."""
    lots = int(abs(quantity) / engine.instrument_lot[instrument] + 1e-9)
    units = get_units(engine, instrument, lots)
    return -units if quantity < 0 else units


@compiled
def round_to_tick(engine: Engine, instrument: int, price: float, side: int) -> float:
    """The nearest price on the grid that is not worse for us."""
    ticks = compute_ticks(price, engine.instrument_tick[instrument], -side)
    return get_price(engine, instrument, ticks)


def _is_absent(kind: Any) -> bool:
    return kind is None or isinstance(kind, types.NoneType | types.Omitted)


def _is_price(kind: Any) -> bool:
    return _is_absent(kind) or isinstance(kind, types.Float | types.Integer)


def _number(value: Any) -> float:
    """A price or quantity; 0.0 for None."""
    raise NotImplementedError("for compiled code only")


@overload(_number)
def _to_number_or_zero(value: Any) -> Any:
    if _is_absent(value):
        return lambda value: 0.0
    return lambda value: float(value)


def _to_int(value: Any) -> int:
    """A whole number, or the value of a member of an `IntEnum`."""
    raise NotImplementedError("for compiled code only")


@overload(_to_int)
def _to_whole(value: Any) -> Any:
    if isinstance(value, types.IntEnumMember):
        return lambda value: value.value
    return (lambda value: int(value)) if isinstance(value, types.Integer) else None


def _trade(side: int) -> Callable[..., Any]:
    def order(
        ctx: Any, instrument: Any, quantity: Any, limit: Any = None, stop: Any = None,
        time_in_force: Any = 0, ts_expire: Any = 0, reduce_only: Any = False, label: Any = 0,
    ) -> Any:  # fmt: skip
        if not isinstance(instrument, InstrumentType) or not _is_price(limit):
            return None
        if not _is_price(stop) or not isinstance(quantity, types.Float | types.Integer):
            return None
        if not isinstance(ts_expire, int | types.Integer | types.Omitted):
            return None
        has_limit, has_stop = not _is_absent(limit), not _is_absent(stop)

        def call(
            ctx: Any, instrument: Any, quantity: Any, limit: Any = None, stop: Any = None,
            time_in_force: Any = 0, ts_expire: Any = 0, reduce_only: Any = False, label: Any = 0,
        ) -> Any:  # fmt: skip
            return as_order_id(
                queue_order(
                    engine_of(ctx), to_number(instrument), side, float(quantity), has_limit,
                    _number(limit), has_stop, _number(stop), _to_int(time_in_force), ts_expire,
                    reduce_only, label,
                )
            )  # fmt: skip

        return call

    return order


overload_method(ContextType, "buy")(_trade(1))
overload_method(ContextType, "sell")(_trade(-1))


@overload_method(ContextType, "target")
def _target(ctx: Any, instrument: Any, quantity: Any, label: Any = 0) -> Any:
    if not isinstance(instrument, InstrumentType):
        return None

    def call(ctx: Any, instrument: Any, quantity: Any, label: Any = 0) -> Any:
        engine = engine_of(ctx)
        place = to_number(instrument)
        amount = to_target(engine, place, float(quantity))
        return as_order_id(queue_sized(engine, place, 1, _TARGET_LOTS, amount, label))

    return call


@overload_method(ContextType, "target_weight")
def _target_weight(ctx: Any, instrument: Any, weight: Any, label: Any = 0) -> Any:
    if not isinstance(instrument, InstrumentType):
        return None

    def call(ctx: Any, instrument: Any, weight: Any, label: Any = 0) -> Any:
        amount = round_count(float(weight), 8)
        engine = engine_of(ctx)
        place = to_number(instrument)
        return as_order_id(queue_sized(engine, place, 1, _TARGET_WEIGHT, amount, label))

    return call


def _spend(basis: int) -> Callable[..., Any]:
    def spend(ctx: Any, instrument: Any, amount: Any, side: Any = 1, label: Any = 0) -> Any:
        if not isinstance(instrument, InstrumentType):
            return None

        def call(ctx: Any, instrument: Any, amount: Any, side: Any = 1, label: Any = 0) -> Any:
            count = require_positive(round_count(float(amount), 8))
            place = to_number(instrument)
            return as_order_id(
                queue_sized(engine_of(ctx), place, _to_int(side), basis, count, label)
            )

        return call

    return spend


def _spend_ratio(
    ctx: Any, instrument: Any, ratio: Any, side: Any = 1, label: Any = 0
) -> Any:  # fmt: skip
    if not isinstance(instrument, InstrumentType):
        return None

    def call(ctx: Any, instrument: Any, ratio: Any, side: Any = 1, label: Any = 0) -> Any:
        count = require_positive(round_count(float(ratio), 8))
        place = to_number(instrument)
        return as_order_id(
            queue_sized(engine_of(ctx), place, _to_int(side), _EQUITY_AT_FILL, count, label)
        )

    return call


overload_method(ContextType, "spend")(_spend(_NOTIONAL_AT_FILL))
overload_method(ContextType, "spend_ratio")(_spend_ratio)


@overload_method(ContextType, "cancel")
def _cancel(ctx: Any, client_order_id: Any) -> Any:
    if not isinstance(client_order_id, OrderIdType):
        return None

    def call(ctx: Any, client_order_id: Any) -> Any:
        target = to_number(client_order_id)
        queue_intent(engine_of(ctx), CANCEL, 0, 0, 0, 0, 0, 0, 0, 0, 0, False, target, 0)

    return call


@overload_method(ContextType, "replace")
def _replace(
    ctx: Any, client_order_id: Any, instrument: Any, quantity: Any = None, limit: Any = None,
    stop: Any = None,
) -> Any:  # fmt: skip
    if not isinstance(client_order_id, OrderIdType) or not isinstance(instrument, InstrumentType):
        return None
    if not (_is_price(quantity) and _is_price(limit) and _is_price(stop)):
        return None
    has_quantity, has_limit = not _is_absent(quantity), not _is_absent(limit)
    has_stop = not _is_absent(stop)

    def call(
        ctx: Any, client_order_id: Any, instrument: Any, quantity: Any = None, limit: Any = None,
        stop: Any = None,
    ) -> Any:  # fmt: skip
        queue_replace(
            engine_of(ctx), to_number(client_order_id), to_number(instrument), has_quantity,
            _number(quantity), has_limit, _number(limit), has_stop, _number(stop),
        )  # fmt: skip

    return call


@overload_method(ContextType, "round_quantity")
def _round_quantity(ctx: Any, instrument: Any, quantity: Any) -> Any:
    if not isinstance(instrument, InstrumentType):
        return None
    return lambda ctx, instrument, quantity: round_units(
        engine_of(ctx), to_number(instrument), float(quantity)
    )


@overload_method(ContextType, "round_price")
def _round_price(ctx: Any, instrument: Any, price: Any, side: Any) -> Any:
    if not isinstance(instrument, InstrumentType):
        return None
    return lambda ctx, instrument, price, side: round_to_tick(
        engine_of(ctx), to_number(instrument), float(price), _to_int(side)
    )


# Sorting, as Python does it.


def sort_by(values: Any, keys: Any, reverse: Any) -> None:
    """`values.sort(key=..., reverse=reverse)` with the key of each value; stable, like Python."""
    raise NotImplementedError("for compiled code only")


@overload(sort_by)
def _sort_by(values: Any, keys: Any, reverse: Any) -> Any:
    if not isinstance(values, types.List) or not isinstance(keys, types.List):
        return None

    def sort(values: Any, keys: Any, reverse: Any) -> None:
        values[:] = [values[at] for at in merge_order(keys, reverse)]

    return sort


def sorted_by(values: Any, keys: Any, reverse: Any) -> Any:
    """`sorted(values, key=..., reverse=reverse)` with the key of each value."""
    raise NotImplementedError("for compiled code only")


@overload(sorted_by)
def _sorted_by(values: Any, keys: Any, reverse: Any) -> Any:
    if not isinstance(values, types.List) or not isinstance(keys, types.List):
        return None
    return lambda values, keys, reverse: [values[at] for at in merge_order(keys, reverse)]


def merge_order(keys: Any, reverse: Any) -> Any:
    """Places of `keys` in rising (or falling) order, equal ones in the order they have."""
    raise NotImplementedError("for compiled code only")


@overload(merge_order)
def _merge_order(keys: Any, reverse: Any) -> Any:
    def order(keys: Any, reverse: Any) -> Any:
        count = len(keys)
        places = np.arange(count)
        spare = np.empty(count, np.int64)
        for key in keys:
            if key != key:
                raise ValueError("NaN has no place in an order")
        width = 1
        while width < count:
            start = 0
            while start < count:
                middle = min(start + width, count)
                stop = min(start + 2 * width, count)
                left = start
                right = middle
                for at in range(start, stop):
                    takes_right = left >= middle
                    if not takes_right and right < stop:
                        if reverse:
                            takes_right = keys[places[left]] < keys[places[right]]
                        else:
                            takes_right = keys[places[right]] < keys[places[left]]
                    if takes_right:
                        spare[at] = places[right]
                        right += 1
                    else:
                        spare[at] = places[left]
                        left += 1
                start = stop
            places[:] = spare
            width *= 2
        return places

    return order
