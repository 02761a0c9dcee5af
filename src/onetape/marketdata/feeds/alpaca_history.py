"""Alpaca's history for a live feed: closed bars by REST, and what it says of assets. It blocks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import quote

from onetape.domain.errors import ConfigError, SourceUnavailable
from onetape.domain.instrument import Instrument
from onetape.domain.timestamps import NS_PER_DAY, timeframe_ns
from onetape.domain.venue import BarClosed
from onetape.marketdata.feeds.alpaca_connection import KEYS_REFUSED, AlpacaDataAccess
from onetape.marketdata.session_times import SessionTimes
from onetape.marketdata.sources.alpaca import AlpacaSource
from onetape.marketdata.sources.extras import needs_extra
from onetape.marketdata.sources.port import SourceAccess, SourcePage
from onetape.marketdata.sources.requester import Pace, Requester, host_of

_PAPER_URL = "https://paper-api.alpaca.markets"
_UNREACHED = "look at the network, and at data.connection.url where it is set"
_SPANS_MAX = 12
"""The span that is searched for bars doubles so often at most."""


class AlpacaHistory:
    """Bars that are over, and assets.

    Args:
        access: Where, and with which keys.
        monotonic: Seconds that never run backwards.
        sleep: Waits so many seconds.
        chance: A number from 0 to 1.
    """

    def __init__(
        self,
        access: AlpacaDataAccess,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        chance: Callable[[], float],
    ) -> None:
        pace = Pace(
            per_minute=access.per_minute, burst=20, attempts=access.attempts,
            first_wait_s=access.first_wait_s, longest_wait_s=access.longest_wait_s,
        )  # fmt: skip
        self._access = access
        self._source = AlpacaSource(
            SourceAccess(
                requester=Requester(
                    pace, clock=monotonic, sleep=sleep, chance=chance, remedy=_UNREACHED
                ),
                base_url=access.base_url, key=access.key, secret=access.secret,
                options={"feed": access.feed},
            )
        )  # fmt: skip
        self._times: dict[str, SessionTimes] = {}
        self.name = f"alpaca/{access.feed}:rest"

    def read(
        self, instrument: Instrument, timeframe: str, start: int, end: int, ts_now: int
    ) -> list[BarClosed]:
        """Bars that open in [start, end) (ns UTC) and are over at `ts_now`, oldest first.

        Raises:
            SourceUnavailable: It can't be reached.
            ConfigError: The keys are refused, or there is no such timeframe.
            DataError: It refuses the request.
        """
        found: list[BarClosed] = []
        for page in self._source.pages(instrument, timeframe, start, end):
            for bar in self._to_bars(page, instrument, timeframe, ts_now):
                is_next = not found or bar.ts_open > found[-1].ts_open
                if start <= bar.ts_open < end and bar.ts_close <= ts_now and is_next:
                    found.append(bar)
        return found

    def read_last(
        self, instrument: Instrument, timeframe: str, bars: int, ts_now: int
    ) -> list[BarClosed]:
        """The newest `bars` bars that are over at `ts_now`; fewer where there are no more.

        Raises: As `read`.
        """
        span = max(bars * timeframe_ns(timeframe, error=ConfigError) * 2, 4 * NS_PER_DAY)
        found: list[BarClosed] = []
        for _ in range(_SPANS_MAX):
            start = max(0, ts_now - span)
            found = self.read(instrument, timeframe, start, ts_now, ts_now)
            if self._access.session_only:
                found = [each for each in found if self._is_in_session(each, instrument)]
            if len(found) >= bars or not start:
                break
            span *= 2
        return found[-bars:] if bars else []

    def read_trades(
        self, instrument: Instrument, start: int, end: int, limit: int
    ) -> list[dict[str, Any]]:
        """The newest `limit` prints from `start` to `end` (ns UTC), oldest first, as they came.

        Raises: As `read`.
        """
        return self._source.newest_trades(instrument, start, end, limit)

    def find_asset(self, symbol: str) -> dict[str, Any] | None:
        """What Alpaca says of an asset; None: it has none of this name.

        Raises:
            SourceUnavailable: It can't be reached.
            ConfigError: The keys are refused.
        """
        return cast(dict[str, Any] | None, self._ask(f"/assets/{quote(symbol, safe='')}"))

    def list_symbols(self) -> list[str]:
        """Names of the assets that it has.

        Raises: As `find_asset`.
        """
        return [each["symbol"] for each in cast(list[dict[str, Any]], self._ask("/assets") or [])]

    def _ask(self, path: str) -> object:
        with needs_extra("alpaca", "alpaca"), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of websockets' older client
            import requests
            from alpaca.common.exceptions import APIError
            from alpaca.trading.client import TradingClient
        access = self._access
        address = access.assets_url.rstrip("/") or _PAPER_URL
        client = TradingClient(
            access.key.get_secret_value(), access.secret.get_secret_value(), raw_data=True,
            url_override=address,
        )  # fmt: skip
        try:
            return client.get(path)
        except APIError as error:
            status = error.status_code
            if status in (404, 422):
                return None
            if status in (401, 403):
                raise ConfigError(f"{KEYS_REFUSED} (said {status})",
                                  remedy="look at key and secret") from None  # fmt: skip
            raise SourceUnavailable(f"alpaca does not serve: {status}", where=path) from None
        except (requests.RequestException, ValueError) as error:
            raise SourceUnavailable(
                f"alpaca can't be reached or read at {host_of(address)}: {type(error).__name__}",
                where=path, remedy=_UNREACHED,
            ) from None  # fmt: skip

    def _to_bars(
        self, page: SourcePage, instrument: Instrument, timeframe: str, ts_ingest: int
    ) -> Iterator[BarClosed]:
        times = self._sessions_of(instrument)
        length = timeframe_ns(timeframe)
        rows = zip(
            page.times.tolist(),
            *(page.values[each].tolist() for each in ("open", "high", "low", "close", "volume")),
            strict=True,
        )
        for at, opened, high, low, closed, volume in rows:
            ts_open, ts_close = times.session_of(at) if page.by_date else (at, at + length)
            if ts_close <= ts_open:
                continue  # a date without a session
            session_close = ts_close if page.by_date else times.close_of(ts_open, ts_close)
            yield BarClosed(
                instrument=instrument.id, ts_open=ts_open, ts_close=ts_close, ts_known=0,
                session_close=session_close, open=opened, high=high, low=low, close=closed,
                volume=volume, source=self.name, ts_ingest=ts_ingest,
            )  # fmt: skip

    def _is_in_session(self, bar: BarClosed, instrument: Instrument) -> bool:
        times = self._sessions_of(instrument)
        return times.is_open(bar.ts_open) or times.is_open(bar.ts_close - 1)

    def _sessions_of(self, instrument: Instrument) -> SessionTimes:
        known = self._times.get(instrument.calendar)
        if known is None:
            known = self._times[instrument.calendar] = SessionTimes(instrument.calendar)
        return known
