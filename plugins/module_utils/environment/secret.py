"""Is the value of a variable a secret? By the parts of its name and the form of the value. Pure.

A false alarm stops a training, so what only looks like one is let through: numbers, switches, paths
of files, words in brackets (`PAD_TOKEN=<pad>`).
"""

from __future__ import annotations

import re
from typing import Any, Iterator, Mapping

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
    r"|(?:~|\.{1,2}|\$\w+|\$\{\w+\})?/[^/]\S*|[^\s*?{]*[*?{]\S*",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"[A-Za-z0-9/+=]{40}")  # as AWS writes its keys, which may begin with a slash
_PASSWORD, _SHORTEST = re.compile(r"\w*PASS(?:WORD|WD)?|PWD"), 4  # may be a number of this length
_LONGEST = 1 << 17  # characters that are looked at: more than a variable may have
_LONG_KEY = 16  # characters of a key that has digits, and is no column
_OF_SERVICE = re.compile(r"API|ACCESS|SECRET|PRIVATE|AUTH|SIGNING|ENCRYPTION|OPENAI|WANDB|HF|AWS")
_BETWEEN = re.compile(r"[^A-Z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

_USERINFO = re.compile(r"[a-zA-Z][\w+.-]{0,30}://[^/?#@\s:]*:[^/?#@\s]+@")
_PROXY_USERINFO = re.compile(r"[^/@\s:]+:[^/@\s]+@[\w.\[-]")  # without a scheme, as proxies may be
_KNOWN = re.compile(
    r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}"
    r"|gl(?:pat|dt|rt|ptt|soat)-[\w-]{16,}|sk-[\w-]{16,}|[spr]k_(?:live|test)_\w{16,}"
    r"|xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}|AIza[\w-]{30,}|ya29\.[\w-]{16,}|npm_\w{30,}|pypi-[\w-]{30,}"
    r"|dckr_pat_[\w-]{16,}|nvapi-[\w-]{16,}|r8_\w{30,}|gsk_\w{30,}|dapi[0-9a-f]{32}|dop_v1_[0-9a-f]{60,}"
    r"|hv[sb]\.[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]{16,}|ATATT3[\w-]{16,}|(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}"
    r"|AGE-SECRET-KEY-\w{16,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|hooks\.slack\.com/services/\w"
    r"|discord(?:app)?\.com/api/webhooks/\d"
)
_WITHIN = re.compile(
    r"(?i)(?:password|passwd|pwd|secret|(?:api|account|access)[_-]?key"
    r"|access[_-]?token)['\"]?\s*[=:]\s*['\"]?[^\s'\"]{6}"
    r"|[?&](?:sig|x-amz-signature)=[\w%+/-]{16}"  # of an address that opens by itself
    r"|\bbearer\s+[\w.~+/-]{8}|\bauthorization:\s*basic\s+\w{4}"
)


def secret_fault(name: str, value: Any, of_trainer: bool = False) -> str:
    """Why the value of a variable must not be written into a script that others can read; empty if
    it may be. `of_trainer`: it is an option of a trainer, whose keys are mostly columns."""
    text = str(value).strip()[:_LONGEST]
    parts = [part for part in _BETWEEN.split(_CAMEL.sub("_", name[-_LONGEST:]).upper()) if part]
    if of_trainer and parts[-1:] in (["KEY"], ["KEYS"]) and not _opens(parts, text):
        parts = []
    if _USERINFO.search(text) or (_is_address(parts) and _PROXY_USERINFO.match(text)):
        return "contains a password in its address"
    if _KNOWN.search(text) or _WITHIN.search(text):
        return "contains a secret"
    if isinstance(value, bool) or not _names_a_secret(parts):
        return ""
    number = _PASSWORD.fullmatch(parts[-1]) and text.isdigit() and len(text) >= _SHORTEST
    harmless = _HARMLESS.fullmatch(text) and not _BASE64.fullmatch(text) and not number
    return "" if harmless else "is a secret by its name"


def inner_secrets(value: Any, name: str = "", of_trainer: bool = False) -> Iterator[str]:
    """The same for everything in a mapping: a line for each secret, which names it by its key.
    Texts such as `A=1,B=2`, as sbatch's export has them, are looked into too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from inner_secrets(item, f"{name}.{key}" if name else str(key), of_trainer)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from inner_secrets(item, name, of_trainer)
    else:
        texts = value.split(",") if isinstance(value, str) else []
        pairs = [text.partition("=")[::2] for text in texts if "=" in text]
        pairs.append((name, value))
        for key, item in pairs:
            fault = secret_fault(key, item, of_trainer)
            if fault:
                yield f"{key.strip() or name} {fault}"
                return


def _opens(parts: list[str], text: str) -> bool:
    """Whether a key is one of a service, and not the name of a column."""
    return bool(
        (len(parts) > 1 and _OF_SERVICE.fullmatch(parts[-2]))
        or (len(text) >= _LONG_KEY and re.search(r"[0-9]", text))
    )


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
