"""Generated data have the statistics that their model states.

Bounds are five standard errors of the estimator under the model, so a right generator fails one of
them with a chance below 1e-6; the seeds are fixed, so it always does or never.
"""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, make_equity
from onetape.domain.market import AggressorSide, Quality
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.bars import compute_content_hash
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.record_kinds import RecordKind, complete_records
from onetape.marketdata.sample_data import SampleModel, generate_series
from onetape.marketdata.sample_records import Sample, SampleRequest, generate_sample
from onetape.marketdata.sample_times import plan_times

NOW = from_iso("2026-01-01")
FINE = SampleModel(price=1000.0, drift=0.0, prints=1)
"""A spread of 1e-5 of the price, which returns of a day (1e-2) don't notice."""

BOTH = (RecordKind.TRADES, RecordKind.QUOTES)


def make(name: str = "UP.SIM", tick: str = "0.01", calendar: str = "24/7") -> Instrument:
    return make_equity(name, tick_size=tick, calendar=calendar)


def request(**changes: object) -> SampleRequest:
    """40 years of days, unless changed."""
    usual = SampleRequest(
        timeframe="1d", ts_start=from_iso("1984-01-01"), ts_end=from_iso("2024-01-01"), seed=11,
        model=FINE,
    )  # fmt: skip
    return msgspec.structs.replace(usual, **changes)


def sample(instrument: Instrument, asked: SampleRequest) -> Sample:
    return generate_sample(instrument, asked, ts_now=NOW)


def returns(
    asked: SampleRequest, name: str = "UP.SIM", tick: str = "0.01"
) -> npt.NDArray[np.float64]:
    """Log returns of closes."""
    return np.diff(np.log(sample(make(name, tick), asked).bars.columns["close"]))


def test_sample_volatility_and_normal_returns() -> None:
    moves = returns(request())
    error = 1 / math.sqrt(2 * len(moves))
    assert moves.std() * math.sqrt(365) == pytest.approx(0.2, rel=5 * error)
    standard = (moves - moves.mean()) / moves.std()
    assert abs((standard**3).mean()) < 5 * math.sqrt(6 / len(moves))
    assert abs((standard**4).mean() - 3) < 5 * math.sqrt(24 / len(moves))
    assert abs((standard[1:] * standard[:-1]).mean()) < 5 / math.sqrt(len(moves))


def test_sample_volatility_of_shorter_bars_is_the_same_a_year() -> None:
    moves = returns(request(timeframe="1h", ts_start=from_iso("2022-01-01")))
    error = 1 / math.sqrt(2 * len(moves))
    assert moves.std() * math.sqrt(365 * 24) == pytest.approx(0.2, rel=5 * error)


@pytest.mark.parametrize("jumps_per_year", [0.0, 5.0])
def test_sample_drift_is_that_of_the_mean_price(jumps_per_year: float) -> None:
    """Mean of S_T / S_0 over instruments is exp(drift x T), whatever the jumps.

    A year of 1000 instruments; the standard error is that of the sample.
    """
    model = SampleModel(
        price=1000.0,
        drift=0.3,
        volatility=0.8,
        prints=1,
        jumps_per_year=jumps_per_year,
        jump_volatility=0.2,
    )
    start, end = from_iso("2021-01-01"), from_iso("2022-01-01")
    times = plan_times(build_calendar("24/7"), "1d", start, end)
    last = [
        int(generate_series(model, make(f"S{number}.SIM"), times, seed=5).price[-1, -1])
        for number in range(1000)
    ]
    ends = np.array(last) / 100_000
    assert ends.mean() == pytest.approx(math.exp(0.3), abs=5 * ends.std() / math.sqrt(len(ends)))


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_sample_instruments_are_correlated(correlation: float) -> None:
    asked = request(model=msgspec.structs.replace(FINE, correlation=correlation))
    moves = [returns(asked, name) for name in ("A.SIM", "B.SIM", "C.SIM")]
    found = np.asarray(np.corrcoef(moves))[np.triu_indices(3, 1)]
    error = (1 - correlation**2) / math.sqrt(len(moves[0]))
    assert np.all(np.abs(found - correlation) <= 5 * error + 1e-4)


