"""The filter that makes one shell command of a list of words."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: shell_join
short_description: Make one shell command of a list of words
description:
  - Quotes each word for a POSIX shell where it needs it, and joins them with blanks.
author: The mnrun authors (@mnrun)
options:
  _input:
    description: The command and its arguments.
    type: list
    elements: raw
    required: true
"""

EXAMPLES = r"""
- name: A command that is safe to write into a script
  ansible.builtin.debug:
    msg: "{{ ['python', '-c', 'print(1)'] | mnrun.train.shell_join }}"
  # python -c 'print(1)'
"""

RETURN = r"""
_value:
  description: The command.
  type: str
"""


def shell_join(words: Any) -> str:
    """Give the words as one command; numbers are written out."""
    if not isinstance(words, (list, tuple)):
        raise AnsibleFilterError(
            f"shell_join wants a list of words, not {type(words).__name__}: put it in [ ]."
        )
    return shlex.join(str(word) for word in words)


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"shell_join": shell_join}
