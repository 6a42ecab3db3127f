"""Looks that may hang, as on a file system whose server is gone, each bounded in time."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any, Callable, TypeVar

Found = TypeVar("Found")

LIMIT = 8.0  # seconds for one look


def bounded(look: Callable[[], Found], otherwise: Found, seconds: float = LIMIT) -> Found:
    """What `look` returns; `otherwise` if it fails, or has not returned in time."""
    found: Found = together([(look, otherwise)], seconds)[0]
    return found


def together(looks: list[tuple[Callable[[], Any], Any]], seconds: float) -> list[Any]:
    """What each of several looks returns, all at once, in their order."""
    answers = [_begun(look, otherwise) for look, otherwise in looks]
    end = _now() + seconds
    return [_in_time(answer, end, otherwise) for answer, (_look, otherwise) in zip(answers, looks)]


def _in_time(answer: queue.Queue[Any], end: float, otherwise: Any) -> Any:
    try:
        return answer.get(timeout=max(0.01, end - _now()))
    except queue.Empty:
        return otherwise


def _begun(look: Callable[[], Any], otherwise: Any) -> queue.Queue[Any]:
    answer: queue.Queue[Any] = queue.Queue()

    def work() -> None:
        try:
            answer.put(look())
        except Exception:  # noqa: BLE001 - a look that fails in any way must not keep the others
            answer.put(otherwise)

    # A thread that hangs must not keep this process.
    threading.Thread(target=work, daemon=True).start()
    return answer


def _now() -> float:
    return time.monotonic()
