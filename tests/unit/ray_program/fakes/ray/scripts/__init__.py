"""The place of `ray start`."""
