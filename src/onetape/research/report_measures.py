"""The tables of execution and risk in the report, as rows of text."""

from __future__ import annotations

from decimal import Decimal

from onetape.portfolio.execution_analytics import ExecutionSummary
from onetape.portfolio.option_pricing import Greeks
from onetape.research import report_format as text
from onetape.research.report_tables import Table
from onetape.research.run_exposure import newest_greeks
from onetape.research.run_summary import RunSummary

_RISK = (
    ("Historical VaR 95 %", "historical_var_95"),
    ("Historical VaR 99 %", "historical_var_99"),
    ("Historical CVaR 95 %", "historical_cvar_95"),
    ("Historical CVaR 99 %", "historical_cvar_99"),
    ("Normal VaR 95 %", "normal_var_95"),
    ("Normal VaR 99 %", "normal_var_99"),
    ("Normal CVaR 95 %", "normal_cvar_95"),
    ("Normal CVaR 99 %", "normal_cvar_99"),
    ("Cornish-Fisher VaR 95 %", "cornish_fisher_var_95"),
    ("Cornish-Fisher VaR 99 %", "cornish_fisher_var_99"),
)


GREEKS = Greeks._fields


def execution_table(summary: RunSummary) -> Table:
    """How orders were executed, all together and by type; costs are positive."""
    execution = summary.execution
    if not execution.orders:
        return Table(("",), [])
    columns = {"All": execution.total}
    if len(execution.by_type) > 1:
        columns |= {
            name.replace("_", " ").capitalize(): each for name, each in execution.by_type.items()
        }
    figures = [_execution_rows(each, summary.currency) for each in columns.values()]
    rows = [(row[0][0], *(value for _, value in row)) for row in zip(*figures, strict=True)]
    remark = (
        "Costs against prices of the market, positive where they hurt; delay, execution, "
        "opportunity and fees add up to the shortfall. Each order is in executions.parquet."
    )
    return Table(("", *columns), rows, 1, remark)


def endings_table(summary: RunSummary) -> Table:
    """Why orders were not filled, the most frequent reason first."""
    rows = [
        (each.status, each.reason, text.count(each.count)) for each in summary.execution.endings
    ]
    return Table(("Ended", "Reason", "Orders"), rows, 2)


def risk_table(summary: RunSummary) -> Table:
    """Losses in the tail, of the account and, when there are several, of each strategy."""
    if not summary.account.periods:
        return Table(("",), [])
    columns = {"Account": summary.risk.account}
    if len(summary.risk.strategies) > 1:
        columns |= summary.risk.strategies
    rows = [
        (label, *(text.percent(getattr(each, name)) for each in columns.values()))
        for label, name in _RISK
    ]
    remark = (
        f"Loss over one period ({summary.account.returns_clock}) as a share of equity; "
        f"{text.count(summary.account.periods)} periods."
    )
    return Table(("", *columns), rows, 1, remark)


def correlation_table(summary: RunSummary) -> Table:
    """Correlation of the returns of the strategies; no rows when there is only one."""
    matrix = summary.risk.correlation
    rows = [(name, *(text.ratio(value) for value in row.values())) for name, row in matrix.items()]
    return Table(("", *matrix), rows)


def exposure_table(summary: RunSummary) -> Table:
    """Notionals by currency and, where they are told, by sector; no rows when nothing was held."""
    groups = [
        *(("Currency", each) for each in summary.exposure.by_currency),
        *(("Sector", each) for each in summary.exposure.by_sector),
    ]
    rows = [
        (
            kind, each.name, text.money(each.net, summary.currency),
            text.money(each.gross, summary.currency), text.percent(each.average_net_ratio),
            text.percent(each.average_gross_ratio), text.percent(each.max_gross_ratio),
        )
        for kind, each in groups
    ]  # fmt: skip
    header = ("By", "", "Net at the end", "Gross at the end", "Average net", "Average gross",
              "Largest gross")  # fmt: skip
    remark = (
        f"Notionals at the ends of periods ({summary.account.returns_clock}), as shares of equity; "
        "every position is in exposures.parquet."
    )
    return Table(header, rows, 2, remark)


def greeks_table(summary: RunSummary) -> Table:
    """Greeks of options and their underlyings when options were held last; no rows when never."""
    newest = newest_greeks(summary.exposure.greeks)
    rows = [
        (
            each.underlying, *(f"{getattr(each, name):,.2f}" for name in GREEKS),
            text.count(each.options), text.count(each.without_volatility),
        )
        for each in newest
    ]  # fmt: skip
    remark = ""
    if newest:
        remark = (
            f"On {text.day(newest[0].ts)}, by Black-Scholes-Merton at the volatility that marks "
            "imply, without rates and dividends; delta in units of the underlying, vega for 1.00, "
            "theta a year. Every period is in greeks.parquet."
        )
    header = ("Underlying", *(name.capitalize() for name in GREEKS), "Options", "No volatility")
    return Table(header, rows, 1, remark)


def _execution_rows(figures: ExecutionSummary, currency: str) -> list[tuple[str, str]]:
    f = figures
    return [
        ("Orders", text.count(f.orders)),
        ("Filled", text.count(f.filled)),
        ("Partly filled", text.count(f.partly_filled)),
        ("Unfilled", text.count(f.unfilled)),
        ("Filled of what was wanted", text.percent(f.fill_ratio, 1)),
        ("Mean time to fill", text.duration(f.mean_time_to_fill_ns)),
        ("Median time to fill", text.duration(f.median_time_to_fill_ns)),
        ("Slippage from decision", _cost(f.decision_slippage, f.decision_slippage_bps, currency)),
        ("Slippage from arrival", _cost(f.arrival_slippage, f.arrival_slippage_bps, currency)),
        ("Slippage from VWAP", _cost(f.vwap_slippage, f.vwap_slippage_bps, currency)),
        ("Delay", text.money(f.delay, currency)),
        ("Execution", text.money(f.execution, currency)),
        ("Opportunity", text.money(f.opportunity, currency)),
        ("Fees", text.money(f.fees, currency)),
        ("Implementation shortfall", _cost(f.shortfall, f.shortfall_bps, currency)),
    ]


def _cost(amount: Decimal | float, bps: float, currency: str) -> str:
    return f"{text.money(amount, currency)} ({text.ratio(bps)} bps)" if bps == bps else text.DASH
