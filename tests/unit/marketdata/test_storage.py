"""Catalogs in an object store: the same calls against an S3-compatible server on loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.errors import ConfigError, DataError, SourceUnavailable, TryAgain
from onetape.marketdata.bars import compute_content_hash
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.delta_table import commit, open_table
from onetape.marketdata.storage import locate, storage_options
from tests.support.cli_data import import_wave
from tests.support.provider_servers import Provider, Reply, serve

SECRET = "never-print-this"
S3 = "s3://market/prod"


MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("port", server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    """In a process of its own: clients that hold the interpreter's lock would wait for ever."""
    with subprocess.Popen(
        [sys.executable, "-c", MOTO], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as moto:  # fmt: skip
        assert moto.stdout is not None
        said = next(line for line in moto.stdout if line.startswith("port "))
        yield f"http://127.0.0.1:{said.split()[1]}"
        moto.communicate()


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, and the variables that lead to it."""
    for url, method in ((f"{server}/moto-api/reset", "POST"), (f"{server}/market", "PUT")):
        with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:
            assert answer.status == 200
    monkeypatch.chdir(tmp_path)
    Path("secret").write_text(SECRET + "\n", encoding="utf-8")
    monkeypatch.setenv("STORE_KEY", "a-key")
    monkeypatch.setenv("STORE_URL", server)
    monkeypatch.setenv("TRUE", "true")
    for option, reference in {
        "AWS_ACCESS_KEY_ID": "env:STORE_KEY", "AWS_SECRET_ACCESS_KEY": "file:secret",
        "AWS_ENDPOINT_URL": "env:STORE_URL", "AWS_ALLOW_HTTP": "env:TRUE",
        "AWS_REGION": "env:STORE_REGION",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"ONETAPE_STORAGE_{option}", reference)
    monkeypatch.setenv("STORE_REGION", "us-east-1")
    return S3


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def bring(catalog: str, *more: str) -> Result:
    return run("data", "import", "wave.csv", "--instrument", "WAVE.SIM", "--timeframe", "1d",
               "--calendar", "24/7", "--catalog", catalog, *more)  # fmt: skip


def test_catalog_in_a_store_holds_what_a_local_one_does(bucket: str) -> None:
    import_wave()
    done = bring(bucket)
    assert done.exit_code == 0, done.stderr
    assert "120 bars written" in done.stdout
    assert "nothing new" in bring(bucket).stdout
    local, remote = Catalog(Path("data/catalog")), Catalog(Path(bucket))
    assert remote.datasets() == local.datasets()
    assert compute_content_hash(remote.read_bars("WAVE.SIM", "1d")) == (
        local.datasets()[0].content_hash
    )
    assert remote.instruments() == local.instruments()
    assert sorted(each.name for each in Path().iterdir()) == ["data", "run.yaml", "secret",
                                                              "wave.csv"]  # fmt: skip


def test_rows_are_replaced_and_old_versions_stay(bucket: str) -> None:
    import_wave()
    bring(bucket)
    rows = Path("wave.csv").read_text(encoding="utf-8").splitlines()
    Path("wave.csv").write_text("\n".join([rows[0], *rows[11:]]) + "\n", encoding="utf-8")
    Path("part.csv").write_text("\n".join([rows[0], rows[1].replace(",100.00,", ",100.01,", 1)]))
    shutil.copy("part.csv", "wave.csv")
    assert "1 rows from 2024-01-01" in bring(bucket).stderr
    assert "1 bars written, 120 in all" in bring(bucket, "--replace").stdout
    catalog = Catalog(Path(bucket))
    assert catalog.read_bars("WAVE.SIM", "1d")["open"][0] == 100.01
    assert catalog.read_bars("WAVE.SIM", "1d", version=0)["open"][0] == 100.0


def test_backtest_on_a_store_is_that_on_the_local_catalog(bucket: str) -> None:
    import_wave()
    bring(bucket)
    for name, path in (("local", "data/catalog"), ("remote", bucket)):
        done = run("backtest", "run.yaml", "--set", f"data.path={path}",
                   "--set", f"output.path={name}")  # fmt: skip
        assert done.exit_code == 0, done.stderr
    local, remote = (next(Path(name).rglob("equity.parquet")) for name in ("local", "remote"))
    assert local.read_bytes() == remote.read_bytes()
    tape = next(Path("remote").rglob("tape.db"))
    assert run("verify", str(tape)).exit_code == 0
    for file in Path("remote").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


def test_of_two_writers_one_is_told_to_try_again(bucket: str) -> None:
    import polars as pl

    path = Path(bucket) / "table"
    commit(path, None, pl.DataFrame({"a": [1]}))
    first, second = open_table(path), open_table(path)
    commit(path, first, pl.DataFrame({"a": [2]}), replace_where="true")
    with pytest.raises(TryAgain, match="s3://market/prod/table: somebody else wrote"):
        commit(path, second, pl.DataFrame({"a": [3]}), replace_where="true")


def test_store_that_is_not_there_is_told_soon(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URL", "http://127.0.0.1:9")
    begin = time.monotonic()
    done = run("data", "list", "--catalog", bucket)
    assert (done.exit_code, "s3://market/prod/bars" in done.stderr) == (3, True), done.stderr
    assert "Connection refused" in done.stderr
    assert time.monotonic() - begin < 30
    assert SECRET not in done.stderr


def test_write_to_a_store_that_is_not_there_is_told_once(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_wave()
    monkeypatch.setenv("STORE_URL", "http://127.0.0.1:9")
    begin = time.monotonic()
    assert bring(bucket).exit_code == 3
    assert time.monotonic() - begin < 30


def test_bucket_that_is_not_there_is_told(bucket: str) -> None:
    with pytest.raises(DataError, match=r"s3://nobody/x/bars: the store refuses.*NoSuchBucket"):
        Catalog(Path("s3://nobody/x")).datasets()


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (403, DataError, "the store refuses access"),
        (503, SourceUnavailable, "the store can't be reached"),
    ],
)
def test_store_that_refuses_or_is_down_is_told(
    bucket: str, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception], said: str
) -> None:
    everything = Provider(lambda *_: Reply(status, b"<Error/>"), lambda _: False)
    with serve(everything) as server:
        monkeypatch.setenv("STORE_URL", server.url)
        monkeypatch.setenv("NONE", "0")
        monkeypatch.setenv("ONETAPE_STORAGE_MAX_RETRIES", "env:NONE")
        with pytest.raises(kind, match=f"s3://market/prod/bars: {said}"):
            Catalog(Path(bucket)).datasets()


def test_catalog_that_is_not_there_is_empty(bucket: str) -> None:
    assert Catalog(Path("s3://market/other")).datasets() == ()
    with pytest.raises(DataError, match="there is no catalog"):
        Catalog(Path("s3://market/other")).read_bars("A.X", "1d")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (SECRET, "is not a reference"),
        ("env:NOT_THERE", "env:NOT_THERE is not set or empty"),
        ("file:not-there", "file:not-there can't be read: No such file"),
        ("file:", "is not a reference"),
    ],
)
def test_secrets_are_references_only(reference: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        storage_options(Path(S3), {"ONETAPE_STORAGE_AWS_SECRET_ACCESS_KEY": reference})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("s3://b/p", "s3://b/p"), ("gs://b", "gs://b"), ("abfss://c/p", "abfss://c/p"),
        ("data/catalog", "data/catalog"), ("/s3/b", "/s3/b"), ("s3", "s3"),
    ],
)  # fmt: skip
def test_addresses_survive_being_paths(path: str, address: str) -> None:
    assert locate(Path(path)) == address
    assert (storage_options(Path(path), {}) is None) == ("://" not in address)
