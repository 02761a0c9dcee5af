"""Configuration: what is accepted, what is refused and with which words, precedence, the hash."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from onetape.domain.errors import ConfigError
from onetape.domain.timestamps import from_iso
from onetape.risk.limits import RiskLimits
from onetape.runtime.config import (
    HistoricalClock,
    RiskConfig,
    SessionConfig,
    compose_document,
    config_hash,
    decision_json,
    load_config,
    resolved_json,
    validate_document,
)
from onetape.runtime.config_fees import PerShareFees
from onetape.runtime.config_slippage import VolumeSlippage

GOOD = """\
mode: backtest
clock:   {type: historical, start: 2023-01-01, end: 2024-01-01, speed: max}
data:    {source: catalog, path: data/catalog, instruments: [AAPL.XNAS, MSFT.XNAS], timeframe: 1d}
execution:
  venue: simulated
  slippage: {model: volume, base_bps: 5, volume_factor: 0.1}
  latency:  {mean_ms: 10, std_ms: 5}
  fees:     {model: per_share, rate: 0.005, minimum: 1.00}
risk:    {max_position_pct: 10, max_leverage: 1.0, max_daily_loss_pct: 3}
strategies:
  - {name: sma_cross, version: "1", enabled: true, capital: 100000, params: {fast: 10, slow: 50}}
