"""Generated market data: prices that follow a stated model, the same for the same seed.

Each series draws from streams of its own, named by the seed, the instrument and the purpose. So
an instrument's data does not depend on which others are generated with it, and its path not on
how many bars are missing.
"""

from __future__ import annotations

import hashlib
import math

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument
from onetape.domain.market import AggressorSide
from onetape.marketdata.bars import BoolArray, FloatArray, IntArray
from onetape.marketdata.sample_times import SampleTimes

MAX_PRINTS = 10_000_000
"""Of one instrument; each takes some 250 bytes of memory."""

_EXACT = 2**53


class SampleModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Geometric Brownian motion with jumps and two regimes of volatility, seen through a spread.

    Between two prints of `dt` years, with standard normals M of the market and Z of the
    instrument, the price before the spread is multiplied by the exponential of

        (drift - v**2 / 2 - jumps_per_year * k) * dt
        + v * sqrt(dt) * (sqrt(correlation) * M + sqrt(1 - correlation) * Z) + jumps,

    k = exp(jump_volatility**2 / 2) - 1, so the price at T is `price` * exp(drift * T) on average.
    The number of jumps is Poisson, each is normal with mean 0. Bid and ask are `spread_ticks`
    apart around that price, on the grid; a print is at either of them with equal chance, and never
    larger than the quote. A bar is made of its prints.

    *Ignores*: moves between sessions and in missing bars' place beyond those of the model, jumps
    of several instruments at once, volume that depends on time or price, impact.
    *Source*: R. C. Merton, "Option pricing when underlying stock returns are discontinuous",
    Journal of Financial Economics 3 (1976), 125-144; the bounce between bid and ask as in R. Roll,
    "A simple implicit measure of the effective bid-ask spread", Journal of Finance 39 (1984).

    Args:
        price: Before the first print, in the instrument's currency.
        drift: Of the mean price, a year, as an exponent.
        volatility: v of calm sessions, a year: 0.2 is 20 %.
        correlation: Of two instruments' diffusion, from 0 to 1.
        turbulent_ratio: v of turbulent sessions, as a multiple; 1: there is one regime.
        calm_sessions: Mean length of a calm spell; spells are geometric and the same for all.
        turbulent_sessions: Mean length of a turbulent spell.
        jumps_per_year: Mean number of jumps of an instrument.
        jump_volatility: Standard deviation of a jump's logarithm.
        gap_ratio: Chance of a bar to begin a gap: it is missing, with its prints and quotes.
        gap_bars: Mean length of a gap, which is geometric; gaps may overlap.
        prints: Of each bar.
        volume: Mean of a bar, in units; a print's lots are geometric.
        spread_ticks: Ask less bid.
        levels: Prices of each side of a book that have orders.

    Raises:
        DataError: A parameter is out of range.
    """

    price: float = 100.0
    drift: float = 0.05
    volatility: float = 0.2
    correlation: float = 0.0
    turbulent_ratio: float = 1.0
    calm_sessions: float = 60.0
    turbulent_sessions: float = 15.0
    jumps_per_year: float = 0.0
    jump_volatility: float = 0.03
    gap_ratio: float = 0.0
    gap_bars: float = 1.0
    prints: int = 20
    volume: float = 100_000.0
    spread_ticks: int = 1
    levels: int = 5

    def __post_init__(self) -> None:
        for name, least, most in (
            ("price", 0.0, math.inf), ("drift", -10.0, 10.0), ("volatility", 0.0, 10.0),
            ("correlation", 0.0, 1.0), ("turbulent_ratio", 0.0, 100.0),
            ("calm_sessions", 1.0, math.inf), ("turbulent_sessions", 1.0, math.inf),
            ("jumps_per_year", 0.0, 1e6), ("jump_volatility", 0.0, 1.0), ("gap_ratio", 0.0, 0.9),
            ("gap_bars", 1.0, 1e6),
            ("prints", 1, MAX_PRINTS), ("volume", 0.0, math.inf), ("spread_ticks", 1, 1_000_000),
            ("levels", 1, 1000),
        ):  # fmt: skip
            value = getattr(self, name)
            if not (least <= value <= most and math.isfinite(value)):
                raise DataError(f"{name} {value:g} is not from {least:g} to {most:g}",
                                where="the model of generated data")  # fmt: skip


class SampleSeries(msgspec.Struct, frozen=True, eq=False):
    """One instrument's generated prints and the quotes that stand before them.

    `kept` tells which planned bars there are, shape (bars,); all else has the shape (kept bars,
    prints): times in ns UTC, prices in ticks, sizes in lots.
    """

    kept: BoolArray
    ts_quote: IntArray
    ts_print: IntArray
    bid: IntArray
    ask: IntArray
    bid_lots: IntArray
    ask_lots: IntArray
    price: IntArray
    lots: IntArray
    aggressor: IntArray

    def bars(self, instrument: Instrument) -> dict[str, FloatArray]:
        """Prices and volume of each bar, in currency and units."""
        ticks = {
            "open": self.price[:, 0],
            "high": self.price.max(axis=1),
            "low": self.price.min(axis=1),
            "close": self.price[:, -1],
        }
        prices = {name: to_prices(each, instrument) for name, each in ticks.items()}
        return {**prices, "volume": to_sizes(self.lots.sum(axis=1), instrument)}


def to_prices(ticks: IntArray, instrument: Instrument) -> FloatArray:
    """The float64 nearest to each price of `ticks`."""
    over, under = instrument.tick_size.as_integer_ratio()
    return ticks * over / under


def to_sizes(lots: IntArray, instrument: Instrument) -> FloatArray:
    """The float64 nearest to each quantity of `lots`."""
    over, under = instrument.lot_size.as_integer_ratio()
    return lots * over / under


def generate_series(
    model: SampleModel, instrument: Instrument, times: SampleTimes, seed: int
) -> SampleSeries:
    """What the model gives for one instrument.

    Raises:
        DataError: The seed is negative; there are too many prints; a print has less than a lot; or
            the price leaves the grid.
    """
    where = f"generated data of {instrument.id}"
    bars, prints = len(times.ts_open), model.prints
    if seed < 0:
        raise DataError(f"seed {seed} is negative", where=where)
    if bars * prints > MAX_PRINTS:
        raise DataError(
            f"{bars:,} bars of {prints:,} prints are more than {MAX_PRINTS:,} prints",
            where=where, remedy="take fewer prints a bar, longer bars or a shorter time",
        )  # fmt: skip
    slot = (times.ts_close - times.ts_open) // prints
    if slot.min() < 2:
        raise DataError(f"{prints:,} prints don't fit into a bar", where=where)
    kept = ~_find_missing(model, bars, seed, instrument)
    if not kept.any():
        raise DataError("every bar is missing", where=where,
                        remedy="lower gap_ratio or gap_bars")  # fmt: skip
    middle = _compute_path(model, times, seed, instrument)[kept]
    bid = _to_bid(middle, model, instrument, where)
    ask = bid + model.spread_ticks
    sides = make_stream(seed, instrument.id, "sides").random((bars, prints))[kept] < 0.5
    sizes = _draw_lots(model, instrument, (bars, prints), seed, where)[:, kept]
    starts = times.ts_open[kept, None] + slot[kept, None] * np.arange(prints)
    offsets = make_stream(seed, instrument.id, "times").random((bars, prints))[kept]
    ts_print = starts + 1 + (offsets * (slot[kept, None] - 1)).astype(np.int64)
    return SampleSeries(
        kept=kept,
        ts_quote=starts,
        ts_print=ts_print,
        bid=bid,
        ask=ask,
        bid_lots=sizes[1] + np.where(sides, 0, sizes[0]),
        ask_lots=sizes[2] + np.where(sides, sizes[0], 0),
        price=np.where(sides, ask, bid),
        lots=sizes[0],
        aggressor=np.where(sides, int(AggressorSide.BUYER), int(AggressorSide.SELLER)),
    )


def mean_lots(model: SampleModel, instrument: Instrument) -> float:
    """Lots of a print on average."""
    return model.volume / model.prints / instrument.lot_float


def make_stream(seed: int, name: str, purpose: str) -> np.random.Generator:
    """Random numbers of their own for one name and purpose."""
    digest = hashlib.sha256(f"{name}\0{purpose}".encode()).digest()
    entropy = [seed, int.from_bytes(digest[:16], "big")]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def _compute_path(
    model: SampleModel, times: SampleTimes, seed: int, instrument: Instrument
) -> FloatArray:
    """The price before the spread at each print, in ticks, shape (bars, prints)."""
    shape = (len(times.ts_open), model.prints)
    dt = (times.years / model.prints)[:, None]
    turbulent = _find_turbulent(model, int(times.session[-1]) + 1, seed)[times.session]
    v = model.volatility * np.where(turbulent, model.turbulent_ratio, 1.0)[:, None]
    moves = make_stream(seed, instrument.id, "moves").standard_normal(shape)
    if model.correlation:
        market = make_stream(seed, "", "market").standard_normal(shape)
        rho = model.correlation
        moves = math.sqrt(rho) * market + math.sqrt(1 - rho) * moves
    jumpiness = math.expm1(model.jump_volatility**2 / 2)
    steps = (model.drift - v * v / 2 - model.jumps_per_year * jumpiness) * dt
    steps = steps + v * np.sqrt(dt) * moves
    if model.jumps_per_year:
        jumps = make_stream(seed, instrument.id, "jumps")
        counts = jumps.poisson(model.jumps_per_year * dt, shape)
        steps += model.jump_volatility * np.sqrt(counts) * jumps.standard_normal(shape)
    with np.errstate(over="ignore"):  # infinite is off the grid, which is refused
        path = np.exp(np.cumsum(steps.ravel())).reshape(shape)
        return path * (model.price / instrument.tick_float)


def _find_turbulent(model: SampleModel, sessions: int, seed: int) -> BoolArray:
    """Which sessions are turbulent; the first one is with the share that turbulent spells have."""
    if model.turbulent_ratio == 1.0:
        return np.zeros(sessions, dtype=np.bool_)
    draws = make_stream(seed, "", "regimes")
    means = (model.calm_sessions, model.turbulent_sessions)
    now = int(draws.random() < means[1] / (means[0] + means[1]))
    states: list[int] = []
    while len(states) < sessions:
        states += [now] * min(int(draws.geometric(1 / means[now])), sessions)
        now = 1 - now
    return np.array(states[:sessions], dtype=np.bool_)


def _find_missing(model: SampleModel, bars: int, seed: int, instrument: Instrument) -> BoolArray:
    """Which bars lie in a gap."""
    draws = make_stream(seed, instrument.id, "gaps")
    begin = np.flatnonzero(draws.random(bars) < model.gap_ratio)
    end = np.minimum(begin + draws.geometric(1 / model.gap_bars, len(begin)), bars)
    steps = np.bincount(begin, minlength=bars + 1) - np.bincount(end, minlength=bars + 1)
    return np.cumsum(steps)[:bars] > 0


def _to_bid(middle: FloatArray, model: SampleModel, instrument: Instrument, where: str) -> IntArray:
    """The bid in ticks: the spread lies around `middle`, to the nearest tick, halves up."""
    bid = np.floor(middle - model.spread_ticks / 2 + 0.5)
    over, _ = instrument.tick_size.as_integer_ratio()
    if not (bid.min() >= 1 and (bid.max() + model.spread_ticks) * over < _EXACT):
        raise DataError(
            f"the price goes from {middle.min():.4g} to {middle.max():.4g} ticks of "
            f"{instrument.tick_size:f}, which the grid can't hold",
            where=where, remedy="take another first price, tick, drift or volatility",
        )  # fmt: skip
    return bid.astype(np.int64)


def _draw_lots(
    model: SampleModel, instrument: Instrument, shape: tuple[int, int], seed: int, where: str
) -> IntArray:
    """Lots of prints, and what bids and asks show beside them, shape (3, bars, prints)."""
    mean = mean_lots(model, instrument)
    over, _ = instrument.lot_size.as_integer_ratio()
    if not 1 <= mean <= _EXACT / over / 1000 / model.prints:
        raise DataError(
            f"a print of {model.volume:g} / {model.prints} units is {mean:g} lots of "
            f"{instrument.lot_size:f}, which is too few or too many",
            where=where, remedy="take another volume, number of prints or lot",
        )  # fmt: skip
    return make_stream(seed, instrument.id, "sizes").geometric(1 / mean, (3, *shape))
