"""`param` and `state`: what a strategy declares in its class body."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar, cast

import msgspec
import numpy as np

from onetape.domain.errors import StrategyError

T = TypeVar("T", int, float, bool, str)

_TYPES: dict[str, type[Any]] = {"int": int, "float": float, "bool": bool, "str": str}


class Param(msgspec.Struct, frozen=True):
    """A declared parameter: default, type name and bounds."""

    default: Any
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    doc: str = ""
    type_name: str = ""

    def constraint(self) -> str:
        """The bounds as text, for example `>= 2, < 10`; empty when there are none."""
        bounds = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        parts = [f"{sign} {bound}" for sign, bound in bounds if bound is not None]
        if self.choices is not None:
            parts.append("one of " + ", ".join(map(repr, self.choices)))
        return ", ".join(parts)

    def validate(self, value: object, where: str) -> Any:
        """`value` as the declared type, inside the bounds.

        Raises:
            StrategyError: Wrong type or out of range; `where` names strategy and parameter.
        """
        wanted = _TYPES[self.type_name]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not wanted or value != value:
            raise StrategyError(f"{value!r} is not of type {self.type_name}", where=where)
        number = cast(Any, value)
        inside = (
            (self.ge is None or number >= self.ge)
            and (self.gt is None or number > self.gt)
            and (self.le is None or number <= self.le)
            and (self.lt is None or number < self.lt)
            and (self.choices is None or value in self.choices)
        )
        if not inside:
            raise StrategyError(f"{value!r} is out of range", where=where,
                                remedy=f"must be {self.constraint()}")  # fmt: skip
        return value


class State(msgspec.Struct, frozen=True):
    """A declared piece of state: its initial value and type name."""

    default: Any
    type_name: str = ""


def param(
    default: T,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: tuple[T, ...] | None = None,
    doc: str = "",
) -> T:
    """Declare a parameter: validated when the session is built, immutable afterwards.

    The annotation beside it must be `int`, `float`, `bool` or `str`.
    """
    return cast(T, Param(default, ge, gt, le, lt, choices, doc))


def state(default: T) -> T:
    """Declare a piece of state that callbacks may assign: `int`, `float`, `bool` or `str`."""
    return cast(T, State(default))


def to_state(value: object, where: str) -> bool | int | float | str:
    """`value` as a checkpoint keeps it: numpy's numbers and those of enums as Python's own.

    Raises:
        StrategyError: It is nothing that state can hold; `where` names it.
    """
    if isinstance(value, np.generic):
        value = value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    raise StrategyError(f"{value!r} is nothing that state can hold", where=where,
                        remedy="assign an int, float, bool or str")  # fmt: skip


def collect(cls: type[object]) -> tuple[dict[str, Param], dict[str, State]]:
    """The params and state that `cls` and its bases declare, in order of declaration.

    Raises:
        StrategyError: A declaration has no annotation, one of another type, or an initial value
            that is not of it; or a plain value stands where a base declares.
    """
    params: dict[str, Param] = {}
    states: dict[str, State] = {}
    for owner in reversed(cls.__mro__):
        annotations = inspect.get_annotations(owner)
        for name, value in owner.__dict__.items():
            where = f"{owner.__module__}.{owner.__qualname__}.{name}"
            if not isinstance(value, Param | State):
                if name in params or name in states:
                    raise StrategyError(
                        f"{name!r} is a declared name and gets a plain value",
                        where=where,
                        remedy="declare it anew with param(...) or state(...)",
                    )
                continue
            hint = annotations.get(name, "")
            type_name = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
            if type_name not in _TYPES:
                raise StrategyError(
                    f"a {type(value).__name__.lower()} can't be of type {type_name or 'nothing'}",
                    where=where,
                    remedy="annotate it with int, float, bool or str",
                )
            if isinstance(value, Param):
                states.pop(name, None)
                params[name] = msgspec.structs.replace(value, type_name=type_name)
            else:
                params.pop(name, None)
                initial = Param(value.default, type_name=type_name).validate(value.default, where)
                states[name] = State(initial, type_name)
    return params, states
