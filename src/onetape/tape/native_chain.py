"""The hash chain of many records at once, with the SHA-256 of the OpenSSL that Python itself uses.

A record is short, so most of what `hashlib` takes for it is making an object. Compiled code calls
the library's own functions instead (`SHA256_Init`, `SHA256_Update`, `SHA256_Final`; see
https://docs.openssl.org/3.0/man3/SHA256_Init/), where Python's `_hashlib` has it as a shared
library. Elsewhere there is no such chain, and `block.chain_records` does the same.

Importing this module imports Numba: import it where it is used.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import llvmlite.ir as ir
import numpy as np
from numba import njit, types
from numba.extending import intrinsic as _intrinsic

from onetape.tape.block import DIGEST_BYTES, GENESIS, Chain, chain_records

intrinsic: Any = _intrinsic  # what it makes takes one argument less than it says

_NAMES = ("SHA256_Init", "SHA256_Update", "SHA256_Final")
_CONTEXT_BYTES = 512
"""Room for a `SHA256_CTX`, which takes 112 bytes."""


@cache
def load_chain() -> Chain:
    """What chains records fastest here; `chain_records` where OpenSSL can't be called."""
    try:
        import _hashlib  # what `hashlib` is made of

        library = ctypes.CDLL(_hashlib.__file__)
        found = [ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _NAMES]
    except (AttributeError, ImportError, OSError):  # it is built in, or has no such functions
        return chain_records
    init, update, final = found

    def chain(digest: bytes, records: Sequence[bytes]) -> bytes:
        payload = np.frombuffer(b"".join(records), dtype=np.uint8)
        ends = np.fromiter(accumulate(map(len, records)), np.int64, len(records))
        digests = np.empty((len(records) + 1) * DIGEST_BYTES, dtype=np.uint8)
        digests[:DIGEST_BYTES] = np.frombuffer(digest, dtype=np.uint8)
        context = np.empty(_CONTEXT_BYTES, dtype=np.uint8)
        _chain(
            init, update, final, context.ctypes.data, payload.ctypes.data, ends,
            digests.ctypes.data,
        )  # fmt: skip
        return digests[DIGEST_BYTES:].tobytes()

    sample = [b"", b"onetape", bytes(range(256))]
    return chain if chain(GENESIS, sample) == chain_records(GENESIS, sample) else chain_records


@intrinsic
def _call(_typing: Any, function: Any, arguments: Any) -> Any:
    """Call the C function at an address with addresses and sizes; what it returns is left."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.IntType(32), [word] * len(signature.args[1]))
        callee = builder.inttoptr(values[0], kind.as_pointer())
        builder.call(callee, [builder.extract_value(values[1], at) for at in range(len(kind.args))])
        return context.get_dummy_value()

    return types.void(types.int64, arguments), generate


@njit(cache=True)
def _chain(
    init: int, update: int, final: int, context: int, payload: int, ends: Any, digests: int
) -> None:
    """Put the digest of each record behind the one before; all but `ends` are addresses."""
    start = 0
    for record in range(len(ends)):
        before = digests + 32 * record
        _call(init, (context,))
        _call(update, (context, before, 32))
        _call(update, (context, payload + start, ends[record] - start))
        _call(final, (before + 32, context))
        start = ends[record]
