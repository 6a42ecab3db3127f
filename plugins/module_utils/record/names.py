"""Names of stages and of states that are not shown like the others."""

from __future__ import annotations

RELAYS = ("relay", "relay-2", "relay-3", "relay-login")
"""Stages of those that continue a run which was handed over."""

SERVICES = ("environment", "ray", *RELAYS)
"""Stages without a result of their own."""

DONE = ("COMPLETED", "SUCCEEDED")
"""States of jobs that need no mention beside their result."""