def test_sample_jumps_come_at_their_rate_and_size() -> None:
    """Without diffusion every move larger than the spread is a jump; two a day are rare."""
    model = msgspec.structs.replace(
        FINE, volatility=0.0, jumps_per_year=6.0, jump_volatility=0.1, drift=0.0
    )
    moves = returns(request(model=model))
    jumps = moves[np.abs(moves) > 3e-4]  # the compensation moves 8e-5 a day, the spread 1e-5
    seen = 6.0 * len(moves) / 365 * (1 - math.erf(3e-4 / 0.1 / math.sqrt(2)))
    assert len(jumps) == pytest.approx(seen, abs=5 * math.sqrt(seen) + 6 / 365 * seen)
    assert jumps.std() == pytest.approx(0.1, rel=5 / math.sqrt(2 * len(jumps)) + 6 / 365)


def test_sample_regimes_have_their_volatilities_and_lengths() -> None:
    """Which sessions are turbulent is told by a twin that stands still in them, to 1e-10."""
    twin = msgspec.structs.replace(FINE, price=1e6, turbulent_ratio=0.0)
    wild = msgspec.structs.replace(FINE, price=1e6, turbulent_ratio=3.0)
    still = returns(request(model=twin), tick="0.0001")
    moves = returns(request(model=wild), tick="0.0001")
    turbulent = np.abs(still) < 1e-9
    assert moves[turbulent].std() * math.sqrt(365) == pytest.approx(
        0.6, rel=5 / math.sqrt(2 * turbulent.sum())
    )
    assert moves[~turbulent].std() * math.sqrt(365) == pytest.approx(
        0.2, rel=5 / math.sqrt(2 * (~turbulent).sum())
    )
    spells = int((np.diff(turbulent.astype(int)) == 1).sum())
    assert turbulent.mean() == pytest.approx(15 / 75, rel=5 * math.sqrt(2 / spells))
    assert turbulent.sum() / spells == pytest.approx(15, rel=5 / math.sqrt(spells))


def test_sample_gaps_are_missing_bars_and_change_no_other() -> None:
    whole = sample(make(), request()).bars.columns
    model = msgspec.structs.replace(FINE, gap_ratio=0.02, gap_bars=3.0)
    holed = sample(make(), request(model=model)).bars.columns
    kept = np.isin(whole["ts_open"], holed["ts_open"])
    for name in ("ts_open", "ts_close", "open", "high", "low", "close", "volume"):
        assert np.array_equal(whole[name][kept], holed[name])
    after_hole = np.concatenate([[False], np.diff(holed["ts_open"]) > NS_PER_DAY])
    assert np.array_equal((holed["quality"] & Quality.GAP_BEFORE) != 0, after_hole)
    # a bar is there when none of the gaps begun k bars before reaches it: ln = -0.02 x mean length
    expected = math.exp(-0.02 * 3.0)
    error = math.sqrt(2 * 3.0 * 0.06 / len(kept))  # compound Poisson, gaps of 3 +- 2.4
    assert kept.mean() == pytest.approx(expected, abs=5 * error + 0.001)


