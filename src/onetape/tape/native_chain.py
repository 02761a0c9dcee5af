"""The hash chain of many records at once, with the SHA-256 of the OpenSSL that Python itself uses.

A record is short, so most of what `hashlib` takes for it is making an object. Compiled code calls
the library's own functions instead (`SHA256_Init`, `SHA256_Update`, `SHA256_Final`; see
https://docs.openssl.org/3.0/man3/SHA256_Init/), where Python's `_hashlib` has it as a shared
library. Elsewhere there is no such chain, and `block.chain_records` does the same.

Importing this module imports Numba: import it where it is used.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import llvmlite.ir as ir
import numpy as np
from numba import njit, types
from numba.extending import intrinsic as _intrinsic

from onetape.domain.ports import EncodedSteps
from onetape.tape.block import DIGEST_BYTES, GENESIS, chain_records

intrinsic: Any = _intrinsic  # what it makes takes one argument less than it says

_NAMES = ("SHA256_Init", "SHA256_Update", "SHA256_Final")
_CONTEXT_BYTES = 512
"""Room for a `SHA256_CTX`, which takes 112 bytes."""


def chain_steps(digest: bytes, steps: EncodedSteps) -> bytes:
    """The digests of the records of `steps`, as `chain_records` has them."""
    functions = find_functions()
    if functions is None:
        return chain_records(digest, steps.cut_records())
    return _chain_natively(functions, digest, steps)


@cache
def find_functions() -> tuple[int, int, int] | None:
    """Addresses of `_NAMES`; None where OpenSSL can't be called."""
    try:
        import _hashlib  # what `hashlib` is made of

        library = ctypes.CDLL(_hashlib.__file__)
        found = [ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _NAMES]
    except (AttributeError, ImportError, OSError):  # it is built in, or has no such functions
        return None
    init, update, final = (each or 0 for each in found)
    records = [b"", b"onetape", bytes(range(256))]
    ends = np.cumsum([len(each) for each in records])
    sample = EncodedSteps(b"".join(records), ends, ends, ends, ends)
    digests = _chain_natively((init, update, final), GENESIS, sample)
    return (init, update, final) if digests == chain_records(GENESIS, records) else None


def _chain_natively(functions: tuple[int, int, int], digest: bytes, steps: EncodedSteps) -> bytes:
    payload = np.frombuffer(steps.payload, dtype=np.uint8)
    digests = np.empty((len(steps.ends) + 1) * DIGEST_BYTES, dtype=np.uint8)
    digests[:DIGEST_BYTES] = np.frombuffer(digest, dtype=np.uint8)
    context = np.empty(_CONTEXT_BYTES, dtype=np.uint8)
    _chain(
        functions, context.ctypes.data, payload.ctypes.data, np.ascontiguousarray(steps.ends),
        digests.ctypes.data,
    )  # fmt: skip
    return digests[DIGEST_BYTES:].tobytes()


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


def _chain_all(functions: Any, context: int, payload: int, ends: Any, digests: int) -> None:
    """Put the digest of each record behind the one before; all but `ends` are addresses."""
    init, update, final = functions
    start = 0
    for record in range(len(ends)):
        before = digests + 32 * record
        _call(init, (context,))
        _call(update, (context, before, 32))
        _call(update, (context, payload + start, ends[record] - start))
        _call(final, (before + 32, context))
        start = ends[record]


try:
    _chain = njit(cache=True)(_chain_all)
except RuntimeError:  # no folder to cache in is writable
    _chain = njit(_chain_all)
