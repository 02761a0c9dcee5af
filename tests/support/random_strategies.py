"""Random worlds: a seed gives bars, venue, limits, and a strategy that does everything at random.

The same seed gives the same world in every process.
`python -m tests.support.random_strategies SEED` prints the digest of its tape.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.events import OrderEvent, OrderFilled
from onetape.domain.instrument import Instrument, InstrumentId, make_equity, make_spot
from onetape.domain.market import Bar, TimeSlice, TradeTick
from onetape.domain.orders import Contingency, Intent, OrderType, Side, TimeInForce
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fees import (
    BpsFees,
    FeeTier,
    PerOrderFees,
    PerShareFees,
    TieredFees,
)
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.slippage import (
    FixedSlippage,
    NoSlippage,
    SquareRootSlippage,
    VolumeSlippage,
)
from onetape.execution.simulated.terms import VenueTerms
from onetape.features.average import Sma
from onetape.features.estimator import FeatureMap
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context, OpenOrder
from onetape.strategy.sdk import Strategy, param
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import MINUTE, SECOND, T0, make_columns

SHARE = make_equity("AAPL.XNAS")
COARSE = make_equity("MSFT.XNAS", tick_size="0.05", lot_size="10")
COIN = make_spot("BTC-USD.TEST", base="BTC", quote="USD", tick_size="0.01", lot_size="0.1")

GTC, DAY, GTD, IOC, FOK, *_ = TimeInForce
CLASSIC_TYPES = [each for each in OrderType if each <= OrderType.STOP_LIMIT]


class RandomBars(Strategy):
    """At each bar or print, and after some fills, up to three random things.

    What it does follows from the seed, the time and what it sees, so two engines that show it the
    same world get the same orders.
    """

    seed: int = param(0)
    sized_at_fill: bool = param(True)
    special: bool = param(True)

    def features(self) -> FeatureMap:
        return {"average": Sma(3)}

    def on_start(self, ctx: Context) -> None:
        ctx.set_timer("start", ctx.now + 90_000_000_000)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.hear(bar.instrument, ctx)

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        self.hear(trade.instrument, ctx)

    def hear(self, instrument: InstrumentId, ctx: Context) -> None:
        """A bar or print of the instrument."""
        chance = random.Random(f"{self.seed} {instrument} {ctx.now}")
        if chance.random() < 0.5:
            return
        for _ in range(chance.randint(1, 3)):
            self.act(chance, instrument, ctx)
        if chance.random() < 0.2:
            ctx.signal("average", ctx.features.average if ctx.features.average > 0 else -1.0)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        if not isinstance(update, OrderFilled):
            return
        chance = random.Random(f"{self.seed} {update.client_order_id} {update.leaves} {ctx.now}")
        held = ctx.position(update.instrument)
        if held and chance.random() < 0.3:
            self.protect(chance, update.instrument, held, ctx)

    def on_timer(self, name: str, ctx: Context) -> None:
        chance = random.Random(f"{self.seed} {name} {ctx.now}")
        self.act(chance, chance.choice(ctx.instruments), ctx)
        if chance.random() < 0.5:
            ctx.set_timer(name, ctx.now + chance.randint(1, 3 * MINUTE))

    def protect(
        self, chance: random.Random, instrument: InstrumentId, held: float, ctx: Context
    ) -> None:
        """A stop behind a position, that may only reduce it."""
        if not ctx.mark(instrument) > 0:
            return
        side = Side.SELL if held > 0 else Side.BUY
        stop = ctx.mark(instrument) * (1 + side * chance.uniform(0.0, 0.02))
        trade = ctx.sell if held > 0 else ctx.buy
        trade(instrument, abs(held), stop=ctx.round_price(instrument, stop, side), reduce_only=True)

    def act(self, chance: random.Random, instrument: InstrumentId, ctx: Context) -> None:
        """One random thing."""
        kind = chance.choices(
            ("order", "target", "weight", "at fill", "cancel", "replace", "wrong", "timer"),
            (10, 2, 2, 2, 3, 3, 1, 1),
        )[0]
        size = ctx.instrument(instrument).lot_float
        quantity = ctx.round_quantity(instrument, chance.randint(1, 40) * size)
        match kind:
            case "order":
                self.order(chance, instrument, quantity, ctx)
            case "target":
                ctx.target(instrument, chance.choice((0, 1, -1)) * quantity)
            case "weight":
                ctx.target_weight(instrument, chance.choice((0.0, 0.1, -0.1, 0.4)))
            case "at fill" if self.sized_at_fill:
                side = chance.choice(list(Side))
                if chance.random() < 0.5:
                    ctx.spend(instrument, chance.randint(1, 3_000), side)
                else:
                    ctx.spend_ratio(instrument, chance.uniform(0, 0.3), side)
            case "cancel" | "replace":
                mine = ctx.open_orders()
                if mine and kind == "cancel":
                    ctx.cancel(chance.choice(mine).client_order_id)
                elif mine:
                    self.replace(chance, chance.choice(mine), ctx)
            case "wrong":
                ctx.cancel(f"nobody-{chance.randint(0, 9)}")
            case "timer":
                ctx.set_timer(f"t{chance.randint(0, 9)}", ctx.now + chance.randint(1, 4 * MINUTE))
            case _:
                pass

    def order(
        self, chance: random.Random, instrument: InstrumentId, quantity: float, ctx: Context
    ) -> None:
        """An order of any type and time in force, near the market."""
        side = chance.choice(list(Side))
        if self.special and chance.random() < 0.35 and ctx.mark(instrument) > 0:
            self.special_order(chance, instrument, side, quantity, ctx)
            return
        kind = chance.choice(CLASSIC_TYPES)
        tif = chance.choices((GTC, DAY, GTD, IOC, FOK), (6, 2, 2, 1, 1))[0]
        price = ctx.mark(instrument)
        if not price > 0:
            price = 100.0
        near = [
            ctx.round_price(instrument, price * (1 + chance.gauss(0, 0.01)), side) for _ in "ab"
        ]
        limit = near[0] if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None
        stop = near[1] if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None
        trade = ctx.buy if side > 0 else ctx.sell
        trade(
            instrument, quantity, limit=limit, stop=stop, time_in_force=tif,
            ts_expire=ctx.now + chance.randint(1, 5 * MINUTE) if tif is GTD else 0,
            reduce_only=chance.random() < 0.1, label=chance.choice(("", "a")),
        )  # fmt: skip

    def special_order(
        self,
        chance: random.Random,
        instrument: InstrumentId,
        side: Side,
        quantity: float,
        ctx: Context,
    ) -> None:
        """An order that is touched, trails, is for an auction, post-only, or bound to others."""

        def near(part: float) -> float:
            price = ctx.mark(instrument) * (1 + chance.gauss(part, 0.004))
            return ctx.round_price(instrument, price, side)

        def distance(ticks: int) -> float:
            return ctx.round_price(
                instrument, ticks * ctx.instrument(instrument).tick_float, Side.BUY
            )

        away = side * 0.01
        match chance.randrange(9):
            case 0:
                ctx.order(instrument, side, quantity, touch=near(-away))
            case 1:
                limit = chance.choice((near(-away), near(0)))
                ctx.order(instrument, side, quantity, touch=near(-away), limit=limit)
            case 2:
                ctx.order(instrument, side, quantity, trail=distance(chance.randint(1, 200)))
            case 3:
                offset = chance.choice((None, 0.0, distance(chance.randint(1, 20))))
                ratio = chance.choice((0.0001, 0.003, 0.02))
                ctx.order(instrument, side, quantity, trail_ratio=ratio, limit_offset=offset)
            case 4:
                tif = chance.choice((TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE))
                limit = chance.choice((None, near(0)))
                ctx.order(instrument, side, quantity, limit=limit, time_in_force=tif)
            case 5:
                ctx.order(instrument, side, quantity, limit=near(0), post_only=True)
            case 6:
                kind = chance.choice((Contingency.OCO, Contingency.OUO))
                name = f"g{ctx.intent_count}"
                ctx.order(instrument, side, quantity, limit=near(-away), group=name,
                          contingency=kind)  # fmt: skip
                ctx.order(instrument, side, quantity, stop=near(away), group=name,
                          contingency=kind)  # fmt: skip
            case _:
                ctx.bracket(
                    instrument, side, quantity, take_profit=near(away / 2),
                    limit=chance.choice((None, near(0))),
                    **chance.choice(({"stop_loss": near(-away / 2)}, {"trail": distance(50)})),
                )  # fmt: skip

    def replace(self, chance: random.Random, order: OpenOrder, ctx: Context) -> None:
        """Another quantity, limit or stop, sometimes one that the order does not have."""
        name = order.instrument
        size = ctx.instrument(name).lot_float
        near = (order.limit or order.stop or 100.0) * (1 + chance.gauss(0, 0.005))
        price = ctx.round_price(name, near, order.side)
        what = chance.choice(("quantity", "limit", "stop"))
        if what == "quantity":
            quantity = ctx.round_quantity(name, chance.randint(1, 40) * size)
            ctx.replace(order.client_order_id, name, quantity=quantity)
        elif what == "limit":
            ctx.replace(order.client_order_id, name, limit=price)
        else:
            ctx.replace(order.client_order_id, name, stop=price)


class RandomSlices(RandomBars):
    """The same strategy with an `on_slice` that does nothing: it takes the general path."""

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        """Listens, and does nothing."""


class BarsAlone(RandomBars):
    """The same strategy that decides at bars and at nothing else."""

    def on_start(self, ctx: Context) -> None:
        """Decides nothing."""

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        """Decides nothing."""

    def on_timer(self, name: str, ctx: Context) -> None:
        """Decides nothing."""


class BarsAloneGenerates(BarsAlone):
    """The same, handing its intents over itself."""

    def generate_orders(self, ctx: Context) -> Sequence[Intent]:
        return ctx.take_intents()


class Idle(Strategy):
    """A neighbor that listens to everything and does nothing."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Listens."""

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        """Listens."""

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        """Listens."""


