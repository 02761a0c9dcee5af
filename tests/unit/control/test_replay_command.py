"""`onetape replay` as a user meets it: the state at a place, and the debugger driven by a pipe."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.control.replay_debugger import Debugger
from onetape.domain.events import Event
from onetape.runtime.replay.session import Replay
from onetape.tape.reader import SqliteTapeReader
from tests.support.replayed_runs import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in `run`."""
    folder = tmp_path_factory.mktemp("made")
    with contextlib.chdir(folder):
        write_run(60)
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the run as it is; tests that harm something take `copied`."""
    monkeypatch.chdir(made)
    return Path("run")


@pytest.fixture
def copied(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("run")


def replay(*arguments: object, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)], input=typed)


def talk(*commands: str, start: tuple[str, ...] = (), run: str = "run") -> list[str]:
    """What the debugger answers to each command, its greeting first."""
    typed = "".join(f"{each}\n" for each in commands)
    result = replay(run, "--step", *start, typed=typed)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    answers = re.split(r"^\(replay\) .*\n", result.stdout, flags=re.MULTILINE)
    asked = [each for each in commands if each.strip()]
    assert len(answers) >= len(asked) + 1
    return answers


def events(run: Path = Path("run")) -> list[Event]:
    with closing(SqliteTapeReader(run / "tape.db")) as reader:
        return list(reader.events())


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(each): each.read_bytes()
        for each in sorted(folder.rglob("*"))
        if each.is_file() and "__pycache__" not in each.parts
    }


# Without --step.


def test_replay_to_the_end_shows_everything_and_writes_nothing(here: Path) -> None:
    before = snapshot(Path())
    result = replay(here)
    assert result.exit_code == 0
    assert result.stderr == ""
    last = events()[-1]
    assert f"behind event {last.seq} and 96 of 96 bars; identical with the tape\n" in result.stdout
    for head in ("position of", "books of", "state of", "The newest decision:"):
        assert head in result.stdout
    assert snapshot(Path()) == before


def test_replay_json_has_the_exact_books_of_the_place(here: Path) -> None:
    fills = [each for each in events() if each.type == "order.filled"]
    place = fills[len(fills) // 2]
    found = json.loads(replay(here, "--until", place.seq, "--json").stdout)
    assert found["seq"] >= place.seq
    assert found["ts"] == place.ts_event
    for books in found["books"]:
        own = [each.payload for each in fills
               if each.seq <= found["seq"] and each.payload.strategy == books["strategy"]]  # type: ignore[union-attr]  # fmt: skip
        paid = sum(int(each.side) * each.notional + each.fee for each in own)  # type: ignore[union-attr]
        capital = {"busy": 100_000, "swing": 20_000}[books["strategy"]] * 10**8
        assert round(float(books["cash"]) * 10**8) == capital - paid
    assert found["decision"]["type"].startswith(("intent.", "signal"))
    assert found["decision"]["seq"] <= found["seq"]
    assert [each["seq"] for each in found["chain"]][-1] <= found["seq"]
    assert {each["strategy"] for each in found["books"]} == {"busy", "swing"}
    assert found["features"]["swing"]["WAVE.SIM"].keys() == {"fast", "slow"}
    assert found["state"]["swing"].keys() == {"entries", "best", "is_in", "last"}


def test_replay_until_a_date_takes_nothing_of_that_day(here: Path) -> None:
    found = json.loads(replay(here, "--until", "2024-02-01", "--json").stdout)
    assert found["time"] == "2024-02-01T00:00:00Z"
    assert found["row"] + 1 == 31 + 18  # days of WAVE.SIM, and of HOLE.SIM, which lacks 13


def test_replay_warns_when_code_has_changed_and_goes_on(copied: Path) -> None:
    Path("swing.py").write_text(Path("swing.py").read_text() + "# a comment\n")
    result = replay(copied, "--until", "2024-02-01")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: strategy swing (swing.py) has version ")
    assert "since the snapshot" not in result.stdout  # another code never goes on from a snapshot


def test_replay_starts_from_the_newest_snapshot_and_says_so(here: Path) -> None:
    result = replay(here, "--until", "2024-02-25")
    assert re.search(r"identical with the tape since the snapshot behind bar \d+\n", result.stdout)


def forge_code(folder: Path) -> None:
    text = Path("swing.py").read_text()
    assert text.count("param(10.0, gt=0)") == 1
    Path("swing.py").write_text(text.replace("param(10.0, gt=0)", "param(11.0, gt=0)"))


@pytest.mark.parametrize("arguments", [(), ("--until", "2024-02-20"), ("--json",)])
def test_replay_of_changed_code_tells_the_departure_and_its_class(
    copied: Path, arguments: tuple[str, ...]
) -> None:
    forge_code(copied)
    result = replay(copied, *arguments)
    assert result.exit_code == 2
    if arguments == ("--json",):
        found = json.loads(result.stdout)
        assert (found["verdict"], found["tape"]["payload"]["amount"]) == ("code", 10)
        assert found["replay"]["payload"]["amount"] == 11
        return
    assert result.stdout.startswith("code changed: strategy swing (swing.py) has version ")
    assert "\ntape: " in result.stdout
    assert "amount=10 " in result.stdout
    assert "amount=11 " in result.stdout


def test_debugger_tells_a_departure_at_once_and_ends_with_its_code(copied: Path) -> None:
    forge_code(copied)
    result = replay(copied, "--step", typed="c\nn\np\n")
    assert result.exit_code == 2
    _, after_c, after_n, after_p = re.split(r"^\(replay\) .*\n", result.stdout, flags=re.MULTILINE)
    assert "here the replay departs from the tape.\ncode changed: strategy swing" in after_c
    assert after_n == "here the replay departs from the tape.\n"
    assert "position" in after_p


# What can't be: one line, an exit code, nothing touched.


def drop(path: str) -> None:
    target = Path(path)
    shutil.rmtree(target) if target.is_dir() else target.unlink()


def set_version() -> None:
    with closing(sqlite3.connect("run/tape.db")) as file:
        file.execute("UPDATE meta SET version = 2")
        file.commit()


def flip(number: int, table: str = "block", column: str = "payload") -> None:
    with closing(sqlite3.connect("run/tape.db")) as file:
        query = f"SELECT {column} FROM {table} WHERE number = ?"
        (data,) = file.execute(query, (number,)).fetchone()
        at = len(data) // 2
        data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        file.execute(f"UPDATE {table} SET {column} = ? WHERE number = ?", (data, number))
        file.commit()


WRONG: list[tuple[str, Any, tuple[str, ...], str, int]] = [
    ("no tape", lambda: drop("run/tape.db"), (), "run/tape.db: there is no tape here", 2),
    ("another version", set_version, (), "tape version 2, and this onetape reads 1", 2),
    ("no data", lambda: drop("data/catalog/bars"), (), "can't be replayed: the pinned bars", 2),
    ("no strategy", lambda: drop("swing.py"), (), "strategy swing can't be run any more", 2),
    ("no tape at all", lambda: Path("run/tape.db").write_text("no"), (), "not a tape", 2),
    ("damaged header", lambda: flip(0), (), "the tape is damaged: ", 4),
    (
        "damaged snapshot",
        lambda: flip(1, "snapshot", "state"),
        ("--until", "2024-02-25"),
        "the tape is damaged: snapshot 1",
        4,
    ),
    ("before, seq", None, ("--until", "-1"), "before the start: the first event is 0", 2),
    (
        "before, time",
        None,
        ("--until", "2023-12-31"),
        "before the start: the session begins at 2024-01-01T00:00:00Z",
        2,
    ),
    ("beyond, seq", None, ("--until", "100000"), "100000 is beyond the end: the tape ends", 2),
    (
        "beyond, time",
        None,
        ("--until", "2024-03-02"),
        "beyond the end: the tape ends at 2024-03-01T00:00:00Z",
        2,
    ),
    ("no place", None, ("--until", "noon"), "'noon' is no place of a tape", 2),
    ("step and json", None, ("--step", "--json"), "--step is a conversation", 2),
    (
        "step and other",
        None,
        ("--step", "--set", "seed=1"),
        "--step goes through the session as it was recorded",
        2,
    ),
    ("html of nothing", None, ("--html", "a.html"), "--html draws a comparison", 2),
    ("replace alone", None, ("--replace", "swing"), "--replace names the strategy", 2),
    (
        "no file",
        None,
        ("--strategy", "no.py", "--replace", "swing"),
        "no.py: the strategy file can't be read",
        2,
    ),
    ("which one", None, ("--strategy", "swing.py"), "the session has 2 strategies: busy, swing", 2),
    (
        "not that one",
        None,
        ("--strategy", "swing.py", "--replace", "swig"),
        "has no strategy 'swig' (did you mean 'swing'?)",
        2,
    ),
    ("other data", None, ("--set", "data.timeframe=1h"), "would change the market data", 2),
    ("other time", None, ("--set", "clock.end=2024-02-01"), "would change the time span", 2),
    ("nothing decided", None, ("--set", "output.path=x"), "decides nothing", 2),
    ("other name", None, ("--set", "strategies.1.name=b"), "their names have to stay", 2),
    (
        "no key",
        None,
        ("--set", "risk.max_leverag=1"),
        "risk.max_leverag is not a known key (did you mean 'max_leverage'?)",
        2,
    ),
    ("wrong param", None, ("--set", "strategies.1.params.size=-1"), "-1", 2),
    ("file exists", None, ("--set", "seed=1", "--html", "swing.py"), "nothing is overwritten", 2),
]


@pytest.mark.parametrize(
    ("harm", "arguments", "told", "code"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_what_can_not_be_replayed_is_one_line(
    copied: Path, harm: Any, arguments: tuple[str, ...], told: str, code: int
) -> None:
    if harm:
        harm()
    before = snapshot(Path())
    result = replay(copied, *arguments, typed="")
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.exit_code == code
    assert snapshot(Path()) == before


def test_damage_in_the_middle_is_found_where_the_replay_comes_to_it(copied: Path) -> None:
    flip(2)
    result = replay(copied)
    told = result.stdout + result.stderr
    assert result.exit_code == 4
    assert "tape damaged: " in told or "the tape is damaged: " in told


def test_incomplete_tape_is_replayed_as_far_as_it_goes(copied: Path) -> None:
    whole = events()
    with closing(sqlite3.connect("run/tape.db")) as file:
        file.execute("DELETE FROM block WHERE number = (SELECT max(number) FROM block)")
        file.commit()
    left = events()
    assert 0 < len(left) < len(whole)
    found = json.loads(replay(copied, "--json").stdout)
    assert found["seq"] == left[-1].seq
    assert found["ts"] == left[-1].ts_event
    assert not found["complete"]
    assert "identical with the tape, which is incomplete" in replay(copied).stdout
    answers = talk("c", "n", "l")
    assert first_seq(answers[1]) >= left[-1].seq
    assert "the tape ends here: it is incomplete." in answers[1]
    assert "books of" in answers[3]
    last = replay(copied, "--until", left[-1].seq + 100)
    assert (last.exit_code, "beyond the end" in last.stderr) == (2, True)


# The debugger.


def first_seq(answer: str) -> int:
    return int(answer.split()[0])


def test_debugger_begins_before_the_first_event_and_ends_with_its_input(here: Path) -> None:
    (greeting,) = talk()
    assert greeting.splitlines()[1] == "before the first event"
    assert "of busy, swing; `help`" in greeting


def test_debugger_goes_event_by_event_and_an_empty_line_repeats(here: Path) -> None:
    answers = talk("next", "", "n", "t 3")
    seqs = [first_seq(each) for each in answers[1:4]]
    assert seqs == [each.seq for each in events()[:3]]
    assert "session.started" in answers[1]
    assert "account.deposited" in answers[2]


def test_debugger_empty_line_repeats_whatever_came_last(here: Path) -> None:
    answers = talk("d", "", "", "p", "")
    decisions = [each.seq for each in events() if each.type.startswith(("intent", "signal"))]
    assert [first_seq(each) for each in answers[1:4]] == decisions[:3]
    assert answers[4] == answers[5]


def test_debugger_goes_to_fills_rows_and_places(here: Path) -> None:
    answers = talk("f", "f", "r", "u 2024-02-01", "u 3", "until nowhere", "u 2024-02-01T00:00:01Z")
    fills = [each for each in events() if each.type.startswith(("order.filled", "order.partially"))]
    assert [first_seq(each) for each in answers[1:3]] == [each.seq for each in fills[:2]]
    assert "end of the slice" in answers[3]
    assert "2024-02-01T00:00:00Z  end of the slice" in answers[4]
    assert "error: 3 lies behind: this is event " in answers[5]
    assert answers[6].startswith("error: 'nowhere' is no place of a tape")
    assert "2024-02-01T00:00:00Z  end of the slice" in answers[7]


def test_debugger_stops_at_the_events_that_a_condition_names(here: Path) -> None:
    answers = talk('break type == "risk.denied" and strategy == "busy"', "c", "c", "c", "b",
                   "delete 1", "b", "c")  # fmt: skip
    denied = [each.seq for each in events() if each.type == "risk.denied"]
    assert answers[1].startswith("breakpoint 1: type ==")
    assert [int(each.splitlines()[1].split()[0]) for each in answers[2:5]] == denied[:3]
    assert answers[5].count("breakpoint 1") == 1
    assert answers[7] == "No breakpoints.\n"
    assert answers[8].endswith("the session ends here.\n")


def test_debugger_stops_at_each_of_two_events_in_a_row(here: Path) -> None:
    answers = talk('b type in ("risk.approved", "order.submitted")', "c", "c", "c", "c")
    wanted = [each.seq for each in events() if each.type in ("risk.approved", "order.submitted")]
    assert wanted[1] == wanted[0] + 1
    assert [int(each.splitlines()[1].split()[0]) for each in answers[2:6]] == wanted[:4]
    answers = talk('b type != "order.filled"', "c", "c", "c")
    assert [int(each.splitlines()[1].split()[0]) for each in answers[2:5]] == [0, 1, 2]


def test_debugger_stops_once_where_a_condition_becomes_true(here: Path) -> None:
    """WAVE.SIM closes at 100 + 20 sin(day / 7): above 115 on days 6 to 15, again from 50 on."""
    answers = talk('b close["WAVE.SIM"] > 115', "c", "k", "c", "c")
    assert "2024-01-08T00:00:00Z" in answers[2]
    assert "115.12" in answers[3]
    assert "2024-02-21T00:00:00Z" in answers[4]
    assert answers[5].endswith("the session ends here.\n")


def test_debugger_stops_by_order_of_an_order_that_is_closed_by_now(here: Path) -> None:
    canceled = next(each for each in events() if each.type == "order.canceled")
    identity = canceled.payload.client_order_id  # type: ignore[union-attr]
    answers = talk(f'b type == "order.canceled" and client_order_id == "{identity}" and '
                   'instrument == "WAVE.SIM" and strategy == "busy"', "c")  # fmt: skip
    assert first_seq(answers[2].partition("\n")[2]) == canceled.seq


# fmt: off
CONDITIONS = [
    ("b equit < 1",              "there is no name equit (did you mean 'equity'?)"),
    ("b features.fats > 1",      "did you mean 'features.fast'?"),
    ('b type == "order.fill"',   "did you mean 'order.filled'?"),
    ('b strategy == "swim"',     "did you mean 'swing'?"),
    ("b close",                  "is a number, not true or false"),
    ("b close >",                "is no condition: invalid syntax"),
    ("b open('x')",              "can't hold open('x')"),
    ("delete 7",                 "there is no breakpoint 7 (set: none)"),
    ("delete all",               "delete takes the number of a breakpoint"),
    ("next 5",                   "next takes nothing behind it, not '5'"),
    ("why 9999",                 "event 9999 has not come yet"),
    ("why what",                 "'what' is no seq"),
    ("why",                      "nothing has been decided yet"),
    ("list many",                "'many' is no number of events"),
    ("until",                    "is no place of a tape"),
    ("positoins",                "there is no command 'positoins' (did you mean 'positions'?"),
    ("!ls",                      "there is no command"),
    ("%",                        "there is no command '%'"),
    ("b " + "(" * 300,           "is no condition"),
]
# fmt: on


@pytest.mark.parametrize(("command", "told"), CONDITIONS, ids=[row[0][:20] for row in CONDITIONS])
def test_debugger_answers_a_wrong_command_with_one_line_and_goes_on(
    here: Path, command: str, told: str
) -> None:
    answers = talk(command, "n")
    assert answers[1].startswith("error: ")
    assert told in answers[1]
    assert len(answers[1].splitlines()) == 1
    assert first_seq(answers[2]) == 0


def test_debugger_shows_the_state_of_the_place(here: Path) -> None:
    fill = next(each for each in events() if each.type == "order.filled")
    answers = talk(f"u {fill.seq}", "p", "o", "l", "v", "s", "k", "w", "w 3", "t 2")
    with closing(Replay(here / "tape.db")) as replayed:
        replayed.begin()
        around = replayed.surroundings
    assert around.strategies == ("busy", "swing")
    payload: Any = fill.payload
    assert re.search(rf"{payload.strategy} +{payload.instrument} +{payload.lots} ", answers[2])
    assert "open order" in answers[3] or "No open orders." in answers[3]
    assert re.search(r"^ all .*120,000\.00", answers[4], re.MULTILINE)
    assert re.search(r"swing +WAVE.SIM +slow", answers[5])
    assert re.search(r"busy +bars +\d", answers[6])
    assert re.search(r"WAVE.SIM +\d+ +2024", answers[7])
    assert "market" in answers[8].splitlines()[0]
    assert "> " in answers[8]
    assert all(int(line.split()[0].lstrip(">") or line.split()[1]) <= fill.seq + 1
               for line in answers[8].splitlines() if not line.startswith(">"))  # fmt: skip
    assert [first_seq(line) for line in answers[10].splitlines()] == [
        each.seq for each in events() if each.seq <= fill.seq
    ][-2:]


def test_debugger_tells_why_without_what_comes_later(here: Path) -> None:
    """The chain of an order at its intent does not know that it will be filled."""
    intent = next(each for each in events() if each.type == "intent.order")
    answers = talk(f"u {intent.seq}", "why", "c", f"why {intent.seq}")
    assert "order.filled" not in answers[2]
    assert "order.accepted" not in answers[2]
    assert "order.accepted" in answers[4]


def test_debugger_help_and_names_and_quit(here: Path) -> None:
    answers = talk("help", "?", "names", "m", "quit")
    words = "next row decision fill until break delete continue positions orders ledger features"
    for word in f"{words} state why bar list names help quit".split():
        assert re.search(rf"^ {word}\b", answers[1], re.MULTILINE), word
    for name in ("type", "close", 'close["HOLE.SIM"]', "features.fast", "state.bars", "equity"):
        assert f" {name} " in answers[3]
    assert 'features["busy"].slow' in answers[3]
    assert " features.slow " not in answers[3]  # both strategies have one


def test_debugger_short_forms_are_all_different() -> None:
    debugger = Debugger.__new__(Debugger)
    from onetape.control import replay_debugger

    letters = [row[1] for row in replay_debugger._COMMANDS]  # pyright: ignore[reportPrivateUsage]
    assert len(set(letters)) == len(letters) == 19
    assert all(hasattr(debugger, f"_{row[0]}") for row in replay_debugger._COMMANDS)  # pyright: ignore[reportPrivateUsage]


def test_debugger_can_begin_at_a_place(here: Path) -> None:
    (greeting, answer) = talk("n", start=("--until", "2024-02-25"))
    assert "2024-02-25T00:00:00Z  end of the slice" in greeting
    following = next(each for each in events() if each.ts_event > 1_708_819_200_000_000_000)
    assert first_seq(answer) == following.seq
