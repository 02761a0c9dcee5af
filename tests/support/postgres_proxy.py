"""Stands between a client and a PostgreSQL server, and loses what a test says."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

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
    """Forwards bytes both ways, each connection in a thread; `loss` is what happens next."""

    def __init__(self, server: PostgresServer) -> None:
        self.loss = Loss.NOTHING
        self._target = ("127.0.0.1", server.port)
        self._password = f"file:{server.secret}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def server(self) -> TapeServer:
        """How to reach the server through this."""
        url = f"postgresql://{USER}@127.0.0.1:{self._port}/postgres"
        return TapeServer(url=url, password=self._password)

    def close(self) -> None:
        """Take no more connections; those that are open end with their client."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._threads:
            each.join(10)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(self._target) as server:
            while True:
                ready, _, _ = select.select([client, server], [], [])
                if client in ready:
                    request = client.recv(65_536)
                    if not request or self._is_lost(Loss.REQUEST):
                        return
                    server.sendall(request)
                if server in ready:
                    answer = server.recv(65_536)
                    if self.loss is Loss.ANSWER and answer and not answer.endswith(_READY):
                        continue
                    if not answer or self._is_lost(Loss.ANSWER):
                        return
                    client.sendall(answer)

    def _is_lost(self, loss: Loss) -> bool:
        if self.loss is not loss:
            return False
        self.loss = Loss.NOTHING
        return True
