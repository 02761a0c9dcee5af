"""A local venue as one thing: exchange, player, faults and the server of its protocol."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.numbers import E8
from onetape.execution.simulated.bar_matching import LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fee_presets import make_binance_spot, make_ibkr_us_fixed
from onetape.execution.simulated.fees import FeeModel, NoFees, build_fee_schedule
from onetape.execution.simulated.latency import LatencyTerms
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.sources.extras import needs_extra
from onetape.marketdata.timeline import Timeline
from onetape.runtime.local_venues.accounts import ExchangeRules, is_pair
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.faults import FaultPlan, FaultSchedule, make_plan
from onetape.runtime.local_venues.names import ACCOUNT, LOOPBACK, VenueName
from onetape.runtime.local_venues.replay import Player

SETTLES_PART = 0.9
"""Faults end where so much of the data has been played, so that everything can settle."""

_POLL_S = 0.1


class VenueServer(Protocol):
    """A server that speaks a venue's protocol."""

    @property
    def clients(self) -> int:
        """Open streams."""
        ...

    async def start(self, host: str, port: int) -> int:
        """Serve from now on; returns the port, which is another one than asked for only for 0."""
        ...

    async def close(self) -> None:
        """Serve no more; the books stay."""
        ...

    async def restart(self, down_s: float) -> None:
        """Drop all connections and be away for so long; the books stay."""
        ...


class LocalTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How a local venue is set up.

    Attributes:
        balances: 1e-8 units by currency; empty: 100,000 of each currency that is quoted in.
        key: What clients log in with.
        secret: The same.
        speed: See `Player`.
        gap_max_s: See `Player`.
        seed: Of the faults; None: nothing goes wrong.
        plan: Which faults; None: the usual mixture.
        latency_ms: How long a command takes to the matching.
        venue_terms: Fees, fills and latency instead of the venue's own.
    """

    balances: Mapping[str, int] = {}
    key: str = "local-key"
    secret: str = "local-secret"
    speed: float = 0.0
    gap_max_s: float = 0.0
    seed: int | None = None
    plan: FaultPlan | None = None
    latency_ms: int = 0
    venue_terms: VenueTerms | None = None


class ServingProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a local venue is. `ts` is virtual time, ns UTC."""

    ts: int
    rows_played: int
    rows_total: int
    clients: int
    orders: int
    executions: int
    faults: int


class LocalVenue:
    """One local venue, to be started and closed once.

    Args:
        name: Whose protocol it speaks.
        timeline: What it replays.
        terms: How it is set up.

    Attributes:
        exchange: Accounts and matching.
        player: What plays it.
        faults: What goes wrong; None: nothing.
        server: Who speaks the protocol.
        port: Where it listens; 0 before it is started.

    Raises:
        ConfigError: The instruments or fees don't suit it, or `onetape[live]` is not installed.
    """

    def __init__(
        self, name: VenueName, timeline: Timeline, terms: LocalTerms | None = None
    ) -> None:
        terms = terms or LocalTerms()
        for each in timeline.instruments:
            if name is VenueName.BINANCE and not is_pair(each):
                raise ConfigError(
                    f"{each.id} is of kind {each.kind.value}, and Binance trades pairs of "
                    "currencies", remedy="leave it out, or serve alpaca",
                )  # fmt: skip
        self.name = name
        self.terms = terms
        fills = terms.venue_terms or make_venue_terms(name, timeline, terms.latency_ms)
        balances = terms.balances or {
            each.quote_currency: 100_000 * E8 for each in timeline.instruments
        }
        self.exchange = LocalExchange(timeline, fills, find_rules(name), {ACCOUNT: balances})
        self.player = Player(self.exchange, terms.speed, gap_max_s=terms.gap_max_s)
        self.faults: FaultSchedule | None = None
        if terms.seed is not None:
            plan = make_plan() if terms.plan is None else terms.plan
            self.faults = FaultSchedule(terms.seed, plan, ts_end=find_settling_time(timeline))
        keys = {terms.key: (terms.secret, ACCOUNT)}
        self.server = _build_server(name, self.exchange, self.player, keys, self.faults)
        self.port = 0

    async def start(self, port: int = 0) -> int:
        """Serve on loopback; returns the port.

        Raises:
            ConfigError: Somebody else listens there.
        """
        try:
            self.port = await self.server.start(LOOPBACK, port)
        except OSError as error:
            raise ConfigError(
                f"port {port} of {LOOPBACK} can't be used: {os.strerror(error.errno or 0)}",
                where="--port", remedy="give another one, or 0 for any that is free",
            ) from error  # fmt: skip
        return self.port

    async def close(self) -> None:
        """Serve no more."""
        await self.server.close()

    @property
    def progress(self) -> ServingProgress:
        """How far it is."""
        exchange = self.exchange
        return ServingProgress(
            ts=exchange.now,
            rows_played=exchange.rows_played,
            rows_total=exchange.rows_total,
            clients=self.server.clients,
            orders=len(exchange.orders(ACCOUNT)),
            executions=len(exchange.executions(ACCOUNT)),
            faults=len(self.faults.decisions) if self.faults is not None else 0,
        )

    async def play(
        self,
        *,
        waits: bool,
        ends: bool,
        is_stop_asked: Callable[[], bool],
        on_progress: Callable[[ServingProgress], None],
    ) -> None:
        """Play the data while it serves, until somebody asks to stop.

        Args:
            waits: Begin with the first client that listens.
            ends: Return at the end of the data; otherwise go on serving.
            is_stop_asked: Asked a few times a second.
            on_progress: Told as often.
        """
        playing: asyncio.Task[None] | None = None
        try:
            while not is_stop_asked():
                on_progress(self.progress)
                if playing is None and (self.server.clients or not waits):
                    playing = asyncio.create_task(self.player.run())
                if playing is not None and playing.done():
                    playing.result()  # raises what went wrong
                    if ends:
                        break
                await asyncio.sleep(_POLL_S)
        finally:
            if playing is not None and not playing.done():
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
        on_progress(self.progress)


