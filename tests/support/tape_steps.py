"""Engine steps as a tape gets them, and hypothesis strategies for every payload type."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from enum import Enum
from itertools import accumulate
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st

from onetape.domain.events import (
    OrderAccepted,
    OrderApproved,
    OrderSubmitted,
    Payload,
    SessionStarted,
    SessionStopped,
)
from onetape.domain.instrument import Instrument, InstrumentId, make_equity, make_spot
from onetape.domain.orders import (
    OrderIntent,
    OrderType,
    QuantityBasis,
    Side,
    TimeInForce,
)
from onetape.domain.ports import EncodedSteps, TapeWriter
from onetape.tape.block import GENESIS, Block, Step, encode_record, make_block, make_part

AAPL = InstrumentId("AAPL.XNAS")
INSTRUMENTS = [
    make_equity(AAPL, tick_size="0.0001"),
    make_spot("BTC-USD.TEST", base="BTC", quote="USD", tick_size="0.01", lot_size="0.000001"),
]
TS_START = 1_600_000_000_000_000_000
TS_STEP = 60_000_000_000

STARTED = SessionStarted(
    session="s-1",
    mode="backtest",
    config="{}",
    config_hash="00",
    code_version="0.1.0",
    strategy_versions={"sma_cross": "1"},
    seed=7,
    datasets=[],
)
STOPPED = SessionStopped(reason="end of data", market_events=1)


def append_steps(tape: TapeWriter, session: Sequence[Step]) -> None:
    """Append one after the other."""
    for step in session:
        tape.append(*step)


def encode_steps(session: Sequence[Step], before: bytes = GENESIS) -> EncodedSteps:
    """Steps as a host gives them that writes its records itself, behind those up to `before`."""
    records = [encode_record(each) for each in session]
    payload, lengths, digests = make_part(before, records)
    return EncodedSteps(
        payload, [*accumulate(map(len, records))], lengths, digests, [each[0] for each in session],
        [len(each[3]) for each in session], [each[1] for each in session],
    )  # fmt: skip


def make_order_step(first_seq: int, number: int) -> Step:
    """The four events of an order that a bar (seq `first_seq - 1`) caused."""
    order = f"sma_cross-{number}"
    limit = 10_000 + number
    kind, gtc = OrderType.LIMIT, TimeInForce.GTC
    intent = OrderIntent(
        "sma_cross", number, AAPL, Side.BUY, QuantityBasis.LOTS, 100, kind, gtc, limit
    )
    payloads = [
        intent,
        OrderApproved("sma_cross", number, order, Side.BUY, 100),
        OrderSubmitted(order, "sma_cross", AAPL, Side.BUY, kind, gtc, 100, limit, 0, 0),
        OrderAccepted(order, f"v-{number}"),
    ]
    bar = first_seq - 1
    events = tuple((payload, bar, bar + index) for index, payload in enumerate(payloads))
    return first_seq, TS_START + number * TS_STEP, number, events


def make_session(orders: int) -> list[Step]:
    """A whole session: started, `orders` order steps with a pinned bar before each, stopped."""
    steps: list[Step] = [(1, TS_START, -1, ((STARTED, 0, 0),))]
    steps += [make_order_step(5 * number - 2, number) for number in range(1, orders + 1)]
    end = 5 * orders + 2
    steps.append((end, TS_START + orders * TS_STEP, -1, ((STOPPED, 0, 0),)))
    return steps


def payload_types() -> tuple[type, ...]:
    """Every member of the Payload union."""
    return get_args(Payload)


def payloads() -> st.SearchStrategy[Any]:
    """Any payload, with any values that its fields allow (no NaN, which never equals itself)."""
    return st.one_of([structs(kind) for kind in payload_types()])


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any value of the struct `kind`."""
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{name: _values(hints[name]) for name in kind.__struct_fields__})


def _values(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, typing.NewType):
        return _values(hint.__supertype__)
    if isinstance(hint, types.GenericAlias):
        parts = [_values(part) for part in get_args(hint)]
        if hint.__origin__ is list:
            return st.lists(*parts, max_size=3)
        return st.dictionaries(*parts, max_size=3)
    if isinstance(hint, types.UnionType):
        parts = [st.none() if each is types.NoneType else _values(each) for each in get_args(hint)]
        return st.one_of(parts)
    if issubclass(hint, Instrument):
        return st.sampled_from(INSTRUMENTS)
    if issubclass(hint, msgspec.Struct):
        return structs(hint)
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    scalars = {
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False),
        str: st.text(max_size=8),
        bool: st.booleans(),
    }
    return scalars[hint]


def block_of(number: int, steps: Sequence[Step], digest: bytes) -> Block:
    """One block of `steps`, chained to `digest`."""
    first, last = steps[0], steps[-1]
    seqs = (first[0], last[0] + len(last[3]) - 1)
    part = make_part(digest, [encode_record(each) for each in steps])
    return make_block(number, [part], seqs, (first[1], last[1]))


def steps() -> st.SearchStrategy[list[Step]]:
    """Any steps in seq order, with gaps where pinned market events would be."""

    def number(parts: list[tuple[int, int, int, list[tuple[Any, int, int]]]]) -> list[Step]:
        numbered: list[Step] = []
        seq = 1
        for gap, ts, market_index, events in parts:
            seq += gap
            numbered.append((seq, ts, market_index, tuple(events)))
            seq += len(events)
        return numbered

    seqs = st.integers(0, 2**40)
    events = st.lists(st.tuples(payloads(), seqs, seqs), min_size=1, max_size=5)
    times = st.integers(-(2**62), 2**62)
    part = st.tuples(st.integers(0, 3), times, st.integers(-1, 2**31), events)
    return st.lists(part, min_size=1, max_size=6).map(number)
