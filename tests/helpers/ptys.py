"""A real pseudo-terminal, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios

import pyte


class Pty:
    """A pseudo-terminal of a size; programs write to `slave`, and `rows` is what is to be seen."""

    def __init__(self, columns: int, lines: int = 24) -> None:
        self.master, self.slave = pty.openpty()
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int = 24) -> None:
        """Change the size, as a window manager does."""
        self.look()
        self.screen.resize(lines, columns)
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)

    def look(self, seconds: float = 0.0) -> bool:
        """Take in what was written, waiting for it for some seconds; False if there was nothing."""
        found = False
        while select.select([self.master], [], [], 0.0 if found else seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the last program with the terminal has ended
                data = b""
            if not data:
                break
            found = True
            self.raw += data
            self._stream.feed(data)
        return found

    @property
    def rows(self) -> list[str]:
        """The lines above the screen and on it, without empty ones at the end."""
        self.look()
        above = [
            "".join(line[at].data for at in range(self.screen.columns))
            for line in self.screen.history.top
        ]
        shown = [row.rstrip() for row in (*above, *self.screen.display)]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def close(self) -> None:
        """Hang up."""
        for end in (self.master, self.slave):
            os.close(end)