def find_settling_time(timeline: Timeline) -> int:
    """From when on (ns UTC) nothing goes wrong any more."""
    ts_known = timeline.columns["ts_known"]
    return int(ts_known[min(int(len(ts_known) * SETTLES_PART), len(ts_known) - 1)])


def make_venue_terms(name: VenueName, timeline: Timeline, latency_ms: int = 0) -> VenueTerms:
    """What the venue charges for a fill, and fills as a backtest's by default.

    Alpaca charges nothing for a fill: fees of regulators and of coins are taken later, and told of
    no fill. The local one leaves them out, so that books stay comparable.
    """
    match name:
        case VenueName.ALPACA:
            fees: FeeModel = NoFees()
        case VenueName.BINANCE:
            fees = make_binance_spot()
        case VenueName.IBKR:
            fees = make_ibkr_us_fixed()
    return VenueTerms(
        fees={each.id: build_fee_schedule(fees, each) for each in timeline.instruments},
        slippage=SlippageTerms(),
        latency=LatencyTerms(mean_ns=latency_ms * 1_000_000),
        limit_reach=LIMIT_TRADED_THROUGH,
    )


def find_rules(name: VenueName) -> ExchangeRules:
    """What the venue does otherwise than others.

    Raises:
        ConfigError: `onetape[live]` is not installed.
    """
    match name:
        case VenueName.ALPACA:
            with needs_extra("live", "a local venue"):
                from onetape.runtime.local_venues.alpaca import RULES
            return RULES
        case VenueName.BINANCE:
            return ExchangeRules(fee_in_base_of_buys=True, never_overdraws=True)
        case VenueName.IBKR:
            from onetape.runtime.local_venues.ibkr import RULES

            return RULES


def _build_server(
    name: VenueName,
    exchange: LocalExchange,
    player: Player,
    keys: dict[str, tuple[str, str]],
    faults: FaultSchedule | None,
) -> VenueServer:
    with needs_extra("live", "a local venue"):
        match name:
            case VenueName.ALPACA:
                from onetape.runtime.local_venues.alpaca import AlpacaServer

                return AlpacaServer(exchange, player, keys=keys, faults=faults)
            case VenueName.BINANCE:
                from onetape.runtime.local_venues.binance import BinanceServer

                return BinanceServer(exchange, player, keys=keys, faults=faults)
            case VenueName.IBKR:
                from onetape.runtime.local_venues.ibkr import IbkrServer

                return IbkrServer(exchange, player, account=ACCOUNT, faults=faults)