def test_sample_prints_make_the_bars_and_lie_on_the_quotes() -> None:
    """Against a naive twin that walks the prints."""
    instrument = make(tick="0.05")
    model = SampleModel(prints=7, spread_ticks=3, volume=900.0, gap_ratio=0.1)
    asked = request(
        timeframe="30m", ts_start=from_iso("2024-01-01"), ts_end=from_iso("2024-02-01"),
        model=model, records=BOTH,
    )  # fmt: skip
    made = sample(instrument, asked)
    bars = made.bars.columns
    trades, quotes = (complete_records(each, made.records[each], "it") for each in BOTH)
    assert len(bars["ts_open"]) * 7 == len(trades["price"]) == len(quotes["bid"])
    for row in range(len(bars["ts_open"])):
        inside = range(7 * row, 7 * row + 7)
        prices = [float(trades["price"][at]) for at in inside]
        size = sum(float(trades["size"][at]) for at in inside)
        assert [bars[name][row] for name in ("open", "high", "low", "close", "volume")] == [
            prices[0], max(prices), min(prices), prices[-1], size,
        ]  # fmt: skip
        for at in inside:
            assert bars["ts_open"][row] <= quotes["ts_event"][at] < trades["ts_event"][at]
            assert trades["ts_event"][at] < bars["ts_close"][row]
            assert at == inside[0] or trades["ts_event"][at - 1] < quotes["ts_event"][at]
            buys = trades["aggressor"][at] == AggressorSide.BUYER
            side = "ask" if buys else "bid"
            assert trades["price"][at] == quotes[side][at]
            assert 1 <= trades["size"][at] < quotes[f"{side}_size"][at]
            spread = Decimal(str(quotes["ask"][at])) - Decimal(str(quotes["bid"][at]))
            assert spread == Decimal("0.15")
            assert instrument.price_to_ticks(prices[at - inside[0]]) > 0  # raises off the grid
            assert instrument.quantity_to_lots(float(trades["size"][at])) > 0
    bought = (trades["aggressor"] == AggressorSide.BUYER).mean()
    assert bought == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(len(trades["price"])))
    lots = 900 / 7  # geometric: the standard deviation is the mean
    assert trades["size"].mean() == pytest.approx(lots, rel=5 / math.sqrt(len(trades["size"])))


def test_sample_spread_lies_around_the_price() -> None:
    """Whatever the spread, the middle is the price to half a tick."""
    times = plan_times(build_calendar("24/7"), "1d", from_iso("2023-01-01"), from_iso("2024-01-01"))
    narrow, wide = (
        generate_series(SampleModel(spread_ticks=ticks), make(), times, seed=3) for ticks in (2, 31)
    )
    apart = (narrow.bid + narrow.ask - wide.bid - wide.ask) / 2
    assert np.abs(apart).max() <= 1.0
    assert abs(apart.mean()) < 0.05


@pytest.mark.parametrize("price", [100.0, 0.05])
def test_sample_depth_is_that_of_the_quotes(price: float) -> None:
    """Against a naive book: after each update it has the levels at and behind the quote."""
    model = SampleModel(price=price, levels=4, prints=5, volatility=1.0, gap_ratio=0.1)
    asked = request(
        ts_start=from_iso("2023-06-01"), model=model, records=(RecordKind.QUOTES, RecordKind.BOOK)
    )
    made = sample(make(), asked).records
    quotes = complete_records(RecordKind.QUOTES, made[RecordKind.QUOTES], "it")
    book = complete_records(RecordKind.BOOK, made[RecordKind.BOOK], "it")
    levels: tuple[dict[int, float], dict[int, float]] = ({}, {})
    at = 0
    for quote in range(len(quotes["bid"])):
        while at < len(book["price"]) and book["update_id"][at] == quote + 1:
            assert book["ts_event"][at] == quotes["ts_event"][quote]
            side = levels[int(book["is_bid"][at])]
            ticks = round(float(book["price"][at]) * 100)
            assert ticks / 100 == book["price"][at]
            if book["size"][at]:
                side[ticks] = float(book["size"][at])
            else:
                del side[ticks]  # only what is there is removed
            at += 1
        asks, bids = levels
        ask, bid = (round(float(quotes[name][quote]) * 100) for name in ("ask", "bid"))
        assert sorted(asks) == list(range(ask, ask + 4))
        assert sorted(bids) == list(range(max(1, bid - 3), bid + 1))
        assert (asks[ask], bids[bid]) == (quotes["ask_size"][quote], quotes["bid_size"][quote])
    assert at == len(book["price"])


