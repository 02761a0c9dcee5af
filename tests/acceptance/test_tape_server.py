"""A user's tour with the tape of a run in a PostgreSQL database, and what a mistake gets told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from tests.support.killed_runs import write_run
from tests.support.postgres_server import PASSWORD, PostgresServer


def onetape(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> tuple[Path, Path, Path]:
    """A folder, and in it the same run with its tape in a file and in a database."""
    folder = tmp_path_factory.mktemp("tour")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TAPE_SECRET", PASSWORD)
        config = write_run(folder, days=60)
        local = onetape("backtest", config, "--quiet", "--set", "output.path=local")
        remote = onetape(
            "backtest", config, "--quiet", "--set", "output.path=remote",
            "--set", f"output.tape={postgres.url}", "--set", "output.tape_password=env:TAPE_SECRET",
        )  # fmt: skip
        assert (local.exit_code, remote.exit_code) == (0, 0), remote.output
    return folder, Path(local.stdout.strip()), Path(remote.stdout.strip())


@pytest.fixture(autouse=True)
def in_the_folder(runs: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs[0])
    monkeypatch.setenv("TAPE_SECRET", PASSWORD)


def test_run_leaves_the_same_files_but_the_tape_and_no_password(
    runs: tuple[Path, Path, Path],
) -> None:
    _, local, remote = runs
    names = {each.name for each in local.iterdir()}
    assert {each.name for each in remote.iterdir()} == names - {"tape.db"} | {"tape.json"}
    for name in names - {"tape.db", "config.json", "performance.json", "performance.js"}:
        if not name.startswith("report"):  # they name the run's directory
            assert (remote / name).read_bytes() == (local / name).read_bytes(), name
    for file in remote.iterdir():
        assert PASSWORD.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    "command",
    [
        "tape show {} --limit 0",
        "tape audit {}",
        "tape state {}",
        "verify {}",
        "why {} 20",
        "report {}",
        "statement {} 2024-02-01",
        "replay {} --until 200",
    ],
)
def test_command_says_the_same_of_a_tape_in_a_database(
    runs: tuple[Path, Path, Path], command: str
) -> None:
    said: list[tuple[int, str]] = []
    for run_dir in runs[1:]:
        result = onetape(*command.format(run_dir).split())
        said.append((result.exit_code, result.stdout.replace(str(run_dir), "RUN_DIR")))
    assert said[0] == said[1]
    assert said[0][0] == 0, said


def test_pointer_is_as_good_as_the_run(runs: tuple[Path, Path, Path]) -> None:
    assert onetape("tape", "audit", runs[2] / "tape.json").stdout.startswith("sound and complete")


def test_export_of_both_is_the_same_file(runs: tuple[Path, Path, Path]) -> None:
    for run_dir, name in zip(runs[1:], ("one.parquet", "two.parquet"), strict=True):
        assert onetape("tape", "export", run_dir, "--output", name).exit_code == 0
    assert Path("one.parquet").read_bytes() == Path("two.parquet").read_bytes()


def test_complete_run_can_be_resumed(runs: tuple[Path, Path, Path]) -> None:
    before = (runs[2] / "metrics.json").read_bytes()
    assert onetape("backtest", "--resume", runs[2], "--quiet").exit_code == 0
    assert (runs[2] / "metrics.json").read_bytes() == before


def test_copy_seal_and_audit(runs: tuple[Path, Path, Path], postgres: PostgresServer) -> None:
    Path("moved").mkdir()
    login = ("--server", postgres.url, "--password", "env:TAPE_SECRET")
    copied = onetape("tape", "copy", runs[1], "moved/tape.json", *login)
    assert copied.stdout.startswith("moved/tape.json: sound and complete")
    assert onetape("tape", "seal", "moved").exit_code == 0
    assert onetape("tape", "audit", "moved").stdout.startswith("sound and complete")
    seal = Path("moved/tape.json.seal.json")
    digest = json.loads((runs[1] / "metrics.json").read_bytes())["tape_digest"]
    assert json.loads(seal.read_bytes())["digest"] == digest
    back = onetape("tape", "copy", "moved", "back.db")
    assert f"digest {digest}" in back.stdout


def test_password_that_is_gone_is_told(
    runs: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    monkeypatch.delenv("TAPE_SECRET")
    result = onetape("tape", "audit", runs[2])
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {postgres.url}: env:TAPE_SECRET is not set or empty "
        "(it should hold this server's password)\n"
    )


def test_server_that_is_gone_is_told(runs: tuple[Path, Path, Path]) -> None:
    pointer = json.loads((runs[2] / "tape.json").read_bytes())
    Path("gone.json").write_text(json.dumps(pointer | {"url": "postgresql://me@127.0.0.1:1/x"}))
    result = onetape("tape", "audit", "gone.json")
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1
    assert "the server can't be reached" in result.stderr


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["output.tape=postgresql://me:hunter2@h/x"],
         "output.tape is refused: the address of a tape's server holds a password"),
        (["output.tape=sqlite:///hunter2"],
         "output.tape is refused: the address of a tape's server is not one of PostgreSQL"),
        (["output.tape=5"],
         "output.tape is refused: the address of a tape's server is not one of PostgreSQL"),
        (["output.tape=postgresql://h/x", "output.tape_password=hunter2"],
         "output.tape_password is refused: the password of a tape's server must be a reference"),
        (["output.tape_password=env:X"], "output.tape_password is the password of no server"),
    ],
)  # fmt: skip
def test_configuration_is_refused_and_what_may_be_a_password_not_shown(
    settings: list[str], told: str
) -> None:
    options = [part for each in settings for part in ("--set", each)]
    result = onetape("config", "check", "busy.json", *options)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "hunter2" not in result.stderr.replace("--set", "")


@pytest.mark.parametrize("options", [["x.db", "--server", "postgresql://h/x"], ["x.json"]])
def test_copy_to_a_file_of_the_other_kind_is_refused(
    runs: tuple[Path, Path, Path], options: list[str]
) -> None:
    result = onetape("tape", "copy", runs[1], *options)
    assert result.exit_code == 2
    assert "FILE.json with --server, FILE.db without" in result.stderr
    assert not Path(options[0]).exists()
