"""What a broker or venue asks as margin: schedules by instrument, and the agreement of an account.

| model        | a position needs                                                              |
| ------------ | ----------------------------------------------------------------------------- |
| `fixed`      | the same share of every notional                                              |
| `instrument` | the share that the instrument's definition says                               |
| `reg_t`      | other shares for longs and shorts; those of a short count its proceeds        |
| `portfolio`  | a share of the larger of all longs and all shorts together                    |
| `ladder`     | a share that grows with the notional, tier by tier                            |

Whatever the model, an option that is held needs its whole value, and one that is sold what
`compute_short_option_margin` says.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId, OptionTerms
from onetape.domain.margin_rules import compute_tier_deduction, compute_tier_margin
from onetape.domain.numbers import E8, to_minor, to_ratio_e8


class MarginTier(msgspec.Struct, frozen=True):
    """From which notional (minor units) on it holds, its ratios, and its fixed amount."""

    notional_from: int
    initial_e8: int
    maintenance_e8: int
    deduction: int = 0


class MarginSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Margin of one instrument, for longs and for shorts; tiers from 0 up."""

    long: tuple[MarginTier, ...]
    short: tuple[MarginTier, ...]

    def initial(self, notional: int, lots: int) -> int:
        """What opening it needs, in minor units; `lots` tells the side."""
        return compute_tier_margin(notional, self._tier(notional, lots).initial_e8, 0)

    def maintenance(self, notional: int, lots: int) -> int:
        """What holding it needs, in minor units."""
        tier = self._tier(notional, lots)
        return compute_tier_margin(notional, tier.maintenance_e8, tier.deduction)

    def _tier(self, notional: int, lots: int) -> MarginTier:
        tiers = self.short if lots < 0 else self.long
        if len(tiers) == 1:
            return tiers[0]
        at = bisect_left(tiers, notional, key=lambda each: each.notional_from)
        return tiers[max(0, at - 1)]


class MarginAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """What a session's strategies have agreed with their broker.

    Attributes:
        schedules: By instrument; of options those of what they could deliver.
        is_isolated: Each position answers only with its own initial margin.
        is_portfolio: The larger of all longs and all shorts counts.
        call_e8: Below so much of the maintenance margin there is a margin call.
        fee_e8: Share of the notional that a liquidation costs.
        step_e8: Share of a position that a liquidation closes at a time.
        short_currency_e8: Share of what is owed in a currency, net of what is held in it, that must
            be backed where foreign cash is held.
    """

    schedules: Mapping[InstrumentId, MarginSchedule]
    is_isolated: bool = False
    is_portfolio: bool = False
    call_e8: int = 125_000_000
    fee_e8: int = 0
    step_e8: int = E8
    short_currency_e8: int = 5_000_000


class Ladder(msgspec.Struct, frozen=True, kw_only=True):
    """Tiers as people write them: from which notional on, and two percentages."""

    notional_from: Decimal
    initial_pct: Decimal
    maintenance_pct: Decimal


def make_schedule(
    initial_pct: Decimal,
    maintenance_pct: Decimal,
    short_initial_pct: Decimal | None = None,
    short_maintenance_pct: Decimal | None = None,
) -> MarginSchedule:
    """One tier of percentages of the notional, those of shorts if they are others.

    Raises:
        ConfigError: Maintenance is more than initial margin, or a percentage is too fine.
    """
    long = _make_tier(initial_pct, maintenance_pct)
    if short_initial_pct is None or short_maintenance_pct is None:
        return MarginSchedule(long=(long,), short=(long,))
    return MarginSchedule(
        long=(long,), short=(_make_tier(short_initial_pct, short_maintenance_pct),)
    )


def make_ladder(tiers: Sequence[Ladder]) -> MarginSchedule:
    """Tiers with the fixed amounts that make them continuous.

    Raises:
        ConfigError: There is none, the first is not from 0, or they don't rise.
    """
    if not tiers or tiers[0].notional_from != 0:
        raise ConfigError("a ladder of margin begins with a tier from 0")
    made: list[MarginTier] = []
    for each in tiers:
        tier = _make_tier(each.initial_pct, each.maintenance_pct)
        notional_from = to_minor(each.notional_from, "tier of margin from", error=ConfigError)
        deduction = 0
        if made:
            below = made[-1]
            if (
                notional_from <= below.notional_from
                or tier.maintenance_e8 < below.maintenance_e8
                or tier.initial_e8 < below.initial_e8
            ):
                raise ConfigError(
                    f"the tier of margin from {each.notional_from} does not rise over the one "
                    "before it"
                )
            deduction = compute_tier_deduction(
                below.deduction, below.maintenance_e8, notional_from, tier.maintenance_e8
            )
        made.append(MarginTier(notional_from, tier.initial_e8, tier.maintenance_e8, deduction))
    return MarginSchedule(long=tuple(made), short=tuple(made))


def _make_tier(initial_pct: Decimal, maintenance_pct: Decimal) -> MarginTier:
    if maintenance_pct > initial_pct:
        raise ConfigError(
            f"a maintenance margin of {maintenance_pct} % is more than the initial margin of "
            f"{initial_pct} %"
        )
    initial, maintenance = (
        to_ratio_e8(each / 100, "margin", error=ConfigError)
        for each in (initial_pct, maintenance_pct)
    )
    return MarginTier(0, initial, maintenance)


def read_definition(instrument: Instrument) -> MarginSchedule:
    """The schedule that an instrument's definition says; an option needs none.

    Raises:
        ConfigError: It says nothing.
    """
    terms = instrument.margin
    if terms is None:
        if isinstance(instrument.terms, OptionTerms):
            return make_schedule(Decimal(100), Decimal(100))
        raise ConfigError(
            f"{instrument.id} has no margin in its definition",
            where="execution.margin.model",
            remedy="import it with --initial-margin and --maintenance-margin, or choose a model",
        )
    tier = MarginTier(0, terms.initial_ratio_e8, terms.maintenance_ratio_e8)
    return MarginSchedule(long=(tier,), short=(tier,))
