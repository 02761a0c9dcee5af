"""Bars from Yahoo Finance, by yfinance's session (its cookies and crumbs). No key.

Yahoo's prices are adjusted for splits already, so they are recorded as `splits`; with adjustment
`all` they are scaled to Yahoo's adjusted close, which also takes dividends out. Raw prices are not
to be had. The answers are read here and not by yfinance, which repairs rows without saying so.

Source: the chart answers (`/v8/finance/chart`) as yfinance 1.x reads them; Yahoo documents none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from onetape.domain.errors import DataError, SourceUnavailable
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.market import CorporateActionKind
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND, timeframe_ns
from onetape.marketdata.bars import BoolArray, FloatArray, IntArray
from onetape.marketdata.corporate_actions import ActionRow
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
from onetape.marketdata.timezones import check_timezone, utc_to_local_days

if TYPE_CHECKING:
    from yfinance.data import YfData

Read = TypeVar("Read")

_TIMEFRAMES = {"1m": "1m", "2m": "2m", "5m": "5m", "15m": "15m", "1h": "60m", "1d": "1d"}
_REQUEST_DAYS = {"1m": 7}
"""How many days Yahoo gives at once; elsewhere any number."""

_ADJUSTMENTS = {"splits": "splits", "all": "all"}
_SUFFIX = {
    "XLON": ".L", "XTKS": ".T", "XHKG": ".HK", "XETR": ".DE", "XFRA": ".F", "XPAR": ".PA",
    "XAMS": ".AS", "XBRU": ".BR", "XLIS": ".LS", "XMIL": ".MI", "XMAD": ".MC", "XSWX": ".SW",
    "XSTO": ".ST", "XHEL": ".HE", "XCSE": ".CO", "XOSL": ".OL", "XTSE": ".TO", "XASX": ".AX",
    "XNZE": ".NZ", "XKRX": ".KS", "XTAI": ".TW", "XNSE": ".NS", "XBOM": ".BO", "XSES": ".SI",
    "BVMF": ".SA", "XMEX": ".MX", "XWAR": ".WA", "XWBO": ".VI", "XJSE": ".JO",
}  # fmt: skip
"""Yahoo's ending of a symbol by the exchange's code (ISO 10383); US symbols have none."""

_CHART = "https://query2.finance.yahoo.com/v8/finance/chart/"
_TIMEOUT_S = 30
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading half an answer, or one of another shape, raises."""

_PER_MINUTE = 60
"""Yahoo states no limit; more than about two thousand an hour are known to be shut out."""


