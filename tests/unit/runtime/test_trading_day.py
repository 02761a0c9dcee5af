"""Where a day of the account begins, and what the loss gate makes of it."""

from __future__ import annotations

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import make_equity, make_spot
from onetape.domain.market import Bar
from onetape.domain.orders import DenialCode
from onetape.domain.timestamps import from_iso, to_iso
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.portfolio.performance_summary import choose_returns_clock
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.market import Market
from onetape.runtime.trading_day import find_day_starts, parse_trading_day
from onetape.strategy.context import Context
from tests.support.session_runs import run_session
from tests.support.timelines import flat, make_columns, scripted

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
SHARE = make_equity("AAPL.XNAS", calendar="XNYS")
COIN = make_spot("BTC-USD.TEST", base="BTC", quote="USD", tick_size="0.01", lot_size="0.001")


def sessions(days: int = 4) -> Timeline:
    """Hours of a share from 14:30 to 20:30 UTC, and of a coin around the clock, from Monday on."""
    share = make_columns(flat(*[100] * 6 * days), session=6)
    for name in ("ts_open", "ts_close", "ts_known", "session_close"):
        share[name] = share[name].copy()
    for number in range(6 * days):
        day, hour = divmod(number, 6)
        opens = from_iso("2024-06-03T14:30:00Z") + day * DAY + hour * HOUR
        share["ts_open"][number] = opens
        share["ts_close"][number] = share["ts_known"][number] = opens + HOUR
        share["session_close"][number] = from_iso("2024-06-03T20:30:00Z") + day * DAY
    coin = make_columns(
        flat(*[50] * 24 * days), start=from_iso("2024-06-03"), step=HOUR, session=24
    )
    return build_timeline([(SHARE, share), (COIN, coin)], source="test", timeframe="1h")


def begins(timeline: Timeline, day: str | None = None) -> list[str]:
    """Close of the first bar of each day but the first."""
    starts = find_day_starts(timeline, day)
    return [to_iso(int(timeline.columns["ts_close"][row])) for row in starts[1:]]


def test_a_day_of_two_calendars_begins_once() -> None:
    assert begins(sessions()) == [f"2024-06-{day:02}T01:00:00Z" for day in (4, 5, 6)]


def test_a_day_of_daily_bars_of_two_calendars_begins_once() -> None:
    """The share's bar closes at 20:30, the coin's at midnight: both are of the day that ends."""
    share = make_columns(flat(1, 2, 3), start=from_iso("2024-06-03T14:30:00Z"), step=DAY,
                         length=6 * HOUR, session=1)  # fmt: skip
    coin = make_columns(flat(1, 2, 3), start=from_iso("2024-06-03"), step=DAY, session=1)
    timeline = build_timeline([(SHARE, share), (COIN, coin)], source="test", timeframe="1d")
    assert find_day_starts(timeline).tolist() == [0, 2, 4]
    assert timeline.instrument_index.tolist() == [0, 1, 0, 1, 0, 1]


def test_a_day_of_two_exchanges_begins_once() -> None:
    """London closes before New York does, and opens before it."""
    london = make_equity("VOD.XLON", currency="USD", calendar="XLON")
    early = make_columns(flat(*[1] * 6), start=from_iso("2024-06-03T07:00:00Z"), step=DAY // 2,
                         length=8 * HOUR, session=1)  # fmt: skip
    late = make_columns(flat(*[1] * 3), start=from_iso("2024-06-03T13:30:00Z"), step=DAY,
                        length=6 * HOUR, session=1)  # fmt: skip
    early = {name: column[::2] for name, column in early.items()}
    timeline = build_timeline([(london, early), (SHARE, late)], source="test", timeframe="8h")
    assert find_day_starts(timeline).tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("day", "first"),
    [
        ("00:00 UTC", "2024-06-04T01:00:00Z"),
        ("17:00 America/New_York", "2024-06-03T22:00:00Z"),  # 21:00 UTC in June: the bar behind it
        ("09:30 America/New_York", "2024-06-03T14:00:00Z"),  # 13:30 UTC: the bar that contains it
        ("00:00 Asia/Tokyo", "2024-06-03T15:30:00Z"),  # 15:00 UTC: the share's bar
    ],
)
def test_a_day_begins_when_the_config_says(day: str, first: str) -> None:
    found = begins(sessions(), day)
    assert found[0] == first
    assert len(found) == (3 if day == "00:00 UTC" else 4)


