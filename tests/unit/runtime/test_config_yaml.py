"""Plain YAML values: no YAML 1.1 surprises, exact references."""

from __future__ import annotations

import pytest

from onetape.domain.errors import ConfigError
from onetape.runtime.config_yaml import parse_scalar, parse_yaml

SCALARS = [
    ("", None), ("~", None), ("null", None), ("true", True), ("False", False),
    ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("y", "y"), ("NO", "NO"),
    ("1:30", "1:30"), ("12:30:45", "12:30:45"), ("2023-01-01", "2023-01-01"),
    ("0", 0), ("-7", -7), ("+7", 7), ("100_000", 100_000), ("007", "007"), ("0x10", "0x10"),
    ("0o7", "0o7"), ("1__0", "1__0"), ("_1", "_1"),
    ("0.005", 0.005), ("1e-8", 1e-8), ("1.", 1.0), (".5", 0.5), ("-1_000.25", -1000.25),
    ("1.2.3", "1.2.3"), (".nan", ".nan"), (".inf", ".inf"), ("1e", "1e"), ("00.5", "00.5"),
    ("AAPL.XNAS", "AAPL.XNAS"), ("=", "="), ("<<", "<<"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalar_means_what_yaml_1_2_and_people_say(text: str, value: object) -> None:
    parsed = parse_scalar(text, "here")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["0.12345678901234567890", "1e999", "123456789.12345678901"])
def test_scalar_beyond_float64_is_refused_rather_than_rounded(text: str) -> None:
    with pytest.raises(ConfigError, match="more than a float64 holds"):
        parse_scalar(text, "here")


REFERENCES = [
    ("${N}", 12), ('"${N}"', 12), ("'${N}'", 12), ("x${N}", "x12"), ('"${N}0"', "120"),
    ("${N}0", 120), ("${EMPTY:-3}", 3), ("${NONE:-}", None), ("${NONE:-a b}", "a b"),
    ("${EMPTY}", None), ("$${N}", "${N}"), ("$N", "$N"), ("a$", "a$"), ("${N}-${N:-x}", "12-12"),
    ("${TEXT}", "a: b # c"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), REFERENCES)
def test_reference_is_replaced_inside_values(text: str, value: object) -> None:
    environ = {"N": "12", "EMPTY": "", "TEXT": "a: b # c"}
    assert parse_yaml(f"k: {text}", "f", environ)[0] == {"k": value}


def test_reference_in_comment_or_key_is_left_alone() -> None:
    assert parse_yaml("# ${NONE}\n${NONE}: 1", "f", {})[0] == {"${NONE}": 1}


def test_lines_are_those_of_the_keys_and_list_entries() -> None:
    _, lines = parse_yaml("a:\n  b:\n    - 1\n    - c: 2\nd: >\n  text\n", "f", {})
    assert lines == {
        (): 1, ("a",): 1, ("a", "b"): 2, ("a", "b", 0): 3, ("a", "b", 1): 4,
        ("a", "b", 1, "c"): 4, ("d",): 5,
    }  # fmt: skip


def test_alias_gives_each_place_a_value_of_its_own() -> None:
    values, _ = parse_yaml("a: &x {k: 1}\nb: *x\n", "f", {})
    values["a"]["k"] = 2
    assert values["b"] == {"k": 1}
