"""A PostgreSQL server of the tests' own, in a temporary directory.

It listens on a socket there, where it trusts everybody, and on loopback, where it asks for a
password. Where its programs are not installed, tests that need it are skipped; with
`ONETAPE_POSTGRES=required` (as CI sets it) they fail.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onetape.tape.pointer import TapeServer

USER = "onetape"
PASSWORD = "correct horse battery staple"
SERVER_USER = "postgres"
"""Who runs the server when the tests run as root, as which PostgreSQL refuses to run."""


def find_programs() -> Path | None:
    """The directory of `initdb` and `postgres`, the newest version's; None where there is none."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    installed = sorted(versions, key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else None


def why_not() -> str:
    """Why no server can be started here; empty: it can."""
    if find_programs() is None:
        return "PostgreSQL is not installed here (Debian: apt-get install postgresql)"
    if not os.geteuid() and SERVER_USER not in {each.pw_name for each in pwd.getpwall()}:
        return f"PostgreSQL does not run as root, and there is no user {SERVER_USER} here"
    return ""


class PostgresServer:
    """A running server; `stop` and `start` may be called in turn."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        self._programs = find_programs() or Path()
        self._as_user = [] if os.geteuid() else ["runuser", "-u", SERVER_USER, "--"]
        self._settings = settings
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.secret = folder / "secret"
        self.secret.write_text(PASSWORD)
        if self._as_user:
            shutil.chown(folder, SERVER_USER)
            folder.chmod(0o755)
        self._run("initdb", "--username", USER, "--auth-local=trust", "--auth-host=scram-sha-256",
                  f"--pwfile={self.secret}", "--encoding=UTF8", "--no-locale", "--no-sync",
                  "-D", "data")  # fmt: skip
        self.start()

    @property
    def server(self) -> TapeServer:
        """How to reach it by its socket."""
        return TapeServer(url=f"postgresql://{USER}@/postgres?host={self.folder}&port={self.port}")

    @property
    def url(self) -> str:
        """How to reach it on loopback; it asks for `PASSWORD` there."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it."""
        settings = ("listen_addresses=127.0.0.1", f"port={self.port}", "max_connections=250",
                    f"unix_socket_directories={self.folder}", *self._settings)  # fmt: skip
        options = " ".join(f"-c {each}" for each in settings)
        self._run("pg_ctl", "start", "-w", "-s", "-D", "data", "-l", "log", "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is what a crash does."""
        self._run("pg_ctl", "stop", "-w", "-s", "-D", "data", "-m", mode)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._programs / program), *arguments]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
        result = subprocess.run(command, cwd=self.folder, env=environment, check=False,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, timeout=60)  # fmt: skip
        if result.returncode:
            pytest.fail(f"{program} failed: {result.stderr}")


@contextmanager
def run_server(*settings: str) -> Iterator[PostgresServer]:
    """A server with `settings` (NAME=VALUE); skips the test where there can be none."""
    reason = why_not()
    if reason and os.environ.get("ONETAPE_POSTGRES") == "required":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    # Not in pytest's folders: a socket's path may have 107 bytes, and others must get there.
    with tempfile.TemporaryDirectory(prefix="onetape-pg-") as folder:
        server = PostgresServer(Path(folder), *settings)
        try:
            yield server
        finally:
            server.stop("immediate")
