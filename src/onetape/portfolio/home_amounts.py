"""Fills, round trips and executions of a run with all their money in the currency of the books.

A fill at the rate of its step, a round trip at that of its exit (the last one while it is open), an
execution at that of its decision; so their sums are of one currency, and what a rate does to a
position between entry and exit is no part of a round trip.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from onetape.domain.events import OrderFilled
from onetape.portfolio.execution_analytics import OrderExecution
from onetape.portfolio.home_currency import HomeCurrency
from onetape.portfolio.round_trips import RoundTrip


def fills_at_home(
    currencies: HomeCurrency, fills: Iterable[tuple[int, OrderFilled]]
) -> list[OrderFilled]:
    """Fills with the engine time of their step; fees rounded up."""
    found: list[OrderFilled] = []
    for ts, fill in fills:
        currency = currencies.currency_of(fill.instrument)
        if currency == currencies.home:
            found.append(fill)
            continue
        found.append(
            msgspec.structs.replace(
                fill,
                notional=currencies.at_time(currency, fill.notional, ts),
                fee=-currencies.at_time(currency, -fill.fee, ts),
            )
        )
    return found


def trips_at_home(currencies: HomeCurrency, trips: Iterable[RoundTrip]) -> list[RoundTrip]:
    """Round trips; notionals rounded down, fees up."""
    found: list[RoundTrip] = []
    for trip in trips:
        currency, ts = currencies.currency_of(trip.instrument), trip.ts_exit
        if currency == currencies.home:
            found.append(trip)
            continue
        gross = currencies.at_time(currency, trip.pnl_gross, ts)
        fees = -currencies.at_time(currency, -trip.fees, ts)
        found.append(
            msgspec.structs.replace(
                trip,
                entry_notional=currencies.at_time(currency, trip.entry_notional, ts),
                exit_notional=currencies.at_time(currency, trip.exit_notional, ts),
                pnl_gross=gross,
                fees=fees,
                pnl_net=gross - fees,
            )
        )
    return found


_INTS = ("filled_notional", "paper_notional", "decision_value", "arrival_value", "delay",
         "execution", "opportunity", "fees")  # fmt: skip
_FLOATS = ("vwap_value", "vwap_slippage")


def executions_at_home(
    currencies: HomeCurrency, orders: Iterable[OrderExecution]
) -> list[OrderExecution]:
    """Executions; each part rounded down."""
    found: list[OrderExecution] = []
    for order in orders:
        currency, ts = currencies.currency_of(order.instrument), order.ts_decision
        if currency == currencies.home:
            found.append(order)
            continue
        changed: dict[str, float] = {
            name: currencies.at_time(currency, getattr(order, name), ts) for name in _INTS
        }
        rate = currencies.at_time(currency, 10**16, ts) / 10**16
        changed |= {name: getattr(order, name) * rate for name in _FLOATS}
        found.append(msgspec.structs.replace(order, **changed))
    return found
