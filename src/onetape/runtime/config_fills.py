"""The `execution.fill` section: which fill model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from onetape.domain.instrument import Instrument
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
from onetape.runtime.config_values import Quantity

Market = Literal["next_open", "same_close", "mid", "typical", "vwap"]
Path = Literal["pessimistic", "optimistic", "open_high_low_close", "open_low_high_close"]
Limit = Literal["touch", "through"]
Rest = Literal["wait", "walk"]
TriggerPrice = Literal["quote", "last", "mid"]
Queue = Literal["none", "risk_averse", "power", "power_2", "power_3", "log", "log_2"]
Power = Annotated[int, Field(strict=True, ge=1, le=6)]


class FillChoice(Section):
    """Keys of execution.fill that are others for some instruments; null: as there."""

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

    def chosen(self, choices: Iterable[FillChoice]) -> FillConfig:
        """With the keys of these choices; the last that gives a key counts."""
        given = [each.model_dump(exclude_none=True) for each in choices]
        return self.model_copy(update={key: value for each in given for key, value in each.items()})

    def terms(self, instrument: Instrument, limit_fill: Limit) -> FillTerms:
        """How orders of `instrument` fill."""
        ahead = self.queue_ahead
        return FillTerms(
            limit_reach=(
                LIMIT_TOUCHED if (self.limit or limit_fill) == "touch" else LIMIT_TRADED_THROUGH
            ),
            market=MarketPrice[self.market.upper()],
            path=BarPath[self.path.upper()],
            rest=RestOfOrder[self.rest.upper()],
            trigger=Trigger[self.trigger.upper()],
            queue=QueueModel[self.queue.upper()],
            queue_power=self.queue_power,
            queue_ahead=(
                None if ahead is None else min(math.ceil(ahead / instrument.lot_size), INT64_MAX)
            ),
        )