def test_a_day_follows_the_clock_changes_of_its_zone() -> None:
    """New York sets its clocks forward on 2024-03-10: 17:00 is 22:00 UTC before and 21:00 after."""
    coin = make_columns(flat(*[50] * 72), start=from_iso("2024-03-09"), step=HOUR, session=24)
    timeline = build_timeline([(COIN, coin)], source="test", timeframe="1h")
    assert begins(timeline, "17:00 America/New_York") == [
        "2024-03-09T23:00:00Z", "2024-03-10T22:00:00Z", "2024-03-11T22:00:00Z",
    ]  # fmt: skip


def test_days_of_one_calendar_are_its_sessions() -> None:
    columns = make_columns(flat(*range(1, 10)), session=3)
    timeline = build_timeline([(SHARE, columns)], source="test", timeframe="1m")
    assert find_day_starts(timeline).tolist() == [0, 3, 6]
    other = make_equity("MSFT.XNAS", calendar="XNYS")
    both = build_timeline([(SHARE, columns), (other, columns)], source="test", timeframe="1m")
    assert find_day_starts(both).tolist() == [0, 6, 12]


def test_both_hosts_begin_days_at_the_same_rows() -> None:
    timeline = sessions()
    clock = choose_returns_clock(timeline.instruments, timeline.timeframe)
    for day in (None, "17:00 America/New_York"):
        market = Market(timeline, clock, day)
        assert market.values["session_starts"].tolist() == find_day_starts(timeline, day).tolist()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("17 America/New_York", "is no beginning of a day"),
        ("24:00 UTC", "is no beginning of a day"),
        ("17:00", "is no beginning of a day"),
        ("17:00 America/NewYork", "did you mean 'America/New_York'"),
    ],
)
def test_a_day_that_is_none(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        parse_trading_day(text)


@pytest.mark.parametrize(
    ("day", "denied"),
    [
        (None, True),  # 0.40 of 100 lost since midnight
        ("15:00 UTC", False),  # 0.20 of it since 15:00
    ],
)
def test_daily_loss_counts_from_the_beginning_of_the_day(day: str | None, denied: bool) -> None:
    """The coin loses 2.00 in the night and 2.00 in the afternoon; 0.3% of a day may be lost.

    London opens and New York opens in between: as beginnings of days they would forget the night.
    """
    prices = [50] * 29 + [48] * 11 + [46] * 8
    start = from_iso("2024-06-03")
    coin = make_columns(flat(*prices), start=start, step=HOUR, session=24)
    shares = []
    for name, opening in (("VOD.XLON", 7), ("AAPL.XNAS", 14)):
        share = make_equity(name, calendar=name[-4:].replace("XNAS", "XNYS"))
        columns = make_columns(
            flat(100, 100), start=start + opening * HOUR, step=DAY, length=36 * HOUR, session=1
        )
        columns["ts_close"][:] = columns["ts_known"][:] = columns["ts_open"] + HOUR
        columns["session_close"][:] = columns["ts_open"] + 30 * HOUR
        shares.append((share, columns))
    timeline = build_timeline([*shares, (COIN, coin)], source="test", timeframe="1h")

    def on_bar(bar: Bar, ctx: Context) -> None:
        if bar.instrument == COIN.id and ctx.now == start + 2 * HOUR:
            ctx.buy(COIN.id, 10)
        if bar.instrument == COIN.id and ctx.now == start + 42 * HOUR:
            ctx.buy(COIN.id, 1)

    limits = RiskLimits(max_daily_loss_pct=0.3, trading_day=day)
    run = run_session(timeline, scripted(on_bar=on_bar), capital=10_000, limits=limits)
    assert not run.quarantined
    assert [each.code for each in run.denied] == [DenialCode.DAILY_LOSS] * denied
