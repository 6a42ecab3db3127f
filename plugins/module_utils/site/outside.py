"""Whether hosts outside of the site answer, and the keys for them that this user has."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Mapping
from urllib.parse import urlsplit

HUB = "huggingface.co"
_LIMIT = 4.0  # seconds


def reaches(host: str, environment: Mapping[str, str]) -> bool:
    """Whether a connection to `host` can be opened, or to the proxy that leads there."""
    proxy = environment.get("https_proxy") or environment.get("HTTPS_PROXY") or ""
    try:
        at = urlsplit(proxy if "://" in proxy else f"//{proxy}") if proxy else None
        target = (at.hostname or host, at.port or 80) if at else (host, 443)
        with socket.create_connection(target, timeout=_LIMIT):
            return True
    except (OSError, ValueError):
        return False


def wandb_key(home: Path) -> str:
    """The file with this user's key for W&B; empty if there is none. The key is not returned."""
    try:
        if "machine api.wandb.ai" in (home / ".netrc").read_text("utf-8", "replace"):
            return str(home / ".netrc")
    except OSError:
        pass
    kept = home / ".config" / "wandb" / "key"
    return str(kept) if kept.is_file() else ""