"""


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("run.yaml")
    path.write_text(GOOD)
    return path


def load(text: str, *overrides: str, **environ: str) -> SessionConfig:
    Path("run.yaml").write_text(text)
    return load_config(Path("run.yaml"), overrides, environ)


def problems(text: str, *overrides: str, **environ: str) -> list[str]:
    Path("run.yaml").write_text(text)
    try:
        document = compose_document(Path("run.yaml"), overrides, environ)
    except ConfigError as error:
        return [str(error)]
    return [str(each) for each in validate_document(document)[1]]


def test_config_of_the_design_document_holds_exact_values(config_file: Path) -> None:
    config = load_config(config_file, [], {})
    assert config.name == "sma_cross"
    assert isinstance(config.clock, HistoricalClock)
    assert config.clock.ts_start == from_iso("2023-01-01")
    assert config.clock.ts_end == from_iso("2024-01-01")
    assert config.clock.speed == "max"
    assert config.data.instruments == ("AAPL.XNAS", "MSFT.XNAS")
    assert isinstance(config.execution.slippage, VolumeSlippage)
    assert config.execution.slippage.volume_factor == Decimal("0.1")
    assert isinstance(config.execution.fees, PerShareFees)
    assert config.execution.fees.rate == Decimal("0.005")
    assert config.execution.fees.minimum == 1
    assert config.risk.max_leverage == 1
    assert config.risk.max_drawdown_pct is None
    assert config.strategies[0].capital == 100_000
    assert config.strategies[0].params == {"fast": 10, "slow": 50}


def test_config_as_json_with_tabs_equals_yaml(config_file: Path) -> None:
    expected = load_config(config_file, [], {})
    as_json = Path("run.json")
    as_json.write_text(json.dumps(json.loads(resolved_json(expected)), indent="\t"))
    assert load_config(as_json, [], {}) == expected


def test_config_is_frozen(config_file: Path) -> None:
    config = load_config(config_file, [], {})
    with pytest.raises(ValidationError):
        config.mode = "live"  # pyright: ignore[reportAttributeAccessIssue]


BAD_LINES = [
    # replaced in GOOD, by, message
    ("max_leverage", "max_leverag",
     "run.yaml:9: risk.max_leverag is not a known key (did you mean 'max_leverage'?)"),
    ("mode: backtest", "modus: backtest",
     "run.yaml:1: modus is not a known key (did you mean 'mode'?)"),
    ("mode: backtest", "mode: backtes",
     "run.yaml:1: mode is 'backtes', expected one of backtest, paper, live "
     "(did you mean 'backtest'?)"),
    ("  venue: simulated", "  colour: red",
     "run.yaml:5: execution.colour is not a known key "
     "(known: venue, connection, slippage, limit_slippage, latency, fees, limit_fill, fill, "
     "max_volume_ratio, while_halted and 9 more)"),
    ("model: volume", "model: volum",
     "run.yaml:6: execution.slippage.model is 'volum', "
     "expected one of none, fixed, volume, square_root (did you mean 'volume'?)"),
    ("slippage: {model: volume, base_bps: 5, volume_factor: 0.1}", "slippage: none",
     "run.yaml:6: execution.slippage is 'none', expected a section with keys"),
    ("slippage: {model: volume, base_bps: 5, volume_factor: 0.1}", "slippage:",
     "run.yaml:6: execution.slippage is empty, expected a section with keys"),
    ("model: volume, ", "",
     "run.yaml:6: execution.slippage.model is missing (add model)"),
    ("volume_factor: 0.1", "volume_factor: little",
     "run.yaml:6: execution.slippage.volume_factor is 'little', expected a number"),
    ("volume_factor: 0.1", "volume_facto: 1",
     "run.yaml:6: execution.slippage.volume_facto is not a known key "
     "(did you mean 'volume_factor'?)"),
    ("model: per_share, rate: 0.005", "model: bps, bps: 5",
     "run.yaml:8: execution.fees.bps is not a known key (known: model, maker_bps, taker_bps)"),
    ("minimum: 1.00", "minimum: true",
     "run.yaml:8: execution.fees.minimum is true, expected a number"),
    ("minimum: 1.00", "minimum: .nan",
     "run.yaml:8: execution.fees.minimum is '.nan', expected a number"),
    ("minimum: 1.00", "minimum: 0.123456789",
     "run.yaml:8: execution.fees.minimum is 0.123456789, expected at most 8 decimals"),
    ("minimum: 1.00", "minimum: -1",
     "run.yaml:8: execution.fees.minimum is -1, expected 0 or more"),
    ("minimum: 1.00", "minimum: 1e400",
     "run.yaml:8: 1e400 is more than a float64 holds "
     "(put the number into quotes to keep it exact)"),
    ("capital: 100000", "capital: 0",
     "run.yaml:11: strategies.0.capital is 0, expected more than 0"),
    ("capital: 100000", "capital: 1e11",
     "run.yaml:11: strategies.0.capital is 100000000000.0, expected 90000000000 or less"),
    ("capital: 100000, ", "",
     "run.yaml:11: strategies.0.capital is missing (add capital)"),
    ('version: "1"', "version: 1",
     "run.yaml:11: strategies.0.version is 1, expected text (put it into quotes)"),
    ("enabled: true", "enabled: perhaps",
     "run.yaml:11: strategies.0.enabled is 'perhaps', expected true or false"),
    ("enabled: true", "enabled: off",
     "run.yaml:10: strategies has no enabled strategy (set enabled: true)"),
    ("name: sma_cross", "name: ../etc",
     "run.yaml:11: strategies.0.name is '../etc', expected a name of letters, digits, _ and -"),
    ("params: {fast: 10, slow: 50}", "params: fast",
     "run.yaml:11: strategies.0.params is 'fast', expected a mapping of keys"),
    ("end: 2024-01-01", "end: 2022-01-01",
     "run.yaml:2: clock.end is not after clock.start (end is exclusive)"),
    ("end: 2024-01-01", "end: 2024-02-30",
     "run.yaml:2: clock.end is '2024-02-30', expected a date or time "
     "(write it like 2024-01-31 or 2024-01-31T09:30:00Z)"),
    ("end: 2024-01-01", "end: 20240101",
     "run.yaml:2: clock.end is 20240101, expected a date or time "
     "(write it like 2024-01-31 or 2024-01-31T09:30:00Z)"),
    ("end: 2024-01-01", "end: 2300-01-01",
     "run.yaml:2: clock.end is '2300-01-01', expected a year from 1678 to 2261"),
    (", end: 2024-01-01", "",
     "run.yaml:2: clock.end is missing (add end)"),
    ("speed: max", "speed: 0x",
     "run.yaml:2: clock.speed is '0x', expected max, or a whole number like 10 or 10x"),
    ("type: historical, start: 2023-01-01, end: 2024-01-01, speed: max", "type: live",
     "run.yaml:2: clock.type must be historical in a backtest"),
    ("timeframe: 1d", "timeframe: 1 day",
     "run.yaml:3: data.timeframe is '1 day', expected a timeframe "
     "(a count and one of s, m, h, d, w, tick, volume, dollar, range, like 5m)"),
    ("timeframe: 1d", "timeframe:",
     "run.yaml:3: data.timeframe is empty, expected a timeframe "
     "(a count and one of s, m, h, d, w, tick, volume, dollar, range, like 5m)"),
    ("[AAPL.XNAS, MSFT.XNAS]", "[AAPL]",
     "run.yaml:3: data.instruments.0 is 'AAPL', expected SYMBOL.VENUE (for example AAPL.XNAS)"),
    ("[AAPL.XNAS, MSFT.XNAS]", "AAPL.XNAS",
     "run.yaml:3: data.instruments is 'AAPL.XNAS', expected a list (write it in brackets: "
     "[AAPL.XNAS])"),
    ("[AAPL.XNAS, MSFT.XNAS]", "[]",
     "run.yaml:3: data.instruments names no instrument (list at least one id, or name a "
     "universe)"),
    ("[AAPL.XNAS, MSFT.XNAS]", "[AAPL.XNAS, AAPL.XNAS]",
     "run.yaml:3: data.instruments.1 names AAPL.XNAS twice"),
    ("timeframe: 1d", "timeframe: 1d, versions: {IBM.XNYS: 3}",
     "run.yaml:3: data.versions.IBM.XNYS is not in data.instruments"),
    ("params: {", "instruments: [MSFT.XNYS], params: {",
     "run.yaml:11: strategies.0.instruments.0 is 'MSFT.XNYS', which data.instruments does not list "
     "(did you mean 'MSFT.XNAS'?)"),
    ("risk:    {", "seed: yes\nrisk:    {",
     "run.yaml:9: seed is 'yes', expected a whole number"),
    ("risk:    {", "seed: -1\nrisk:    {",
     "run.yaml:9: seed is -1, expected 0 or more"),
    ("risk:    {max_position_pct: 10", "risk:    {max_orders_per_minute: 1.5",
     "run.yaml:9: risk.max_orders_per_minute is 1.5, expected a whole number"),
    ("latency:  {mean_ms: 10, std_ms: 5}", "latency: fast",
     "run.yaml:7: execution.latency is 'fast', expected a section with keys"),
    ("  fees:", "  slippage: {model: none}\n  fees:",
     "run.yaml:8: execution.slippage is given twice (the first is in line 6)"),
    ("fast: 10", "fast: !!python/object:os.system 10",
     "run.yaml:11: strategies.0.params.fast has the tag tag:yaml.org,2002:python/object:os.system "
     "(write plain values without tags)"),
    ("fast: 10", "fast: ${FAST}",
     "run.yaml:11: not YAML: expected ',' or '}', but got '{' "
     '(inside { } or [ ] a reference needs quotes: "${NAME}")'),
    ("fast: 10", 'fast: "${FAST}"',
     "run.yaml:11: strategies.0.params.fast needs ${FAST}, which is not defined "
     "(set FAST, or write ${FAST:-default})"),
    ("fast: 10", 'fast: "${9}"',
     "run.yaml:11: strategies.0.params.fast has a malformed ${...} reference "
     "(write ${NAME} or ${NAME:-default}; a literal ${ is $${)"),
    ("mode: backtest", "mode: [backtest",
     "run.yaml:2: not YAML: expected ',' or ']', but got ':' "
     "(check indentation, quotes and brackets)"),
    ("mode: backtest", "[a]: b",
     "run.yaml:1: a key is not text (write `key: value`)"),
    ("mode: backtest", "risk: &a {max: *a}",
     "run.yaml:1: risk.max contains itself (remove the alias)"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "bad", "message"), BAD_LINES)
def test_config_with_one_bad_value_names_line_key_value_and_remedy(
    config_file: Path, found: str, bad: str, message: str
) -> None:
    assert found in GOOD
    assert problems(GOOD.replace(found, bad)) == [message]


BAD_FILES = [
    ("", "run.yaml: the file is empty (`onetape config schema` lists the keys)"),
    ("- 1", "run.yaml: the file holds no mapping of keys (`onetape config schema` lists the keys)"),
    ("a: 1\n---\nb: 2", "run.yaml:2: not YAML: but found another document "
                        "(check indentation, quotes and brackets)"),
    ("a: \x07", "run.yaml: not YAML: unacceptable character #x0007: special characters are "
                "not allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_config_file_that_is_no_mapping_is_refused(
    config_file: Path, text: str, message: str
) -> None:
    assert problems(text) == [message]


def test_config_file_missing_directory_or_not_utf8_is_refused(config_file: Path) -> None:
    for path, message in (
        ("absent.yaml", "absent.yaml: the configuration can't be read: No such file or directory "
                        "(check the path)"),
        (".", ".: the configuration can't be read: Is a directory (check the path)"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            load_config(Path(path), [], {})
        assert str(caught.value) == message
    config_file.write_bytes(b"mode: \xff")
    with pytest.raises(ConfigError, match=r"^run.yaml: byte 6 is not UTF-8"):
        load_config(config_file, [], {})


def test_config_with_many_problems_lists_all_in_order_of_the_file(config_file: Path) -> None:
    text = GOOD.replace("2024-01-01", "soon").replace("1d", "day").replace("10,", "lots,")
    text = text.replace("mode: backtest", "seed: x")
    found = problems(text + "  - {name: sma_cross}\n")
    assert [" ".join(each.split(" ")[:2]) for each in found] == [
        "run.yaml:1: seed",
        "run.yaml:2: clock.end",
        "run.yaml:3: data.timeframe",
        "run.yaml:7: execution.latency.mean_ms",
        "run.yaml:9: risk.max_position_pct",
        "run.yaml:12: strategies.1.capital",
    ]
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert caught.value.where == "run.yaml:1"


def test_config_precedence_is_defaults_file_environment_set(config_file: Path) -> None:
    assert load(GOOD).seed == 0
    text = GOOD + "seed: 1\n"
    assert load(text).seed == 1
    assert load(text, ONETAPE__SEED="2").seed == 2
    assert load(text, "seed=3", "seed=4", ONETAPE__SEED="2").seed == 4


def test_config_environment_applies_in_the_order_of_its_names(config_file: Path) -> None:
    config = load(
        GOOD,
        ONETAPE__DATA__INSTRUMENTS__3="D.X",
        ONETAPE__DATA__INSTRUMENTS__2="C.X",
    )
    assert config.data.instruments[2:] == ("C.X", "D.X")


def test_config_override_reaches_list_entries_and_new_sections(config_file: Path) -> None:
    config = load(
        GOOD,
        "strategies.0.params.slow=60",
        "strategies.1={name: rsi, capital: 5}",
        "data.instruments.2=IBM.XNYS",
        "execution.fees={model: none}",
        "risk.allowed_instruments.0=AAPL.XNAS",
        "strategies.0.params.label='7'",
        ONETAPE__STRATEGIES__0__PARAMS__FAST="20",
    )
    assert config.strategies[0].params == {"fast": 20, "slow": 60, "label": "7"}
    assert config.strategies[1].name == "rsi"
    assert config.data.instruments[2] == "IBM.XNYS"
    assert config.execution.fees.model == "none"
    assert config.risk.allowed_instruments == ("AAPL.XNAS",)


BAD_OVERRIDES = [
    ("seed", "--set 'seed' is not key=value (write it like --set clock.end=2024-01-01)"),
    ("=1", "--set '=1' is not key=value (write it like --set clock.end=2024-01-01)"),
    ("clock.=1", "--set 'clock.=1' is not key=value (write it like --set clock.end=2024-01-01)"),
    ("mode.x=1", "--set mode.x: mode is 'backtest' and has no keys"),
    ("strategies.2.name=x", "--set strategies.2.name: strategies has 1 entries and no index '2' "
                            "(use 0 to 1)"),
    ("strategies.first.name=x", "--set strategies.first.name: strategies has 1 entries and no "
                                "index 'first' (use 0 to 1)"),
    ("clok.end=2024-01-01", "--set clok.end: clok is not a known key (did you mean 'clock'?)"),
    ("execution.fees={model: per_shar}",
     "--set execution.fees: execution.fees.model is 'per_shar', expected one of none, per_share, "
     "per_share_tiered, per_contract, per_order, bps, tiered, ibkr_us_fixed, ibkr_us_tiered, "
     "alpaca_us, binance_spot (did you mean 'per_share'?)"),
    ("risk.short_sale={locates: {IBM.XNYS: 5}}",
     "--set risk.short_sale: risk.short_sale.locates.IBM.XNYS is not in hard_to_borrow "
     "(name it there, or leave it out)"),
    ("risk.short_sale={hard_to_borrow: [IBM.XNYS], locates: {IBM.XNYS: -5}}",
     "--set risk.short_sale: risk.short_sale.locates.IBM.XNYS is -5, expected more than 0"),
    ("clock.end=soon", "--set clock.end: clock.end is 'soon', expected a date or time "
                       "(write it like 2024-01-31 or 2024-01-31T09:30:00Z)"),
    ("data.instruments=[A", "--set data.instruments:1: not YAML: expected ',' or ']', but got "
                            "'<stream end>' (check indentation, quotes and brackets)"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "message"), BAD_OVERRIDES)
def test_config_bad_override_is_named_as_the_place(
    config_file: Path, override: str, message: str
) -> None:
    assert problems(GOOD, override) == [message]


def test_config_bad_environment_is_named_as_the_place(config_file: Path) -> None:
    assert problems(GOOD, ONETAPE__RISK__MAX_LEVERAG="1") == [
        "environment ONETAPE__RISK__MAX_LEVERAG: risk.max_leverag is not a known key "
        "(did you mean 'max_leverage'?)"
    ]
    assert problems(GOOD, ONETAPE__SEED__="1") == [
        "the environment has ONETAPE__SEED__, which names no key "
        "(write it like ONETAPE__CLOCK__END)"
    ]


def test_config_hash_covers_what_can_change_decisions_and_nothing_else(config_file: Path) -> None:
    plain = config_hash(load(GOOD))
    for same in ("output.path=elsewhere", "data.path=/other", "clock.speed=10x",
                 "clock.start=2023-01-01T00:00:00Z", "execution.fees.minimum='1.0'",
                 "risk.max_drawdown_pct=null"):  # fmt: skip
        assert config_hash(load(GOOD, same)) == plain, same
        assert decision_json(load(GOOD, same)) == decision_json(load(GOOD)), same
    for other in ("seed=1", "clock.end=2024-01-02", "execution.fees.minimum=2",
                  "strategies.0.params.fast=11", "data.timeframe=1h", "name=x",
                  "execution.capabilities=alpaca"):  # fmt: skip
        assert config_hash(load(GOOD, other)) != plain, other


def test_resolved_json_loads_again_to_the_same_config(config_file: Path) -> None:
    config = load(GOOD, "clock.start=2023-01-01T09:30:00.000000001+02:00")
    text = resolved_json(config)
    assert load(text) == config
    assert resolved_json(load(text)) == text
    assert ": " not in text
    assert '"start":"2023-01-01T07:30:00.000000001Z"' in text
    assert '"capital":"100000"' in text
    assert config_hash(load(decision_json(config))) == config_hash(config)


def test_config_name_defaults_to_the_first_enabled_strategy(config_file: Path) -> None:
    second = GOOD + "  - {name: rsi, capital: 5}\n"
    assert load(second).name == "sma_cross"
    assert load(second, "strategies.0.enabled=false").name == "rsi"
    assert load(second, "name=mine").name == "mine"


def test_config_paper_and_live_modes_parse_with_a_live_clock(config_file: Path) -> None:
    for mode, venue in (("paper", "simulated"), ("live", "alpaca")):
        changes = ("clock={type: live}", "data.source=alpaca", f"execution.venue={venue}")
        assert load(GOOD, f"mode={mode}", *changes).mode == mode


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("mode=paper",), "clock.type must be live in paper and live"),
        (("mode=paper", "clock={type: live}"),
         "data.source must be a feed in paper and live (name alpaca, binance or ibkr)"),
        (("mode=live", "clock={type: live}", "data.source=alpaca"),
         "execution.venue must be a real venue in live (name alpaca, binance or ibkr, or use "
         "mode: paper)"),
        (("mode=paper", "clock={type: live}", "data.source=alpaca", "execution.venue=alpaca"),
         "execution.venue must be simulated unless the mode is live"),
        (("mode=paper", "clock={type: live}", "data.source=alpaca", "data.timeframe=100tick"),
         "data.timeframe is 100tick, and no feed tells such bars (give the length of a bar, such "
         "as 1m, or trades, quotes, book)"),
        (("mode=paper", "clock={type: live}", "data.source=alpaca", "data.timeframe=book"),
         "data.timeframe is depth, which alpaca does not tell (use quotes+trades)"),
        (("mode=paper", "clock={type: live}", "data.source=ibkr", "data.timeframe=trades"),
         "data.timeframe is trades, and the feed of ibkr tells bars (give the length of a bar, "
         "such as 1m)"),
        (("mode=paper", "clock={type: live}", "data.source=alpaca", "data.halts=catalog"),
         "data.halts is not carried in paper and live (leave it out)"),
        (("mode=paper", "clock={type: live}", "data.source=ibkr",
          "data.corporate_actions=catalog"),
         "data.corporate_actions is not carried with the feed of ibkr, whose history is adjusted "
         "for splits (leave it out, or take another feed)"),
        (("mode=paper", "clock={type: live}", "data.source=alpaca", "data.timeframe=quotes+trades",
          "data.corporate_actions=catalog"),
         "data.corporate_actions is not carried over quotes+trades (take bars or trades, or leave "
         "it out)"),
        (("mode=paper", "clock={type: live}", "data.source=alpaca",
          "data.corporate_actions=catalog", "data.versions={corporate_actions: 1}"),
         "data.versions.corporate_actions is read anew in paper and live, at the newest version"),
        (("data.source=binance",), "data.source must be catalog in a backtest"),
        (("execution.venue=binance",), "execution.venue must be simulated unless the mode is live"),
    ],
)  # fmt: skip
def test_config_of_one_mode_is_refused_in_another(
    config_file: Path, changes: tuple[str, ...], message: str
) -> None:
    (found,) = problems(GOOD, *changes)
    assert message in found


LIVE = ("mode=live", "clock={type: live}", "data.source=alpaca", "execution.venue=alpaca")
TWO = GOOD + "  - {name: other, capital: 5, instruments: [AAPL.XNAS]}\n"


@pytest.mark.parametrize(
    ("text", "live", "adopters"),
    [
        (GOOD, "{foreign_orders: adopt}", {"AAPL.XNAS": "sma_cross", "MSFT.XNAS": "sma_cross"}),
        (TWO, "{foreign_orders: adopt, adopt_into: other}", {"AAPL.XNAS": "other"}),
        (TWO, "{foreign_orders: stop}", {}),
    ],
)
def test_config_says_who_adopts_orders_of_an_instrument(
    config_file: Path, text: str, live: str, adopters: dict[str, str]
) -> None:
    assert load(text, *LIVE, f"live={live}").adopters() == adopters


@pytest.mark.parametrize(
    ("live", "message"),
    [
        ("{foreign_orders: adopt}",
         "live.foreign_orders is adopt, and sma_cross and other trade AAPL.XNAS (name who gets its "
         "orders: adopt_into)"),
        ("{foreign_orders: adopt, adopt_into: othr}",
         "live.adopt_into is 'othr', which is no enabled strategy (did you mean 'other'?)"),
        ("{adopt_into: other}",
         "live.adopt_into is who adopts orders, and none are adopted (set foreign_orders: adopt, "
         "or leave it out)"),
    ],
)  # fmt: skip
def test_config_where_it_is_not_clear_who_adopts_is_refused(
    config_file: Path, live: str, message: str
) -> None:
    (found,) = problems(TWO, *LIVE, f"live={live}")
    assert message in found


def test_config_hash_is_that_of_before_there_was_adoption(config_file: Path) -> None:
    config = load(GOOD, *LIVE, "live={foreign_orders: ignore}")
    assert "adopt_into" not in decision_json(config)


def test_config_same_strategy_name_twice_is_refused(config_file: Path) -> None:
    assert problems(GOOD + "  - {name: sma_cross, capital: 5}\n") == [
        "run.yaml:12: strategies.1.name is 'sma_cross' again (give each its own name)"
    ]


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ("[]", "execution.fees.tiers is [], expected at least 1 entry"),
        ("[{from_notional: 5, maker_bps: 1, taker_bps: 1}]",
         "execution.fees.tiers.0.from_notional must begin at 0"),
        ("[{from_notional: 0, maker_bps: 1, taker_bps: 1}, "
         "{from_notional: 0, maker_bps: 1, taker_bps: 1}]",
         "execution.fees.tiers.1.from_notional must rise from tier to tier"),
    ],
)  # fmt: skip
def test_config_fee_tiers_out_of_order_are_refused(
    config_file: Path, tiers: str, message: str
) -> None:
    found = problems(GOOD, f"execution.fees={{model: tiered, tiers: {tiers}}}")
    assert found == [f"--set execution.fees: {message}"]


@pytest.mark.parametrize("currency", ["usd", "$", "US D", "U"])
def test_config_currency_that_is_no_code_is_refused(config_file: Path, currency: str) -> None:
    assert problems(GOOD, f"strategies.0.currency={currency}") == [
        f"--set strategies.0.currency: strategies.0.currency is {currency!r}, "
        "expected a currency code (for example USD)"
    ]


def test_risk_section_becomes_the_limits_of_the_gates_with_the_same_keys(config_file: Path) -> None:
    assert load(GOOD.replace("risk:", "#")).risk.limits() == RiskLimits()
    assert set(RiskConfig.known_keys()) == set(RiskLimits.__struct_fields__)
    limits = load(GOOD, "risk.max_orders_per_minute=7", "risk.allow_short=no").risk.limits()
    assert limits == RiskLimits(
        max_position_pct=Decimal(10), max_leverage=Decimal(1), max_daily_loss_pct=Decimal(3),
        max_orders_per_minute=7, allow_short=False,
    )  # fmt: skip
