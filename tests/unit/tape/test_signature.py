"""Seals are signed with Ed25519; what was altered, or signed by somebody else, is one line."""

from __future__ import annotations

import builtins
import json
import shutil
import stat
import subprocess
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.errors import DataError
from onetape.tape import signature as signatures
from onetape.tape.seal import read_seal, seal_path, seal_tape
from onetape.tape.signature import (
    make_keys,
    read_signature,
    sign_seal,
    signature_path,
    signed_bytes,
)
from tests.support.sealed_tapes import next_digit, rewrite
from tests.unit.tape.test_seal import change, flip, write_tape

PASSWORD = "hunter2 and more"


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["tape", *arguments], env=environment)


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return write_tape(tmp_path / "tape.db")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key; the public one is key.pem.pub."""
    make_keys(tmp_path / "key.pem", tmp_path / "key.pem.pub")
    return tmp_path / "key.pem"


# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9"
        "b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f1"
        "1d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984d"
        "c6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]  # fmt: skip


def write_pem(path: Path, kind: str, der: bytes) -> Path:
    """A key whose DER is that of RFC 8410: a fixed prefix, then the 32 bytes."""
    body = b64encode(der).decode()
    path.write_text(f"-----BEGIN {kind} KEY-----\n{body}\n-----END {kind} KEY-----\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(("secret", "public", "message", "expected"), RFC_8032)
def test_signature_is_that_of_the_rfc(
    secret: str,
    public: str,
    message: str,
    expected: str,
    tape: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through our own reading of the key, signing and checking; only what is signed is replaced."""
    private = write_pem(tape.with_name("rfc.pem"), "PRIVATE",
                        bytes.fromhex("302e020100300506032b657004220420" + secret))  # fmt: skip
    shown = write_pem(tape.with_name("rfc.pub"), "PUBLIC",
                      bytes.fromhex("302a300506032b6570032100" + public))  # fmt: skip
    monkeypatch.setattr(signatures, "signed_bytes", lambda seal: bytes.fromhex(message))
    seal_tape(tape)
    made = sign_seal(tape, private)
    assert (made.public_key, made.signature) == (public, expected)
    assert run("audit", str(tape), "--public-key", str(shown)).exit_code == 0


def test_what_is_signed_is_the_seal_as_canonical_json(tape: Path, key: Path) -> None:
    """By the format in the docs, with json instead of msgspec."""
    seal_tape(tape)
    made = sign_seal(tape, key)
    fields = json.loads(seal_path(tape).read_bytes())
    assert len(fields) == 7
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    public: Any = serialization.load_pem_public_key(key.with_name("key.pem.pub").read_bytes())
    public.verify(bytes.fromhex(made.signature), b"onetape seal 1\n" + canonical)
    with pytest.raises(InvalidSignature):
        public.verify(bytes.fromhex(made.signature), canonical)
    seal = read_seal(tape)
    assert seal is not None
    assert signed_bytes(seal) == b"onetape seal 1\n" + canonical


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on the PATH")
def test_signature_can_be_checked_with_openssl(tape: Path, key: Path, tmp_path: Path) -> None:
    seal_tape(tape)
    made = sign_seal(tape, key)
    seal = read_seal(tape)
    assert seal is not None
    (tmp_path / "message").write_bytes(signed_bytes(seal))
    (tmp_path / "signature").write_bytes(bytes.fromhex(made.signature))
    arguments = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem.pub", "-rawin",
                 "-in", "message", "-sigfile", "signature"]  # fmt: skip
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Verified Successfully" in done.stdout, done.stderr


def test_seal_and_audit_with_keys_of_keygen(tape: Path, tmp_path: Path) -> None:
    private = tmp_path / "mine.pem"
    made = run("keygen", str(private))
    assert made.exit_code == 0
    sealed = run("seal", str(tape), "--sign", str(private))
    assert sealed.exit_code == 0
    signature = read_signature(tape)
    assert signature is not None
    assert f"public key {signature.fingerprint}," in made.stdout
    assert sealed.stdout.splitlines()[1].endswith(f"signed with key {signature.fingerprint}")
    for path in (tape, seal_path(tape), signature_path(tape)):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o222
    audited = run("audit", str(tape.parent), "--public-key", f"{private}.pub")
    assert audited.exit_code == 0
    assert audited.stdout.splitlines()[1] == f"signed with key {signature.fingerprint}"
    unasked = run("audit", str(tape)).stdout.splitlines()[1]
    assert unasked.endswith(", which is not checked without --public-key")
    found = json.loads(run("audit", str(tape), "--public-key", f"{private}.pub", "--json").stdout)
    assert (found["damage"], found["complete"]) == (None, True)


