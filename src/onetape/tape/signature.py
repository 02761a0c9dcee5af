"""Signatures of seals: Ed25519 (RFC 8032), with keys as PEM files.

What is signed is `onetape seal 1`, a line feed, and the seal as compact JSON with sorted keys. The
signature lies beside the seal and names its public key; whom that belongs to, only who was given
the key by its owner knows. So an audit takes the public key from elsewhere.

Needs the extra `sign` (the package cryptography).
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from onetape.domain.errors import ConfigError, DataError
from onetape.tape.audit import Audit, Damage, DamageKind
from onetape.tape.seal import (
    Seal,
    check_seal,
    compare_seal,
    make_read_only,
    read_seal,
    write_readable,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE_VERSION = 1
_ALGORITHM = "ed25519"
_CONTEXT = b"onetape seal 1\n"
_OTHERS = 0o077
"""Rights of group and others, which a private key gives none."""


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signature of a seal and the public key that it was made for, both raw bytes in hex."""

    signature_version: int
    algorithm: str
    public_key: str
    signature: str

    @property
    def fingerprint(self) -> str:
        """Short name of the key: the first 16 hex digits of the SHA-256 of its 32 bytes."""
        return _fingerprint(bytes.fromhex(self.public_key))


def signature_path(tape: Path) -> Path:
    """Where the signature of a tape's seal lies."""
    return tape.with_name(f"{tape.name}.seal.sig.json")


def signed_bytes(seal: Seal) -> bytes:
    """What is signed; the same bytes however the file of the seal is laid out."""
    return _CONTEXT + msgspec.json.encode(seal, order="sorted")


