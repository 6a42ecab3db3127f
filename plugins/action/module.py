"""Runs a module of this collection that has no action plugin of its own (meta/runtime.yml)."""

from __future__ import annotations

from ansible.plugins.action.normal import ActionModule as Normal

from ..plugin_utils.answer import AnswerAction


class ActionModule(AnswerAction, Normal):
    """As Ansible does, but for what a site's shell prints around the answer."""