def test_sample_depends_on_seed_and_name_and_on_nothing_else() -> None:
    asked = request(records=BOTH)
    first, again = sample(make(), asked), sample(make(), asked)
    assert compute_content_hash(first.bars.columns) == compute_content_hash(again.bars.columns)
    for kind in BOTH:
        for name, column in first.records[kind].items():
            assert column.tobytes() == again.records[kind][name].tobytes()
    others = [
        sample(make("DOWN.SIM"), asked),
        sample(make(), msgspec.structs.replace(asked, seed=12)),
    ]
    for other in others:
        assert not np.array_equal(first.bars.columns["close"], other.bars.columns["close"])


def test_sample_of_a_seed_stays_what_it_is() -> None:
    """Rounded to the grid: another machine's exp may differ in its last bit."""
    asked = request(ts_end=from_iso("1984-01-04"), model=SampleModel(correlation=0.5), seed=7)
    bars = sample(make(), asked).bars.columns
    rows = [
        [float(bars[name][row]) for name in ("open", "high", "low", "close", "volume")]
        for row in range(3)
    ]
    assert rows == [
        [99.98, 100.54, 99.74, 100.01, 114442.0],
        [99.34, 99.58, 98.18, 98.61, 124695.0],
        [98.89, 98.97, 97.39, 97.68, 105576.0],
    ]


@pytest.mark.parametrize(
    ("calendar", "timeframe", "bars"),
    [
        ("24/7", "1d", 366), ("24/7", "1h", 366 * 24), ("24/7", "7h", 366 * 3),
        ("XNYS", "1d", 252), ("XNYS", "1h", 249 * 6 + 3 * 3),
        ("XTKS", "30m", 205 * 10 + 40 * 11),
        ("hours:Europe/Berlin:09:00-17:30", "15m", 262 * 34),
    ],
)  # fmt: skip
def test_sample_bars_fill_the_sessions(calendar: str, timeframe: str, bars: int) -> None:
    """2024 had 252 sessions in New York, 3 of them until 13:00; 262 days from Monday to Friday.

    Tokyo had 245, with a break from 11:30 to 12:30; from November 5 on it closed at 15:30, not
    15:00.
    """
    times = plan_times(build_calendar(calendar), timeframe, from_iso("2024-01-01"),
                       from_iso("2025-01-01"))  # fmt: skip
    assert len(times.ts_open) == bars
    a_year = 365 if calendar == "24/7" else 252
    assert times.years.sum() * a_year == pytest.approx(times.session[-1] + 1)
    asked = request(
        timeframe=timeframe, ts_start=from_iso("2024-01-01"), ts_end=from_iso("2025-01-01")
    )
    made = sample(make(calendar=calendar), asked).bars
    assert np.array_equal(made.columns["ts_open"], times.ts_open)
    assert np.array_equal(made.columns["ts_close"], times.ts_close)
    assert not made.columns["quality"].any()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"timeframe": "1w"}, "make longer ones: onetape data aggregate"),
        ({"ts_end": from_iso("1984-01-01") - 1}, "no session"),
        ({"ts_end": NOW + 7 * NS_PER_DAY}, "bar is not over yet"),
        ({"seed": -1}, "seed -1 is negative"),
        ({"records": (RecordKind.FUNDING,)}, "choose of trades, quotes, book"),
        ({"model": SampleModel(prints=10_000)}, "14,610 bars of 10,000 prints"),
        ({"model": SampleModel(volume=10.0)}, "too few or too many"),
        ({"model": SampleModel(volume=1e300)}, "too few or too many"),
        ({"model": SampleModel(price=0.001)}, "the grid can't hold"),
        ({"model": SampleModel(drift=10.0, prints=1)}, "the grid can't hold"),
        (
            {"model": SampleModel(gap_ratio=0.9), "ts_end": from_iso("1984-01-02"), "seed": 1},
            "every bar is missing",
        ),
    ],
)
def test_sample_that_cannot_be_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        sample(make(), request(**changes))


@pytest.mark.parametrize(
    "name", [each for each in SampleModel.__struct_fields__ if each != "price"]
)
def test_sample_model_bounds_its_parameters(name: str) -> None:
    for value in (-11, math.nan, math.inf):
        with pytest.raises(DataError, match=name):
            msgspec.structs.replace(FINE, **{name: value})
