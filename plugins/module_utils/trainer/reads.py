"""What a trainer reads, and what its options say about it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .estimate import Saves
from .scores import Scored

CHAT = "chat"  # a list of {role, content}
TEXT = "text"
ANY = "any"


class Field(NamedTuple):
    """What a trainer reads of each row: a dotted path, and CHAT, TEXT or ANY."""

    path: str
    kind: str


class Limit(NamedTuple):
    """An option that bounds the tokens of a row; `chat` and `answer` are dotted paths to its text:
    a list of messages or the question, and what follows it."""

    option: str
    most: int
    chat: str
    answer: str = ""


class OwnReward(NamedTuple):
    """A reward function of a user's own, and how the trainer calls it."""

    path: str
    name: str
    option: str  # the one with the name
    names: tuple[str, ...] = ()  # of its arguments; empty: not known
    extra: tuple[str, ...] = ()  # further ones that the options name
    by_place: bool = False  # `names` are not given by name


class Reads(NamedTuple):
    """What a trainer reads. `batch` is in rows; fewer rows than one batch give no step at all."""

    stage: str
    train_files: list[Path]
    test_files: list[Path]
    fields: list[Field]
    batch: int  # 0: not known
    saves: Saves
    faults: tuple[str, ...] = ()  # of its options
    least_test: int = 1  # rows to validate on
    chats: bool = True  # it makes texts of conversations by the model's template
    template: str = ""  # one that an option gives
    template_option: str = ""
    trusts: bool = False  # it runs code that a model brings
    trust_option: str = ""
    limit: Limit | None = None  # of a row's tokens
    source: str = ""  # the column that chooses the reward function
    parquet: bool = True  # otherwise its files are only looked for
    scored: Scored | None = None  # None: that is not the trainer's to know
    reward: OwnReward | None = None
