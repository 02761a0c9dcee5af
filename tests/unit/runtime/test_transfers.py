"""Capital that moves between strategies."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from pydantic import ValidationError

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    MarginStatusChanged,
    OrderDenied,
    TransferOrdered,
    TransferRefused,
)
from onetape.domain.numbers import E8
from onetape.execution.simulated.terms import Transfer
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.config import SessionConfig
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.strategy.library.buy_and_hold import BuyAndHold
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.contracts import LINEAR, make_contract_timeline, make_margin
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import AAPL, at_rows, closes, flat, make_timeline, opens

WORLD = make_timeline(flat(10, 10, 12, 12, 6, 6))


def run_with(*transfers: Transfer, limits: RiskLimits | None = None) -> SessionRun:
    """s0 buys 5,000 of 10,000 at 10; s1 does nothing."""
    terms = msgspec.structs.replace(make_terms(WORLD), transfers=transfers)
    return run_session(
        WORLD, at_rows({0: lambda ctx: ctx.buy(AAPL, 500), 4: lambda ctx: ctx.buy(AAPL, 1)}),
        at_rows({}), capital=10_000, terms=terms, limits=limits,
    )  # fmt: skip


def test_transfer_moves_cash_and_capital_before_the_rows_of_its_time() -> None:
    run = run_with(Transfer(closes(2), "s0", "s1", 2_000 * E8))
    (order,) = [each for each in run.events if isinstance(each.payload, TransferOrdered)]
    posted = [each for each in run.events if isinstance(each.payload, CashPosted)]
    assert [(e.payload.strategy, e.payload.amount, e.payload.cash) for e in posted] == [
        ("s0", -2_000 * E8, 3_000 * E8), ("s1", 2_000 * E8, 12_000 * E8)
    ]  # fmt: skip
    assert {each.causation_id for each in posted} == {order.seq}
    assert order.ts_event == closes(2)
    assert run.ledger("s0").capital == 8_000 * E8
    assert run.ledger("s1").capital == 12_000 * E8
    summary = summarize_run(WORLD, run.events, digest="")
    curve = summary.curves.strategies["s1"]
    assert [each // E8 for each in curve.deposited.tolist()] == [10_000] * 2 + [12_000] * 4
    assert summary.strategies["s1"].total_return == 0.0
    assert int(summary.account.deposited) == 20_000
    # 500 shares from 10 to 12 on 10,000, and from 12 to 6 on the 9,000 that are left
    gained = 10_000 / 10_000 * (9_000 / 8_000) * (6_000 / 9_000)
    assert summary.strategies["s0"].total_return == pytest.approx(gained - 1)


def test_transfer_beyond_free_cash_is_refused_with_the_numbers() -> None:
    run = run_with(Transfer(closes(2), "s0", "s1", 5_001 * E8))
    assert run.of_type(TransferRefused) == [
        TransferRefused("s0", "s1", 5_001 * E8, 5_000 * E8)
    ]  # fmt: skip
    assert run.of_type(CashPosted) == []
    # At the open of row 1 the buy of row 0 is open and binds its 5,000.
    early = run_with(Transfer(opens(1) + 1, "s0", "s1", 5_001 * E8))
    assert [each.free for each in early.of_type(TransferRefused)] == [5_000 * E8]


def test_transfer_leaves_what_backs_the_positions() -> None:
    """1 bitcoin at 50,000 needs 5,000 of 10,000, and all of the 10,000 is cash."""
    timeline = make_contract_timeline((LINEAR, flat(*[50_000] * 5)))
    for amount, refused in ((5_000, []), (5_001, [5_000 * E8])):
        terms = msgspec.structs.replace(
            make_terms(timeline, margin=make_margin(timeline)),
            transfers=(Transfer(closes(2), "s0", "s1", amount * E8),),
        )
        run = run_session(
            timeline, at_rows({0: lambda ctx: ctx.buy(LINEAR.id, 1)}, instrument=LINEAR.id),
            at_rows({}), capital=10_000, terms=terms, limits=RiskLimits(),
        )  # fmt: skip
        assert [each.free for each in run.of_type(TransferRefused)] == refused
        assert run.of_type(MarginStatusChanged) == []


def test_transfer_is_no_loss_to_the_gates() -> None:
    """Half of the cash goes; the drawdown of the price alone stays below the limit."""
    transfer = Transfer(closes(1), "s0", "s1", 4_000 * E8)
    assert run_with(transfer, limits=RiskLimits(max_drawdown_pct=45)).denied == []
    # at row 4: 500 shares fell from 12 to 6, 3,000 of 7,000
    (denied,) = run_with(transfer, limits=RiskLimits(max_drawdown_pct=42)).denied
    assert denied.code.value == "drawdown"


@pytest.mark.parametrize(("source", "target"), [("s0", "s1"), ("s1", "s0")])
@pytest.mark.parametrize(
    ("limits", "share"),
    [
        # 500 shares fell from 12 to 6: 3,000 of 11,000 (of 8,000 before row 4 is a day of its own)
        (lambda pct: RiskLimits(max_drawdown_pct=pct), 3_000 / 11_000),
        (lambda pct: RiskLimits(max_daily_loss_pct=pct), 2_000 / 10_000),
    ],
    ids=["drawdown", "daily loss"],
)
def test_transfer_leaves_the_share_that_is_lost_as_it_is(
    source: str, target: str, limits: Callable[[float], RiskLimits], share: float
) -> None:
    """Half of what is left goes, or as much comes, and a trade is asked for behind it."""

    def run_at(pct: float) -> list[OrderDenied]:
        transfers = (Transfer(opens(5) + 1, source, target, 4_000 * E8),)
        terms = msgspec.structs.replace(make_terms(WORLD), transfers=transfers)
        actions = {0: lambda ctx: ctx.buy(AAPL, 500), 5: lambda ctx: ctx.buy(AAPL, 1)}
        return run_session(
            WORLD, at_rows(actions), at_rows({}), capital=10_000, terms=terms, limits=limits(pct)
        ).denied

    assert run_at(round(100 * share + 0.1, 2)) == []
    assert len(run_at(round(100 * share - 0.1, 2))) == 1


def test_transfer_after_the_last_row_never_comes() -> None:
    run = run_with(Transfer(closes(6), "s0", "s1", E8))
    assert run.of_type(TransferOrdered, CapitalDeposited)[2:] == []


def test_session_with_transfers_in_parts_equals_the_whole_one_and_its_fold() -> None:
    transfers = tuple(
        Transfer(opens(row) + 1, *names, amount * E8)
        for row, names, amount in (
            (0, ("s0", "s1"), 1), (2, ("s1", "s0"), 7), (2, ("s0", "s1"), 99_999),
            (4, ("s1", "s0"), 5),
        )
    )  # fmt: skip
    terms = msgspec.structs.replace(make_terms(WORLD), transfers=transfers)

    def open_session(tape: MemoryTape) -> BacktestSession:
        specs = [
            StrategySpec(name=name, strategy=at_rows({}), capital=100 * E8) for name in ("s0", "s1")
        ]
        return BacktestSession(WORLD, specs, terms, RiskLimits(), tape, SessionIdentity())

    tape = MemoryTape()
    whole = open_session(tape)
    whole.run()
    reader = MemoryTapeReader(tape)
    assert [each.save() for each in fold_tape(reader).ledgers.values()] == [
        each.ledger.save() for each in whole.runners.values()
    ]
    records = list(reader.encoded_records())
    for stop in range(1, 6):
        first, second = MemoryTape(), MemoryTape()
        session = open_session(first)
        session.start()
        session.advance(stop)
        first.commit()
        again = open_session(second)
        again.restore(decode_state(encode_state(session.save())))
        for _, until in again.cut_blocks(1):
            again.advance(until)
        again.finish()
        second.commit()
        parts = [*MemoryTapeReader(first).encoded_records(),
                 *MemoryTapeReader(second).encoded_records()]  # fmt: skip
        assert parts == records, stop


def test_config_names_strategies_that_run() -> None:
    values = {
        "clock": {"type": "historical", "start": "2024-01-01", "end": "2024-02-01"},
        "data": {"instruments": ["AAPL.XNAS"], "timeframe": "1d"},
        "strategies": [{"name": "one", "capital": 1}, {"name": "two", "capital": 1}],
        "execution": {
            "transfers": [{"at": "2024-01-05", "from": "one", "to": "two", "amount": "0.5"}]
        },
    }
    (transfer,) = SessionConfig.model_validate(values).execution.transfers
    assert (transfer.source, transfer.target) == ("one", "two")
    values["execution"]["transfers"][0]["to"] = "tow"  # type: ignore[index]
    with pytest.raises(ValidationError, match="is 'tow', which is no enabled strategy"):
        SessionConfig.model_validate(values)


def test_compiled_host_refuses_a_session_with_transfers() -> None:
    terms = msgspec.structs.replace(
        make_terms(WORLD), transfers=(Transfer(closes(1), "s0", "s1", 1),)
    )
    spec = StrategySpec(name="s0", strategy=BuyAndHold(), capital=10**12)
    with pytest.raises(ConfigError, match="transfers of capital, which the compiled host"):
        CompiledHost(WORLD, spec, terms, RiskLimits())
