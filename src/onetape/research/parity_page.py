"""What the parity sentinel found as tables, and as one small HTML file."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import show_minor
from onetape.domain.orders import (
    CancelIntent,
    ConvertIntent,
    ExerciseIntent,
    Intent,
    OrderIntent,
    QuantityBasis,
    ReplaceIntent,
)
from onetape.domain.timestamps import to_iso
from onetape.research.report_page import render_still_page, section, table, write_page
from onetape.research.report_tables import Table
from onetape.runtime.parity.causes import Cause
from onetape.runtime.parity.comparison import Comparison, OrderDifference, Parting
from onetape.runtime.parity.paths import OrderPath
from onetape.runtime.parity.sentinel import Parity

ORDERS = 25
"""Rows of the table of orders: those that cost or brought the most."""

_ENDING_LETTERS = 48
"""Venues give reasons at length; the whole of it stands on the tape."""

WORDS = {
    Cause.LATENCY: "filled in another bar: the mark's move between",
    Cause.PRICE: "another price in the same bar, or beyond the mark's move",
    Cause.DATA: "another price where a bar is late, repaired or behind a gap",
    Cause.FEES: "other fees",
    Cause.SIZE: "one side filled fewer",
    Cause.MISSED: "one side filled nothing",
    Cause.VENUE_RULE: "one side's venue refused it or took it off",
    Cause.RISK: "our risk denied it on one side",
    Cause.DECISION: "one side's strategy alone wanted it",
    Cause.ACTION: "a corporate action met another position",
}
"""What each cause is, for people."""


def write_parity(path: Path, found: Parity) -> None:
    """Write the page; the same finding gives the same bytes.

    Raises:
        DataError: The file exists.
        TryAgain: It can't be written.
    """
    write_page(path, render_parity(found))


def render_parity(found: Parity) -> str:
    """The whole page; it needs neither a network nor a script."""
    title = f"Parity of {found.name or found.verification.session}"
    body = section("Verify", f"<p>{escape(found.verification.what)}</p>")
    lines = "".join(f"<p>{escape(each)}</p>" for each in describe_parity(found))
    if found.comparison is not None:
        instruments = {each.id: each for each in found.instruments}
        shown = (
            result_table(found.comparison), cause_table(found.comparison),
            order_table(found.comparison, instruments),
        )  # fmt: skip
        titles = ("Beside its backtest", "Causes", "Orders")
        body += section(titles[0], lines + table(shown[0]))
        for heading, each in zip(titles[1:], shown[1:], strict=True):
            body += section(heading, table(each)) if each.rows else ""
    remark = f"{found.mode} session {found.verification.session}, UTC"
    return render_still_page(title, [body], remark=remark)


def describe_parity(found: Parity) -> Iterator[str]:
    """Sentences beside the tables: decisions, data, and the backtest as a check of ours."""
    comparison = found.comparison
    if comparison is None:
        yield "not compared: only a session that verifies can be"
        return
    instruments = {each.id: each for each in found.instruments}
    decisions = sum(each.decisions for each in comparison.strategies)
    if not comparison.partings:
        yield f"all {decisions:,} decisions are those of the backtest"
    for each in comparison.partings:
        yield _describe_parting(each, instruments)
    if found.doubtful_bars:
        yield f"{found.doubtful_bars:,} of {found.bars:,} {found.rows} are flagged"
    if found.no_backtest:
        yield f"run at the simulated venue only: {found.no_backtest}"
    elif found.is_backtest_same:
        yield "the simulated venue in a session and in a backtest say the same"
    else:
        yield "the simulated venue says other things in a session than in a backtest: tell us"


def _describe_parting(each: Parting, instruments: dict[InstrumentId, Instrument]) -> str:
    sides = [
        _describe_intent(intent, instruments) if intent is not None else "nothing more"
        for intent in (each.session, each.backtest)
    ]
    return (
        f"{each.strategy} decides otherwise after {each.before:,} same decisions, at "
        f"{to_iso(each.ts)[:19]}: {sides[0]}; in the backtest {sides[1]}"
    )


def _describe_intent(intent: Intent, instruments: dict[InstrumentId, Instrument]) -> str:
    match intent:
        case OrderIntent():
            instrument = instruments[intent.instrument]
            size = "by size"
            if intent.basis in (QuantityBasis.LOTS, QuantityBasis.TARGET_LOTS):
                size = f"{instrument.lots_to_quantity(intent.amount):f}"
            kind = intent.order_type.name.lower().replace("_", " ")
            prices = [
                f"{instrument.ticks_to_price(ticks):f}"
                for ticks in (intent.stop_ticks, intent.limit_ticks)
                if ticks
            ]
            return " ".join([intent.side.name.lower(), size, instrument.id, kind, *prices])
        case CancelIntent():
            return f"cancel {intent.client_order_id}"
        case ReplaceIntent():
            return f"replace {intent.client_order_id}"
        case ExerciseIntent():
            return f"exercise {intent.lots} lots of {intent.instrument}"
        case ConvertIntent():
            return f"convert {show_minor(intent.amount)} {intent.source} into {intent.target}"


def result_table(comparison: Comparison) -> Table:
    """Each strategy on both sides."""
    return Table(
        ("strategy", "session", "backtest", "difference", "decisions", "the same", "orders",
         "the same"),
        [
            (
                each.strategy, show_minor(each.session_result), show_minor(each.backtest_result),
                show_minor(each.session_result - each.backtest_result, "+"),
                f"{each.decisions:,}", f"{each.same_decisions:,}", f"{each.orders:,}",
                f"{each.same_orders:,}",
            )
            for each in comparison.strategies
        ],
        remark=f"Results in {' '.join(sorted({each.currency for each in comparison.strategies}))}, "
        "at the newest marks.",
    )  # fmt: skip


def cause_table(comparison: Comparison) -> Table:
    """What each cause has made of the result; the last row is all of them."""
    rows: list[tuple[str, ...]] = []
    for cause in Cause:
        found = [each for each in comparison.differences if each.cause is cause]
        if found:
            rows.append(
                (cause.value, WORDS[cause], f"{len(found):,}",
                 show_minor(comparison.total(cause), "+"))
            )  # fmt: skip
    if rows:
        rows.append(("", "all of the difference", "", show_minor(comparison.total(), "+")))
    return Table(("cause", "what", "orders", "amount"), rows, words=2,
                 remark="The session less its backtest; nothing is left over.")  # fmt: skip


def order_table(comparison: Comparison, instruments: dict[InstrumentId, Instrument]) -> Table:
    """The orders that differ, those of the most money first; what was decided otherwise last."""
    found = sorted(
        comparison.differences, key=lambda each: (each.cause is Cause.DECISION, -abs(each.amount))
    )
    more = f" {len(found) - ORDERS:,} more are not shown." if len(found) > ORDERS else ""
    return Table(
        ("order", "cause", "session", "backtest", "quantity", "amount"),
        [_order_row(each, instruments[each.instrument]) for each in found[:ORDERS]],
        words=4, remark=f"Those of the most money first.{more}",
    )  # fmt: skip


def _order_row(each: OrderDifference, instrument: Instrument) -> tuple[str, ...]:
    path = each.session or each.backtest
    if path is None:
        return (f"{each.strategy} {each.instrument}", each.cause.value, "", "", "",
                show_minor(each.amount, "+"))  # fmt: skip
    name = path.client_order_id or f"{each.strategy} {path.side.name.lower()}"
    return (
        f"{name} {each.instrument}", each.cause.value, describe_path(each.session, instrument),
        describe_path(each.backtest, instrument), f"{instrument.lots_to_quantity(each.lots):f}",
        show_minor(each.amount, "+"),
    )  # fmt: skip


def describe_path(path: OrderPath | None, instrument: Instrument) -> str:
    """What became of an order on one side, in a few words."""
    if path is None:
        return "not decided"
    ending = path.ending or "open"
    if len(ending) > _ENDING_LETTERS:
        ending = f"{ending[:_ENDING_LETTERS]}..."
    if not path.fills:
        return ending
    lots = sum(each.lots for each in path.fills)
    value = sum(each.lots * each.ticks for each in path.fills)
    price = float(instrument.tick_size) * value / lots
    digits = max(0, -int(instrument.tick_size.normalize().as_tuple().exponent))
    text = f"{instrument.lots_to_quantity(lots):f} at {price:.{digits}f} {_time(path)}"
    return text if ending == "filled" else f"{text}, {ending}"


def _time(path: OrderPath) -> str:
    """When an order filled first, to the second."""
    return to_iso(path.fills[0].ts)[11:19]
