"""Measurements; no part of the wheel."""
