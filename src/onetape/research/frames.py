"""A run as polars frames: exact integers first, floats for people and statistics beside them.

Money columns end in `_minor` (1e-8 of the currency) and have a float64 twin without the ending;
`*ticks` have a float64 `*price`, `*lots` a float64 `*quantity`. Times are ns UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from onetape.domain.instrument import Instrument
from onetape.domain.numbers import E8
from onetape.portfolio.equity_curve import EquityCurve
from onetape.portfolio.execution_analytics import OrderExecution
from onetape.portfolio.performance import drawdowns
from onetape.portfolio.performance_summary import compute_growth
from onetape.portfolio.round_trips import RoundTrip, average_price
from onetape.research.run_summary import RunSummary
from onetape.telemetry.run_projection import OrderState

if TYPE_CHECKING:
    import polars as pl

_TEXT = frozenset(
    {"client_order_id", "strategy", "instrument", "side", "type", "time_in_force", "status",
     "status_classic", "liquidity", "reason", "kind", "currency", "other", "sector",
     "underlying"}
)  # fmt: skip
_INTEGER_ENDINGS = ("_minor", "lots", "ticks", "_ns", "seq", "positions", "bars", "fills",
                    "options", "without_volatility")  # fmt: skip


def build_frames(summary: RunSummary) -> dict[str, pl.DataFrame]:
    """The frames of a run by name: equity, orders, fills, executions, round_trips.

    And adjustments, where a corporate action has adjusted a position; settlements, where a contract
    was settled; postings, where cash has moved without a fill; exposures, where something was held
    at the end of a period; and greeks, where options were.
    """
    frames = {
        "equity": build_equity_frame(summary),
        "orders": build_orders_frame(summary),
        "fills": build_fills_frame(summary),
        "executions": build_executions_frame(summary),
        "round_trips": build_round_trips_frame(summary),
    }
    if summary.projection.adjustments:
        frames["adjustments"] = build_adjustments_frame(summary)
    if summary.projection.settlements:
        frames["settlements"] = build_settlements_frame(summary)
    if summary.projection.postings:
        frames["postings"] = build_postings_frame(summary)
    if summary.exposure.positions:
        frames["exposures"] = build_exposures_frame(summary)
    if summary.exposure.greeks:
        frames["greeks"] = build_greeks_frame(summary)
    return frames


def build_equity_frame(summary: RunSummary) -> pl.DataFrame:
    """One row a slice: the books, growth of one unit of money, and drawdown as a fraction.

    First the rows of the account, whose `strategy` is null, then those of each strategy.
    """
    import polars as pl

    def rows_of(curve: EquityCurve, strategy: str | None) -> pl.DataFrame:
        growth = compute_growth(curve)
        return _frame(
            {
                "ts": curve.ts,
                "strategy": pl.repeat(strategy, len(curve.ts), dtype=pl.String, eager=True),
                "equity_minor": curve.equity,
                "cash_minor": curve.cash,
                "gross_exposure_minor": curve.gross_exposure,
                "net_exposure_minor": curve.net_exposure,
                "deposited_minor": curve.deposited,
                "positions": curve.positions,
                "growth": growth,
                "drawdown": drawdowns(growth),
            }
        )

    curves = summary.curves
    return pl.concat(
        [rows_of(curves.account, None)]
        + [rows_of(curve, name) for name, curve in curves.strategies.items()]
    )


def build_orders_frame(summary: RunSummary) -> pl.DataFrame:
    """One row an order in its final state, then those that risk denied, which got no id.

    A denied cancel or replace is among them without an instrument.
    """
    import polars as pl

    orders: Iterable[OrderState] = summary.projection.orders.values()
    instruments = {each.id: each for each in summary.timeline.tradable}
    submitted = _frame(
        {
            "client_order_id": [each.client_order_id for each in orders],
            "strategy": [each.strategy for each in orders],
            "instrument": [each.instrument for each in orders],
            "side": [each.side.name.lower() for each in orders],
            "type": [each.order_type.name.lower() for each in orders],
            "time_in_force": [each.time_in_force.name.lower() for each in orders],
            "status": [each.status.name.lower() for each in orders],
            "status_classic": [each.classic_status for each in orders],
            "ts_submitted": [each.ts_submitted for each in orders],
            "ts_last": [each.ts_last for each in orders],
            "lots": [each.lots for each in orders],
            "filled_lots": [each.filled_lots for each in orders],
            "limit_ticks": [each.limit_ticks or None for each in orders],
            "stop_ticks": [each.stop_ticks or None for each in orders],
            "filled_notional_minor": [each.filled_notional for each in orders],
            "fee_minor": [each.fee for each in orders],
            "reason": [each.reason for each in orders],
            "average_fill_price": [
                average_price(instruments[each.instrument], each.filled_notional, each.filled_lots)
                if each.filled_lots
                else None
                for each in orders
            ],
        }
    )
    denied = summary.projection.denied
    refused = _frame(
        {
            "strategy": [each.strategy for _, each in denied],
            "instrument": [each.instrument or None for _, each in denied],
            "status": ["denied"] * len(denied),
            "status_classic": ["rejected"] * len(denied),
            "ts_submitted": [ts for ts, _ in denied],
            "ts_last": [ts for ts, _ in denied],
            "reason": [
                f"{each.code.value}: {each.actual!r} against {each.limit!r} {each.unit}"
                for _, each in denied
            ],
        }
    )
    return _add_units(pl.concat([submitted, refused], how="diagonal"), instruments.values())


def build_fills_frame(summary: RunSummary) -> pl.DataFrame:
    """One row a fill. `ts` is the engine time of the step that made it, `ts_fill` its own."""
    timed = summary.projection.fills
    fills = [fill for _, _, fill in timed]
    return _add_units(
        _frame(
            {
                "seq": [seq for seq, _, _ in timed],
                "ts": [ts for _, ts, _ in timed],
                "ts_fill": [each.ts_fill for each in fills],
                "client_order_id": [each.client_order_id for each in fills],
                "strategy": [each.strategy for each in fills],
                "instrument": [each.instrument for each in fills],
                "side": [each.side.name.lower() for each in fills],
                "liquidity": [each.liquidity.name.lower() for each in fills],
                "lots": [each.lots for each in fills],
                "ticks": [each.ticks for each in fills],
                "leaves_lots": [each.leaves for each in fills],
                "notional_minor": [each.notional for each in fills],
                "fee_minor": [each.fee for each in fills],
            }
        ),
        summary.timeline.tradable,
    )


def build_adjustments_frame(summary: RunSummary) -> pl.DataFrame:
    """One row a position that a corporate action adjusted: what it moved, the position after it.

    `amount` is the cash that moved, `income` a dividend, `realized` PnL of lots that went,
    `receivable` the change of what is to be paid. `received` lots of the instrument `other` came
    with `carried` of the cost; it is empty where there is none.
    """
    timed = summary.projection.adjustments
    changes = [change for _, _, change in timed]
    columns: dict[str, Any] = {
        "seq": [seq for seq, _, _ in timed],
        "ts": [ts for _, ts, _ in timed],
        "strategy": [each.strategy for each in changes],
        "instrument": [each.instrument for each in changes],
        "kind": [each.kind.value for each in changes],
        "lots": [each.lots for each in changes],
    }
    for name in ("cost", "amount", "realized", "income", "cash", "receivable", "carried"):
        columns[f"{name}_minor"] = [getattr(each, name) for each in changes]
    columns["other"] = [each.other for each in changes]
    columns["received_lots"] = [each.received for each in changes]
    return _add_units(_frame(columns), summary.timeline.tradable)


def build_exposures_frame(summary: RunSummary) -> pl.DataFrame:
    """One row a position of a strategy at the end of a period: its lots, mark and notional.

    `notional_minor` is signed, in the account's currency; `sector` is empty where none is told.
    """
    import polars as pl

    exposure = summary.exposure
    quoted = {each.id: each.settlement_currency for each in summary.timeline.tradable}
    parts: list[pl.DataFrame] = []
    for each in exposure.positions:
        part = _frame(
            {
                "ts": exposure.ts,
                "strategy": [each.strategy] * len(exposure.ts),
                "instrument": [each.instrument] * len(exposure.ts),
                "currency": [quoted[each.instrument]] * len(exposure.ts),
                "sector": [exposure.sectors.get(each.instrument, "")] * len(exposure.ts),
                "lots": each.lots,
                "ticks": each.ticks,
                "notional_minor": each.notional,
            }
        )
        parts.append(part.filter(pl.col("lots") != 0))
    frame = pl.concat(parts).sort("ts", maintain_order=True)
    return _add_units(frame, summary.timeline.tradable)


def build_greeks_frame(summary: RunSummary) -> pl.DataFrame:
    """One row an underlying at the end of each period at which its options were held."""
    greeks = summary.exposure.greeks
    names = greeks[0].__struct_fields__
    return _frame({name: [getattr(each, name) for each in greeks] for name in names})


def build_settlements_frame(summary: RunSummary) -> pl.DataFrame:
    """One row a position that changed without an order: what was traded, the position after it.

    `amount` is the cash that it moved before the fee, `realized` PnL of the lots that went.
    """
    timed = summary.projection.settlements
    settled = [each for _, _, each in timed]
    columns: dict[str, Any] = {
        "seq": [seq for seq, _, _ in timed],
        "ts": [ts for _, ts, _ in timed],
        "strategy": [each.strategy for each in settled],
        "instrument": [each.instrument for each in settled],
        "kind": [each.kind.value for each in settled],
        "traded_lots": [each.traded for each in settled],
        "ticks": [each.ticks for each in settled],
        "lots": [each.lots for each in settled],
    }
    for name in ("notional", "cost", "amount", "realized", "fee", "cash"):
        columns[f"{name}_minor"] = [getattr(each, name) for each in settled]
    return _add_units(_frame(columns), summary.timeline.tradable)


def build_postings_frame(summary: RunSummary) -> pl.DataFrame:
    """One row for cash that moved without a fill: how much (received: positive), why, what is left.

    `instrument` is null where it moved on account of none.
    """
    timed = summary.projection.postings
    posted = [posting for _, _, posting in timed]
    return _frame(
        {
            "seq": [seq for seq, _, _ in timed],
            "ts": [ts for _, ts, _ in timed],
            "strategy": [each.strategy for each in posted],
            "kind": [each.kind.value for each in posted],
            "instrument": [each.instrument or None for each in posted],
            "currency": [each.currency for each in posted],
            "amount_minor": [each.amount for each in posted],
            "cash_minor": [each.cash for each in posted],
            "reason": [each.reason for each in posted],
        }
    )


def build_executions_frame(summary: RunSummary) -> pl.DataFrame:
    """One row an order that was submitted: what its execution cost, part by part.

    `docs/metrics.md` defines the columns. Of prices that there were not, null.
    """
    orders: list[OrderExecution] = summary.execution.orders
    columns: dict[str, Any] = {
        "client_order_id": [each.client_order_id for each in orders],
        "strategy": [each.strategy for each in orders],
        "instrument": [each.instrument for each in orders],
        "side": [each.side.name.lower() for each in orders],
        "type": [each.order_type.name.lower() for each in orders],
    }
    for name in ("ts_decision", "ts_arrival", "ts_first_fill", "ts_last_fill", "lots",
                 "filled_lots", "decision_ticks", "arrival_ticks", "end_ticks"):  # fmt: skip
        columns[name] = [getattr(each, name) for each in orders]
    columns["vwap"] = [each.vwap if each.vwap == each.vwap else None for each in orders]
    for name in ("paper_notional", "filled_notional", "delay", "execution", "opportunity", "fees",
                 "shortfall", "decision_slippage"):  # fmt: skip
        columns[f"{name}_minor"] = [getattr(each, name) for each in orders]
    columns["shortfall_bps"] = [_bps(each.shortfall, each.paper_notional) for each in orders]
    columns["decision_slippage_bps"] = [
        _bps(each.decision_slippage, each.decision_value) for each in orders
    ]
    columns["arrival_slippage_bps"] = [_bps(each.execution, each.arrival_value) for each in orders]
    columns["vwap_slippage"] = [
        each.vwap_slippage if each.vwap == each.vwap else None for each in orders
    ]
    return _add_units(_frame(columns), summary.timeline.tradable)


def build_round_trips_frame(summary: RunSummary) -> pl.DataFrame:
    """One row a round trip, open ones last; `exit_price` is null while nothing is closed."""
    trips: list[RoundTrip] = summary.round_trips
    return _add_units(
        _frame(
            {
                "strategy": [each.strategy for each in trips],
                "instrument": [each.instrument for each in trips],
                "side": [each.side.value for each in trips],
                "is_open": [each.is_open for each in trips],
                "ts_entry": [each.ts_entry for each in trips],
                "ts_exit": [each.ts_exit for each in trips],
                "duration_ns": [each.duration_ns for each in trips],
                "bars": [each.bars for each in trips],
                "fills": [each.fills for each in trips],
                "lots": [each.lots for each in trips],
                "open_lots": [each.open_lots for each in trips],
                "entry_price": [each.entry_price for each in trips],
                "exit_price": [each.exit_price or None for each in trips],
                "return_ratio": [each.return_ratio for each in trips],
                "entry_notional_minor": [each.entry_notional for each in trips],
                "exit_notional_minor": [each.exit_notional for each in trips],
                "pnl_gross_minor": [each.pnl_gross for each in trips],
                "fees_minor": [each.fees for each in trips],
                "pnl_net_minor": [each.pnl_net for each in trips],
            }
        ),
        summary.timeline.tradable,
    )


def _frame(columns: dict[str, Any]) -> pl.DataFrame:
    """A frame whose types follow from the names, so that an empty one has them too."""
    import polars as pl

    def type_of(name: str) -> Any:
        if name in _TEXT:
            return pl.String
        if name == "is_open":
            return pl.Boolean
        return pl.Int64 if name.startswith("ts") or name.endswith(_INTEGER_ENDINGS) else pl.Float64

    frame = pl.DataFrame(
        [pl.Series(name, values, dtype=type_of(name)) for name, values in columns.items()]
    )
    twins = [
        _scaled(frame[name], name.removesuffix("_minor"), 1, E8)
        for name in columns
        if name.endswith("_minor")
    ]
    return frame.with_columns(pl.col("^ts(_.*)?$").cast(pl.Datetime("ns", "UTC")), *twins)


def _add_units(frame: pl.DataFrame, instruments: Iterable[Instrument]) -> pl.DataFrame:
    """Add the price of each `*ticks` and the quantity of each `*lots`."""
    grids = {
        each.id: (*each.tick_size.as_integer_ratio(), *each.lot_size.as_integer_ratio())
        for each in instruments
    }
    none = (1, 1, 1, 1)  # without an instrument there are no ticks and no lots
    each_row = np.array(
        [grids[name] if name else none for name in frame["instrument"]], dtype=np.int64
    )
    tick_top, tick_bottom, lot_top, lot_bottom = each_row.reshape(-1, 4).T
    added: list[pl.Series] = []
    for name in frame.columns:
        if name.endswith("ticks"):
            price = name.removesuffix("ticks") + "price"
            added.append(_scaled(frame[name], price, tick_top, tick_bottom))
        elif name.endswith("lots"):
            quantity = name.removesuffix("lots") + "quantity"
            added.append(_scaled(frame[name], quantity, lot_top, lot_bottom))
    return frame.with_columns(added)


def _bps(cost: int, value: int) -> float | None:
    return cost / value * 10_000.0 if value else None


def _scaled(values: pl.Series, name: str, top: Any, bottom: Any) -> pl.Series:
    """`values * top / bottom`, null where they are, rounded correctly.

    By numpy, because polars divides by one number as it multiplies by its reciprocal: 7.25 may
    come out as 7.249999999999999.
    """
    import polars as pl

    return pl.Series(name, values.to_numpy() * top / bottom, dtype=pl.Float64, nan_to_null=True)
