"""Pictures of what an order costs, of margin, and of limits; `pictures` lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onetape.domain.breakers import BreakerAction, BreakerKind
from onetape.domain.events import MarginStatusChanged, OrderDenied, PositionSettled
from onetape.domain.market import Bar
from onetape.domain.numbers import E8
from onetape.domain.orders import LiquiditySide
from onetape.execution.simulated.fee_presets import (
    make_alpaca_us,
    make_ibkr_us_fixed,
    make_ibkr_us_tiered,
)
from onetape.execution.simulated.fee_rules import compute_fill_fee
from onetape.execution.simulated.fees import BpsFees, FeeModel, build_fee_schedule
from onetape.execution.simulated.slippage import (
    FixedSlippage,
    SlippageModel,
    SquareRootSlippage,
    VolumeSlippage,
    build_slippage,
    compute_slipped_ticks,
)
from onetape.risk.breakers import BreakerLimits
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from tests.docs.drawing import COLORS, GAP, HEIGHT, LEFT, TOP, WIDTH, svg, text
from tests.support.contracts import LINEAR, make_contract_timeline, make_margin
from tests.support.session_runs import run_session
from tests.support.timelines import AAPL, EQUITY, T0, flat, make_timeline, scripted

Curve = Sequence[tuple[float, float]]


def plot(
    title: str, curves: Mapping[str, Curve], *, unit: str, ticks: Sequence[tuple[float, str]]
) -> list[str]:
    """Curves over one axis; `ticks` are places on it with their words. The last has the maximum."""
    xs = [x for curve in curves.values() for x, _ in curve]
    ys = [y for curve in curves.values() for _, y in curve]
    low, high = min(0.0, *ys), max(ys)
    left, right = min(xs), max(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - left) / (right - left) * (WIDTH - LEFT - 190)
        return across, HEIGHT - GAP - (y - low) / (high - low) * (HEIGHT - TOP - GAP)

    parts = [text(LEFT, 18, title)]
    for value in (low, (low + high) / 2, high):
        _, y = place(left, value)
        parts.append(text(LEFT - 6, y + 4, f"{value:,.4g}", anchor="end"))
        parts.append(f"<line x1='{LEFT}' y1='{y:.1f}' x2='{WIDTH - 190}' y2='{y:.1f}' "
                     "stroke='#ddd'/>")  # fmt: skip
    for x, words in ticks:
        parts.append(text(place(x, low)[0], HEIGHT - GAP + 16, words, anchor="middle"))
    parts.append(text(LEFT - 6, TOP - 8, unit, anchor="end"))
    for number, (name, curve) in enumerate(curves.items()):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*each) for each in curve))
        parts.append(f"<polyline points='{path}' fill='none' stroke='{COLORS[number]}' "
                     "stroke-width='2'/>")  # fmt: skip
        parts.append(text(WIDTH - 182, TOP + 14 + 18 * number, name, COLORS[number]))
    return parts


def draw_fees() -> str:
    """What buying and selling so many shares of 50.00 costs, by broker."""
    models: dict[str, FeeModel] = {
        "IBKR fixed": make_ibkr_us_fixed(),
        "IBKR tiered": make_ibkr_us_tiered(),
        "Alpaca": make_alpaca_us(),
        "2 bps": BpsFees(maker_bps=2, taker_bps=2),
    }
    sizes = range(25, 1_001, 25)
    curves: dict[str, Curve] = {}
    for name, model in models.items():
        schedule = build_fee_schedule(model, EQUITY)
        curve: list[tuple[float, float]] = []
        for shares in sizes:
            lots, notional = shares, shares * 50 * E8
            fee = sum(
                compute_fill_fee(
                    schedule, side, LiquiditySide.TAKER.value, 0, 0, lots, notional, 0, T0
                )
                for side in (1, -1)
            )
            curve.append((shares, fee / E8))
        curves[name] = curve
    ticks = [(shares, f"{shares} shares") for shares in (100, 500, 1_000)]
    title = "Fees of one order to buy and one to sell, by its size; a share is 50.00"
    return svg(HEIGHT, plot(title, curves, unit="USD", ticks=ticks))


def draw_slippage() -> str:
    """How far from 100.00 a market order fills, by its share of the bar's volume."""
    models: dict[str, SlippageModel] = {
        "fixed, 5 bps": FixedSlippage(bps=5),
        "volume, 5 bps + 0.1 x share": VolumeSlippage(base_bps=5, volume_factor="0.1"),
        "square root, 0.02": SquareRootSlippage(coefficient="0.02"),
    }
    shares = [each / 100 for each in range(1, 31)]
    curves: dict[str, Curve] = {
        name: [
            (100 * share, compute_slipped_ticks(terms, 10_000, 1, share * 1e6, 1e6) - 10_000)
            for share in shares
        ]
        for name, terms in ((name, build_slippage(each)) for name, each in models.items())
    }
    ticks = [(each, f"{each} % of the volume") for each in (5, 15, 25)]
    title = "Slippage of a market order to buy at 100.00, by its share of the bar's volume"
    return svg(HEIGHT, plot(title, curves, unit="ticks", ticks=ticks))


