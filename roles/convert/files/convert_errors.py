"""What a user is told when a conversion fails."""

from __future__ import annotations


class ConversionError(Exception):
    """What is wrong, where, and how to mend it, in one line."""
