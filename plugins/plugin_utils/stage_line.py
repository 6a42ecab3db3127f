"""Lines about a stage, as plain ansible-playbook shows them and `mnrun` reads them."""

from __future__ import annotations


def lasting(stage: str, text: str) -> str:
    """A line that stays on the screen."""
    return f"[{stage}] {text}"


def passing(stage: str, text: str) -> str:
    """A line that the stage's next one replaces: how far it is, and what it waits for."""
    return f"[{stage}] … {text}"
