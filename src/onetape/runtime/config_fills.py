"""The `execution.fill` section: which fill model, for all instruments or some of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fill_terms import BarPath, FillTerms, MarketPrice
from onetape.runtime.config_section import Section
from onetape.runtime.config_values import Instrument as InstrumentName
from onetape.runtime.config_values import RefusedError

Market = Literal["next_open", "same_close", "mid", "typical", "vwap"]
Path = Literal["pessimistic", "optimistic", "open_high_low_close", "open_low_high_close"]
Limit = Literal["touch", "through"]
Venue = Annotated[str, Field(min_length=1)]


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
    overrides: tuple[FillOverride, ...] = ()
    """Other fills of some instruments or venues; the last that fits counts."""

    def terms(self, instrument: Instrument, limit_fill: Limit) -> FillTerms:
        """How orders of `instrument` fill."""
        market, path, limit = self.market, self.path, self.limit or limit_fill
        for each in self.overrides:
            if instrument.id in each.instruments or instrument.venue in each.venues:
                market, path = each.market or market, each.path or path
                limit = each.limit or limit
        return FillTerms(
            limit_reach=LIMIT_TOUCHED if limit == "touch" else LIMIT_TRADED_THROUGH,
            market=MarketPrice[market.upper()],
            path=BarPath[path.upper()],
        )

    def unknown(self, instruments: tuple[InstrumentId, ...]) -> tuple[int, int, str] | None:
        """An override's number, place and id of an instrument that is not one of these."""
        for number, override in enumerate(self.overrides):
            for place, each in enumerate(override.instruments):
                if each not in instruments:
                    return number, place, each
        return None
