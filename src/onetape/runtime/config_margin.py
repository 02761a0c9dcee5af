"""The `execution.margin` section: what a broker or venue asks, and how it liquidates."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.margin import (
    Ladder,
    MarginAgreement,
    MarginSchedule,
    make_ladder,
    make_schedule,
    read_definition,
)
from onetape.domain.numbers import to_ratio_e8
from onetape.runtime.config_section import Section
from onetape.runtime.config_values import Bps, Exact, RefusedError

MarginPct = Annotated[Exact, Field(gt=0, le=1000, decimal_places=6)]
"""A share of a notional in percent."""


class _Account(Section):
    """What all models have in common."""

    mode: Literal["cross", "isolated"] = "cross"
    """Whether all equity backs all positions, or each position only its own initial margin."""
    call_pct: Annotated[Exact, Field(ge=100, le=10_000, decimal_places=6)] = Decimal(125)
    """Below so much of the maintenance margin there is a margin call."""
    liquidation_fee_bps: Bps = Decimal(0)
    """Share of the notional that a liquidation costs."""
    liquidation_step_pct: Annotated[Exact, Field(gt=0, le=100, decimal_places=6)] = Decimal(100)
    """Share of a position that a liquidation closes at a time; 100: all of it."""
    short_currency_pct: Annotated[Exact, Field(ge=0, le=100, decimal_places=6)] = Decimal(5)
    """Where foreign cash is held, the share of what is owed in a currency, less what is held in
    it, that must be backed. Ours, after the least security deposit of a US retail forex
    transaction (17 CFR 5.9, NFA Financial Requirements 12: 2 of the notional of major currencies, 5
    of others), which is no rule about cash that is borrowed.
    """


class FixedMargin(_Account):
    """The same share of every notional."""

    model: Literal["fixed"]
    initial_pct: MarginPct
    maintenance_pct: MarginPct


class InstrumentMargin(_Account):
    """The share that each instrument's definition says."""

    model: Literal["instrument"]


class RegTMargin(_Account):
    """As US brokers ask for shares; what a short needs counts its proceeds."""

    model: Literal["reg_t"]
    initial_long_pct: MarginPct = Decimal(50)
    maintenance_long_pct: MarginPct = Decimal(25)
    initial_short_pct: Annotated[MarginPct, Field(ge=100)] = Decimal(150)
    maintenance_short_pct: Annotated[MarginPct, Field(ge=100)] = Decimal(130)


class PortfolioMargin(_Account):
    """A share of the larger of all longs and all shorts together."""

    model: Literal["portfolio"]
    initial_pct: MarginPct
    maintenance_pct: MarginPct

    @model_validator(mode="after")
    def _is_cross(self) -> PortfolioMargin:
        if self.mode != "cross":
            raise RefusedError("is isolated, and a portfolio is margined as a whole",
                               "set mode: cross, or choose model: fixed", ("mode",))  # fmt: skip
        return self


class TierConfig(Section):
    """A tier of a ladder."""

    notional_from: Annotated[Exact, Field(ge=0)] = Field(alias="from")
    """Notional from which on it holds."""
    initial_pct: MarginPct
    maintenance_pct: MarginPct


class LadderMargin(_Account):
    """Shares that grow with the notional of a position, as venues of perpetuals ask."""

    model: Literal["ladder"]
    tiers: Annotated[tuple[TierConfig, ...], Field(min_length=1)]
    """From the notional 0 on."""
    instruments: dict[str, Annotated[tuple[TierConfig, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """Other tiers, by instrument id."""


Margin = Annotated[
    FixedMargin | InstrumentMargin | RegTMargin | PortfolioMargin | LadderMargin,
    Field(discriminator="model"),
]


def build_agreement(
    config: Margin | None, instruments: Sequence[Instrument]
) -> MarginAgreement | None:
    """The agreement that a configuration makes for the instruments of a session.

    Raises:
        ConfigError: It does not fit them, or tiers don't rise.
    """
    if config is None:
        return None
    if config.mode == "isolated":
        for each in instruments:
            if not each.is_margined:
                raise ConfigError(
                    f"is isolated, and {each.id} is of kind {each.kind.value}, which is paid for",
                    where="execution.margin.mode",
                    remedy="set mode: cross",
                )
    return MarginAgreement(
        schedules={each.id: _build_schedule(config, each) for each in instruments},
        is_isolated=config.mode == "isolated",
        is_portfolio=isinstance(config, PortfolioMargin),
        call_e8=to_ratio_e8(config.call_pct / 100, "call_pct", error=ConfigError),
        fee_e8=to_ratio_e8(config.liquidation_fee_bps / 10_000, "fee", error=ConfigError),
        step_e8=to_ratio_e8(config.liquidation_step_pct / 100, "step", error=ConfigError),
        short_currency_e8=to_ratio_e8(
            config.short_currency_pct / 100, "short_currency_pct", error=ConfigError
        ),
    )


def _build_schedule(config: Margin, instrument: Instrument) -> MarginSchedule:
    match config:
        case InstrumentMargin():
            return read_definition(instrument)
        case RegTMargin():
            if instrument.kind not in (InstrumentKind.EQUITY, InstrumentKind.OPTION):
                raise ConfigError(
                    f"reg_t is for shares and options, and {instrument.id} is a "
                    f"{instrument.kind.value}",
                    where="execution.margin.model",
                    remedy="choose fixed, instrument, portfolio or ladder",
                )
            return make_schedule(
                config.initial_long_pct,
                config.maintenance_long_pct,
                config.initial_short_pct - 100,  # the proceeds are part of equity
                config.maintenance_short_pct - 100,
            )
        case LadderMargin():
            tiers = config.instruments.get(instrument.id, config.tiers)
            return make_ladder(
                [
                    Ladder(
                        notional_from=each.notional_from,
                        initial_pct=each.initial_pct,
                        maintenance_pct=each.maintenance_pct,
                    )
                    for each in tiers
                ]
            )
        case FixedMargin() | PortfolioMargin():
            return make_schedule(config.initial_pct, config.maintenance_pct)
