"""Binance's symbols as our instruments, and its texts as our whole numbers.

Source: Binance Spot API, "Exchange information" and "Filters".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.nearest import nearest
from onetape.domain.numbers import MAX_LOTS, to_grid
from onetape.marketdata.feeds.binance_client import BinanceClient, BinanceRefusal

_WEIGHT_INFO = 20


async def read_symbols(client: BinanceClient, symbols: Sequence[str]) -> dict[str, Any]:
    """What `exchangeInfo` says of each symbol, by its name; its limits go to the budget.

    Raises:
        DataError: One is unknown (the nearest is named).
        BinanceRefusal: It refuses.
        NoAnswer: It can't be reached.
    """
    asked = {"symbols": json.dumps(list(symbols), separators=(",", ":"))}
    try:
        info = await client.ask("GET", "exchangeInfo", asked, weight=_WEIGHT_INFO)
    except BinanceRefusal as refusal:
        if not refusal.is_symbol and refusal.code != -1100:  # illegal characters
            raise
        info = await client.ask("GET", "exchangeInfo", weight=_WEIGHT_INFO)
    client.budget.set_limits(info["rateLimits"])
    known = {each["symbol"]: each for each in info["symbols"]}
    for symbol in symbols:
        if symbol not in known:
            raise DataError(
                f"binance does not know the symbol {symbol!r}", remedy=nearest(symbol, known)
            )
    return {symbol: known[symbol] for symbol in symbols}


def to_instrument(identity: InstrumentId, info: dict[str, Any]) -> Instrument:
    """The instrument that `exchangeInfo` describes.

    Raises:
        ConfigError: Its tick and lot can't be booked exactly.
    """
    filters = {each["filterType"]: each for each in info["filters"]}
    lots, price = filters["LOT_SIZE"], filters["PRICE_FILTER"]
    lot_size = Decimal(lots["stepSize"]).normalize()
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
    return Instrument(
        id=identity,
        kind=InstrumentKind.SPOT,
        quote_currency=info["quoteAsset"],
        base_currency=info["baseAsset"],
        tick_size=Decimal(price["tickSize"]).normalize(),
        lot_size=lot_size,
        min_lots=max(1, -int(-Decimal(lots["minQty"]) // lot_size)),
        max_lots=min(MAX_LOTS, int(Decimal(lots["maxQty"]) // lot_size)),
        min_notional=Decimal(notional.get("minNotional", 0)),
    )


def to_lots(instrument: Instrument, text: str) -> int:
    """Whole lots of a quantity; raises `DataError` where it is none."""
    return to_grid(text, instrument.lot_size, f"{instrument.id} quantity", error=DataError)


def to_ticks(instrument: Instrument, text: str, sign: int) -> int:
    """Ticks of a price; between two the one against us (`sign` +1: we buy, the higher)."""
    steps = Decimal(text) / instrument.tick_size
    return int(steps.to_integral_value(ROUND_CEILING if sign > 0 else ROUND_FLOOR))


def to_units(text: str) -> int:
    """1e-8 units of an amount; raises `DataError` where it is finer."""
    return to_grid(text, Decimal("1e-8"), "an amount of binance", error=DataError)
