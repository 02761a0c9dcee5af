"""Stands between a client and a PostgreSQL server, and loses what a test says."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from enum import Enum
from pathlib import Path

from onetape.tape.pointer import TapeServer
from tests.support.postgres_server import USER, PostgresServer

_READY = b"Z\x00\x00\x00\x05I"
"""The server's last message of an answer: it is ready, and in no transaction."""


class Loss(Enum):
    """What gets lost, and with it the connection."""

    NOTHING = "nothing"
    REQUEST = "request"
    """The next request never arrives."""
    ANSWER = "answer"
    """The next request arrives and is executed; its answer is lost."""


class PostgresProxy:
    """Forwards bytes both ways, each connection in two threads; `loss` is what happens next."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.loss = Loss.NOTHING
        self._target = str(server.folder / f".s.PGSQL.{server.port}")
        self._folder = folder
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def server(self) -> TapeServer:
        """How to reach the server through this."""
        return TapeServer(url=f"postgresql://{USER}@/postgres?host={self._folder}&port=5432")

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                ways = ((client, server, self._keep_request), (server, client, self._keep_answer))
                for way in ways:
                    threading.Thread(target=self._forward, args=way, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, keep: object) -> None:
        assert callable(keep)
        with suppress(OSError):
            while (data := source.recv(65_536)) and keep(data):
                if self.loss is not Loss.ANSWER or keep == self._keep_request:
                    target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _keep_request(self, data: bytes) -> bool:
        if self.loss is not Loss.REQUEST:
            return True
        self.loss = Loss.NOTHING
        return False

    def _keep_answer(self, data: bytes) -> bool:
        if self.loss is not Loss.ANSWER or not data.endswith(_READY):
            return True
        self.loss = Loss.NOTHING
        return False
