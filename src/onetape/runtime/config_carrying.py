"""The `execution.carrying` section: borrow fees for shorts and interest on cash."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from onetape.execution.simulated.carrying import CarryingModel
from onetape.runtime.config_section import Section
from onetape.runtime.config_values import Currency, Exact, Factor, Instrument, Money

_ZERO = Decimal(0)

AnnualPercent = Annotated[Exact, Field(ge=0, le=10_000, decimal_places=4)]


class CarryingConfig(Section):
    """What holding costs, charged when a trading day ends; annual rates in percent."""

    borrow_pct: AnnualPercent = _ZERO
    """Of the value of what is held short; 0: free."""
    borrow_pct_of: dict[Instrument, AnnualPercent] = Field(default_factory=dict)
    """Other rates than that, by instrument id."""
    collateral_ratio: Annotated[Factor, Field(ge=1, le=10)] = Decimal(1)
    """Borrow fees are taken of this multiple of the price (1.02: 102%)."""
    collateral_round_up_to: Money = _ZERO
    """Borrow fees are taken of the price rounded up to a multiple of this; 0: not rounded."""
    margin_interest_pct: AnnualPercent = _ZERO
    """Of cash below zero; 0: free."""
    margin_interest_pct_of: dict[Currency, AnnualPercent] = Field(default_factory=dict)
    """Other rates than that, by currency."""
    credit_interest_pct: AnnualPercent = _ZERO
    """Received on cash above zero; 0: none."""
    credit_interest_pct_of: dict[Currency, AnnualPercent] = Field(default_factory=dict)
    """Other rates than that, by currency."""
    days_per_year: Literal[360, 365] = 360
    """Days that a year of these rates has."""

    def model(self) -> CarryingModel:
        """As the session has it."""
        return CarryingModel(
            borrow_pct=self.borrow_pct,
            borrow_pct_of=self.borrow_pct_of,
            collateral_ratio=self.collateral_ratio,
            collateral_round_up_to=self.collateral_round_up_to,
            margin_interest_pct=self.margin_interest_pct,
            margin_interest_pct_of=self.margin_interest_pct_of,
            credit_interest_pct=self.credit_interest_pct,
            credit_interest_pct_of=self.credit_interest_pct_of,
            days_per_year=self.days_per_year,
        )