def make_keys(private: Path, public: Path, password: bytes | None = None) -> str:
    """Write a new pair of keys as PEM, the private one as PKCS 8, and return its fingerprint.

    Only the owner may read `private` (mode 0600). With a `password` it is encrypted.

    Raises:
        ConfigError: The extra is not installed.
        DataError: A file exists, or can't be written; nothing is left then.
    """
    lib = _library()
    key = lib.Ed25519PrivateKey.generate()
    pem = lib.serialization
    protection = pem.BestAvailableEncryption(password) if password else pem.NoEncryption()
    secret = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, protection)
    shown = key.public_key().public_bytes(
        pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    written: list[Path] = []
    try:
        for path, content, mode in ((private, secret, 0o600), (public, shown, 0o644)):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
    except OSError as error:
        for path in written:
            path.unlink()
        existing = isinstance(error, FileExistsError)
        what = "the file exists, and a key is never overwritten" if existing else error.strerror
        raise DataError(str(what), where=str(error.filename or private),
                        remedy="name another file") from error  # fmt: skip
    return _fingerprint(_raw(key.public_key()))


def sign_seal(tape: Path, private: Path, password: bytes | None = None) -> Signature:
    """Sign the seal of a tape; with the same key once more does no harm.

    Raises:
        ConfigError: The extra is not installed, or the password does not fit.
        DataError: There is no seal, the key can't be read or others may read it, or there is a
            signature by another key.
    """
    key = _load_private(private, password)
    seal = read_seal(tape)
    if seal is None:
        raise DataError("not signed: the tape has no seal", where=str(tape),
                        remedy="onetape tape seal writes it")  # fmt: skip
    signature = Signature(
        signature_version=SIGNATURE_VERSION,
        algorithm=_ALGORITHM,
        public_key=_raw(key.public_key()).hex(),
        signature=key.sign(signed_bytes(seal)).hex(),
    )
    path = signature_path(tape)
    existing = read_signature(tape)
    if existing is not None and existing != signature:
        raise DataError(
            f"there is another signature, of key {existing.fingerprint}",
            where=str(path),
            remedy="a signature is never overwritten: move it away to sign anew",
        )
    if existing is None:
        write_readable(path, signature)
    make_read_only(path)
    return signature


def read_signature(tape: Path) -> Signature | None:
    """The signature of a tape's seal; None where it has none.

    Raises:
        DataError: There is one, but it can't be read.
    """
    path = signature_path(tape)
    try:
        signature = msgspec.json.decode(path.read_bytes(), type=Signature)
        is_whole = len(bytes.fromhex(signature.public_key)) == 32
        is_whole = is_whole and len(bytes.fromhex(signature.signature)) == 64
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if not is_whole or (signature.signature_version, signature.algorithm) != (1, _ALGORITHM):
        raise _unreadable(path, "not an Ed25519 signature of version 1")
    return signature


def check_signature(tape: Path, audit: Audit, public: Path) -> Audit:
    """`audit` with what the signature and then the seal tell counted in; see `check_seal`.

    Args:
        tape: The tape's file.
        audit: What its chain says.
        public: The public key that must have signed, from a source other than the tape's.

    Raises:
        ConfigError: The extra is not installed.
        DataError: The key, the seal or the signature can't be read.
    """
    key = _load_public(public)
    if audit.damage is not None:
        return audit
    seal, signature = read_seal(tape), read_signature(tape)
    if seal is None or signature is None:
        missing = "there is no seal" if seal is None else "the seal is not signed"
        return _unsigned(audit, missing)
    if signature.public_key != _raw(key).hex():
        return _unsigned(
            audit,
            f"signed with key {signature.fingerprint}, not with {_fingerprint(_raw(key))} "
            f"({public.name})",
        )
    if _fits(key, signature, seal):
        return check_seal(tape, audit)
    altered = compare_seal(tape, audit, seal) if audit.complete else ""
    if altered:
        return _unsigned(audit, f"the seal was altered after it was signed: {altered}")
    return _unsigned(audit, "the signature is not one of this seal: one of them was altered")


def _unsigned(audit: Audit, detail: str) -> Audit:
    damage = Damage(
        kind=DamageKind.SIGNATURE, record=max(audit.records - 1, 0),
        block=max(audit.blocks - 1, 0), detail=detail,
    )  # fmt: skip
    return msgspec.structs.replace(audit, damage=damage, complete=False)


def _fits(key: Ed25519PublicKey, signature: Signature, seal: Seal) -> bool:
    try:
        key.verify(bytes.fromhex(signature.signature), signed_bytes(seal))
    except _library().InvalidSignature:
        return False
    return True


def _load_private(path: Path, password: bytes | None) -> Ed25519PrivateKey:
    lib = _library()
    try:
        if path.stat().st_mode & _OTHERS:
            raise DataError("others may read the private key", where=str(path),
                            remedy=f"chmod 600 {path}, and think of who has read it")  # fmt: skip
        content = path.read_bytes()
    except OSError as error:
        raise DataError(str(error.strerror), where=str(path)) from error
    is_encrypted = b"ENCRYPTED" in content
    if is_encrypted and not password:
        raise ConfigError("the private key is encrypted", where=str(path),
                          remedy="say where its password is: --password env:NAME")  # fmt: skip
    try:
        key = lib.serialization.load_pem_private_key(content, password if is_encrypted else None)
    except (ValueError, TypeError, lib.UnsupportedAlgorithm):
        # Its own message might tell of the content.
        what = "the password does not open the private key" if is_encrypted else _NO_KEY
        raise ConfigError(what, where=str(path)) from None
    if not isinstance(key, lib.Ed25519PrivateKey):
        raise ConfigError(_NO_KEY, where=str(path))
    return key


_NO_KEY = "not an Ed25519 private key as PEM (onetape tape keygen makes one)"


def _load_public(path: Path) -> Ed25519PublicKey:
    lib = _library()
    try:
        key = lib.serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise DataError(str(error.strerror), where=str(path)) from error
    except (ValueError, TypeError, lib.UnsupportedAlgorithm):
        key = None
    if key is None or not isinstance(key, lib.Ed25519PublicKey):
        raise DataError("not an Ed25519 public key as PEM", where=str(path),
                        remedy="give the .pub file that onetape tape keygen wrote")  # fmt: skip
    return key


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes_raw()


def _fingerprint(public_key: bytes) -> str:
    return sha256(public_key).hexdigest()[:16]


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(f"the signature can't be read: {why}", where=str(path),
                     remedy="restore it from a copy")  # fmt: skip


def _library() -> Any:
    """The parts of cryptography, imported when a signature is asked for."""
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (
            Ed25519PrivateKey,
            Ed25519PublicKey,
        )
    except ImportError:
        raise ConfigError("signatures need an extra",
                          remedy="pip install 'onetape[sign]'") from None  # fmt: skip
    return SimpleNamespace(
        Ed25519PrivateKey=Ed25519PrivateKey,
        Ed25519PublicKey=Ed25519PublicKey,
        InvalidSignature=InvalidSignature,
        UnsupportedAlgorithm=UnsupportedAlgorithm,
        serialization=serialization,
    )
