"""The limits of a session, and the gates they stand for."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.nearest import nearest
from onetape.domain.numbers import E8, Number, to_decimal, to_grid, to_minor, to_ratio_e8
from onetape.domain.orders import DenialCode
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.risk.breakers import BreakerLimits
from onetape.risk.gates.account import (
    AccountDailyLossGate,
    AccountDrawdownGate,
    AccountGrossExposureGate,
    AccountLeverageGate,
    AccountNetExposureGate,
    AccountOrderRateGate,
)
from onetape.risk.gates.buying_power import BuyingPowerGate
from onetape.risk.gates.concentration import ConcentrationGate
from onetape.risk.gates.currency_power import CurrencyPowerGate
from onetape.risk.gates.daily_loss import DailyLossGate
from onetape.risk.gates.day_trades import DayTradeGate
from onetape.risk.gates.delisting import DelistingGate
from onetape.risk.gates.drawdown import DrawdownGate
from onetape.risk.gates.gate import Gate
from onetape.risk.gates.gross_exposure import GrossExposureGate
from onetape.risk.gates.instruments import InstrumentGate
from onetape.risk.gates.kill_switch import KillSwitchGate
from onetape.risk.gates.leverage import LeverageGate
from onetape.risk.gates.listing import ListingGate
from onetape.risk.gates.locate import LocateGate
from onetape.risk.gates.membership import MembershipGate
from onetape.risk.gates.net_exposure import NetExposureGate
from onetape.risk.gates.order_notional import OrderNotionalGate
from onetape.risk.gates.order_quantity import OrderQuantityGate
from onetape.risk.gates.order_rate import OrderRateGate
from onetape.risk.gates.position_quantity import PositionQuantityGate
from onetape.risk.gates.position_ratio import PositionRatioGate
from onetape.risk.gates.uptick import UptickGate

T = TypeVar("T")

SHRINKING = (
    DenialCode.ORDER_QUANTITY, DenialCode.ORDER_NOTIONAL, DenialCode.POSITION_QUANTITY,
    DenialCode.POSITION_RATIO, DenialCode.CONCENTRATION, DenialCode.GROSS_EXPOSURE,
    DenialCode.NET_EXPOSURE, DenialCode.LEVERAGE, DenialCode.BUYING_POWER,
    DenialCode.ACCOUNT_GROSS_EXPOSURE, DenialCode.ACCOUNT_NET_EXPOSURE,
    DenialCode.ACCOUNT_LEVERAGE,
)  # fmt: skip
"""Refusals that a smaller order would pass, so that they can shrink one."""


class AccountLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits over the sum of the strategies, as people write them; None: that gate is not asked.

    The same words as in `RiskLimits`: of the account's equity, the day's first one, its peak. What
    two strategies hold against one another is not netted in gross exposure and leverage.
    `pattern_day_trader` asks FINRA's rule of that name of a margin account.
    """

    max_gross_exposure_pct: Number | None = None
    max_net_exposure_pct: Number | None = None
    max_leverage: Number | None = None
    max_daily_loss_pct: Number | None = None
    max_drawdown_pct: Number | None = None
    max_orders_per_minute: int | None = None
    pattern_day_trader: bool = False

    @property
    def watches(self) -> bool:
        """Whether a gate asks for the peak or for the equity at the start of the day."""
        return self.max_daily_loss_pct is not None or self.max_drawdown_pct is not None


class ShortSaleLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Rules of short sales as people write them; empty: none of them is asked.

    Of what is `hard_to_borrow` no more may be short than `locates` says, in units by id; nothing
    where it says nothing. `uptick_rule` asks SEC Rule 201 of every equity.
    """

    hard_to_borrow: tuple[str, ...] = ()
    locates: dict[str, Number] = {}
    uptick_rule: bool = False


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits as people write them. Absent (None): that gate is not asked.

    Quantities are in units of the instrument, notionals in currency, `*_pct` in percent of the
    strategy's equity (`max_concentration_pct`: of the larger of equity and gross notional,
    `max_daily_loss_pct`: of the day's first equity, `max_drawdown_pct`: of the peak). A limit is
    the last value that passes.

    Instruments, kill switch and buying power are always asked. Without `max_leverage` buying power
    is that of a cash account: gross notional up to equity, buys paid from cash. Short positions are
    allowed unless `allow_short` says otherwise; `reduce_only` orders never open one. `trading_day`
    is when a day of `max_daily_loss_pct` begins (`onetape.runtime.trading_day`).

    `shrink` names the gates (by the code of their refusals, see `SHRINKING`) that leave of an order
    what they allow instead of refusing it. `account` holds over the sum of the strategies, and
    `breakers` stop a strategy or the account when something goes wrong. `trading_status` refuses
    orders before an instrument is listed and after it is delisted, `short_sale` those that the
    rules of short sales forbid.
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
    trading_day: str | None = None
    shrink: tuple[str, ...] = ()
    account: AccountLimits = AccountLimits()
    breakers: tuple[BreakerLimits, ...] = ()
    trading_status: bool = False
    short_sale: ShortSaleLimits = ShortSaleLimits()

    @property
    def watches(self) -> bool:
        """Whether a gate asks for the peak or for the equity at the start of the day."""
        return self.max_daily_loss_pct is not None or self.max_drawdown_pct is not None

    @property
    def is_cash_account(self) -> bool:
        """Whether what is bought is paid from cash, unless there is margin."""
        return (_ratio_e8(self, "max_leverage", 1) or E8) <= E8

    @property
    def beyond_gates(self) -> str:
        """The first key that asks for more than the gates that every host has; empty: none does."""
        asked = {
            "shrink": bool(self.shrink),
            "account": self.account != AccountLimits(),
            "breakers": bool(self.breakers),
            "trading_status": self.trading_status,
            "short_sale": self.short_sale != ShortSaleLimits(),
        }
        return next((key for key, is_asked in asked.items() if is_asked), "")


def build_gates(
    limits: RiskLimits,
    *,
    is_margin: bool = False,
    has_universe: bool = False,
    holds_currencies: bool = False,
) -> tuple[Gate[Any], ...]:
    """The gates of `limits`, in the fixed order of asking.

    Args:
        limits: The limits.
        is_margin: Whether the account has margin.
        has_universe: Whether positions are opened in members of a universe only.
        holds_currencies: Whether foreign cash is held, so that what a cash account buys is paid in
            the currency of the instrument.

    Raises:
        ConfigError: A limit is not positive or finer than 1e-8, an id is not SYMBOL.VENUE, or what
            is located is not hard to borrow.
    """
    for key in ("allowed_instruments", "forbidden_instruments"):
        for identity in getattr(limits, key) or ():
            _require_id(identity, key)
    leverage_e8 = _ratio_e8(limits, "max_leverage", 1) or E8
    short_sale = limits.short_sale
    gates: tuple[Gate[Any] | None, ...] = (
        InstrumentGate(limits.allowed_instruments, limits.forbidden_instruments),
        ListingGate() if limits.trading_status else None,
        DelistingGate() if limits.trading_status else None,
        MembershipGate() if has_universe else None,
        KillSwitchGate(),
        _build_locates(short_sale),
        UptickGate() if short_sale.uptick_rule else None,
        _build(OrderQuantityGate, _positive(limits, "max_order_quantity")),
        _build(OrderNotionalGate, _minor(limits, "max_order_notional")),
        _build(PositionQuantityGate, _positive(limits, "max_position_quantity")),
        _build(PositionRatioGate, _ratio_e8(limits, "max_position_pct", 100)),
        _build(ConcentrationGate, _ratio_e8(limits, "max_concentration_pct", 100)),
        _build(GrossExposureGate, _ratio_e8(limits, "max_gross_exposure_pct", 100)),
        _build(NetExposureGate, _ratio_e8(limits, "max_net_exposure_pct", 100)),
        _build(LeverageGate, _ratio_e8(limits, "max_leverage", 1)),
        BuyingPowerGate(
            leverage_e8, allow_short=limits.allow_short, is_margin=is_margin,
            pays_by_currency=holds_currencies,
        ),
        CurrencyPowerGate() if holds_currencies and not is_margin and leverage_e8 <= E8 else None,
        _build(DailyLossGate, _ratio_e8(limits, "max_daily_loss_pct", 100)),
        _build(DrawdownGate, _ratio_e8(limits, "max_drawdown_pct", 100)),
        _build(_build_order_rate, _positive(limits, "max_orders_per_minute")),
    )  # fmt: skip
    return tuple(gate for gate in gates if gate is not None)


def build_account_gates(limits: AccountLimits) -> tuple[Gate[Any], ...]:
    """The gates of the account, in the fixed order of asking; the one that counts is the last.

    Raises:
        ConfigError: A limit is not positive or finer than 1e-8.
    """
    at = "account."
    gates: tuple[Gate[Any] | None, ...] = (
        _build(AccountGrossExposureGate, _ratio_e8(limits, "max_gross_exposure_pct", 100, at)),
        _build(AccountNetExposureGate, _ratio_e8(limits, "max_net_exposure_pct", 100, at)),
        _build(AccountLeverageGate, _ratio_e8(limits, "max_leverage", 1, at)),
        _build(AccountDailyLossGate, _ratio_e8(limits, "max_daily_loss_pct", 100, at)),
        _build(AccountDrawdownGate, _ratio_e8(limits, "max_drawdown_pct", 100, at)),
        DayTradeGate() if limits.pattern_day_trader else None,
        _build(_build_account_rate, _positive(limits, "max_orders_per_minute", at)),
    )
    return tuple(gate for gate in gates if gate is not None)


def find_shrinking(limits: RiskLimits) -> frozenset[DenialCode]:
    """The refusals that shrink an order instead.

    Raises:
        ConfigError: A gate can't shrink, or there is none of that name.
    """
    known = {each.value: each for each in SHRINKING}
    for name in limits.shrink:
        if name not in known:
            raise ConfigError(
                f"{name!r} is no gate that can shrink an order",
                where=_where("shrink"),
                remedy=nearest(name, known),
            )
    return frozenset(known[name] for name in limits.shrink)


def _build(make: Callable[[T], Gate[Any]], limit: T | None) -> Gate[Any] | None:
    return None if limit is None else make(limit)


def _build_locates(limits: ShortSaleLimits) -> LocateGate | None:
    for identity in limits.hard_to_borrow:
        _require_id(identity, "short_sale.hard_to_borrow")
    located: dict[str, Decimal] = {}
    for identity, quantity in limits.locates.items():
        where = _where(f"short_sale.locates.{identity}")
        if identity not in limits.hard_to_borrow:
            raise ConfigError(
                f"{identity!r} is not hard to borrow, so nothing of it needs to be located",
                where=where,
                remedy="name it in risk.short_sale.hard_to_borrow, or leave it out",
            )
        located[identity] = number = to_decimal(quantity, where, error=ConfigError)
        if number <= 0:
            raise ConfigError(f"{number:f} is nothing located", where=where,
                              remedy="give more than 0, or leave it out")  # fmt: skip
    return LocateGate(limits.hard_to_borrow, located) if limits.hard_to_borrow else None


def _build_order_rate(max_orders: Decimal) -> OrderRateGate:
    whole = to_grid(max_orders, Decimal(1), _where("max_orders_per_minute"), error=ConfigError)
    return OrderRateGate(whole, 60 * NS_PER_SECOND)


def _build_account_rate(max_orders: Decimal) -> AccountOrderRateGate:
    where = _where("account.max_orders_per_minute")
    whole = to_grid(max_orders, Decimal(1), where, error=ConfigError)
    return AccountOrderRateGate(whole, 60 * NS_PER_SECOND)


def _positive(limits: RiskLimits | AccountLimits, key: str, at: str = "") -> Decimal | None:
    value: Number | None = getattr(limits, key)
    if value is None:
        return None
    where = _where(at + key)
    number = to_decimal(value, where, error=ConfigError)
    if number <= 0:
        raise ConfigError(
            f"{number:f} is no limit", where=where, remedy="give more than 0, or leave it out"
        )
    return number


def _ratio_e8(limits: RiskLimits | AccountLimits, key: str, whole: int, at: str = "") -> int | None:
    number = _positive(limits, key, at)
    where = _where(at + key)
    return None if number is None else to_ratio_e8(number / whole, where, error=ConfigError)


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
