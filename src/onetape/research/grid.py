"""The grid of a sweep: values of some params of a strategy, and every combination of them, lazily.

Values are written as

| text              | values                                                        |
| ----------------- | ------------------------------------------------------------- |
| `start:stop:step` | from start by step up to and including stop, in exact decimals |
| `a,b,c`           | these                                                         |
| `a`               | this one                                                      |
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast, overload

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.numbers import INT64_MAX, to_decimal
from onetape.strategy.declaration import Param

Value = int | float | bool | str

MAX_VALUES = 1_000_000_000_000
"""Most values of one param: as far as counting them makes sense."""
_EXPONENT_MAX = 300
"""Numbers of more digits before or behind the point are beyond float64, or nearly so."""
_LISTED_VALUES = 10_000
"""Longer axes are told by their ends and count."""


class Steps(Sequence[float]):
    """`start`, `start + step`, ...: each the float64 nearest to the exact decimal.

    Args:
        start: The first value.
        step: From value to value.
        count: How many values there are.
    """

    def __init__(self, start: Fraction, step: Fraction, count: int) -> None:
        self._start = start
        self._step = step
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return float(self._start + self._step * (index % self._count))

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Position of a value; `ValueError` when it is none."""
        at = round((Fraction(value) - self._start) / self._step)
        if not start <= at < (self._count if stop is None else stop) or self[at] != value:
            raise ValueError(f"{value!r} is not on the axis")
        return at


class Axis(msgspec.Struct, frozen=True):
    """One param and the values that it takes, in the order given."""

    name: str
    values: Sequence[Value]

    def describe(self) -> dict[str, Any]:
        """What it is, for JSON: the values, or their ends where they are very many."""
        if len(self.values) <= _LISTED_VALUES:
            return {"name": self.name, "values": list(self.values)}
        ends = {"first": self.values[0], "second": self.values[1], "last": self.values[-1]}
        return {"name": self.name, **ends, "count": len(self.values)}


class Grid:
    """Every combination of the values of some axes, the last axis running fastest.

    Args:
        axes: At least one.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axes)

    @property
    def names(self) -> tuple[str, ...]:
        """The params that vary."""
        return tuple(axis.name for axis in self.axes)

    @property
    def combinations(self) -> int:
        """How many combinations there are."""
        return math.prod(len(axis.values) for axis in self.axes)

    def __iter__(self) -> Iterator[tuple[Value, ...]]:
        """The combinations, one at a time; no list of them is ever made."""
        return _combine([axis.values for axis in self.axes])


def _combine(columns: Sequence[Sequence[Value]]) -> Iterator[tuple[Value, ...]]:
    first, rest = columns[0], columns[1:]
    if not rest:
        yield from ((value,) for value in first)
        return
    for value in first:
        for others in _combine(rest):
            yield (value, *others)


def split_param(text: str) -> tuple[str, str]:
    """Name and values of `name=values`.

    Raises:
        ConfigError: One of them is missing.
    """
    name, _, values = text.partition("=")
    if not name.strip() or not values.strip():
        raise ConfigError(
            f"--param {text!r} is not name=values",
            remedy="write it like --param fast=5:50:5 or --param fast=5,10,20",
        )
    return name.strip(), values.strip()


def read_axis(name: str, given: object, declared: Param) -> Axis:
    """The axis of a declared param.

    Args:
        name: The param.
        given: Text as above, one value, or an iterable of values.
        declared: Its type and bounds.

    Raises:
        ConfigError: No values, a value twice, or text that is none of the forms above.
        StrategyError: A value is of another type or out of range.
    """
    where = f"--param {name}"
    values = _read_values(given, declared, where)
    if not values:
        raise ConfigError("there are no values", where=where, remedy="give at least one")
    if isinstance(values, range | Steps) and declared.choices is None:
        for end in (values[0], values[-1]):  # what lies between two valid ends is valid
            _check(end, declared, where)
        return Axis(name, values)
    checked = [_check(value, declared, where) for value in values]
    for value, times in Counter(checked).items():
        if times > 1:
            raise ConfigError(f"{value!r} comes twice", where=where, remedy="give each value once")
    return Axis(name, tuple(checked))


def _check(value: object, declared: Param, where: str) -> Any:
    checked = declared.validate(value, where)
    if isinstance(checked, int) and abs(checked) > INT64_MAX:
        raise ConfigError(f"{checked} is more than int64 holds", where=where)
    if isinstance(checked, float) and not math.isfinite(checked):
        raise ConfigError(f"{checked} is not finite", where=where)
    return checked


def _read_values(given: object, declared: Param, where: str) -> Sequence[Any]:
    if isinstance(given, str):
        return _parse(given, declared, where)
    if isinstance(given, range):
        return given if declared.type_name == "int" else [*map(float, given)]
    if isinstance(given, set | frozenset):
        raise ConfigError("a set has no order", where=where, remedy="give a list")
    if isinstance(given, Iterable):
        return [_plain(value) for value in cast("Iterable[object]", given)]
    return [_plain(given)]


def _plain(value: object) -> Any:
    """A number of numpy as one of Python."""
    item = getattr(value, "item", None)
    return item() if callable(item) else value


def _parse(text: str, declared: Param, where: str) -> Sequence[Any]:
    kind = declared.type_name
    if kind in ("int", "float") and ":" in text:
        return _parse_range(text, kind, where)
    tokens = [token.strip() for token in text.split(",")]
    if not all(tokens):
        raise ConfigError(f"{text!r} has an empty value", where=where,
                          remedy="write values like 5,10,20")  # fmt: skip
    match kind:
        case "int":
            return [_to_int(_to_number(token, where), where) for token in tokens]
        case "float":
            return [float(_to_number(token, where)) for token in tokens]
        case "bool":
            return [_to_bool(token, where) for token in tokens]
        case _:
            return tokens


def _parse_range(text: str, kind: str, where: str) -> Sequence[Any]:
    parts = text.split(":")
    if len(parts) != 3:
        raise ConfigError(f"{text!r} is not start:stop:step", where=where,
                          remedy="write it like 5:50:5")  # fmt: skip
    numbers = [_to_number(part.strip(), where) for part in parts]
    start, stop, step = map(Fraction, numbers)
    if step == 0 or (stop - start) / step < 0:
        raise ConfigError(f"{text!r} never gets from {parts[0]} to {parts[1]}", where=where,
                          remedy="give a step that leads there")  # fmt: skip
    count = math.floor((stop - start) / step) + 1
    if count > MAX_VALUES:
        raise ConfigError(f"{text!r} has {count:,} values", where=where,
                          remedy="give a larger step")  # fmt: skip
    if kind == "int":
        first, _, width = (_to_int(number, where) for number in numbers)
        return range(first, first + width * count, width)
    return Steps(start, step, count)


def _to_number(text: str, where: str) -> Decimal:
    number = to_decimal(text, f"{where}:", error=ConfigError)
    if abs(number.adjusted()) > _EXPONENT_MAX:
        raise ConfigError(f"{text} is more than a float64 holds", where=where)
    return number


def _to_int(number: Decimal, where: str) -> int:
    if number != number.to_integral_value():
        raise ConfigError(f"{number} is not a whole number", where=where,
                          remedy="the param is declared as int")  # fmt: skip
    return int(number)


def _to_bool(text: str, where: str) -> bool:
    if text not in ("true", "false"):
        raise ConfigError(f"{text!r} is not true or false", where=where)
    return text == "true"
