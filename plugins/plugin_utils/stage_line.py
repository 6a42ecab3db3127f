"""Lines about a stage, as plain ansible-playbook shows them and `mnrun` reads them."""

from __future__ import annotations


def lasting(stage: str, text: str) -> str:
    """A line that stays on the screen, even if it is a log's and begins as a passing one does."""
    return f"[{stage}] {' ' if text.startswith('…') else ''}{text}"


def passing(stage: str, text: str) -> str:
    """A line that the stage's next one replaces: how far it is, and what it waits for."""
    return f"[{stage}] … {text}"
