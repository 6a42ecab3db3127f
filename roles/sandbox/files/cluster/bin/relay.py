"""relay.py SOCKET UID: let this machine's user UID reach the login node's sshd.

A unix socket in the file system is the one door between the sandbox's network and this machine:
nothing listens on any of the machine's own addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

PID_FILE = Path("/run/relay.pid")


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side is done."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Join one connection to sshd."""
    try:
        back, forth = await asyncio.open_connection("127.0.0.1", 22)
        await asyncio.gather(pump(reader, forth), pump(back, writer))
        forth.close()
    except OSError as error:
        print(f"sshd of the login node: {error}", file=sys.stderr, flush=True)
    finally:
        writer.close()


async def main(path: str, owner: str) -> None:
    """Listen; the pid file appears when it does."""
    part = Path(f"{path}.new")
    part.unlink(missing_ok=True)
    os.umask(0o177)
    server = await asyncio.start_unix_server(serve, part)
    os.chown(part, int(owner), -1)
    part.rename(path)
    PID_FILE.write_text(str(os.getpid()), encoding="utf-8")
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
