"""Runs a command in place of itself, to be interrupted when its parent ends.

A program of its own: between fork and exec no Python may run in a process with several threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, argv: list[str]) -> None:
    """Become `argv`, tied to the process `parent`."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nohup ignores it, and so would the command
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
        if os.getppid() != parent:  # it ended before that
            sys.exit(1)
    os.execv(argv[0], argv)  # noqa: S606 - a list of words, as its caller gave them


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
