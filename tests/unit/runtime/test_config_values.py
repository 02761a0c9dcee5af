"""Secret references can't be printed; exact numbers stay exact."""

from __future__ import annotations

import logging
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from onetape.domain.errors import ConfigError
from onetape.runtime.config_values import Money, SecretRef

SECRET = "hunter2-very-secret"


class Account(BaseModel):
    api_key: SecretRef


def every_text_of(value: object) -> str:
    return f"{value} {value!r} {[value]} {vars(value) if hasattr(value, '__dict__') else ''}"


def test_secret_from_environment_and_file_is_resolved_and_prints_as_stars(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    for text in ("env:KEY", f"file:{file}"):
        account = Account.model_validate({"api_key": text})
        secret = account.api_key.resolve({"KEY": SECRET})
        assert secret.get_secret_value() == SECRET
        shown = (
            f"{secret} {secret!r} {account!r} {account.model_dump()} {account.model_dump_json()}"
        )
        assert SECRET not in shown
        assert text in account.model_dump_json()


def test_secret_reference_survives_json() -> None:
    account = Account.model_validate({"api_key": "keyring:broker/me"})
    assert Account.model_validate_json(account.model_dump_json()) == account


@pytest.mark.parametrize("text", [SECRET, f"password:{SECRET}", "", "env:", "keyring:x", 5])
def test_secret_written_as_value_is_refused_without_being_shown(
    text: object, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError) as caught:
        SecretRef.parse(text)
    assert SECRET not in every_text_of(caught.value)
    with pytest.raises(ValidationError) as refused:
        Account.model_validate({"api_key": text})
    assert "must be a reference to a secret" in str(refused.value)
    logging.getLogger("test").error("%s", caught.value)
    assert SECRET not in caplog.text


def test_secret_that_is_absent_names_its_reference(tmp_path: Path) -> None:
    for text, message in (
        ("env:NONE", "the secret env:NONE is not set or empty "
                     "(set the environment variable NONE)"),
        (f"file:{tmp_path}/none", f"the secret file:{tmp_path}/none can't be read: "
                                  "No such file or directory"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            SecretRef.parse(text).resolve({})
        assert str(caught.value) == message


def test_secret_in_keyring_without_the_package_names_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match=r"needs the keyring package \(pip install keyring\)"):
        SecretRef.parse("keyring:broker/me").resolve({})


def test_secret_in_keyring_is_asked_by_service_and_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_password(service: str, user: str) -> str:
        return f"{service}+{user}"

    fake = ModuleType("keyring")
    fake.__dict__["get_password"] = get_password
    monkeypatch.setitem(sys.modules, "keyring", fake)
    secret = SecretRef.parse("keyring:broker/me").resolve({})
    assert secret.get_secret_value() == "broker+me"


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        (0.1, "0.1"),
        ("0.10", "0.1"),
        (3, "3"),
        (1e5, "100000"),
        (Decimal("7.00000001"), "7.00000001"),
    ],
)
def test_money_keeps_what_was_written(given: object, exact: str) -> None:
    adapter = TypeAdapter[Decimal](Money)
    assert str(f"{adapter.validate_python(given):f}") == exact
    assert adapter.dump_json(adapter.validate_python(given)) == f'"{exact}"'.encode()
