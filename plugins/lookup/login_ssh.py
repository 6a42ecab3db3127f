"""The lookup that gives how ssh reaches the login node, and the nodes behind it."""

from __future__ import annotations

import shlex
from typing import Any

from ansible import constants
from ansible.plugins.loader import connection_loader
from ansible.plugins.lookup import LookupBase

from ..plugin_utils.login_ssh import LoginSsh, head_args, login_words

DOCUMENTATION = r"""
name: login_ssh
short_description: How ssh reaches the login node, and through it the nodes behind it
description:
  - Returns the options with which Ansible's connection plugin C(ssh) reaches the host of the play,
    wherever they were set (variables under any of their names, environment, ansible.cfg, command
    line), and those with which ssh reaches a host behind it.
author: The mnrun authors
version_added: 0.1.0
options:
  _terms:
    description: None.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Add a compute node to the inventory
  ansible.builtin.add_host:
    name: node
    ansible_host: osk-gpu94
    ansible_ssh_common_args: "{{ lookup('mnrun.train.login_ssh').head.ssh_common_args }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping with the plugin's options C(host), C(port), C(remote_user), C(private_key_file),
      C(host_key_checking), C(ssh_executable), C(ssh_args), C(ssh_common_args), C(ssh_extra_args).
    - C(head) has the last three of a host behind this one. C(words) is what a user types behind
      C(ssh) to reach this one.
  type: list
  elements: dict
"""

_PLUGIN = {"plugin_type": "connection", "plugin_name": "ssh"}
_LOCAL = ("local", "ansible.builtin.local")


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(
        self,
        terms: list[Any],  # noqa: ARG002 - Ansible gives all three
        variables: Any = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Give one mapping, so that `lookup` returns it as it is."""
        given = variables or {}
        connection_loader.get("ssh", class_only=True)  # Ansible knows its options from then on
        login = LoginSsh(**{name: self._option(name, given) for name in LoginSsh._fields})
        here = self._templar.template(given.get("ansible_connection", "ssh")) in _LOCAL
        return [
            {
                **login._asdict(),
                "head": head_args(login, here)._asdict(),
                "words": shlex.join(login_words(login)),
            }
        ]

    def _option(self, name: str, given: Any) -> Any:
        """One option as the plugin itself would find it."""
        defined = constants.config.get_configuration_definitions("connection", "ssh")
        known = [entry["name"] for entry in defined[name].get("vars", [])]
        values = {key: self._templar.template(given[key]) for key in known if key in given}
        return constants.config.get_config_value(name, variables=values, **_PLUGIN)
