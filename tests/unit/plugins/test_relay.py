"""A port of ours whose connections go to a socket that only we can open."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.plugin_utils.relay import Relay


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Path]:
    """What stands for ssh: answers each connection with what it sent, once that has ended."""
    way = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(way))
        server.listen()
        threading.Thread(target=_answer, args=(server,), daemon=True).start()
        yield way
        server.shutdown(socket.SHUT_RDWR)


def _answer(server: socket.socket) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client:
            client.sendall(_all(client))


def _all(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


def ask(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return _all(connection)


def test_what_comes_is_passed_on_both_ways(echo: Path) -> None:
    relay = Relay(0, echo)
    text = b"GET / HTTP/1.1" * 20_000
    assert [ask(relay.port, text), ask(relay.port, b"again")] == [text, b"again"]
    relay.close()
    with pytest.raises(OSError, match="refused"):
        ask(relay.port, text)


def test_a_port_that_somebody_has_is_not_shared(echo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        taken = theirs.getsockname()[1]
        relay = Relay(taken, echo)
        assert relay.port != taken
        relay.close()


def test_no_one_takes_the_port_before_ssh_is_there(tmp_path: Path) -> None:
    relay = Relay(0, tmp_path / "nothing yet")
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", relay.port))
    assert ask(relay.port, b"") == b""
    relay.close()
