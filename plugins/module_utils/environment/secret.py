"""Is the value of a variable a secret? By the parts of its name and the form of the value. Pure.

A false alarm stops a training, so what only looks like one is let through: numbers, switches, paths
of files, words in brackets (`PAD_TOKEN=<pad>`).
"""

from __future__ import annotations

import re
from typing import Any

# Parts of a name, in upper case. The last part decides for the words that mean other things too.
_ANYWHERE = re.compile(
    r"\w*(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|APIKEY|ACCESSKEY|SECRETKEY|PRIVATEKEY)"
    r"|PASS|PWD|CREDENTIALS?|JWT|BEARER"
)
_LAST = re.compile(r"KEYS?|PAT|AUTH|COOKIE|CREDS?|PW")
# What such a value is about, if it is not the secret itself.
_ABOUT = re.compile(
    r"FILE(?:NAME)?|PATH|DIR|FOLDER|ID|NAME|MODE|TYPE|LIMIT|LEN(?:GTH)?|SIZE|COUNT|MAX|MIN|TTL|TIMEOUT"
    r"|FORMAT|PARALLELISM|HELPER|STORE|PROVIDER|SOURCE|ALGORITHM|REGION|PREFIX|SUFFIX|SOCK|ENABLED"
    r"|DISABLED|POLICY|STRATEGY|STYLE|CLASS|IDX|INDEX|SIDE"
)
# Keys that open nothing.
_OF_DATA = re.compile(
    r"SORT|PRIMARY|FOREIGN|PUBLIC|CACHE|PARTITION|GROUP|INDEX|DICT|CONFIG|METRIC|DATA|DATASET|COLUMN"
    r"|PROMPT|RESPONSE|MESSAGES?|REWARD|LABEL|TEXT|INPUT|OUTPUT|IMAGE|VIDEO|QUESTION|ANSWER|BATCH|MAP"
)
_HARMLESS = re.compile(
    r"[-+]?[\d.,:_]*|true|false|yes|no|on|off|auto|none|null|<[^<>]*>|\[[^\[\]]*\]"
    r"|(?:~|\.{1,2}|\$\w+|\$\{\w+\})?/[^/]\S*|\S*[*?{]\S*",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"[A-Za-z0-9/+=]{40}")  # as AWS writes its keys, which may begin with a slash
_PASSWORD, _SHORTEST = re.compile(r"\w*PASS(?:WORD|WD)?|PWD"), 4  # may be a number of this length
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

_USERINFO = re.compile(r"[a-zA-Z][\w+.-]*://[^/?#@\s:]*:[^/?#@\s]+@")
_PROXY_USERINFO = re.compile(r"[^/@\s:]+:[^/@\s]+@[\w.\[-]")  # without a scheme, as proxies may be
_KNOWN = re.compile(
    r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}"
    r"|gl(?:pat|dt|rt|ptt|soat)-[\w-]{16,}|sk-[\w-]{16,}|[spr]k_(?:live|test)_\w{16,}"
    r"|xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}|AIza[\w-]{30,}|ya29\.[\w-]{16,}|npm_\w{30,}|pypi-[\w-]{30,}"
    r"|dckr_pat_[\w-]{16,}|nvapi-[\w-]{16,}|r8_\w{30,}|gsk_\w{30,}|dapi[0-9a-f]{32}|dop_v1_[0-9a-f]{60,}"
    r"|hv[sb]\.[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]{16,}|ATATT3[\w-]{16,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}"
    r"|AGE-SECRET-KEY-\w{16,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|hooks\.slack\.com/services/\w"
    r"|discord(?:app)?\.com/api/webhooks/\d"
)
_WITHIN = re.compile(
    r"(?i)\b(?:password|passwd|pwd|secret|api[_-]?key|access[_-]?token)['\"]?\s*[=:]\s*['\"]?[^\s'\"]{6}"
    r"|\bbearer\s+[\w.~+/-]{8}|\bauthorization:\s*basic\s+\w{4}"
)


def secret_fault(name: str, value: Any) -> str:
    """Why the value of a variable must not be written into a script that others can read; empty if
    it may be."""
    text = str(value).strip()
    parts = [part for part in _CAMEL.sub("_", name).upper().split("_") if part]
    if _USERINFO.search(text) or (_is_address(parts) and _PROXY_USERINFO.match(text)):
        return "contains a password in its address"
    if _KNOWN.search(text) or _WITHIN.search(text):
        return "contains a secret"
    if isinstance(value, bool) or not _names_a_secret(parts):
        return ""
    number = _PASSWORD.fullmatch(parts[-1]) and text.isdigit() and len(text) >= _SHORTEST
    harmless = _HARMLESS.fullmatch(text) and not _BASE64.fullmatch(text) and not number
    return "" if harmless else "is a secret by its name"


def _names_a_secret(parts: list[str]) -> bool:
    while parts and parts[-1].isdigit():  # HF_TOKEN_2
        parts = parts[:-1]
    if not parts or _ABOUT.fullmatch(parts[-1]):
        return False
    if len(parts) > 1 and parts[-1] in ("KEY", "KEYS") and _OF_DATA.fullmatch(parts[-2]):
        return False
    return bool(_LAST.fullmatch(parts[-1]) or any(map(_ANYWHERE.fullmatch, parts)))


def _is_address(parts: list[str]) -> bool:
    return bool(parts) and parts[-1] in ("PROXY", "URL", "URI", "DSN")
