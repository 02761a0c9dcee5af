"""What each instrument of a session is charged and how it fills, overrides applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import spread_to_legs
from onetape.execution.simulated.fee_rules import FeeSchedule
from onetape.execution.simulated.fees import build_fee_schedule
from onetape.execution.simulated.fill_terms import FillTerms
from onetape.execution.simulated.slippage import SlippageTerms, build_slippage
from onetape.runtime.config_execution import Chosen, ExecutionConfig
from onetape.runtime.config_fees import build_fee_model
from onetape.runtime.config_overrides import check_overrides
from onetape.runtime.config_slippage import build_slippage_model


class InstrumentTerms(NamedTuple):
    """As the fields of `VenueTerms` of the same names, by instrument and leg."""

    fees: Mapping[InstrumentId, FeeSchedule]
    slippages: Mapping[InstrumentId, SlippageTerms]
    max_volume_ratios: Mapping[InstrumentId, float | None]
    fills: Mapping[InstrumentId, FillTerms]
    fee_groups: Mapping[InstrumentId, str]


def build_instrument_terms(
    config: ExecutionConfig, instruments: Sequence[Instrument], legs: Sequence[Instrument]
) -> InstrumentTerms:
    """The terms of each of these instruments.

    Raises:
        ConfigError: A fee can't be exact for an instrument, or an override is for none of them.
    """
    check_overrides(config.overrides, instruments)
    groups = [config.fees]
    groups += [each.fees for each in config.overrides if each.fees is not None]
    fees = dict[InstrumentId, FeeSchedule]()
    slippages = dict[InstrumentId, SlippageTerms]()
    ratios = dict[InstrumentId, float | None]()
    fills = dict[InstrumentId, FillTerms]()
    fee_groups = dict[InstrumentId, str]()
    for each in instruments:
        chosen, name = config.chosen_for(each), each.id
        ratio = chosen.max_volume_ratio
        fees[name] = _build_fees(chosen, each)
        slippages[name] = build_slippage(build_slippage_model(chosen.slippage))
        ratios[name] = None if ratio is None else float(ratio)
        fills[name] = chosen.fill.terms(each, config.limit_fill)
        # Equal fees are of one account with its broker; that of all other instruments has no name.
        fee_groups[name] = str(groups.index(chosen.fees) or "")
    return InstrumentTerms(
        fees=spread_to_legs(fees, legs),
        slippages=spread_to_legs(slippages, legs),
        max_volume_ratios=spread_to_legs(ratios, legs),
        fills=spread_to_legs(fills, legs),
        fee_groups=spread_to_legs(fee_groups, legs),
    )


def _build_fees(chosen: Chosen, instrument: Instrument) -> FeeSchedule:
    try:
        return build_fee_schedule(build_fee_model(chosen.fees), instrument)
    except ConfigError as error:  # at the key that gave them
        where = str(error.where).replace("execution.fees", chosen.fees_at, 1)
        raise ConfigError(error.what, where=where, remedy=error.remedy) from None
