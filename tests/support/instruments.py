"""Instruments for tests of market data."""

from __future__ import annotations

from decimal import Decimal

from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind


def make_instrument(
    name: str,
    *,
    kind: InstrumentKind = InstrumentKind.EQUITY,
    currency: str = "USD",
    base: str = "",
    calendar: str = "24/7",
) -> Instrument:
    return Instrument(
        id=InstrumentId(name),
        kind=kind,
        quote_currency=currency,
        base_currency=base,
        tick_size=Decimal("0.01"),
        lot_size=Decimal(1),
        calendar=calendar,
    )
