"""What Alpaca says of an instrument, as one of ours.

Source: Alpaca, "Trading API" reference, Assets; "Orders at Alpaca": prices from a dollar up have
two decimals.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.nearest import nearest

_CENT = Decimal("0.01")


class WireAsset(msgspec.Struct, frozen=True, kw_only=True):
    """An asset. The last three are told of crypto pairs only."""

    symbol: str
    asset_class: str = msgspec.field(name="class", default="us_equity")
    status: str = "active"
    tradable: bool = True
    fractionable: bool = False
    min_order_size: str | None = None
    min_trade_increment: str | None = None
    price_increment: str | None = None


def to_wire_symbol(instrument: Instrument) -> str:
    """Alpaca's name for it: `AAPL`, `BTC/USD`."""
    if instrument.kind is InstrumentKind.SPOT:
        return f"{instrument.base_currency}/{instrument.quote_currency}"
    return instrument.symbol


def by_wire_symbol(instruments: Iterable[Instrument]) -> dict[str, Instrument]:
    """Instruments by Alpaca's names for them; positions name a pair without its slash."""
    found: dict[str, Instrument] = {}
    for each in instruments:
        symbol = to_wire_symbol(each)
        found[symbol] = found[symbol.replace("/", "")] = each
    return found


def to_instrument(
    identity: InstrumentId, asset: WireAsset, equity_lot: Decimal = Decimal(1)
) -> Instrument:
    """The instrument that `asset` describes.

    Raises:
        DataError: It can't be traded, is of another kind, or has no parts of a share.
    """
    if asset.status != "active" or not asset.tradable:
        raise DataError(f"{identity} can't be traded at Alpaca: it is {asset.status}",
                        remedy="leave it out")  # fmt: skip
    if asset.asset_class == "crypto":
        base, _, quote = asset.symbol.partition("/")
        tick, lot = Decimal(asset.price_increment or "0"), Decimal(asset.min_trade_increment or "0")
        if not quote or tick <= 0 or lot <= 0:
            raise DataError(f"Alpaca does not say the steps of {identity}")
        tick, lot = tick.normalize(), _coarsen(lot.normalize(), tick)
        least = Decimal(asset.min_order_size or "0")
        return Instrument(
            id=identity, kind=InstrumentKind.SPOT, quote_currency=quote, base_currency=base,
            tick_size=tick, lot_size=lot, min_lots=max(1, -int(-least // lot)),
        )  # fmt: skip
    if asset.asset_class != "us_equity":
        raise DataError(f"{identity} is of Alpaca's class {asset.asset_class}, which is not traded "
                        "here", remedy="equities and crypto pairs are")  # fmt: skip
    if equity_lot < 1 and not asset.fractionable:
        raise DataError(f"Alpaca has no parts of a share of {identity}", remedy="use a lot of 1")
    return Instrument(
        id=identity, kind=InstrumentKind.EQUITY, quote_currency="USD", tick_size=_CENT,
        lot_size=equity_lot, calendar="XNYS",
    )  # fmt: skip


def _coarsen(lot: Decimal, tick: Decimal) -> Decimal:
    """The first lot from `lot` up, by tens, of which a tick is whole minor units (1e-8)."""
    while (tick * lot * 100_000_000) % 1:
        lot *= 10
    return lot.normalize()


def refuse_unknown(identity: InstrumentId, symbols: Iterable[str]) -> DataError:
    """The error for a symbol that Alpaca does not have; the nearest it has is named."""
    symbol = identity.rpartition(".")[0]
    return DataError(f"Alpaca has no {symbol!r}", where=identity, remedy=nearest(symbol, symbols))
