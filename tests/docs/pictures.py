"""Pictures of the pages, drawn from what the code does: SVG, so that they are text under review.

After a change of the code: `.venv/bin/python -m tests.docs.pictures` draws them anew.
"""

from __future__ import annotations

from collections.abc import Callable

from onetape.domain.events import OrderSubmitted
from onetape.domain.market import Bar
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderType, Side, TimeInForce
from onetape.execution.simulated.routes import (
    DelayModel,
    FixedDelay,
    NormalDelay,
    RecordedDelay,
    build_routes,
    compute_delay_ns,
)
from onetape.marketdata.corporate_actions import pay_dividend
from onetape.marketdata.timeline import build_timeline
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from tests.docs import money_pictures
from tests.docs.drawing import COLORS, GAP, HEIGHT, LEFT, TOP, WIDTH, svg, text
from tests.docs.fill_pictures import draw_bars, draw_queues, draw_quotes
from tests.docs.pages import ROOT
from tests.support.actions import DIVIDEND, SPIN_OFF, make_action
from tests.support.session_runs import run_session
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MINUTE,
    MSFT,
    OTHER,
    T0,
    flat,
    make_columns,
    opens,
    scripted,
)


def draw_actions() -> str:
    """What 100 shares of 100.00 are worth, by what it is: cash, receivable, old and new shares."""
    dividend = make_action(DIVIDEND, opens(3), 10.0, ts_pay=opens(6))
    spin_off = make_action(SPIN_OFF, opens(8), 1.0, new_instrument=MSFT, price=30.0)
    series = [
        (EQUITY, make_columns(flat(*[100] * 3, *[90] * 5, *[60] * 4))),
        (OTHER, make_columns(flat(30, 30), start=T0 + 10 * MINUTE)),
    ]
    timeline = build_timeline(
        series, source="docs", timeframe="1m", actions=[dividend, pay_dividend(dividend), spin_off]
    )
    held: list[tuple[float, ...]] = []

    def on_bar(bar: Bar, ctx: Context) -> None:
        if bar.instrument != AAPL:
            return
        if ctx.now == opens(1):
            ctx.buy(AAPL, 100)
        worth = [ctx.position(each) * ctx.mark(each) for each in (AAPL, MSFT)]
        old, new = (each if each == each else 0.0 for each in worth)
        due = ctx.equity - ctx.cash - old - new
        held.append((ctx.cash, due, old, new))

    limits = RiskLimits(max_leverage=10)
    run = run_session(timeline, scripted(on_bar=on_bar), capital=12_000, limits=limits)
    curve = summarize_run(timeline, run.events, digest="").curves.account
    if set(curve.equity.tolist()) != {12_000 * E8} or len(held) != 12:
        raise AssertionError("the equity of the picture moves")
    names = ("cash", "receivable", "old shares", "new shares")
    step = (WIDTH - LEFT - 130) / len(held)
    scale = (HEIGHT - TOP - GAP) / 12_000
    parts = [text(LEFT, 18, "What 100 shares are worth, bar by bar: the sum is always 12,000")]
    for bar, amounts in enumerate(held):
        top = float(HEIGHT - GAP)
        for color, amount in zip(COLORS, amounts, strict=True):
            tall = amount * scale
            top -= tall
            if tall > 0.05:
                parts.append(
                    f"<rect x='{LEFT + bar * step:.1f}' y='{top:.1f}' width='{step - 2:.1f}' "
                    f"height='{tall:.1f}' fill='{color}'/>"
                )
    for at, words in ((3, "ex dividend 10.00"), (6, "paid"), (8, "spin-off, 30.00 a share")):
        x = LEFT + at * step - 1
        parts.append(f"<line x1='{x:.1f}' y1='{TOP}' x2='{x:.1f}' y2='{HEIGHT - GAP}' "
                     "stroke='#444' stroke-dasharray='3'/>")  # fmt: skip
        parts.append(text(x, HEIGHT - GAP + 16, words))
    for amount in (0, 6_000, 12_000):
        parts.append(text(LEFT - 6, HEIGHT - GAP - amount * scale + 4, f"{amount:,}", anchor="end"))
    for number, name in enumerate(names):
        y = TOP + 16 * (4 - number)
        parts.append(text(WIDTH - 120, y, name, COLORS[number]))
    return svg(HEIGHT, parts)


MODELS: tuple[tuple[str, DelayModel], ...] = (
    ("fixed, 8 ms", FixedDelay(ms=8)),
    ("normal, mean 10 ms, std 3 ms", NormalDelay(mean_ms=10, std_ms=3)),
    (
        "recorded: 3, 4, 4, 5, 5, 5, 6 and 22 ms",
        RecordedDelay(samples_ms=(3, 4, 4, 5, 5, 5, 6, 22)),
    ),
)


def draw_latency() -> str:
    """How often each delay comes in 2,000 orders, one panel a model."""
    parts = [text(LEFT, 18, "Delays of the same 2,000 orders, in milliseconds")]
    panel, width = 110, 1
    bins = 26
    step = (WIDTH - LEFT - 30) / bins
    for number, (name, model) in enumerate(MODELS):
        routes = build_routes(7, model)
        counts = [0] * bins
        for order in range(2_000):
            command = OrderSubmitted(
                f"0-trend-{order}", "trend", AAPL, Side.BUY, OrderType.MARKET, TimeInForce.GTC, 1,
                0, 0, 0,
            )  # fmt: skip
            delay = compute_delay_ns(routes, command, T0 + order * MINUTE)
            counts[min(bins - 1, delay // (width * 1_000_000))] += 1
        floor = TOP + (number + 1) * panel - 20
        tallest = max(counts)
        parts.append(text(WIDTH - 30, floor - panel + 36, name, COLORS[number], "end"))
        for at, count in enumerate(counts):
            tall = (panel - 40) * count / tallest
            if count:
                parts.append(
                    f"<rect x='{LEFT + at * step:.1f}' y='{floor - tall:.1f}' "
                    f"width='{step - 2:.1f}' height='{tall:.1f}' fill='{COLORS[number]}'/>"
                )
        for at in range(0, bins, 5):
            parts.append(text(LEFT + (at + 0.5) * step, floor + 14, str(at), anchor="middle"))
    return svg(TOP + 3 * panel + 10, parts)


PICTURES: dict[str, Callable[[], str]] = {
    "docs/pictures/corporate-actions.svg": draw_actions,
    "docs/pictures/fills-bars.svg": draw_bars,
    "docs/pictures/fills-queues.svg": draw_queues,
    "docs/pictures/fills-quotes.svg": draw_quotes,
    "docs/pictures/latency.svg": draw_latency,
    **money_pictures.PICTURES,
}


def main() -> None:
    """Draw every picture anew."""
    for path, draw in PICTURES.items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
