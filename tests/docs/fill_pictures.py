"""The pictures of `docs/fill-models.md`: what each fill model does to the same order.

They are drawn from sessions that run here, so they can't say anything else; `pictures` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np

from onetape.domain.orders import Side
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED
from onetape.execution.simulated.fill_terms import (
    BarPath,
    FillTerms,
    MarketPrice,
    QueueModel,
    RestOfOrder,
)
from onetape.marketdata.timeline import Timeline
from onetape.strategy.context import Context
from tests.support.session_runs import run_session
from tests.support.ticks import make_book_timeline, make_deltas, make_quote_timeline
from tests.support.timelines import AAPL, MINUTE, SECOND, T0, at_rows, make_timeline, scripted

COLORS = ("#0b6e99", "#c2410c", "#15803d", "#7e22ce", "#a16207")
WIDTH, HEIGHT, LEFT, TOP = 860, 300, 50, 34
RIGHT, BOTTOM = 280, 40

Action = Callable[[Context], object]


class Filled(NamedTuple):
    """One fill: units of time after the start, price, lots."""

    at: float
    price: float
    lots: int


class Plot:
    """A panel with axes in data coordinates, drawn as SVG."""

    def __init__(self, title: str, x: tuple[float, float], y: tuple[float, float]) -> None:
        self._x, self._y = x, y
        self._notes = 0
        self.parts = [self._text(LEFT, 20, title, size=15, weight="bold")]

    def put(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point."""
        (x0, x1), (y0, y1) = self._x, self._y
        across = (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        down = (y1 - y) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        return LEFT + across, TOP + down

    def _text(self, x: float, y: float, words: str, *, size: int = 12, weight: str = "normal",
              color: str = "#222", anchor: str = "start") -> str:  # fmt: skip
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
            f'fill="{color}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def axis(self, ticks: Sequence[float], labels: dict[float, str]) -> None:
        """Horizontal lines at prices or lots, words along time."""
        for value in ticks:
            x, y = self.put(self._x[0], value)
            self.parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
            self.parts.append(self._text(x - 6, y + 4, f"{value:g}", color="#666", anchor="end"))
        for value, words in labels.items():
            x, _ = self.put(value, self._y[0])
            self.parts.append(
                self._text(x, HEIGHT - BOTTOM + 18, words, color="#666", anchor="middle")
            )

    def line(self, points: Sequence[tuple[float, float]], color: str, *, dash: str = "") -> None:
        """A line of steps."""
        placed = [self.put(*point) for point in points]
        path = f"M{placed[0][0]:.1f} {placed[0][1]:.1f}"
        path += "".join(f"H{x:.1f}V{y:.1f}" for x, y in placed[1:])
        self.parts.append(
            f'<path d="{path}" fill="none" stroke="{color}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>'
        )

    def bar(self, x: float, row: Sequence[float]) -> None:
        """Open to the left, close to the right of a line from low to high."""
        open_, high, low, close = row
        left, middle, right = (self.put(x + d, open_)[0] for d in (0.25, 0.5, 0.75))
        heights = [self.put(x, value)[1] for value in (open_, high, low, close)]
        path = (f"M{middle:.1f} {heights[1]:.1f}V{heights[2]:.1f}M{left:.1f} {heights[0]:.1f}"
                f"H{middle:.1f}M{middle:.1f} {heights[3]:.1f}H{right:.1f}")  # fmt: skip
        self.parts.append(f'<path d="{path}" fill="none" stroke="#444" stroke-width="2"/>')

    def dot(self, x: float, y: float, color: str) -> None:
        """A fill."""
        at, down = self.put(x, y)
        self.parts.append(
            f'<circle cx="{at:.1f}" cy="{down:.1f}" r="5" fill="{color}" fill-opacity="0.85"/>'
        )

    def note(self, words: str, color: str) -> None:
        """A line of the legend."""
        y = TOP + 10 + 20 * self._notes
        self._notes += 1
        x = WIDTH - RIGHT + 14
        self.parts.append(f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{color}"/>')
        self.parts.append(self._text(x + 10, y, words))


def render(plots: Sequence[Plot]) -> str:
    """Panels below each other, as a file."""
    total = HEIGHT * len(plots)
    groups = "\n".join(
        f'<g transform="translate(0 {HEIGHT * at})">\n' + "\n".join(plot.parts) + "\n</g>"
        for at, plot in enumerate(plots)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" '
        f'font-family="sans-serif">\n<rect width="{WIDTH}" height="{total}" fill="#fff"/>\n'
        f"{groups}\n</svg>\n"
    )


def run(timeline: Timeline, actions: dict[int, Action], fill: FillTerms, unit: int) -> list[Filled]:
    """The fills of a session."""
    seen = [-1]

    def hear(_event: object, ctx: Context) -> None:
        seen[0] += 1
        actions.get(seen[0], lambda _: None)(ctx)

    strategy = at_rows(actions) if timeline.kind == "bars" else scripted(on_market_event=hear)
    done = run_session(timeline, strategy, fill=fill, capital=1_000_000)
    return [Filled((each.ts_fill - T0) / unit, each.ticks / 100, each.lots) for each in done.fills]


# Bars.

BARS = [(100.0, 101.0, 99.0, 100.0), (102.0, 106.0, 98.0, 103.0), (103.0, 104.0, 101.5, 102.0)]


def draw_bars() -> str:
    """A market order decided at the first close, and an entry with two exits."""
    timeline = make_timeline(list(BARS))
    span = (0.0, 3.0), (96.0, 107.0)
    words = {at + 0.5: f"bar {at}" for at in range(3)}
    market = Plot("buy 10 at market, decided at the close of bar 0", *span)
    paths = Plot("the same entry at 102 with a target at 105 and a stop at 99", *span)
    for plot in (market, paths):
        plot.axis(range(96, 108, 2), words)
        for at, row in enumerate(BARS):
            plot.bar(at, row)
    for number, (price, color) in enumerate(zip(MarketPrice, COLORS, strict=True)):
        (fill,) = run(timeline, {0: lambda ctx: ctx.buy(AAPL, 10)}, FillTerms(market=price), MINUTE)
        market.dot(fill.at + 0.05 * number, fill.price, color)
        market.note(f"{price.name.lower()}: {fill.price:.2f}", color)

    def enter(ctx: Context) -> None:
        ctx.bracket(AAPL, Side.BUY, 10, take_profit=105, stop_loss=99)

    for number, (path, color) in enumerate(zip(BarPath, COLORS, strict=False)):
        _, out = run(timeline, {0: enter}, FillTerms(path=path), MINUTE)
        paths.dot(out.at + 0.05 * number, out.price, color)
        paths.note(f"{path.name.lower()}: {out.price:g}", color)
    return render([market, paths])


# Quotes.

QUOTES = [(99.0, 100.0, 5, 4), (99.0, 100.5, 5, 3), (98.5, 99.5, 5, 6), (98.0, 99.0, 5, 9),
          (98.5, 99.5, 5, 5)]  # fmt: skip


def draw_quotes() -> str:
    """A market order larger than the ask, and a limit order that the ask comes to."""
    timeline = make_quote_timeline(QUOTES)
    plots = []
    for title, action, models in (
        ("buy 10 at market at 0 s, when 4 stand at the ask", {"quantity": 10.0},
         {"rest: wait": FillTerms(), "rest: walk": FillTerms(rest=RestOfOrder.WALK)}),
        ("buy 5 at a limit of 99.50", {"quantity": 5.0, "limit": 99.5},
         {"limit: touch": FillTerms(limit_reach=LIMIT_TOUCHED), "limit: through": FillTerms()}),
    ):  # fmt: skip
        plot = Plot(title, (0.0, 5.0), (97.5, 101.0))
        plot.axis([98, 99, 100, 101], {float(at): f"{at} s" for at in range(6)})
        for name, side in (("ask", 1), ("bid", 0)):
            steps = [(float(at), quote[side]) for at, quote in enumerate(QUOTES)]
            plot.line([*steps, (5.0, QUOTES[-1][side])], "#999" if side else "#bbb")
            x, y = plot.put(5.0, QUOTES[-1][side])
            plot.parts.append(
                f'<text x="{x - 26:.1f}" y="{y - 5:.1f}" font-size="12">{name}</text>'
            )
        for number, ((name, fill), color) in enumerate(zip(models.items(), COLORS, strict=False)):
            fills = run(timeline, {0: _order(**action)}, fill, SECOND)
            for each in fills:
                plot.dot(each.at + 0.06 * number, each.price, color)
            told = ", ".join(f"{each.lots} at {each.price:g}" for each in fills)
            plot.note(f"{name}: {told}", color)
        plots.append(plot)
    return render(plots)


def _order(quantity: float, limit: float | None = None) -> Action:
    return lambda ctx: ctx.order(AAPL, Side.BUY, quantity, limit=limit)


# Queues.


def draw_queues() -> str:
    """A limit order behind 40 lots: what it has filled by when, under each queue model."""
    sizes = {1: 60, 3: 46, 5: 70, 7: 50, 9: 40, 11: 38}
    deltas = [(0, 1, 99.0, 40), (0, 0, 100.0, 40)]
    deltas += [(second, 1, 99.0, size) for second, size in sizes.items()]
    deltas += [(14, 1, 98.0, 40)]
    prints = [(2, 6), (4, 6), (6, 8), (8, 8), (10, 8), (12, 12)]
    rows = [(99.0, float(lots)) for _, lots in prints] + [(98.5, 5.0)]
    at = [second * SECOND for second, _ in prints] + [13 * SECOND]
    timeline = make_book_timeline(
        make_deltas(deltas), prints=(rows, at), aggressor=np.full(len(at), -1)
    )
    plot = Plot("buy 20 at 99 behind 40 lots: lots filled", (0.0, 14.0), (0.0, 22.0))
    plot.axis([0, 5, 10, 15, 20], {float(second): f"{second} s" for second in range(0, 15, 2)})
    models = {
        "none, limit: touch": FillTerms(limit_reach=LIMIT_TOUCHED),
        "log": FillTerms(queue=QueueModel.LOG),
        "power 3": FillTerms(queue=QueueModel.POWER, queue_power=3),
        "risk_averse": FillTerms(queue=QueueModel.RISK_AVERSE),
        "none, limit: through": FillTerms(),
    }
    for (name, fill), color in zip(models.items(), COLORS, strict=True):
        total, points = 0, [(0.0, 0.0)]
        for each in run(timeline, {1: _order(20.0, 99.0)}, fill, SECOND):
            total += each.lots
            points.append((each.at, float(total)))
        plot.line([*points, (14.0, float(total))], color)
        plot.note(name, color)
    return render([plot])
