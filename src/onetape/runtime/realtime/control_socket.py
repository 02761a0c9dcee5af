"""The local inbox of a running session: operators' commands by a Unix socket in its directory.

It works without any server and while a strategy is stuck: the socket is served by a thread of its
own, which interrupts a strategy that does not come back when the command can't wait. One JSON
object a line: `{"action": "pause", "strategy": "", "reason": "..."}` is answered by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from onetape.domain.errors import ConfigError, DataError, OnetapeError, TryAgain
from onetape.domain.events import KillSwitchSet
from onetape.domain.venue import OperatorAction, OperatorCommand
from onetape.runtime.realtime.shell import RealtimeShell
from onetape.runtime.realtime.watchdog import Watchdog
from onetape.runtime.run_files import write_whole

FILE = "session.json"
"""Where a run's directory says which process runs it, and where it listens."""

_PATH_MAX = 100
"""Longest path of a Unix socket, with room to spare (108 bytes on Linux)."""

_ANSWER_SECONDS = 2.0

_READ_SECONDS = 5.0
"""How long reading the catalog may take while an operator waits."""

Describe = Callable[[], Mapping[str, Any]]
"""What `status` answers; called in the thread of the core."""


class ControlSocket:
    """Serves the inbox of one session while the block runs.

    Args:
        run_dir: Directory of the run.
        shell: Who is told.
        watchdog: Who can interrupt a strategy.
        describe: What `status` answers.
    """

    def __init__(
        self, run_dir: Path, shell: RealtimeShell, watchdog: Watchdog, describe: Describe
    ) -> None:
        self._run_dir = run_dir
        self._shell = shell
        self._watchdog = watchdog
        self._describe = describe
        self._loop = asyncio.get_running_loop()
        self._path = _choose_path(run_dir)

    def __enter__(self) -> ControlSocket:
        self._path.unlink(missing_ok=True)
        handle = self._answer

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    answer = json.dumps(handle(line), allow_nan=False).encode()
                    with contextlib.suppress(OSError):
                        self.wfile.write(answer + b"\n")

        self._server = socketserver.ThreadingUnixStreamServer(str(self._path), Handler)
        self._server.daemon_threads = True
        self._path.chmod(0o600)
        self._thread = threading.Thread(target=self._server.serve_forever, name="control",
                                        args=(0.1,), daemon=True)  # fmt: skip
        self._thread.start()
        about = {"pid": os.getpid(), "socket": str(self._path),
                 "session": self._shell.session.session}  # fmt: skip
        write_whole(self._run_dir / FILE, json.dumps(about, indent=2).encode() + b"\n")
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._path.unlink(missing_ok=True)
        if failure is None:  # else it has not ended, as if it had been killed
            (self._run_dir / FILE).unlink(missing_ok=True)

    def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            asked = json.loads(line)
            action, strategy = str(asked["action"]), str(asked.get("strategy", ""))
            reason = str(asked.get("reason", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            return {"error": "a command is one JSON object with an action"}
        if action == "status":
            return self._status()
        if action == "actions":
            return self._read_actions()
        if strategy and strategy not in self._shell.session.strategies:
            names = ", ".join(self._shell.session.strategies)
            return {"error": f"there is no strategy {strategy!r} (strategies: {names})"}
        if action in ("kill", "unkill"):
            command: KillSwitchSet | OperatorCommand = KillSwitchSet(
                active=action == "kill", reason=reason or "by an operator"
            )
        else:
            try:
                command = OperatorCommand(OperatorAction(action), strategy, reason)
            except ValueError:
                return {"error": f"there is no action {action!r}"}
        return self._tell(command)

    def _tell(self, command: KillSwitchSet | OperatorCommand) -> Mapping[str, Any]:
        followed: Future[Mapping[str, Any]] = Future()

        def tell_done() -> None:  # in the thread of the core, between two inputs
            followed.set_result(self._describe())

        self._loop.call_soon_threadsafe(self._shell.tell, command, tell_done)
        with contextlib.suppress(TimeoutError):
            return {"done": True, "now": followed.result(_ANSWER_SECONDS)}
        busy = self._watchdog.busy_seconds
        self._watchdog.interrupt()  # an operator does not wait for a strategy that is stuck
        with contextlib.suppress(TimeoutError):
            now = followed.result(_ANSWER_SECONDS)
            note = f"a strategy was stuck for {busy:.1f} s and is taken out"
            return {"done": True, "note": note, "now": now}
        return {
            "error": f"the session does not answer (busy for {busy:.1f} s); the command waits",
            "pid": os.getpid(),
        }

    def _read_actions(self) -> Mapping[str, Any]:
        """Have the corporate actions read anew, and tell which are ahead."""
        done = threading.Event()
        reading = asyncio.run_coroutine_threadsafe(self._shell.read_actions(done.set), self._loop)
        try:
            reading.result(_READ_SECONDS)
        except OnetapeError as error:
            return {"error": str(error)}
        except TimeoutError:
            return {"error": f"they can't be read within {_READ_SECONDS:g} s"}
        if not done.wait(_ANSWER_SECONDS):
            return {"error": "the session does not answer; they wait to be taken"}
        return self._shell.agenda.describe()

    def _status(self) -> Mapping[str, Any]:
        future: Future[Mapping[str, Any]] = Future()

        def describe() -> None:
            future.set_result(self._describe())

        self._loop.call_soon_threadsafe(describe)
        try:
            return future.result(_ANSWER_SECONDS)
        except TimeoutError:
            busy = round(self._watchdog.busy_seconds, 1)
            return {"state": "stuck" if busy else "busy", "busy_seconds": busy, "pid": os.getpid()}


def read_session_id(run_dir: Path) -> str:
    """Id of the session that runs in a directory; empty where none does."""
    try:
        return str(json.loads((run_dir / FILE).read_bytes())["session"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def is_running(run_dir: Path) -> bool:
    """Whether a process listens for the commands of a run's directory, or at least holds on."""
    try:
        path = str(json.loads((run_dir / FILE).read_bytes())["socket"])
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(path)
    except (TimeoutError, BlockingIOError, PermissionError):
        return True  # it lives, and has no time, or is another user's
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def ask_session(run_dir: Path, asked: Mapping[str, str]) -> Mapping[str, Any]:
    """Send one command to the session of a run's directory; its answer.

    Raises:
        DataError: There is no run, or no process runs it.
        TryAgain: It does not answer.
        ConfigError: It refuses the command.
    """
    try:
        about = json.loads((run_dir / FILE).read_bytes())
        path = str(about["socket"])
    except FileNotFoundError:
        raise DataError("no process runs this session", where=str(run_dir),
                        remedy="onetape report shows how it ended; "
                        "onetape paper --resume goes on with it") from None  # fmt: skip
    except (ValueError, KeyError, TypeError):
        raise DataError("can't be read", where=str(run_dir / FILE)) from None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            waits = 1 if asked.get("action") == "status" else 2
            connection.settimeout(waits * _ANSWER_SECONDS + 0.5)
            connection.connect(path)
            connection.sendall(json.dumps(dict(asked)).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline() or b"{}")
    except (ConnectionRefusedError, FileNotFoundError):
        raise DataError(
            f"the process {about.get('pid')} that ran this session is gone",
            where=str(run_dir), remedy="go on with it: onetape paper --resume, or live --resume",
        ) from None  # fmt: skip
    except PermissionError:
        raise DataError("the session is another user's", where=path,
                        remedy="speak to it as the user who runs it") from None  # fmt: skip
    except TimeoutError:
        pid = about.get("pid")
        raise TryAgain(
            f"process {pid} does not answer; what it was told waits until it does",
            where=str(run_dir),
            remedy=f"if it is stopped: kill -CONT {pid}; if nothing helps: kill -KILL {pid}, then "
            "onetape paper --resume, or live --resume",
        ) from None
    except OSError as error:
        raise TryAgain(f"the session does not answer: {error}", where=str(run_dir),
                       remedy=f"look at process {about.get('pid')}") from None  # fmt: skip
    if "error" in answer:
        raise ConfigError(str(answer["error"]), where=str(run_dir))
    return answer


def _choose_path(run_dir: Path) -> Path:
    path = (run_dir / "control.sock").resolve()
    if len(str(path)) <= _PATH_MAX:
        return path
    return Path(tempfile.mkdtemp(prefix="onetape-")) / "control.sock"
