"""Worlds in which long and short legs are held side by side, and a strategy that trades them."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec

from onetape.domain.instrument import InstrumentId
from onetape.domain.legs import LEG_SIDES, make_legs, spread_to_legs
from onetape.domain.numbers import to_minor
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.timeline import Timeline
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.strategy.context import Context
from onetape.tape.store import MemoryTape
from tests.support.random_strategies import RandomBars, World


class RandomLegs(RandomBars):
    """Does everything at random, with a random leg of what it hears of."""

    def act(self, chance: random.Random, instrument: InstrumentId, ctx: Context) -> None:
        if instrument in ctx.instruments:
            instrument = ctx.leg(instrument, chance.choice(LEG_SIDES))
        super().act(chance, instrument, ctx)


def with_legs(terms: VenueTerms, timeline: Timeline) -> VenueTerms:
    """The same terms, with legs."""
    legs = make_legs(timeline.instruments)
    margin = terms.margin
    if margin is not None:
        margin = msgspec.structs.replace(margin, schedules=spread_to_legs(margin.schedules, legs))
    return msgspec.structs.replace(
        terms, has_legs=True, fees=spread_to_legs(terms.fees, legs), margin=margin,
        fills=spread_to_legs(terms.fills, legs) if terms.fills else {},
    )  # fmt: skip


def hedge(world: World) -> World:
    """The same world, with legs."""
    return replace(world, terms=with_legs(world.terms, world.timeline))


def list_specs(world: World, count: int = 2) -> list[StrategySpec]:
    """Strategies that trade legs."""
    return [
        StrategySpec(
            name=f"s{at}", strategy=RandomLegs(seed=world.seed * 10 + at),
            capital=to_minor(20_000, "capital"),
        )
        for at in range(count)
    ]  # fmt: skip


def open_session(world: World, tape: MemoryTape, session: str = "") -> BacktestSession:
    """A session of a world with legs; `session` is its id."""
    return BacktestSession(
        world.timeline, list_specs(world), world.terms, world.limits, tape,
        SessionIdentity(session=session),
    )  # fmt: skip
