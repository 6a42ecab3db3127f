"""Telling people how it is with a run: by a command of theirs, or a webhook."""
