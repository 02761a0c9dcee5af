"""Which simulated venue the rows of a timeline need, and whether it can fill as it is told."""

from __future__ import annotations

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.market import TradingStatus
from onetape.domain.ports import AccountView, SimulatedExchange
from onetape.execution.emulation import OrderEmulator
from onetape.execution.gateway import Capabilities
from onetape.execution.oms import Oms
from onetape.execution.simulated.fill_terms import BarPath, MarketPrice, QueueModel, RestOfOrder
from onetape.execution.simulated.halts import TradingHalts
from onetape.execution.simulated.terms import VenueTerms
from onetape.execution.simulated.tick_venue import TickVenue
from onetape.execution.simulated.venue import SimulatedVenue
from onetape.marketdata.session_rows import SessionRows
from onetape.runtime.market_state import MarketState
from onetape.runtime.order_desk import OrderDesk
from onetape.runtime.step_log import StepLog


def build_venue(
    timeline: SessionRows, terms: VenueTerms, market: MarketState, account: AccountView
) -> SimulatedVenue:
    """The simulated venue for the rows of a session.

    Prints without a queue are met as bars of one price; with one by the venue of quotes and depth.
    """
    instruments = timeline.instruments
    statuses = [each for each in timeline.steps if isinstance(each, TradingStatus)]
    halts = TradingHalts(statuses) if statuses else None
    queues = any(terms.fill_of(each.id).queue is not QueueModel.NONE for each in instruments)
    if timeline.kind == "bars" or (timeline.kind == "trades" and not queues):
        return SimulatedVenue(instruments, terms, market.newest_bar, account, halts)
    return TickVenue(instruments, terms, market.newest_bar, account, market.standing, halts)


def capabilities_of(venue: str) -> Capabilities | None:
    """What a real venue can do with an order, by its name; None: everything, it is simulated."""
    if venue == "alpaca":
        from onetape.execution.alpaca.translation import CAPABILITIES

        return CAPABILITIES
    if venue == "binance":
        from onetape.execution.binance.gateway import BinanceGateway

        return BinanceGateway.capabilities
    if venue == "ibkr":
        from onetape.execution.ibkr.translation import CAPABILITIES

        return CAPABILITIES
    return None


def build_emulator(
    venue: SimulatedExchange,
    rows: SessionRows,
    capabilities: Capabilities | None,
    oms: Oms,
    desk: OrderDesk,
    log: StepLog,
) -> OrderEmulator | None:
    """What stands before a venue that lacks something; None: it can everything.

    The desk denies from then on what neither the venue nor the emulator can. Held orders are met by
    bars and prints: on quotes and depth what the venue lacks is denied.
    """
    if capabilities is None:
        return None
    if rows.kind not in ("bars", "trades"):
        desk.capabilities = msgspec.structs.replace(capabilities, emulates=False)
        return None
    desk.capabilities = capabilities
    return OrderEmulator(venue, rows.instruments, capabilities, oms, desk, lambda: log.now)


def check_fills(timeline: SessionRows, terms: VenueTerms) -> None:
    """The fills are such as the rows of the timeline can give; raises `ConfigError`."""
    slippage = terms.slippage
    if timeline.kind in ("quotes", "book") and (slippage.linear_e8 or slippage.root_e8):
        raise ConfigError(
            f"slippage by our share of the volume, and the session runs on {timeline.kind}",
            where="execution.slippage",
            remedy="use fixed or none: orders take the sizes that stand",
        )
    for each in timeline.instruments:
        fill = terms.fill_of(each.id)
        has_queue = fill.queue is not QueueModel.NONE
        if timeline.kind == "trades" and has_queue and fill.queue_ahead is None:
            raise ConfigError(
                f"{each.id} has a queue on trade prints, which don't tell its size",
                where="execution.fill.queue_ahead",
                remedy="give the size that is ahead of an order, or no queue",
            )
        if timeline.kind == "bars" and (has_queue or fill.rest is RestOfOrder.WALK):
            raise ConfigError(
                f"{each.id} has a queue or walks behind a quote, and the session runs on bars",
                where="execution.fill",
                remedy="leave queue and rest out",
            )
        if timeline.kind != "bars" and (fill.market, fill.path) != (
            MarketPrice.NEXT_OPEN, BarPath.PESSIMISTIC,
        ):  # fmt: skip
            raise ConfigError(
                f"{each.id} is to fill at {fill.market.name.lower()} on the "
                f"{fill.path.name.lower()} path of bars, and the session runs on {timeline.kind}",
                where="execution.fill",
                remedy="leave market and path out",
            )
