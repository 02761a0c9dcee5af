"""The limits of a session, and the gates they stand for."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.numbers import E8, Number, to_decimal, to_grid, to_minor, to_ratio_e8
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.risk.gates.buying_power import BuyingPowerGate
from onetape.risk.gates.concentration import ConcentrationGate
from onetape.risk.gates.daily_loss import DailyLossGate
from onetape.risk.gates.drawdown import DrawdownGate
from onetape.risk.gates.gate import Gate
from onetape.risk.gates.gross_exposure import GrossExposureGate
from onetape.risk.gates.instruments import InstrumentGate
from onetape.risk.gates.kill_switch import KillSwitchGate
from onetape.risk.gates.leverage import LeverageGate
from onetape.risk.gates.net_exposure import NetExposureGate
from onetape.risk.gates.order_notional import OrderNotionalGate
from onetape.risk.gates.order_quantity import OrderQuantityGate
from onetape.risk.gates.order_rate import OrderRateGate
from onetape.risk.gates.position_quantity import PositionQuantityGate
from onetape.risk.gates.position_ratio import PositionRatioGate

T = TypeVar("T")


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits as people write them. Absent (None): that gate is not asked.

    Quantities are in units of the instrument, notionals in currency, `*_pct` in percent of the
    strategy's equity (`max_concentration_pct`: of the larger of equity and gross notional,
    `max_daily_loss_pct`: of the day's first equity, `max_drawdown_pct`: of the peak). A limit is
    the last value that passes.

    Instruments, kill switch and buying power are always asked. Without `max_leverage` buying power
    is that of a cash account: gross notional up to equity, buys paid from cash. Short positions are
    allowed unless `allow_short` says otherwise; `reduce_only` orders never open one.
    """

    allowed_instruments: tuple[str, ...] | None = None
    forbidden_instruments: tuple[str, ...] = ()
    max_order_quantity: Number | None = None
    max_order_notional: Number | None = None
    max_position_quantity: Number | None = None
    max_position_pct: Number | None = None
    max_concentration_pct: Number | None = None
    max_gross_exposure_pct: Number | None = None
    max_net_exposure_pct: Number | None = None
    max_leverage: Number | None = None
    allow_short: bool = True
    max_daily_loss_pct: Number | None = None
    max_drawdown_pct: Number | None = None
    max_orders_per_minute: int | None = None


def build_gates(limits: RiskLimits, *, is_margin: bool = False) -> tuple[Gate[Any], ...]:
    """The gates of `limits`, in the fixed order of asking; `is_margin`: the account has margin.

    Raises:
        ConfigError: A limit is not positive or finer than 1e-8, or an id is not SYMBOL.VENUE.
    """
    for key in ("allowed_instruments", "forbidden_instruments"):
        for identity in getattr(limits, key) or ():
            _require_id(identity, key)
    leverage_e8 = _ratio_e8(limits, "max_leverage", 1) or E8
    gates: tuple[Gate[Any] | None, ...] = (
        InstrumentGate(limits.allowed_instruments, limits.forbidden_instruments),
        KillSwitchGate(),
        _build(OrderQuantityGate, _positive(limits, "max_order_quantity")),
        _build(OrderNotionalGate, _minor(limits, "max_order_notional")),
        _build(PositionQuantityGate, _positive(limits, "max_position_quantity")),
        _build(PositionRatioGate, _ratio_e8(limits, "max_position_pct", 100)),
        _build(ConcentrationGate, _ratio_e8(limits, "max_concentration_pct", 100)),
        _build(GrossExposureGate, _ratio_e8(limits, "max_gross_exposure_pct", 100)),
        _build(NetExposureGate, _ratio_e8(limits, "max_net_exposure_pct", 100)),
        _build(LeverageGate, _ratio_e8(limits, "max_leverage", 1)),
        BuyingPowerGate(leverage_e8, allow_short=limits.allow_short, is_margin=is_margin),
        _build(DailyLossGate, _ratio_e8(limits, "max_daily_loss_pct", 100)),
        _build(DrawdownGate, _ratio_e8(limits, "max_drawdown_pct", 100)),
        _build(_build_order_rate, _positive(limits, "max_orders_per_minute")),
    )
    return tuple(gate for gate in gates if gate is not None)


def _build(make: Callable[[T], Gate[Any]], limit: T | None) -> Gate[Any] | None:
    return None if limit is None else make(limit)


def _build_order_rate(max_orders: Decimal) -> OrderRateGate:
    whole = to_grid(max_orders, Decimal(1), _where("max_orders_per_minute"), error=ConfigError)
    return OrderRateGate(whole, 60 * NS_PER_SECOND)


def _positive(limits: RiskLimits, key: str) -> Decimal | None:
    value: Number | None = getattr(limits, key)
    if value is None:
        return None
    number = to_decimal(value, _where(key), error=ConfigError)
    if number <= 0:
        raise ConfigError(
            f"{number:f} is no limit", where=_where(key), remedy="give more than 0, or leave it out"
        )
    return number


def _ratio_e8(limits: RiskLimits, key: str, whole: int) -> int | None:
    number = _positive(limits, key)
    return None if number is None else to_ratio_e8(number / whole, _where(key), error=ConfigError)


def _minor(limits: RiskLimits, key: str) -> int | None:
    number = _positive(limits, key)
    return None if number is None else to_minor(number, _where(key), error=ConfigError)


def _require_id(identity: str, key: str) -> None:
    symbol, _, venue = identity.rpartition(".")
    if not symbol or not venue:
        raise ConfigError(
            f"{identity!r} is not SYMBOL.VENUE", where=_where(key), remedy="for example AAPL.XNAS"
        )


def _where(key: str) -> str:
    return f"risk.{key}"