class YahooSource:
    """Yahoo Finance. The symbol is the instrument's with Yahoo's ending for its exchange."""

    name = "yahoo"
    event_kinds = (RecordKind.CORPORATE_ACTIONS,)

    def __init__(self, access: SourceAccess) -> None:
        access.check_options((), self.name)
        self.adjustment = access.choose_adjustment(_ADJUSTMENTS, "splits", self.name)
        self._ask = access.requester
        self._ask.suggest(_PER_MINUTE)
        self._symbol = access.symbol
        self._headers: dict[str, str] = {}
        self._client = _open_client(access.base_url.rstrip("/"), self._headers)

    @property
    def ts_server(self) -> int | None:
        """The `Date` of the last answer."""
        return read_server_time(self._headers)

    def define(self, instrument_id: InstrumentId) -> Instrument | None:
        """Not from here: Yahoo does not say ticks and lots."""
        return None

    def pages(
        self, instrument: Instrument, timeframe: str, start: int, end: int
    ) -> Iterator[SourcePage]:
        """One page for each request."""
        interval = find_timeframe(timeframe, _TIMEFRAMES, self.name)
        by_date = timeframe_ns(timeframe) >= NS_PER_DAY
        symbol = self._symbol or to_wire_symbol(instrument)
        step = _REQUEST_DAYS.get(timeframe, 36_500) * NS_PER_DAY
        at = start - NS_PER_DAY if by_date else start
        while at < end:
            until = min(end, at + step)
            query = {
                "period1": at // NS_PER_SECOND,
                "period2": -(-until // NS_PER_SECOND),
                "interval": interval,
                "includePrePost": False,
                "events": "div,splits,capitalGains",
            }
            page = self._ask(lambda query=query: self._get(symbol, query, instrument, by_date))
            if page is not None:
                yield page
            at = until

    def events(self, instrument: Instrument, kind: RecordKind, start: int, now: int) -> EventAnswer:
        """Splits, and dividends and gains paid out, as they were paid; see `_to_actions`."""
        symbol = self._symbol or to_wire_symbol(instrument)
        query = {
            "period1": (start - NS_PER_DAY) // NS_PER_SECOND,
            "period2": -(-now // NS_PER_SECOND),  # later splits are in the dividends
            "interval": "1d",
            "includePrePost": False,
            "events": "div,splits,capitalGains",
        }

        def read(chart: dict[str, Any]) -> tuple[ActionRow, ...]:
            actions = _to_actions(chart, instrument.id)
            _check_currency(chart["meta"], instrument, symbol)
            return actions

        return EventAnswer(rows=self._ask(lambda: self._fetch(symbol, query, read)) or ())

    def _get(
        self, symbol: str, query: dict[str, Any], instrument: Instrument, by_date: bool
    ) -> SourcePage | None:
        """The bars of one request; None when Yahoo has nothing in that time."""

        def read(chart: dict[str, Any]) -> SourcePage | None:
            return self._read(chart, instrument, symbol, by_date=by_date)

        return self._fetch(symbol, query, read)

    def _fetch(
        self, symbol: str, query: dict[str, Any], read: Callable[[dict[str, Any]], Read]
    ) -> Read | None:
        """What `read` makes of the chart of one request; None when Yahoo has nothing then."""
        from yfinance.exceptions import YFException, YFRateLimitError

        try:
            response = self._client.get(_CHART + symbol, params=query, timeout=_TIMEOUT_S)
            status, text = int(response.status_code), str(response.text)
        except YFRateLimitError:
            status, text = 429, "{}"
        except (YFException, OSError) as error:  # curl's errors are OSErrors
            what = f"yahoo can't be reached: {type(error).__name__}"
            raise SourceUnavailable(what, where=symbol) from None
        try:
            chart = json.loads(text)["chart"]
            if status == 200 and chart["result"]:
                return read(chart["result"][0])
            said = str(chart["error"]["description"])
        except _UNREADABLE:
            said = "an answer that can't be read" if status == 200 else f"status {status}"
        if status == 404:
            raise DataError(f"yahoo does not know the symbol: {said}", where=symbol)
        if status == 400 and "exist" in said:
            return None
        if status in (400, 422):
            raise DataError(f"yahoo refuses the request: {said}", where=symbol)
        wait = read_retry_after(self._headers)
        raise SourceUnavailable(f"yahoo does not serve: {said}", where=symbol, retry_after_s=wait)

    def _read(
        self, chart: dict[str, Any], instrument: Instrument, symbol: str, *, by_date: bool
    ) -> SourcePage | None:
        if not chart.get("timestamp"):
            return None
        columns, meta = chart["indicators"]["quote"][0], chart["meta"]
        lengths = {len(columns[name]) for name in (*PRICES, "volume")}
        if lengths != {len(chart["timestamp"])}:
            raise ValueError("columns of different lengths")
        check_timezone(str(meta["exchangeTimezoneName"]))
        page = _to_page(chart, by_date=by_date, adjusted=self.adjustment == "all")
        _check_currency(meta, instrument, symbol)
        return page


def to_wire_symbol(instrument: Instrument) -> str:
    """Yahoo's symbol: `BRK-B`, `VOD.L`, `BTC-USD`, `EURUSD=X`."""
    venue = instrument.id.rpartition(".")[2]
    if instrument.kind is InstrumentKind.SPOT:
        return f"{instrument.base_currency}-{instrument.quote_currency}"
    if instrument.kind is InstrumentKind.FX:
        return f"{instrument.base_currency}{instrument.quote_currency}=X"
    return instrument.symbol.replace(".", "-") + _SUFFIX.get(venue, "")


def _to_actions(chart: dict[str, Any], instrument: InstrumentId) -> tuple[ActionRow, ...]:
    """The actions of a chart, with the amounts that were paid.

    Yahoo divides an amount by every later split, and gives six decimals of it: of what is
    multiplied back, only as many decimals are kept as that leaves.
    """
    events = chart.get("events") or {}
    zone = str(chart["meta"]["exchangeTimezoneName"])
    check_timezone(zone)

    def read(name: str) -> list[tuple[int, dict[str, Any]]]:
        rows = list((events.get(name) or {}).values())
        times: IntArray = np.array([int(each["date"]) for each in rows], dtype=np.int64)
        days = utc_to_local_days(times * NS_PER_SECOND, zone).tolist()
        return sorted(zip(days, rows, strict=True), key=lambda each: each[0])

    splits = [
        (day, Fraction(str(each["numerator"])) / Fraction(str(each["denominator"])))
        for day, each in read("splits")
    ]
    found = [
        _make_action(instrument, CorporateActionKind.SPLIT, day, ratio.numerator, ratio.denominator)
        for day, ratio in splits
        if ratio > 0
    ]
    for day, each in (*read("dividends"), *read("capitalGains")):
        factor = Fraction(1)
        for at, ratio in splits:
            factor *= ratio if at > day else 1
        decimals = 6
        while decimals and factor > 10 ** (6 - decimals):
            decimals -= 1
        paid = round(Fraction(str(each["amount"])) * factor, decimals)
        if paid > 0:
            kind = CorporateActionKind.CASH_DIVIDEND
            found.append(_make_action(instrument, kind, day, float(paid), 1))
    return tuple(found)


def _make_action(
    instrument: InstrumentId, kind: CorporateActionKind, day: int, value: float, divisor: float
) -> ActionRow:
    return ActionRow(where="", instrument=instrument, kind=kind, day=day, ts=None,
                     value=float(value), divisor=float(divisor))  # fmt: skip


def _check_currency(meta: Mapping[str, Any], instrument: Instrument, symbol: str) -> None:
    """Pence are not pounds."""
    currency = meta.get("currency") or instrument.quote_currency
    if currency != instrument.quote_currency:
        raise DataError(
            f"yahoo's prices are in {currency}, {instrument.id} is in {instrument.quote_currency}",
            where=symbol, remedy="define the instrument in the currency of its prices",
        )  # fmt: skip


def _to_page(chart: dict[str, Any], *, by_date: bool, adjusted: bool) -> SourcePage:
    """Rows that say something; the live row of the day is left out where the day has its own."""
    times: IntArray = np.array(chart["timestamp"], dtype=np.int64) * NS_PER_SECOND
    quote = chart["indicators"]["quote"][0]
    values = {name: _narrow(to_floats(quote[name])) for name in PRICES}
    volume = to_floats(quote["volume"])
    if adjusted:
        adjusted_close = (chart["indicators"].get("adjclose") or [{}])[0].get("adjclose")
        missing: list[object] = [None] * len(times)
        values["adjusted_close"] = _narrow(to_floats(adjusted_close or missing))
    said: BoolArray = ~np.all([np.isnan(values[name]) for name in PRICES], axis=0)
    values["volume"] = np.where(np.isnan(volume) & said, 0.0, volume)
    if by_date:
        times = utc_to_local_days(times, chart["meta"]["exchangeTimezoneName"])
        said[1:] &= times[1:] != times[:-1]
    else:
        said &= _inside_periods(times, chart["meta"].get("tradingPeriods"))
    return SourcePage(
        times=times[said], values={n: v[said] for n, v in values.items()}, by_date=by_date
    )


def _inside_periods(times: IntArray, periods: Any) -> BoolArray:
    """Which rows lie in the regular sessions that Yahoo states, if it states any.

    The row at a session's close repeats the closing price and is no bar.
    """
    flat = [each for day in periods or [] for each in day] if isinstance(periods, list) else []
    if not flat:
        return np.ones(len(times), dtype=np.bool_)
    opens = np.array([each["start"] for each in flat], dtype=np.int64) * NS_PER_SECOND
    closes = np.array([each["end"] for each in flat], dtype=np.int64) * NS_PER_SECOND
    at = np.searchsorted(opens, times, side="right") - 1
    return (at >= 0) & (times < closes[np.maximum(at, 0)])


def _narrow(values: FloatArray) -> FloatArray:
    """Numbers that are float32 widened to float64, as the shortest decimal of that float32.

    Yahoo sends 187.14999389648438 for 187.15. What is no float32 stays as it is.
    """
    with np.errstate(all="ignore"):
        small = values.astype(np.float32)
    same = small.astype(np.float64) == values
    shortest = np.array([float(str(each)) for each in small])
    return np.where(same, shortest, values)


def _open_client(base_url: str, headers: dict[str, str]) -> YfData:
    """The client of yfinance; each answer's headers are put into `headers`."""
    with needs_extra("yahoo", "yahoo"):
        from curl_cffi import requests
        from yfinance.data import YfData

    class Session(requests.Session["requests.Response"]):
        """Looks like a browser, as Yahoo wants it; another host serves when `base_url` says so."""

        def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> Any:
            if base_url:
                parts = urlsplit(url)
                url = base_url + parts.path + (f"?{parts.query}" if parts.query else "")
            response = super().request(method, url, *args, **kwargs)
            headers.clear()
            headers.update({name: text or "" for name, text in response.headers.items()})
            return response

    return YfData(session=Session(impersonate="chrome"))
