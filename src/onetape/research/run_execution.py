"""How a run's orders were executed, and why some were not: from its fold and its market data."""

from __future__ import annotations

from collections import Counter

import msgspec

from onetape.domain.events import OrderFilled
from onetape.domain.orders import OrderType
from onetape.execution.oms import OPEN
from onetape.portfolio.equity_curve import Marks, SlicedTimeline
from onetape.portfolio.execution_analytics import (
    ExecutionSummary,
    OrderExecution,
    OrderRecord,
    measure_executions,
    summarize_executions,
)
from onetape.portfolio.home_amounts import executions_at_home
from onetape.portfolio.home_currency import HomeCurrency
from onetape.telemetry.run_projection import RunProjection


class EndingCount(msgspec.Struct, frozen=True):
    """How many orders ended in `status` (denied, rejected, canceled, expired) for one reason."""

    status: str
    reason: str
    count: int


class RunExecution(msgspec.Struct, frozen=True, kw_only=True):
    """Every submitted order measured, the figures of all and of each order type, and endings."""

    orders: list[OrderExecution]
    total: ExecutionSummary
    by_type: dict[str, ExecutionSummary]
    endings: list[EndingCount]


def measure_run_execution(
    projection: RunProjection,
    marks: Marks,
    timeline: SlicedTimeline,
    currencies: HomeCurrency,
) -> RunExecution:
    """Measure the orders of a run, in the order of submission.

    Raises:
        DataError: The timeline does not hold what was traded.
    """
    orders = executions_at_home(
        currencies, measure_executions(list_order_records(projection), marks, timeline)
    )
    by_type: dict[OrderType, list[OrderExecution]] = {}
    for each in orders:
        by_type.setdefault(each.order_type, []).append(each)
    total = summarize_executions(orders)
    return RunExecution(
        orders=orders,
        total=total,
        by_type={
            kind.name.lower(): total if len(by_type) == 1 else summarize_executions(own)
            for kind, own in sorted(by_type.items())
        },
        endings=count_endings(projection),
    )


def list_order_records(projection: RunProjection) -> list[OrderRecord]:
    """What a tape says about each submitted order, in the order of submission."""
    fills: dict[str, list[tuple[int, OrderFilled]]] = {}
    for _, ts, fill in projection.fills:
        fills.setdefault(fill.client_order_id, []).append((ts, fill))
    return [
        OrderRecord(
            client_order_id=each.client_order_id,
            strategy=each.strategy,
            instrument=each.instrument,
            side=each.side,
            order_type=each.order_type,
            lots=each.lots,
            ts_decision=each.ts_submitted,
            ts_arrival=each.ts_accepted,
            ts_end=None if each.status in OPEN else each.ts_last,
            fills=tuple(fills.get(each.client_order_id, ())),
        )
        for each in projection.orders.values()
    ]


def count_endings(projection: RunProjection) -> list[EndingCount]:
    """Orders that ended without being filled whole, by how and why; the most frequent first.

    Denied ones never became orders. Of a rejection the code counts, not the venue's words.
    """
    counts: Counter[tuple[str, str]] = Counter(
        ("denied", refusal.code.value) for _, refusal in projection.denied
    )
    for order in projection.orders.values():
        if order.reason and order.status not in OPEN:
            counts[order.status.name.lower(), order.reason.partition(":")[0]] += 1
    return [
        EndingCount(status, reason, count)
        for (status, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
