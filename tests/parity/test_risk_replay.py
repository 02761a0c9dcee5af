"""What-if over a run: exact where it can be, and true up to the first order that comes out else."""

from __future__ import annotations

import dataclasses

import msgspec

from onetape.risk.limits import RiskLimits
from onetape.runtime.risk_audit import AuditedOrder
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.tape.store import MemoryTape
from tests.parity.test_risk_controls import make_controlled_world
from tests.parity.test_snapshots import choose_strategies, records_of
from tests.support.random_strategies import World


def run(
    world: World, audit: RiskLimits | None
) -> tuple[list[bytes], list[AuditedOrder], list[tuple[int, object]]]:
    """Records of the session, what the other limits said, and (time, verdict) of its own."""
    specs = [
        StrategySpec(name=f"s{number}", strategy=each, capital=20_000 * 10**8)
        for number, each in enumerate(choose_strategies(world.seed))
    ]
    tape = MemoryTape()
    session = BacktestSession(world.timeline, specs, world.terms, world.limits, tape,
                              SessionIdentity(session="0" * 16), audit=audit)  # fmt: skip
    session.run()
    records = records_of(tape)
    found = session.audit.orders if session.audit is not None else []
    return records, found


def test_the_run_s_own_limits_change_nothing_and_say_the_same() -> None:
    orders = others = 0
    for seed in range(30):
        world = make_controlled_world(seed)
        plain, _ = run(world, None)
        records, found = run(world, world.limits)
        assert records == plain, f"seed {seed}: asking other limits changed the session"
        assert [each for each in found if each.differs] == [], f"seed {seed}"
        denied = sum(record.count(b"risk.denied") for record in records)
        assert sum(each.run.verdict == "denied" for each in found) <= denied, f"seed {seed}"
        orders += len(found)
        others += sum(each.run.verdict != "passed" for each in found)
    assert orders > 500
    assert others > 100


def test_what_if_is_true_up_to_the_first_order_that_comes_out_otherwise() -> None:
    """A session that really has the other limits parts from the run at that very order."""
    parted = 0
    for seed in range(30):
        world = make_controlled_world(seed)
        loose = dataclasses.replace(world, limits=msgspec.structs.replace(
            world.limits, max_position_quantity=None, max_gross_exposure_pct=None,
            max_leverage=4, shrink=(), breakers=(),
        ))  # fmt: skip
        tight = dataclasses.replace(loose, limits=msgspec.structs.replace(
            loose.limits, max_position_quantity=40, max_drawdown_pct="0.5", max_leverage=None,
        ))  # fmt: skip
        _, found = run(loose, tight.limits)
        _, really = run(tight, tight.limits)
        first = next((at for at, each in enumerate(found) if each.differs), None)
        same = len(found) if first is None else first + 1
        asked = [(each.ts, each.client_order_id, each.lots, each.other) for each in found[:same]]
        real = [(each.ts, each.client_order_id, each.lots, each.run) for each in really[:same]]
        assert asked == real, f"seed {seed}"
        parted += first is not None
    assert parted > 15
