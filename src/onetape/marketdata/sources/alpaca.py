"""Bars of US equities and of crypto pairs from Alpaca's market data API; needs a key.

Source: Alpaca, "Market Data API" reference: Stock bars, Crypto bars, Corporate actions, and the
error and rate limit headers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from onetape.domain.errors import ConfigError, DataError, SourceUnavailable
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.timestamps import NS_PER_DAY, timeframe_ns, to_iso
from onetape.marketdata.bars import IntArray
from onetape.marketdata.corporate_actions import ActionRow
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.sources.alpaca_actions import read_actions
from onetape.marketdata.sources.extras import needs_extra
from onetape.marketdata.sources.port import (
    EventAnswer,
    SourceAccess,
    SourcePage,
    find_timeframe,
    to_floats,
)
from onetape.marketdata.sources.requester import host_of, read_retry_after, read_server_time
from onetape.marketdata.timezones import utc_to_local_days

if TYPE_CHECKING:
    from alpaca.common.rest import RESTClient
    from requests import Response

_Row = dict[str, Any]

_ADJUSTMENTS = {"none": "raw", "splits": "split", "dividends": "dividend", "all": "all"}
_TIMEFRAMES = {
    "1m": "1Min", "2m": "2Min", "5m": "5Min", "10m": "10Min", "15m": "15Min", "30m": "30Min",
    "1h": "1Hour", "2h": "2Hour", "4h": "4Hour", "1d": "1Day",
}  # fmt: skip
_COLUMNS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
Read = TypeVar("Read")

_DAY_LENGTH = len("2024-01-31")
_PAGE_ROWS = 10_000
_HOME = "https://data.alpaca.markets"
_PER_MINUTE = 200
"""Of the basic plan."""

_ZONE = "America/New_York"
"""Daily bars of equities are labelled by New York midnight."""


class AlpacaSource:
    """Alpaca. The symbol is the instrument's; `BASE/QUOTE` for a pair.

    Prices of equities are raw unless told. Options: `feed`, `iex` or `sip`; without it Alpaca takes
    the best one of the subscription. The basic plan gives no `sip` bars of the last 15 minutes.
    `asof`, the day on which the symbol stood for the instrument: Alpaca follows renames back from
    today's symbol unless told; `-`: it follows none.
    """

    event_kinds = (RecordKind.CORPORATE_ACTIONS,)

    def __init__(self, access: SourceAccess) -> None:
        access.check_options(("feed", "asof"), "alpaca")
        if access.key is None or access.secret is None:
            raise ConfigError(
                "alpaca needs a key and a secret",
                remedy="set APCA_API_KEY_ID and APCA_API_SECRET_KEY, or say where they are: "
                "--key env:NAME --secret file:PATH",
            )
        self.adjustment = access.adjustment or "none"
        self._wire_adjustment = access.choose_adjustment(_ADJUSTMENTS, "none", "alpaca")
        self._feed = access.options.get("feed", "")
        self._asof = access.options.get("asof", "")
        self.name = f"alpaca/{self._feed}" if self._feed else "alpaca"
        self._ask = access.requester
        self._ask.suggest(_PER_MINUTE)
        self._symbol = access.symbol
        self.ts_server: int | None = None
        self._host = host_of(access.base_url or _HOME)
        self._client = _open_client(access, self._remember)

    def define(self, instrument_id: InstrumentId) -> Instrument | None:
        """Not from here: the market data API does not describe instruments."""
        return None

    def pages(
        self, instrument: Instrument, timeframe: str, start: int, end: int
    ) -> Iterator[SourcePage]:
        """One page for each `next_page_token`."""
        is_pair = instrument.kind is InstrumentKind.SPOT
        pair = f"{instrument.base_currency}/{instrument.quote_currency}"
        symbol = self._symbol or (pair if is_pair else instrument.symbol)
        by_date = not is_pair and timeframe_ns(timeframe) >= NS_PER_DAY
        query = {
            "symbols": symbol,
            "timeframe": find_timeframe(timeframe, _TIMEFRAMES, self.name),
            # A session's bar is labelled by the midnight before it opens.
            "start": to_iso(start - NS_PER_DAY if by_date else start),
            "end": to_iso(end - 1),
            "limit": _PAGE_ROWS,
            "sort": "asc",
        }
        if not is_pair:
            query["adjustment"] = self._wire_adjustment
            if self._feed:
                query["feed"] = self._feed
            if self._asof:
                query["asof"] = self._asof
        read = partial(_to_page, by_date=by_date)
        yield from self._pages("bars", symbol, query, read, is_pair=is_pair)

    def newest_trades(self, instrument: Instrument, start: int, end: int, limit: int) -> list[_Row]:
        """The newest `limit` prints from `start` to `end` (ns UTC), oldest first, as they came.

        Raises: As `pages`.
        """
        is_pair = instrument.kind is InstrumentKind.SPOT
        pair = f"{instrument.base_currency}/{instrument.quote_currency}"
        symbol = self._symbol or (pair if is_pair else instrument.symbol)
        query = {
            "symbols": symbol, "start": to_iso(start), "end": to_iso(end),
            "limit": min(limit, _PAGE_ROWS), "sort": "desc",
        }  # fmt: skip
        if self._feed and not is_pair:
            query["feed"] = self._feed
        found: list[_Row] = []
        for rows in self._pages("trades", symbol, query, list[_Row], is_pair=is_pair):
            found += rows
            if len(found) >= limit:
                break
        return found[:limit][::-1]

    def _pages(
        self,
        what: str,
        symbol: str,
        query: dict[str, Any],
        read: Callable[[list[_Row]], Read],
        *,
        is_pair: bool,
    ) -> Iterator[Read]:
        """What `read` makes of the rows of each answer, by its `next_page_token`."""
        while True:
            page, token = self._ask(lambda: self._get(what, symbol, query, read, is_pair=is_pair))
            if page is not None:
                yield page
            if not token:
                return
            if token == query.get("page_token"):
                raise DataError(f"{self.name} gives the same page again and again", where=symbol)
            query["page_token"] = token

    def events(self, instrument: Instrument, kind: RecordKind, start: int, now: int) -> EventAnswer:
        """Corporate actions, but for those that give shares of another company."""
        symbol = self._symbol or instrument.symbol
        query: dict[str, Any] = {
            "symbols": symbol,
            "start": to_iso(start)[:_DAY_LENGTH],
            # It is asked by the day on which an action is processed: a dividend's pay date.
            "end": to_iso(now + 366 * NS_PER_DAY)[:_DAY_LENGTH],
            "limit": 1_000,
            "sort": "asc",
        }
        rows: list[ActionRow] = []
        told: list[str] = []
        while True:
            (page, others), token = self._ask(
                lambda: self._fetch(
                    symbol, "/corporate-actions", query, {"api_version": "v1"},
                    lambda answer: read_actions(answer["corporate_actions"] or {}, instrument.id,
                                                symbol),
                )
            )  # fmt: skip
            rows += page
            told += others
            if not token:
                return EventAnswer(rows=tuple(rows), warnings=tuple(told))
            if token == query.get("page_token"):
                raise DataError(f"{self.name} gives the same page again and again", where=symbol)
            query["page_token"] = token

    def _get(
        self,
        what: str,
        symbol: str,
        query: dict[str, Any],
        read: Callable[[list[_Row]], Read],
        *,
        is_pair: bool,
    ) -> tuple[Read | None, str]:
        """What one answer holds and the token of the next."""
        version = {"api_version": "v1beta3"} if is_pair else {}
        path = f"/crypto/us/{what}" if is_pair else f"/stocks/{what}"

        def read_rows(answer: dict[str, Any]) -> Read | None:
            rows = (answer[what] or {}).get(symbol) or []
            return read(rows) if rows else None

        return self._fetch(symbol, path, query, version, read_rows)

    def _fetch(
        self,
        symbol: str,
        path: str,
        query: dict[str, Any],
        version: dict[str, str],
        read: Callable[[dict[str, Any]], Read],
    ) -> tuple[Read, str]:
        """What `read` makes of one answer, and the token of the next."""
        import requests
        from alpaca.common.exceptions import APIError

        try:
            answer = cast(dict[str, Any], self._client.get(path, query, **version))
            return read(answer), answer.get("next_page_token") or ""
        except APIError as error:
            raise self._refusal(cast("Response", error.response), symbol) from None
        except (requests.RequestException, ValueError) as error:  # also JSON that is cut off
            what = f"alpaca can't be reached or read at {self._host}: {type(error).__name__}"
            raise SourceUnavailable(what, where=symbol) from None
        except (LookupError, TypeError, AttributeError):
            what = f"alpaca gave an answer that is no {path.rpartition('/')[2].replace('-', ' ')}"
            raise SourceUnavailable(what, where=symbol) from None

    def _refusal(
        self, response: Response, symbol: str
    ) -> SourceUnavailable | ConfigError | DataError:
        status = response.status_code
        said = f"{status} {_message(response)}"
        if status in (408, 429) or status >= 500:
            wait = read_retry_after(response.headers)
            what = f"alpaca does not serve: {said}"
            return SourceUnavailable(what, where=symbol, retry_after_s=wait)
        if status in (401, 403):
            remedy = "look at key, secret and subscription"
            if "SIP" in said:
                remedy = "--option feed=iex, or an --end that is 15 minutes ago"
            return ConfigError(f"alpaca refuses access: {said}", where=symbol, remedy=remedy)
        return DataError(f"alpaca refuses the request: {said}", where=symbol)

    def _remember(self, response: Response, *_args: object, **_kwargs: object) -> None:
        self.ts_server = read_server_time(response.headers)


def _open_client(access: SourceAccess, on_response: Any) -> RESTClient:
    with needs_extra("alpaca", "alpaca"):
        from alpaca.common.rest import RESTClient

    class Client(RESTClient):
        """Tells of each response, and leaves pacing and repeating to us."""

        def __init__(self) -> None:
            key, secret = access.key, access.secret
            super().__init__(
                base_url=access.base_url.rstrip("/") or _HOME,
                api_key=key.get_secret_value() if key else None,
                secret_key=secret.get_secret_value() if secret else None,
            )
            self._retry = 0
            self._session.hooks["response"].append(on_response)

    return Client()


def _to_page(rows: list[dict[str, Any]], *, by_date: bool) -> SourcePage:
    times: IntArray = np.array(
        [str(row["t"]).removesuffix("Z") for row in rows], dtype="datetime64[ns]"
    ).view(np.int64)
    values = {name: to_floats([row.get(key) for row in rows]) for name, key in _COLUMNS.items()}
    if by_date:
        times = utc_to_local_days(times, _ZONE)
    return SourcePage(times=times, values=values, by_date=by_date)


def _message(response: Response) -> str:
    """Alpaca's own words, without anything that might be ours."""
    try:
        return str(response.json()["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return str(response.reason)
