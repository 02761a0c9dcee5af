from __future__ import annotations

import ctypes
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.ports import EncodedSteps
from onetape.tape import native_chain
from onetape.tape.block import GENESIS, chain_records
from onetape.tape.native_chain import chain_steps
from tests.support.tape_steps import encode_steps, make_session


@settings(deadline=None)  # the first call compiles
@given(
    records=st.lists(st.binary(max_size=300), min_size=1, max_size=20),
    digest=st.binary(min_size=32, max_size=32),
)
def test_chain_is_that_of_hashlib(records: list[bytes], digest: bytes) -> None:
    digests = chain_steps(digest, steps_of(records))
    assert digests == chain_records(digest, records)
    assert digests[:32] == hashlib.sha256(digest + records[0]).digest()


def steps_of(records: list[bytes]) -> EncodedSteps:
    """Records of any bytes; what else a step has does not matter to the chain."""
    ends = np.cumsum([len(each) for each in records])
    return EncodedSteps(b"".join(records), ends, ends, ends, ends)


def test_openssl_is_called_where_it_can_be() -> None:
    """Where it can't be called nothing is wrong but slow."""
    module = pytest.importorskip("_hashlib")
    if not hasattr(module, "__file__"):
        pytest.skip("OpenSSL is a part of this interpreter")
    if not hasattr(ctypes.CDLL(module.__file__), "SHA256_Init"):
        pytest.skip("Python's OpenSSL does not show its functions here")
    assert native_chain.find_functions() is not None


def test_without_openssl_the_chain_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = encode_steps(make_session(orders=9))
    native = chain_steps(GENESIS, steps)
    monkeypatch.setattr(native_chain, "find_functions", lambda: None)
    assert chain_steps(GENESIS, steps) == native


def test_another_hash_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of these names that do something else are found out."""
    monkeypatch.setattr(native_chain, "_NAMES", ("SHA224_Init", "SHA224_Update", "SHA224_Final"))
    native_chain.find_functions.cache_clear()
    try:
        assert native_chain.find_functions() is None
    finally:
        native_chain.find_functions.cache_clear()
