"""The filter that puts a home folder in the place of ``~``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: expand_home
short_description: Replace ~ by a home folder
description:
  - Replaces C(~) alone and C(~/) at the start of a text with the given home folder, also in the
    texts inside lists and mappings. Everything else stays as it is.
  - Quoted values are never expanded by a shell, and the home folder on the cluster is not the one
    of the machine that Ansible runs on.
author: The mnrun authors (@mnrun)
positional: home
options:
  _input:
    description: A text, or a list or mapping that contains texts.
    type: raw
    required: true
  home:
    description: The home folder on the cluster, an absolute path.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: A path on the cluster
  ansible.builtin.debug:
    msg: "{{ '~/model' | mnrun.train.expand_home('/home/alice') }}"
  # /home/alice/model
"""

RETURN = r"""
_value:
  description: The same value with the home folder written out.
  type: raw
"""


def expand_home(value: Any, home: str) -> Any:
    """Give `value` with a leading ``~`` of each text replaced by `home`."""
    if not isinstance(home, str) or not home.startswith("/"):
        raise AnsibleFilterError(
            f"expand_home wants the absolute path of a home folder, not {home!r}: "
            f"give it the `home` that the role environment returned."
        )
    return _expand(value, home.rstrip("/"))


def _expand(value: Any, home: str) -> Any:
    if isinstance(value, str):
        return home + value[1:] if value == "~" or value.startswith("~/") else value
    if isinstance(value, Mapping):
        return {key: _expand(item, home) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_expand(item, home) for item in value]
    return value


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"expand_home": expand_home}