def test_keys_are_for_the_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    private = tmp_path / "mine.pem"
    said = run("keygen", str(private))
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes(), (tmp_path / "mine.pem.pub").read_bytes()
    secret = "".join(before[0].decode().splitlines()[1:-1])
    assert secret not in said.output
    again = run("keygen", str(private))
    assert again.exit_code == 2
    assert again.stderr == (
        f"error: {private}: the file exists, and a key is never overwritten (name another file)\n"
    )
    private.unlink()
    assert "mine.pem.pub: the file exists" in run("keygen", str(private)).stderr
    assert not private.exists()
    assert (tmp_path / "mine.pem.pub").read_bytes() == before[1]


def test_two_keys_are_different(tmp_path: Path) -> None:
    fingerprints = {make_keys(tmp_path / name, tmp_path / f"{name}.pub") for name in "abc"}
    assert len(fingerprints) == 3


def test_private_key_with_a_password_is_encrypted_and_opened_by_reference(
    tape: Path, tmp_path: Path
) -> None:
    private = str(tmp_path / "mine.pem")
    made = run("keygen", private, "--password", "env:KEY_PASSWORD", KEY_PASSWORD=PASSWORD)
    assert made.exit_code == 0, made.stderr
    assert "ENCRYPTED PRIVATE KEY" in Path(private).read_text()
    signing = ("seal", str(tape), "--sign", private)
    for extra, told in (
        ((), "is encrypted (say where its password is: --password env:NAME)"),
        (("--password", "env:WRONG"), "the password does not open the private key"),
        (("--password", "env:NOT_SET"), "the secret env:NOT_SET is not set or empty"),
        (("--password", PASSWORD), "a secret must be a reference, never the value"),
    ):
        result = run(*signing, *extra, KEY_PASSWORD=PASSWORD, WRONG="guess")
        assert result.exit_code == 2
        assert told in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert PASSWORD not in result.output
        assert not signature_path(tape).exists()
    done = run(*signing, "--password", "env:KEY_PASSWORD", KEY_PASSWORD=PASSWORD)
    assert done.exit_code == 0
    assert PASSWORD not in done.output + signature_path(tape).read_text()
    assert run("audit", str(tape), "--public-key", f"{private}.pub").exit_code == 0


# What an audit says of a signed tape that was tampered with; blocks hold three records each.


def alter_signature(tape: Path) -> None:
    rewrite(signature_path(tape), signature=next_digit)


def alter_key(tape: Path) -> None:
    rewrite(signature_path(tape), public_key=next_digit)


def alter_digest(tape: Path) -> None:
    rewrite(seal_path(tape), digest=next_digit)


def alter_count(tape: Path) -> None:
    rewrite(seal_path(tape), records=13)


def alter_session(tape: Path) -> None:
    rewrite(seal_path(tape), session="s-2")


def drop_signature(tape: Path) -> None:
    signature_path(tape).unlink()


def drop_seal(tape: Path) -> None:
    seal_path(tape).unlink()


def lay_out_anew(tape: Path) -> None:
    """Other blanks and order: the same seal."""
    path = seal_path(tape)
    path.chmod(0o644)
    fields = json.loads(path.read_bytes())
    path.write_text(json.dumps(dict(reversed(fields.items()))))


def seal_another(tape: Path) -> None:
    """A whole other tape, with a seal of its own, under the old signature."""
    seal_path(tape).unlink()
    tape.unlink()
    write_tape(tape, records=15)
    seal_tape(tape)


def replace_tape(tape: Path) -> None:
    tape.unlink()
    write_tape(tape, records=15)


def cut_tape(tape: Path) -> None:
    change(tape, "DELETE FROM block WHERE number = 3")


def flip_record(tape: Path) -> None:
    change(tape, *flip(1))


def sign_by_another(tape: Path) -> None:
    signature_path(tape).unlink()
    make_keys(tape.with_name("other"), tape.with_name("other.pub"))
    sign_seal(tape, tape.with_name("other"))


def change_nothing(tape: Path) -> None:
    pass


# fmt: off
TAMPERED: list[tuple[Callable[[Path], None], str, str]] = [
    # what was done     kind         what it says
    (change_nothing,    "",          ""),
    (lay_out_anew,      "",          ""),
    (alter_signature,   "signature", "the signature is not one of this seal"),
    (alter_key,         "signature", "signed with key "),
    (sign_by_another,   "signature", ", not with {fingerprint} (key.pem.pub)"),
    (alter_digest,      "signature", "the seal was altered after it was signed: its digest is "),
    (alter_count,       "signature", "altered after it was signed: its records is 13, and that of "
                                     "the tape 12"),
    (alter_session,     "signature", "its session is s-2, and that of the tape s-1"),
    (drop_signature,    "signature", "the seal is not signed"),
    (drop_seal,         "signature", "there is no seal"),
    (seal_another,      "signature", "the signature is not one of this seal"),
    (replace_tape,      "altered",   "not the tape that its seal (12 records) knows"),
    (cut_tape,          "missing",   "cut off here: its seal (12 records) knows the tape as"),
    (flip_record,       "altered",   "it does not match its digest"),
]
# fmt: on


