"""The figures of a run as rows of text: one source for the terminal, the HTML and the markdown."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from onetape.domain.events import BreakerTripped, MarginStatus, SettlementKind
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import minor_to_decimal
from onetape.portfolio.performance_summary import PerformanceSummary
from onetape.research import report_format as text
from onetape.research.run_summary import RunSummary
from onetape.runtime.config_execution import ExecutionConfig
from onetape.runtime.config_fees import describe_misfit

MAX_TRIPS = 8
"""Trips of breakers that are told one by one."""


class Row(NamedTuple):
    """One figure: what it is, its value as text, and whether that is good (+1) or bad (-1)."""

    label: str
    value: str
    tone: int = 0


class Alarm(NamedTuple):
    """Something a reader must not miss: a word for the badge, and the whole story."""

    word: str
    story: str


def result_rows(summary: RunSummary) -> list[Row]:
    """The table that a run ends with in the terminal: alarms, period, the figures."""
    account = summary.account
    header = [Row(alarm.word, alarm.story, -1) for alarm in alarms(summary)]
    period = Row("Period", f"{text.day(account.ts_start)} to {text.day(account.ts_end)}")
    return [
        *header,
        period,
        *figure_rows(account, summary.currency),
        *action_rows(summary),
        *posting_rows(summary),
        *contract_rows(summary),
        Row("Denied orders", text.count(len(summary.projection.denied))),
    ]


def figure_rows(figures: PerformanceSummary, currency: str) -> list[Row]:
    """The figures of the account or of one strategy."""
    f = figures
    trips = text.count(f.round_trips) + (
        f" + {f.open_round_trips} open" if f.open_round_trips else ""
    )
    return [
        Row("Total return", text.percent(f.total_return), _tone(f.total_return)),
        Row("Annual return", text.percent(f.annual_return), _tone(f.annual_return)),
        Row("Net profit", text.money(f.net_profit, currency), _tone(float(f.net_profit))),
        Row("Final equity", text.money(f.equity, currency)),
        Row("Sharpe", text.ratio(f.sharpe_ratio), _tone(f.sharpe_ratio)),
        Row("Sortino", text.ratio(f.sortino_ratio), _tone(f.sortino_ratio)),
        Row("Calmar", text.ratio(f.calmar_ratio), _tone(f.calmar_ratio)),
        Row("Volatility, annual", text.percent(f.annual_volatility)),
        Row("Max drawdown", text.percent(f.max_drawdown), _tone(f.max_drawdown)),
        Row("Drawdown length", text.duration(f.max_drawdown_duration_ns)),
        Row("Time in market", text.percent(f.time_exposure_ratio, 1)),
        Row("Average exposure", text.percent(f.average_gross_exposure_ratio, 1)),
        Row("Turnover a year", text.ratio(f.annual_turnover_ratio, "x equity")),
        Row("Round trips", trips),
        Row("Win rate", text.percent(f.win_ratio, 1)),
        Row("Profit factor", text.ratio(f.profit_factor)),
        Row("Expectancy", text.money(f.expectancy, currency), _tone(f.expectancy)),
        Row("Average trip", text.duration(f.average_duration_ns)),
        Row("Best trip", text.money(f.best_round_trip, currency)),
        Row("Worst trip", text.money(f.worst_round_trip, currency)),
        Row("Fees", text.money(f.fees, currency)),
    ]


def action_rows(summary: RunSummary) -> list[Row]:
    """What corporate actions brought or took; nothing where no position was adjusted."""
    if not summary.projection.adjustments:
        return []
    dividends, settled = summary.sum_dividends(), summary.sum_settled()
    due = summary.sum_receivable()
    return [
        Row("Dividends", text.money(dividends, summary.currency), _tone(float(dividends))),
        *([Row("Not paid yet", text.money(due, summary.currency))] if due else []),
        Row("Settled in cash", text.money(settled, summary.currency)),
    ]


def posting_rows(summary: RunSummary) -> list[Row]:
    """Cash that moved without a fill, by kind; nothing where there was none."""
    return [
        Row(kind.replace("_", " ").capitalize(), text.money(amount, currency),
            _tone(float(amount)))
        for kind, sums in summary.sum_postings().items()
        for currency, amount in sums.items()
    ]  # fmt: skip


def contract_rows(summary: RunSummary) -> list[Row]:
    """PnL of contracts by what settled them, and its fees; nothing where there was none."""
    return [
        Row("Fees of settlements" if name == "fees" else f"{name.capitalize()} PnL",
            text.money(amount, summary.currency), 0 if name == "fees" else _tone(float(amount)))
        for name, amount in summary.sum_settlements().items()
        if amount or name != "fees"
    ]  # fmt: skip


def cost_rows(figures: PerformanceSummary, currency: str) -> list[Row]:
    """What trading cost."""
    bps = figures.fee_turnover_ratio * 10_000
    return [
        Row("Fills", text.count(figures.fills)),
        Row("Traded notional", text.money(figures.traded_notional, currency)),
        Row("Fees", text.money(figures.fees, currency)),
        Row("Fees of traded notional", text.ratio(bps, "bps")),
    ]


def alarms(summary: RunSummary) -> list[Alarm]:
    """What makes the figures doubtful: a run that broke off, strategies that raised."""
    found: list[Alarm] = []
    if not summary.is_complete:
        last = text.minute(summary.projection.ts_last)
        found.append(
            Alarm(
                "INCOMPLETE",
                f"the session still runs, or broke off; figures go to its last event, {last} UTC",
            )
        )
    found.extend(
        Alarm(
            "QUARANTINED",
            f"{each.strategy} raised in {each.callback} at {text.minute(ts)} UTC: {each.error}"
            + (f" ({each.where})" if each.where else ""),
        )
        for ts, each in summary.projection.quarantined
    )
    found.extend(
        Alarm(
            each.status.value.upper(),
            f"{each.strategy} had equity of {_minor(each.equity, summary)} against a maintenance "
            f"margin of {_minor(each.maintenance, summary)} at {text.minute(ts)} UTC",
        )
        for ts, each in summary.projection.margin
        if each.status in (MarginStatus.LIQUIDATION, MarginStatus.BANKRUPT)
    )
    found.extend(_tell_lapsed(summary))
    trips = summary.projection.breakers
    found.extend(
        Alarm("BREAKER TRIPPED", f"{text.minute(ts)} UTC: {_tell_trip(each)}")
        for ts, each in trips[:MAX_TRIPS]
    )
    if len(trips) > MAX_TRIPS:
        found.append(Alarm("BREAKER TRIPPED", f"and {len(trips) - MAX_TRIPS:,} times more"))
    found.extend(tell_fills(summary.config, summary.timeline.columns))
    found.extend(tell_fees(summary.config, summary.timeline.instruments))
    return found


def _tell_lapsed(summary: RunSummary) -> Iterator[Alarm]:
    """Options that ended in the money for nothing."""
    lapsed = [
        each for *_, each in summary.projection.settlements if each.kind is SettlementKind.LAPSED
    ]
    if lapsed:
        names = ", ".join(dict.fromkeys(each.instrument for each in lapsed))
        yield Alarm(
            "LAPSED",
            f"{names} expired in the money, and the shares or the cash to exercise with were not "
            f"there: {_minor(sum(each.realized for each in lapsed), summary)} were booked",
        )


def _minor(amount: int, summary: RunSummary) -> str:
    return text.money(minor_to_decimal(amount), summary.currency)


_KIND_FILLS = {
    "same_close": (
        "SAME CLOSE",
        "market orders may fill at the very close that they were decided at, a price that nobody "
        "could still trade at (execution.fill.market: same_close)",
    ),
    "optimistic": (
        "OPTIMISTIC FILLS",
        "inside a bar orders are met in the order that is best for us "
        "(execution.fill.path: optimistic)",
    ),
}


def tell_fills(config: Mapping[str, Any], columns: Container[str]) -> Iterator[Alarm]:
    """Fill models of a configuration that choose for us; `columns` are those of the data."""
    execution = config.get("execution", {})
    fill = execution.get("fill", {})
    others = [each.get("fill") or {} for each in execution.get("overrides", ())]
    chosen = [fill, *fill.get("overrides", ()), *others]  # in the fill: those of older runs
    used = {each.get(key) for each in chosen for key in ("market", "path")}
    for name, (word, story) in _KIND_FILLS.items():
        if name in used:
            yield Alarm(word, story)
    if "vwap" in used and "vwap" not in columns:
        yield Alarm(
            "NO VWAP",
            "the bars have no volume-weighted price: market orders filled at the typical price "
            "(execution.fill.market: vwap)",
        )


def tell_fees(config: Mapping[str, Any], instruments: Iterable[Instrument]) -> Iterator[Alarm]:
    """Fee models that are those of other instruments than they are used for."""
    given = config.get("execution", {})
    charges_of = {key: given[key] for key in ("fees", "overrides") if key in given}
    try:
        charged = ExecutionConfig.model_validate(charges_of)
    except ValidationError:  # of a tape whose keys are no longer known: its figures still stand
        return
    charges: dict[tuple[str, str], list[str]] = {}
    for each in instruments:
        fees = charged.chosen_for(each).fees
        whose = describe_misfit(fees, each)
        if whose:
            charges.setdefault((whose, fees.model), []).append(each.id)
    for (whose, model), names in charges.items():
        yield Alarm(
            "FEES",
            f"{', '.join(names)} paid the fees of {whose} (execution.fees.model: {model}); "
            "execution.overrides gives instruments their own",
        )


def _tone(value: float) -> int:
    return (value > 0) - (value < 0)


def _tell_trip(trip: BreakerTripped) -> str:
    whose = trip.strategy or "the account"
    what = f" of {trip.instrument}" if trip.instrument else ""
    return (
        f"{trip.kind.value}{what} of {whose}, {trip.actual:,.10g} against {trip.limit:,.10g} "
        f"{trip.unit}: {trip.action.value}"
    )
