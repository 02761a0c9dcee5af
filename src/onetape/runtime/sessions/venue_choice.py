"""Which simulated venue the rows of a timeline need, and whether it can fill as it is told."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onetape.domain.instrument import Instrument, InstrumentId, OptionTerms
from onetape.domain.market import MarkPrice, TradingStatus
from onetape.domain.ports import AccountView, SimulatedExchange
from onetape.execution.emulation import OrderEmulator
from onetape.execution.gateway import Capabilities
from onetape.execution.oms import Oms
from onetape.execution.simulated.fill_terms import (
    BarPath,
    MarketPrice,
    QueueModel,
    RestOfOrder,
)
from onetape.execution.simulated.halts import TradingHalts
from onetape.execution.simulated.terms import VenueTerms
from onetape.execution.simulated.tick_venue import TickVenue
from onetape.execution.simulated.venue import SimulatedVenue
from onetape.marketdata.session_rows import SessionRows
from onetape.marketdata.timeline import Timeline, TimelineKind
from onetape.risk.limits import RiskLimits
from onetape.runtime.market_state import MarketState
from onetape.runtime.order_desk import OrderDesk
from onetape.runtime.refusals import Refusal, refuse_first
from onetape.runtime.step_log import StepLog


def build_venue(
    timeline: SessionRows, terms: VenueTerms, market: MarketState, account: AccountView
) -> SimulatedVenue:
    """The simulated venue for the rows of a session.

    Prints without a queue are met as bars of one price; with one by the venue of quotes and depth.
    """
    instruments = timeline.tradable
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
        desk.route.capabilities = msgspec.structs.replace(capabilities, emulates=False)
        return None
    desk.route.capabilities = capabilities
    return OrderEmulator(venue, rows.instruments, capabilities, oms, desk, lambda: log.now)


def check_fills(timeline: SessionRows, terms: VenueTerms) -> None:
    """The fills are such as the rows of the timeline can give; raises `ConfigError`."""
    kind = timeline.kind
    refuse_first(
        [
            Refusal(
                terms.has_legs and terms.capabilities is not None,
                "orders that a venue lacks are not held for positions with a long and a short leg",
                "execution.capabilities",
                "leave it out, or hold one position of each instrument",
            ),
        ]
    )
    for each in timeline.instruments:
        refuse_first(_list_misfits(each.id, terms, kind))


def _list_misfits(name: InstrumentId, terms: VenueTerms, kind: TimelineKind) -> list[Refusal]:
    """How the fills of one instrument may not fit to rows of a kind."""
    fill, slippage = terms.fill_of(name), terms.slippage_of(name)
    has_queue = fill.queue is not QueueModel.NONE
    is_plain = fill.market is MarketPrice.NEXT_OPEN and fill.path is BarPath.PESSIMISTIC
    return [
        Refusal(
            kind in ("quotes", "book") and bool(slippage.linear_e8 or slippage.root_e8),
            f"{name} has slippage by our share of the volume, and the session runs on {kind}",
            "execution.slippage",
            "use fixed or none: orders take the sizes that stand",
        ),
        Refusal(
            kind == "trades" and has_queue and fill.queue_ahead is None,
            f"{name} has a queue on trade prints, which don't tell its size",
            "execution.fill.queue_ahead",
            "give the size that is ahead of an order, or no queue",
        ),
        Refusal(
            kind == "bars" and (has_queue or fill.rest is RestOfOrder.WALK),
            f"{name} has a queue or walks behind a quote, and the session runs on bars",
            "execution.fill",
            "leave queue and rest out",
        ),
        Refusal(
            kind != "bars" and not is_plain,
            f"{name} is to fill at {fill.market.name.lower()} on the {fill.path.name.lower()} path "
            f"of bars, and the session runs on {kind}",
            "execution.fill",
            "leave market and path out",
        ),
    ]


def refuse_legs(instruments: Sequence[Instrument], limits: RiskLimits, terms: VenueTerms) -> None:
    """Refuse by name what a session that holds legs does not carry; raises `ConfigError`."""
    refuse_first(
        [
            Refusal(
                terms.capabilities is not None,
                "a venue that lacks something is emulated, and positions are held as legs, which "
                "no venue here has",
                "execution.capabilities",
                "leave it out, or set execution.position_mode: netting",
            ),
            *(
                Refusal(
                    isinstance(each.terms, OptionTerms),
                    f"{each.id} is an option, whose exercise does not say into which leg it "
                    "delivers",
                    "execution.position_mode",
                    "set position_mode: netting",
                )
                for each in instruments
            ),
            Refusal(
                limits.account.pattern_day_trader,
                "day trades are counted where buys and sells net, and positions are held as legs",
                "risk.account.pattern_day_trader",
                "leave it out, or set execution.position_mode: netting",
            ),
        ]
    )


def refuse_closing_marks(timeline: Timeline, terms: VenueTerms) -> None:
    """Refuse by name where there are no two sides to mark at; raises `ConfigError`."""
    where = "execution.marks"
    refuse_first(
        [
            Refusal(
                timeline.kind not in ("quotes", "book"),
                "positions are to be marked at the bid and the ask, and the session runs on "
                f"{timeline.kind}, which have neither",
                where,
                "run it on quotes or book, or set marks: market",
            ),
            Refusal(
                any(isinstance(each, MarkPrice) for each in timeline.steps),
                "positions are to be marked at the bid and the ask, and the venue tells mark "
                "prices",
                where,
                "set marks: market",
            ),
            Refusal(
                terms.conversion_e8 is not None,
                "marks at the closing side are not carried beside several currencies",
                where,
                "set marks: market, or leave out execution.currencies",
            ),
        ]
    )
