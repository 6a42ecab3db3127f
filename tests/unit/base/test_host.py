"""An address by its name, where there is one."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.host import host_name


@pytest.mark.parametrize("place", ["osk-gpu95", "", "not an address", "1.2.3"])
def test_a_name_stays_and_is_not_resolved(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(socket, "gethostbyaddr", lambda _address: pytest.fail("resolved"))
    assert host_name(place) == place


def test_an_address_has_the_name_of_its_host_or_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"10.0.0.3": "osk-gpu95.cluster", "fd00::3": "osk-gpu94"}

    def by_address(address: str) -> tuple[str, list[str], list[str]]:
        if address not in known:
            raise socket.herror(1, "Unknown host")
        return known[address], [], [address]

    monkeypatch.setattr(socket, "gethostbyaddr", by_address)
    names = [host_name(address) for address in ("10.0.0.3", "fd00::3", "10.0.0.4")]
    assert names == ["osk-gpu95", "osk-gpu94", "10.0.0.4"]
