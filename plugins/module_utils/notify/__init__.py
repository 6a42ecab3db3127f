"""Notifies people of the state of a run: by a command of their own, or a webhook."""
