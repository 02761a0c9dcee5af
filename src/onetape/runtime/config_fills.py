"""The `execution.fill` section: which fill model, for all instruments or some of them."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import INT64_MAX
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fill_terms import (
    BarPath,
    FillTerms,
    MarketPrice,
    QueueModel,
    RestOfOrder,
    Trigger,
)
from onetape.runtime.config_section import Section
from onetape.runtime.config_values import Instrument as InstrumentName
from onetape.runtime.config_values import Quantity, RefusedError

Market = Literal["next_open", "same_close", "mid", "typical", "vwap"]
Path = Literal["pessimistic", "optimistic", "open_high_low_close", "open_low_high_close"]
Limit = Literal["touch", "through"]
Venue = Annotated[str, Field(min_length=1)]


Rest = Literal["wait", "walk"]
TriggerPrice = Literal["quote", "last", "mid"]
Queue = Literal["none", "risk_averse", "power", "power_2", "power_3", "log", "log_2"]
Power = Annotated[int, Field(strict=True, ge=1, le=6)]


class FillOverride(Section):
    """Other fills of some instruments or venues; null: as in execution.fill."""

    instruments: tuple[InstrumentName, ...] = ()
    """Ids `SYMBOL.VENUE` that this is for."""
    venues: tuple[Venue, ...] = ()
    """Venues whose instruments this is for."""
    market: Market | None = None
    """See execution.fill."""
    limit: Limit | None = None
    """See execution.fill."""
    path: Path | None = None
    """See execution.fill."""
    rest: Rest | None = None
    """See execution.fill."""
    trigger: TriggerPrice | None = None
    """See execution.fill."""
    queue: Queue | None = None
    """See execution.fill."""
    queue_power: Power | None = None
    """See execution.fill."""
    queue_ahead: Quantity | None = None
    """See execution.fill."""

    @model_validator(mode="after")
    def _is_for_something(self) -> FillOverride:
        if not self.instruments and not self.venues:
            raise RefusedError("is for no instrument", "give instruments or venues")
        return self


class FillConfig(Section):
    """How the simulated venue fills orders."""

    market: Market = "next_open"
    """Where in a bar a market order fills; same_close is the close that it was decided at."""
    limit: Limit | None = None
    """Whether a limit order fills at a touch or when traded through; null: as limit_fill."""
    path: Path = "pessimistic"
    """In which order the prices of a bar are met."""
    rest: Rest = "wait"
    """What becomes of a market order that is larger than the best price of a quote."""
    trigger: TriggerPrice = "quote"
    """Which price triggers stops where there are quotes or depth."""
    queue: Queue = "none"
    """How a limit order advances at its price, where there are prints, quotes or depth."""
    queue_power: Power = 3
    """Power of the queue's function."""
    queue_ahead: Quantity | None = None
    """Units ahead of a limit order where the size at its price is not known; null: it waits."""
    overrides: tuple[FillOverride, ...] = ()
    """Other fills of some instruments or venues; the last that fits counts."""

    def terms(self, instrument: Instrument, limit_fill: Limit) -> FillTerms:
        """How orders of `instrument` fill."""
        chosen = self.model_dump(exclude={"overrides"})
        for each in self.overrides:
            if instrument.id in each.instruments or instrument.venue in each.venues:
                given = each.model_dump(exclude={"instruments", "venues"})
                chosen |= {key: value for key, value in given.items() if value is not None}
        ahead = chosen["queue_ahead"]
        if ahead is not None:
            ahead = min(math.ceil(ahead / instrument.lot_size), INT64_MAX)
        return FillTerms(
            limit_reach=(
                LIMIT_TOUCHED if (chosen["limit"] or limit_fill) == "touch"
                else LIMIT_TRADED_THROUGH
            ),
            market=MarketPrice[chosen["market"].upper()],
            path=BarPath[chosen["path"].upper()],
            rest=RestOfOrder[chosen["rest"].upper()],
            trigger=Trigger[chosen["trigger"].upper()],
            queue=QueueModel[chosen["queue"].upper()],
            queue_power=chosen["queue_power"],
            queue_ahead=ahead,
        )  # fmt: skip

    def unknown(self, instruments: tuple[InstrumentId, ...]) -> tuple[int, int, str] | None:
        """An override's number, place and id of an instrument that is not one of these."""
        for number, override in enumerate(self.overrides):
            for place, each in enumerate(override.instruments):
                if each not in instruments:
                    return number, place, each
        return None