def make_walk(
    chance: random.Random, instrument: Instrument, rows: int, start: int
) -> dict[str, npt.NDArray[Any]]:
    """Bars of a random walk with gaps between them, some of them of no range or no volume."""
    price = chance.uniform(50, 150)
    bars: list[tuple[float, ...]] = []
    for _ in range(rows):
        open_ = price * (1 + chance.gauss(0, 0.006))
        close = open_ * (1 + chance.gauss(0, 0.01))
        high = max(open_, close) * (1 + abs(chance.gauss(0, 0.004)))
        low = min(open_, close) * (1 - abs(chance.gauss(0, 0.004)))
        if chance.random() < 0.05:
            open_ = high = low = close
        volume = chance.choice((0.0, 30.0, 300.0, 3_000.0, 30_000.0)) * instrument.lot_float
        values = [open_, high, low, close]
        if chance.random() < 0.7:  # else off the grid, as adjusted prices are
            values = [
                round(value / instrument.tick_float) * instrument.tick_float for value in values
            ]
        bars.append((*values, volume))
        price = close
    return make_columns(bars, start=start, session=chance.choice((1, 4, 1_000)))


def drop_rows(
    chance: random.Random, columns: dict[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """The bars without some of them: minutes without a trade."""
    rows = len(columns["ts_open"])
    keep = np.array([chance.random() < 0.7 for _ in range(rows)])
    keep[0] = True
    return {name: values[keep] for name, values in columns.items()}


def make_random_timeline(chance: random.Random, rows: int, instruments: int) -> Timeline:
    """Up to three instruments; with gaps, each known at once or later."""
    series: list[tuple[Instrument, dict[str, npt.NDArray[Any]]]] = []
    for instrument in (SHARE, COARSE, COIN)[:instruments]:
        columns = make_walk(chance, instrument, rows, T0 + chance.choice((0, 0, MINUTE)))
        if chance.random() < 0.5:
            columns = drop_rows(chance, columns)
        columns["ts_known"] = columns["ts_close"] + chance.choice((0, 0, 0, 1, 70_000_000_000))
        series.append((instrument, columns))
    return build_timeline(series, source="random", timeframe="1m")


def make_random_prints(
    chance: random.Random, instrument: Instrument, rows: int
) -> dict[str, npt.NDArray[Any]]:
    """Prints of a random walk, some at one time, some a nanosecond or a latency apart."""
    gaps = (0, 0, 1, 40_000_000, 20 * SECOND, MINUTE, MINUTE, 3 * MINUTE)
    ts_event = T0 + np.cumsum([chance.choice(gaps) for _ in range(rows)], dtype=np.int64)
    price = chance.uniform(50, 150)
    prices: list[float] = []
    for _ in range(rows):
        price *= 1 + chance.gauss(0, 0.01)
        on_grid = round(price / instrument.tick_float) * instrument.tick_float
        prices.append(on_grid if chance.random() < 0.7 else price)
    sizes = [chance.choice((0.0, 30.0, 300.0, 3_000.0, 30_000.0)) for _ in range(rows)]
    length = chance.choice((1, 7, 1_000)) * MINUTE
    return {
        "ts_event": ts_event,
        "ts_known": ts_event + chance.choice((0, 0, 0, 1, 70 * SECOND)),
        "session_close": (ts_event // length + 1) * length,
        "aggressor": np.array([chance.randint(-1, 1) for _ in range(rows)], dtype=np.int64),
        "price": np.array(prices),
        "size": np.array(sizes) * instrument.lot_float,
    }


def make_random_trade_timeline(chance: random.Random, rows: int, instruments: int) -> Timeline:
    """Up to three instruments."""
    series = [
        (instrument, make_random_prints(chance, instrument, rows))
        for instrument in (SHARE, COARSE, COIN)[:instruments]
    ]
    return build_trade_timeline(series, source="random")


def make_random_terms(chance: random.Random, timeline: Timeline, seed: int) -> VenueTerms:
    """Any fees, slippage, latency, volume share and limit rule."""
    tiers = (
        FeeTier(from_notional=0, maker_bps=5, taker_bps=10),
        FeeTier(from_notional=20_000, maker_bps=-1, taker_bps=4),
    )
    return make_terms(
        timeline,
        fees=chance.choice((
            None, PerShareFees(rate="0.01", minimum="1", maximum_ratio="0.01"),
            PerOrderFees(amount="0.35"), BpsFees(maker_bps=-2, taker_bps="7.5"),
            TieredFees(tiers=tiers),
        )),
        slippage=chance.choice((
            NoSlippage(), FixedSlippage(bps=5), FixedSlippage(ticks=3),
            VolumeSlippage(base_bps=1, volume_factor="0.05"),
            SquareRootSlippage(coefficient="0.01"),
        )),
        latency=chance.choice((
            LatencyModel(), LatencyModel(mean_ms=40), LatencyModel(mean_ms=20_000, std_ms=30_000),
            LatencyModel(mean_ms=200_000),
        )),
        limit_reach=chance.choice((LIMIT_TOUCHED, LIMIT_TRADED_THROUGH)),
        max_volume_ratio=chance.choice((None, 0.1, 0.01)),
        seed=seed,
    )  # fmt: skip


def make_random_limits(chance: random.Random) -> RiskLimits:
    """Limits that let a good part of the orders through."""
    return RiskLimits(
        max_position_quantity=chance.choice((None, 60, 250)),
        max_gross_exposure_pct=chance.choice((None, 150)),
        max_leverage=chance.choice((None, 3)),
        allow_short=chance.random() < 0.7,
        max_daily_loss_pct=chance.choice((None, 5)),
        max_drawdown_pct=chance.choice((None, 10)),
        max_orders_per_minute=chance.choice((None, 3)),
    )


@dataclass(frozen=True)
class World:
    """Everything that a run needs but the strategies."""

    seed: int
    timeline: Timeline
    terms: VenueTerms
    limits: RiskLimits

    def run(self, *strategies: Strategy) -> SessionRun:
        """Run these strategies (the random one of the seed when none are given) in this world."""
        return run_session(
            self.timeline, *(strategies or (RandomBars(seed=self.seed),)), capital=20_000,
            limits=self.limits, terms=self.terms,
        )  # fmt: skip


def make_world(seed: int, rows: int = 40, instruments: int = 0, *, trades: bool = False) -> World:
    """The world of a seed, of bars or `trades`; `instruments` 0 leaves their number to the seed."""
    chance = random.Random(seed)
    make = make_random_trade_timeline if trades else make_random_timeline
    timeline = make(chance, rows, instruments or chance.choice((1, 2, 3)))
    terms = make_random_terms(chance, timeline, seed)
    return World(seed, timeline, terms, make_random_limits(chance))


if __name__ == "__main__":
    print(make_world(int(sys.argv[1])).run().digest)