@pytest.mark.parametrize(
    ("tamper", "kind", "told"), TAMPERED, ids=[row[0].__name__ for row in TAMPERED]
)
def test_audit_of_a_signed_tape(
    tape: Path, key: Path, tamper: Callable[[Path], None], kind: str, told: str
) -> None:
    seal_tape(tape)
    fingerprint = sign_seal(tape, key).fingerprint
    tamper(tape)
    arguments = ("audit", str(tape), "--public-key", f"{key}.pub")
    result = run(*arguments)
    found = json.loads(run(*arguments, "--json").stdout)["damage"]
    if not kind:
        assert (result.exit_code, found) == (0, None)
        return
    assert result.exit_code == 4
    assert len(result.stdout.splitlines()) == 1
    assert found["kind"] == kind
    assert told.format(fingerprint=fingerprint) in result.stdout


@pytest.mark.parametrize("alter", [alter_count, alter_session])
def test_audit_finds_an_altered_seal_without_a_signature(
    tape: Path, alter: Callable[[Path], None]
) -> None:
    seal_tape(tape)
    alter(tape)
    result = run("audit", str(tape))
    assert result.exit_code == 4
    assert result.stdout.startswith("damaged: seal at record 11 (block 3): the seal was altered: ")


def test_sign_twice_changes_nothing_and_by_another_key_refuses(tape: Path, key: Path) -> None:
    seal_tape(tape)
    first = sign_seal(tape, key)
    text = signature_path(tape).read_bytes()
    assert sign_seal(tape, key) == first
    make_keys(key.with_name("other"), key.with_name("other.pub"))
    with pytest.raises(DataError, match=f"another signature, of key {first.fingerprint}"):
        sign_seal(tape, key.with_name("other"))
    assert signature_path(tape).read_bytes() == text


# What can't be used: one line, and nothing is signed.


def open_to_others(key: Path) -> None:
    key.chmod(0o640)


def no_key(key: Path) -> None:
    key.unlink()


def no_pem(key: Path) -> None:
    key.write_text("secret words")


def public_in_its_place(key: Path) -> None:
    key.write_bytes(key.with_name("key.pem.pub").read_bytes())


def another_kind_of_key(key: Path) -> None:
    made = ec.generate_private_key(ec.SECP256R1())
    pem = serialization
    key.write_bytes(made.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8,
                                       pem.NoEncryption()))  # fmt: skip


# fmt: off
UNUSABLE: list[tuple[Callable[[Path], None], str]] = [
    (open_to_others,      "{key}: others may read the private key (chmod 600 "),
    (no_key,              "{key}: No such file or directory"),
    (no_pem,              "{key}: not an Ed25519 private key as PEM"),
    (public_in_its_place, "{key}: not an Ed25519 private key as PEM"),
    (another_kind_of_key, "{key}: not an Ed25519 private key as PEM"),
]
# fmt: on


@pytest.mark.parametrize(("harm", "told"), UNUSABLE, ids=[row[0].__name__ for row in UNUSABLE])
def test_seal_with_a_key_that_can_not_be_used_is_one_line(
    tape: Path, key: Path, harm: Callable[[Path], None], told: str
) -> None:
    harm(key)
    result = run("seal", str(tape), "--sign", str(key))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {told.format(key=key)}")
    assert len(result.stderr.splitlines()) == 1
    assert "secret words" not in result.output
    assert not signature_path(tape).exists()


def test_audit_with_a_key_that_can_not_be_used_is_one_line(tape: Path, key: Path) -> None:
    for wrong, told in ((key, "not an Ed25519 public key"), (tape, "not an Ed25519 public key"),
                        (key.with_name("none"), "No such file")):  # fmt: skip
        result = run("audit", str(tape), "--public-key", str(wrong))
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {wrong}: {told}")
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("content", ["{}", "", '{"signature": 1}', "[" * 2000])
def test_signature_that_can_not_be_read_is_one_line(tape: Path, key: Path, content: str) -> None:
    seal_tape(tape)
    sign_seal(tape, key)
    signature_path(tape).chmod(0o644)
    signature_path(tape).write_text(content)
    result = run("audit", str(tape), "--public-key", f"{key}.pub")
    assert result.exit_code == 2
    assert f"{signature_path(tape)}: the signature can't be read: " in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("field", ["public_key", "signature"])
def test_signature_with_a_part_that_is_too_short_is_refused(
    tape: Path, key: Path, field: str
) -> None:
    seal_tape(tape)
    sign_seal(tape, key)
    rewrite(signature_path(tape), **{field: lambda text: text[:-2]})
    with pytest.raises(DataError, match="not an Ed25519 signature of version 1"):
        read_signature(tape)


def test_without_the_extra_everything_says_how_to_install_it(
    tape: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importing = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            raise ModuleNotFoundError(name)
        return importing(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for arguments in (
        ("keygen", str(tape.with_name("new"))),
        ("seal", str(tape), "--sign", str(key)),
        ("audit", str(tape), "--public-key", f"{key}.pub"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert result.stderr == ("error: signatures need an extra (pip install 'onetape[sign]')\n")
    assert run("audit", str(tape)).exit_code == 0
