"""A port of this machine's loopback whose connections go to a socket that only this user can open.

ssh forwards from such a socket. Were it to listen on the port itself, another user of this machine
could take that a moment before, and would be given the dashboard's token.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

_PIECE = 65536  # bytes


class Relay:
    """Listens from its start to its end; `port` is ours alone."""

    def __init__(self, preferred: int, target: Path) -> None:
        self._target = str(target)
        self._server = _listening(preferred)
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        # Closing alone would not wake up who waits in `accept`.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as forwarded:
            try:
                forwarded.connect(self._target)
            except OSError:
                return
            back = threading.Thread(target=_pass_on, args=(forwarded, client), daemon=True)
            back.start()
            _pass_on(client, forwarded)
            back.join()


def _listening(preferred: int) -> socket.socket:
    for port in (preferred, 0):
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            continue
    raise OSError("no port is free on this machine")


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Pass on all bytes, and then the end."""
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
