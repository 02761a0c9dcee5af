"""The chain that compiled code makes is that of the tape, with and without OpenSSL at hand."""

from __future__ import annotations

import random

import pytest

from onetape.runtime.compiled import record_writer
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.compiled.record_chain import Sha256, find_sha256
from onetape.tape.block import GENESIS, make_part, split_records
from onetape.tape.repeated import RepeatedTape
from onetape.tape.store import MemoryTape
from tests.support.compiled_actor import Actor
from tests.support.parity_worlds import build_world, make_case, open_session


@pytest.mark.parametrize("find", [find_sha256, Sha256])
def test_chain_is_that_of_the_records(find: type[Sha256], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_writer, "find_sha256", find)
    case = make_case(random.Random(7), Actor, 1)
    world = build_world(case.plan)
    mine = Actor(**case.params[0])
    tape = MemoryTape()
    header = open_session(world, mine, tape).header()
    host = CompiledHost(world.timeline, world.spec(mine), world.terms, world.plan.limits)
    host.record(mine, lambda: RepeatedTape(tape), header)
    records = [record for block in tape.blocks for record in split_records(block)]
    assert len(tape.blocks) > 1
    assert b"".join(block.digests for block in tape.blocks) == make_part(GENESIS, records)[2]


def test_this_python_has_openssl() -> None:
    assert all(find_sha256())
