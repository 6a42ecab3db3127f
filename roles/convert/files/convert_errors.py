"""What is reported when a conversion fails."""

from __future__ import annotations


class ConversionError(Exception):
    """What is wrong, where, and how to fix it, in one line."""
