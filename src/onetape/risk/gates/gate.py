"""The port of a gate, and how a gate says no."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Protocol, TypeVar

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import minor_to_float
from onetape.domain.orders import DenialCode
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.risk.input import RiskInput

LimitT = TypeVar("LimitT")


class Gate(Protocol[LimitT]):
    """One pre-trade check: a limit for each instrument, and the rule that compares with it.

    The engine asks `limit_for` once an instrument and then calls the rule itself, so a check costs
    one call. `code` is what refusals carry.
    """

    code: DenialCode

    @staticmethod
    def check(order: RiskInput, limit: LimitT, /) -> bool:
        """Whether `order` (its worst-case fields filled) passes: a rule, run by both hosts."""
        ...

    def limit_for(self, instrument: Instrument) -> LimitT | None:
        """The limit as the rule takes it; None where the instrument is never refused."""
        ...

    def deny(self, order: RiskInput, limit: LimitT) -> OrderDenied:
        """The refusal of an order that did not pass, with its numbers."""
        ...


GateCheck = tuple[Callable[[RiskInput, Any], bool], Any, Gate[Any]]
"""A gate for one instrument: its rule, its limit there, and itself."""


def prepare_checks(gates: Iterable[Gate[Any]], instrument: Instrument) -> tuple[GateCheck, ...]:
    """What of `gates` may refuse an order of `instrument`, in the same order."""
    limits = [(gate, gate.limit_for(instrument)) for gate in gates]
    return tuple((gate.check, limit, gate) for gate, limit in limits if limit is not None)


class UniformGate:
    """A gate with the same limit, a whole number, for every instrument."""

    __slots__ = ("_limit",)

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def limit_for(self, instrument: Instrument) -> int:
        """The limit."""
        return self._limit


class QuantityGate:
    """A gate with the same quantity, in units, as limit for every instrument."""

    __slots__ = ("_quantity",)

    def __init__(self, quantity: Decimal) -> None:
        self._quantity = quantity

    def limit_for(self, instrument: Instrument) -> int:
        """The lots that the quantity holds."""
        return int((self._quantity / instrument.lot_size).to_integral_value(ROUND_FLOOR))


def make_denial(
    order: RiskInput, code: DenialCode, actual: float, limit: float, unit: str
) -> OrderDenied:
    """The refusal of `order`: `actual` broke `limit`, both in `unit`."""
    intent = order.intent
    return OrderDenied(
        strategy=intent.strategy,
        intent=intent.intent,
        instrument=intent.instrument,
        code=code,
        actual=actual,
        limit=limit,
        unit=unit,
    )


def deny_amount(order: RiskInput, code: DenialCode, actual: int, limit: int) -> OrderDenied:
    """The refusal of `order` over money (minor units), told in the instrument's currency."""
    currency = order.instrument.settlement_currency
    return make_denial(order, code, minor_to_float(actual), minor_to_float(limit), currency)


def deny_lots(order: RiskInput, code: DenialCode, actual: int, limit: int) -> OrderDenied:
    """The refusal of `order` over lots, told in units of the instrument."""
    size = order.instrument.lot_float
    return make_denial(order, code, actual * size, limit * size, "units")


def deny_moment(order: RiskInput, code: DenialCode, limit: int) -> OrderDenied:
    """The refusal of `order` over its time and `limit` (ns UTC), told in seconds since 1970."""
    unit = "s since 1970 UTC"
    return make_denial(order, code, order.ts / NS_PER_SECOND, limit / NS_PER_SECOND, unit)
