"""Bars of crypto exchanges, Binance and others, from ccxt's public endpoints (no key needed).

Source: ccxt manual, "OHLCV Candlestick Charts", "Funding Rate History" and "Error Handling";
Binance Spot API, `klines`; Binance USDS-M Futures API, `fundingRate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

import numpy as np

from onetape.domain.errors import ConfigError, DataError, SourceUnavailable
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_MS, timeframe_ns
from onetape.marketdata.funding import FundingRow, to_funding_row
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.sources.extras import needs_extra
from onetape.marketdata.sources.port import (
    PRICES,
    EventAnswer,
    SourceAccess,
    SourcePage,
    find_timeframe,
    to_floats,
)
from onetape.marketdata.sources.requester import read_retry_after, read_server_time

if TYPE_CHECKING:
    from ccxt.base.exchange import Exchange

Answer = TypeVar("Answer")

_TIMEOUT_MS = 30_000
_USUAL_LIMIT = 500
_FUNDING_LIMIT = 1_000
_DAY_MS = NS_PER_DAY // NS_PER_MS


class CryptoSource:
    """One exchange of ccxt; prices are as they were paid.

    The symbol is ccxt's (`BTC/USDT`), found from the instrument's symbol (`BTCUSDT`), which may be
    the exchange's own. Option: `type`, ccxt's kind of market (`spot` unless told).
    """

    adjustment = "none"

    def __init__(self, exchange_id: str, access: SourceAccess) -> None:
        access.check_options(("type",), exchange_id)
        access.choose_adjustment({"none": ""}, "none", exchange_id)
        self.name = exchange_id
        self._ask = access.requester
        self._asked_symbol = access.symbol
        self._exchange = _open_exchange(exchange_id, access)
        self._ask.suggest(60_000 / max(1.0, float(self._exchange.rateLimit)))

    @property
    def ts_server(self) -> int | None:
        """The `Date` of the last answer."""
        return read_server_time(self._exchange.last_response_headers or {})

    def define(self, instrument_id: InstrumentId) -> Instrument | None:
        """A spot pair with the exchange's own currencies, tick and lot, around the clock."""
        self._load_markets()
        market = self._exchange.market(self._find_symbol(instrument_id.rpartition(".")[0]))
        if not market["spot"]:
            return None
        return Instrument(
            id=instrument_id,
            kind=InstrumentKind.SPOT,
            quote_currency=market["quote"],
            base_currency=market["base"],
            tick_size=self._step(market["precision"]["price"]),
            lot_size=self._step(market["precision"]["amount"]),
        )

    def pages(
        self, instrument: Instrument, timeframe: str, start: int, end: int
    ) -> Iterator[SourcePage]:
        """One page for each request of as many bars as the exchange gives at once."""
        known = {each: each for each in self._exchange.timeframes or {}}
        find_timeframe(timeframe, known, self.name)
        self._load_markets()
        symbol = self._find_symbol(instrument.symbol)
        step = timeframe_ns(timeframe) // NS_PER_MS
        since, until = -(-start // NS_PER_MS), -(-end // NS_PER_MS)
        while since < until:
            window = min(until, since + self._limit(symbol) * step)
            rows = self._fetch(symbol, timeframe, since, window)
            if rows:
                yield _to_page(rows)
                since = rows[-1][0] + step
            elif step < _DAY_MS:
                since = self._skip_days(symbol, window, until)
            else:
                since = window

    @property
    def event_kinds(self) -> tuple[RecordKind, ...]:
        """Funding, where the exchange tells its history."""
        return (RecordKind.FUNDING,) if self._exchange.has["fetchFundingRateHistory"] else ()

    def events(self, instrument: Instrument, kind: RecordKind, start: int, now: int) -> EventAnswer:
        """Funding rates, page by page; with the mark where the exchange tells it."""
        self._load_markets()
        symbol = self._find_symbol(instrument.symbol)
        since, until = -(-start // NS_PER_MS), -(-now // NS_PER_MS)
        rows: list[FundingRow] = []
        while since < until:
            page = self._call(partial(self._read_funding, instrument, symbol, since, until))
            fresh = [each for each in page if each.ts >= since * NS_PER_MS]
            if not fresh:
                break
            rows += fresh
            since = max(each.ts for each in fresh) // NS_PER_MS + 1
        return EventAnswer(rows=tuple(rows))

    def _read_funding(
        self, instrument: Instrument, symbol: str, since: int, until: int
    ) -> list[FundingRow]:
        params = {"until": until - 1}
        rates = self._exchange.fetch_funding_rate_history(symbol, since, _FUNDING_LIMIT, params)
        if self._exchange.last_json_response is None:
            raise ValueError("half of it is missing")
        return [
            to_funding_row(
                {
                    "instrument": instrument.id,
                    "ts": str(int(each["timestamp"])),
                    "rate": repr(float(each["fundingRate"])),
                    "mark": str(each["info"].get("markPrice") or ""),
                },
                f"{symbol} at {each['timestamp']}",
            )
            for each in rates
        ]

    def _skip_days(self, symbol: str, since: int, until: int) -> int:
        """The first moment from `since` whose day has a daily bar, else `until`.

        Years without trading, such as those before a listing, take one request this way.
        """
        day = since - since % _DAY_MS
        while day < until:
            window = day + self._limit(symbol) * _DAY_MS
            rows = self._fetch(symbol, "1d", day, window)
            if rows:
                return max(since, rows[0][0])
            day = window
        return until

    def _fetch(self, symbol: str, timeframe: str, since: int, until: int) -> list[list[Any]]:
        """Rows (ms, open, high, low, close, volume) from `since` up to but not with `until`."""
        limit, params = self._limit(symbol), {"until": until - 1}

        def request() -> list[list[Any]]:
            rows = self._exchange.fetch_ohlcv(symbol, timeframe, since, limit, params)
            # ccxt takes text that is no JSON for no rows, and missing prices for None.
            if self._exchange.last_json_response is None or any(None in row[:5] for row in rows):
                raise ValueError("half of it is missing")
            return rows

        rows = self._call(request)
        return sorted((row for row in rows if since <= row[0] < until), key=lambda row: row[0])

    def _load_markets(self) -> None:
        if not self._exchange.markets:
            self._call(self._exchange.load_markets)

    def _find_symbol(self, symbol: str) -> str:
        markets: dict[str, Any] = self._exchange.markets or {}
        if self._asked_symbol:
            if self._asked_symbol in markets:
                return self._asked_symbol
            raise DataError(
                f"{self.name} does not know the symbol {self._asked_symbol!r}",
                remedy=nearest(self._asked_symbol, markets),
            )
        same = [name for name in markets if _plain(name) == _plain(symbol)]
        same = same or [name for name, each in markets.items() if each["id"] == symbol]
        if not same:
            by_id = {_plain(name): name for name in markets}
            close = nearest(_plain(symbol), by_id)
            raise DataError(f"{self.name} does not know the symbol {symbol!r}", remedy=close)
        return same[0]

    def _limit(self, symbol: str) -> int:
        """How many bars the exchange gives at once."""
        limit: Any = self._exchange.feature_value(symbol, "fetchOHLCV", "limit", _USUAL_LIMIT)
        return int(limit or _USUAL_LIMIT)

    def _step(self, precision: float) -> Decimal:
        from ccxt.base.decimal_to_precision import DECIMAL_PLACES

        if self._exchange.precisionMode == DECIMAL_PLACES:
            return Decimal(1).scaleb(-int(precision))
        return Decimal(repr(precision))

    def _call(self, request: Callable[[], Answer]) -> Answer:
        return self._ask(lambda: self._translate(request))

    def _translate(self, request: Callable[[], Answer]) -> Answer:
        """The exchange's answer, ccxt's errors as ours."""
        import ccxt

        try:
            return request()
        except ccxt.AuthenticationError as error:
            raise ConfigError(f"{self.name} refuses access: {_short(error)}") from None
        except ccxt.BadSymbol as error:
            raise DataError(f"{self.name} does not know the symbol: {_short(error)}") from None
        except (ccxt.RestrictedLocation, ccxt.BadRequest, ccxt.NotSupported) as error:
            raise DataError(f"{self.name} refuses the request: {_short(error)}") from None
        except ccxt.OperationFailed as error:
            failure = _short(error)
            if " 451 " in failure:  # unavailable for legal reasons: ccxt takes it for an outage
                raise DataError(f"{self.name} refuses this place: {failure}") from None
        except ccxt.BaseError as error:
            raise DataError(f"{self.name} refuses the request: {_short(error)}") from None
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            failure = f"an answer that can't be read ({_short(error)})"
        wait = read_retry_after(self._exchange.last_response_headers or {})
        raise SourceUnavailable(f"{self.name} does not serve: {failure}", retry_after_s=wait)


def _open_exchange(exchange_id: str, access: SourceAccess) -> Exchange:
    with needs_extra("crypto", exchange_id):
        import ccxt
    if exchange_id not in ccxt.exchanges:
        raise ConfigError(
            f"source {exchange_id!r} is unknown",
            remedy=nearest(exchange_id, dict.fromkeys(["yahoo", "alpaca", *ccxt.exchanges])),
        )
    kind = access.options.get("type", "spot")
    exchange: Exchange = getattr(ccxt, exchange_id)(
        {
            "enableRateLimit": False,  # the requester paces
            "enableLastJsonResponse": True,
            "timeout": _TIMEOUT_MS,
            "options": {"defaultType": kind, "fetchMarkets": {"types": [_FAMILY.get(kind, kind)]}},
            "apiKey": access.key.get_secret_value() if access.key else "",
            "secret": access.secret.get_secret_value() if access.secret else "",
        }
    )
    if not exchange.has["fetchOHLCV"]:
        raise ConfigError(f"{exchange_id} gives no bars")
    if access.base_url:
        urls = cast(dict[str, Any], exchange.urls)
        urls["api"] = _move(urls["api"], access.base_url.rstrip("/"))
    return exchange


_FAMILY = {"swap": "linear", "future": "linear"}


def _move(urls: Any, base_url: str) -> Any:
    """The same addresses below another host."""
    if isinstance(urls, dict):
        return {name: _move(url, base_url) for name, url in urls.items()}
    return base_url + urlsplit(urls).path


def _to_page(rows: list[list[Any]]) -> SourcePage:
    columns = list(zip(*rows, strict=False))
    times = np.array(columns[0], dtype=np.int64) * NS_PER_MS
    names = (*PRICES, "volume")
    values = {name: to_floats(list(columns[n + 1])) for n, name in enumerate(names)}
    return SourcePage(times=times, values=values)


def _plain(symbol: str) -> str:
    return "".join(letter for letter in symbol.upper() if letter.isalnum())


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 400 else f"{text[:400]}..."