def draw_margin() -> str:
    """A perpetual bought on margin while its price falls: call, liquidation, what is left."""
    prices = [50_000 - 250 * at for at in range(24)]
    timeline = make_contract_timeline((LINEAR, [(float(each),) for each in prices]))
    seen: list[tuple[float, float, float]] = []

    def on_bar(bar: Bar, ctx: Context) -> None:
        if ctx.now == bar.ts_close and not seen:
            ctx.buy(LINEAR.id, 1.0)
        held = ctx.position(LINEAR.id)
        seen.append((len(seen), ctx.equity, 0.05 * held * bar.close))

    run = run_session(
        timeline, scripted(on_bar=on_bar), capital=6_000, limits=RiskLimits(),
        margin=make_margin(timeline, "10", "5", step_e8=50_000_000, fee_e8=500_000),
    )  # fmt: skip
    curves: dict[str, Curve] = {
        "equity": [(at, equity) for at, equity, _ in seen],
        "maintenance margin": [(at, need) for at, _, need in seen],
    }
    title = "One bitcoin on 10 % margin, 6,000 of equity, price falling 250 a bar from 50,000"
    parts = plot(title, curves, unit="USD", ticks=[(at, f"bar {at}") for at in (0, 8, 16, 23)])
    calls = [each.payload.status.value for each in run.events
             if isinstance(each.payload, MarginStatusChanged)]  # fmt: skip
    sold = [each for each in run.of_type(PositionSettled) if each.traded]
    told = [*calls, f"in all {len(sold)} sale{'s' * (len(sold) > 1)} of half,", "fee 0.5 %"]
    parts += [text(WIDTH - 182, TOP + 70 + 18 * at, words) for at, words in enumerate(told)]
    if not sold:
        raise AssertionError("nothing is liquidated in the picture")
    return svg(HEIGHT, parts)


def draw_limits() -> str:
    """The same orders, 20 shares at each bar, under a gate, a gate that shrinks, and a breaker."""
    prices = [100.0] * 6 + [100 - 2.0 * at for at in range(1, 13)]
    wanted: dict[str, RiskLimits] = {
        "no limit": RiskLimits(max_leverage=10),
        "max_position 90, refused": RiskLimits(max_leverage=10, max_position_quantity=90),
        "max_position 90, shrunk": RiskLimits(
            max_leverage=10, max_position_quantity=90, shrink=("position_quantity",)
        ),
        "drawdown 10 %, flatten": RiskLimits(
            max_leverage=10,
            breakers=(
                BreakerLimits(kind=BreakerKind.DRAWDOWN, pct=10, action=BreakerAction.FLATTEN),
            ),
        ),
    }
    curves: dict[str, Curve] = {}
    denied: list[int] = []
    for name, limits in wanted.items():
        held: list[tuple[float, float]] = []

        def on_bar(bar: Bar, ctx: Context, held: list[tuple[float, float]] = held) -> None:
            held.append((len(held), ctx.position(AAPL)))
            ctx.buy(AAPL, 20)

        run = run_session(
            make_timeline(flat(*prices)), scripted(on_bar=on_bar), capital=10_000, limits=limits
        )
        curves[name] = held
        denied.append(len(run.of_type(OrderDenied)))
    title = "Shares held: an order to buy 20 at each bar; the price falls from bar 6 on"
    parts = plot(title, curves, unit="shares", ticks=[(at, f"bar {at}") for at in (0, 6, 12, 17)])
    for number, count in enumerate(denied):
        y = TOP + 94 + 18 * number
        parts.append(text(WIDTH - 182, y, f"{count} orders denied", COLORS[number]))
    return svg(HEIGHT, parts)


PICTURES: dict[str, Callable[[], str]] = {
    "docs/pictures/fees.svg": draw_fees,
    "docs/pictures/limits.svg": draw_limits,
    "docs/pictures/margin.svg": draw_margin,
    "docs/pictures/slippage.svg": draw_slippage,
}
