"""Seals: what a finished tape was, told by a file beside it.

A chain proves that records belong together; it can't prove that the end is still there, nor that
the whole was not written anew. A seal holds the final digest and the counts, so both are found. Who
can change the tape can change the seal beside it: sign it (`onetape.tape.signature`), or keep the
digest somewhere else too.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from onetape.domain.errors import DataError
from onetape.tape.audit import Audit, Damage, DamageKind
from onetape.tape.block import FORMAT, FORMAT_VERSION
from onetape.tape.opening import open_tape
from onetape.tape.reader import BlockReader

SEAL_VERSION = 1


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tape was when it was sealed; `digest` is that of its last record, hex."""

    seal_version: int
    format: str
    format_version: int
    session: str
    records: int
    events: int
    digest: str


def seal_path(tape: Path) -> Path:
    """Where the seal of a tape lies."""
    return tape.with_name(f"{tape.name}.seal.json")


def seal_tape(tape: Path) -> Seal:
    """Write the seal of a whole, sound tape and make both files read-only; twice does no harm.

    Raises:
        DataError: The tape is damaged, incomplete or no tape; or it has a seal that it breaks.
    """
    reader = open_tape(tape)
    try:
        audit = check_seal(tape, reader.audit())
        if audit.damage is not None or not audit.complete:
            raise DataError(f"not sealed: the tape is {audit}", where=str(tape),
                            remedy="seal a tape that is sound and complete")  # fmt: skip
        seal = _make_seal(reader, audit)
    finally:
        reader.close()
    path = seal_path(tape)
    if not path.exists():
        write_readable(path, seal)
    make_read_only(path, tape)
    return seal


def write_readable(path: Path, content: msgspec.Struct) -> None:
    """Write a new JSON file for people and programs; raises OSError."""
    with path.open("xb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def make_read_only(*paths: Path) -> None:
    """Take away the right to write; raises OSError."""
    for each in paths:
        each.chmod(each.stat().st_mode & ~0o222)


def _make_seal(reader: BlockReader, audit: Audit) -> Seal:
    """The seal of a tape that was audited."""
    return Seal(
        seal_version=SEAL_VERSION,
        format=FORMAT,
        format_version=FORMAT_VERSION,
        session=reader.header.session,
        records=audit.records,
        events=audit.events,
        digest=audit.digest,
    )


def read_seal(tape: Path) -> Seal | None:
    """The seal of a tape; None where it has none.

    Raises:
        DataError: There is one, but it can't be read.
    """
    path = seal_path(tape)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Seal)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the seal can't be read: {error}", where=str(path),
                        remedy="restore it from a copy") from error  # fmt: skip


def check_seal(tape: Path, audit: Audit) -> Audit:
    """`audit`, with what only a witness beside the tape can tell counted in.

    The witness is the seal, or else the digest that metrics.json of the run recorded when it was
    complete. Where the chain is sound but ends earlier or otherwise than the witness says, that is
    the damage, at the first record that is missing, or at the last one; where the seal has the
    digest of the tape but says something else that is not so, the seal is.

    Raises:
        DataError: The seal can't be read.
    """
    if audit.damage is not None:
        return audit
    seal = read_seal(tape)
    digest = seal.digest if seal else _recorded_digest(tape)
    if not digest:
        return audit
    if digest == audit.digest:
        altered = compare_seal(tape, audit, seal) if seal else ""
        if not altered:
            return audit
        return _damaged(
            audit, DamageKind.SEAL, audit.records - 1, f"the seal was altered: {altered}"
        )
    witness = f"its seal ({seal.records} records)" if seal else "metrics.json"
    if not audit.complete:
        detail = f"cut off here: {witness} knows the tape as complete"
        return _damaged(audit, DamageKind.MISSING, audit.records, detail)
    detail = f"the chain is sound, but it is not the tape that {witness} knows: digest {digest}"
    return _damaged(audit, DamageKind.ALTERED, audit.records - 1, detail)


def compare_seal(tape: Path, audit: Audit, seal: Seal) -> str:
    """The first thing that the seal says otherwise than the tape, which is sound; or nothing."""
    reader = open_tape(tape)
    try:
        true = _make_seal(reader, audit)
    finally:
        reader.close()
    for name in true.__struct_fields__:
        said, found = getattr(seal, name), getattr(true, name)
        if said != found:
            return f"its {name} is {said}, and that of the tape {found}"
    return ""


def _damaged(audit: Audit, kind: DamageKind, record: int, detail: str) -> Audit:
    damage = Damage(kind=kind, record=record, block=max(audit.blocks - 1, 0), detail=detail)
    return msgspec.structs.replace(audit, damage=damage, complete=False)


def _recorded_digest(tape: Path) -> str:
    """The digest that metrics.json beside a tape recorded of it as complete, else empty."""
    try:
        metrics = json.loads((tape.parent / "metrics.json").read_bytes())
        return str(metrics["tape_digest"]) if metrics["complete"] else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
