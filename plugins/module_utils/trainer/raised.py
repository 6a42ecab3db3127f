"""The exceptions that a log shows: who raised what, and which one came from which. Pure.

Processes write into one log at the same time, each with a prefix of its own (`[rank0]: `,
`(WorkerDict pid=7) `): the lines of each are read apart. What ends a traceback is its exception,
whatever it is called; elsewhere only a line that begins with the name of an error is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Iterator, NamedTuple

_LONGEST_LINE = 2000  # characters of a line that are looked at
_LONGEST_TEXT = 400  # characters of an exception that are kept
_MESSAGE_LINES = 3  # at most, of a message that begins on the line after its type
_KEPT_LINES = 40  # before an exception

# What stands before a line: the process it comes from, the logger, the tree of an exception group.
_PROCESS = re.compile(r"\[(?:rank|default)\d+\]: ?|\([^()]{0,80}\bpid=\d+[^()]{0,80}\) ?|\d{1,4}: ")
_LOGGER = re.compile(
    r"(?:ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d (?:\[[^\]]{1,60}\]|\S{1,60}\]) ?"
    r"|\[?[EF]\d{4} \d\d:\d\d:\d\d\.\d+ \d* ?\S{1,120}\] ?"
)
_TREE = re.compile(r"(?: {2})+[|+](?: |$)")

_BEGIN = re.compile(r"(?:^|[: ])Traceback \(most recent call last\):$")
_HARMLESS = re.compile(r"\W*(?:WARN|INFO|DEBUG)|.{0,60}\b(?:WARN(?:ING)?|INFO|DEBUG)\b")
_PATIENCE = 3  # lines of others within a traceback
_PART = re.compile(r"\+-\+?-+ \d+ -+$")  # of an exception group
_FRAME = re.compile(r'File "[^"]{1,400}", line \d+|[\^~]+$')
_LINKS = {
    "The above exception was the direct cause of the following exception:": "cause",
    "During handling of the above exception, another exception occurred:": "context",
}
_ANY_TYPE = re.compile(r"[A-Za-z_][\w.]{0,200}(?:\([\w.]{1,100}\))?(?::|$)")
_ERROR = re.compile(
    r"(?:[\w.]{1,200}\.)?\w{0,100}(?:Error|Exception|ExceptionGroup)(?:\([\w.]{1,100}\))?(?::|$)"
    r"|Fatal Python error: |Could not override |Error executing job"
    r"|\[(?:PG ID|Rank) [^\]]{1,60}\] (?:Process group watchdog|Watchdog caught)"
    r"|(?:srun|slurmstepd): error"
    r"|\S{1,200}: (?:No module named|can't open file|error: unrecognized arguments)"
)
# Of a C++ exception, below its type; of a rank that the kernel ended, in the words of torchrun.
_INDENTED = re.compile(r"what\(\): |traceback : Signal 9 \(SIGKILL\)")
_OF_A_SHELL = re.compile(
    r": command not found$|: line \d+: .*: No such file or directory$"
    r"|: line \d+: +\d+ (?:Killed|Segmentation fault|Bus error|Aborted|Illegal instruction)\b"
)
_REPR = re.compile(r"""(\w{1,100}(?:Error|Exception))\((['"])(.*)\2,?\)$""")  # as hydra quotes it
_ORIGIN = re.compile(r"ray::\S{1,200} \(pid=\d+, ip=([\w.:-]{1,64})")


@dataclass(frozen=True)
class Raised:
    """One exception in a log."""

    at: int  # the number of its line
    text: str  # type and message, or the whole line of another error
    lines: list[int] = field(default_factory=list)  # of the log: what led to it, and the message
    raised: bool = False  # it ends a traceback
    link: str = ""  # to the one before it of the same process: "cause", "context" or none
    origin: str = ""  # the address of the node, if Ray names it
    process: str = ""

    @property
    def type(self) -> str:
        """The name of the exception, without its module."""
        return self.text.partition(":")[0].partition(" ")[0].rpartition(".")[2]

    @property
    def bare(self) -> bool:
        """It is a type without a message."""
        return self.raised and not re.search(r"[:(].", self.text)


class _Line(NamedTuple):
    number: int
    process: str
    body: str


def chains(lines: list[str]) -> list[list[Raised]]:
    """All exceptions by their first line; those that came from one another are one chain."""
    found: list[list[Raised]] = []
    for body in _by_process(lines).values():
        for one in _Stream(body).exceptions():
            if one.link and found and found[-1][-1].process == one.process:
                found[-1].append(one)
            else:
                found.append([one])
    return sorted(found, key=lambda chain: chain[0].at)


def _by_process(lines: list[str]) -> dict[str, list[_Line]]:
    streams: dict[str, list[_Line]] = {}
    for number, text in enumerate(lines):
        process, body = _split(text[:_LONGEST_LINE])
        streams.setdefault(process, []).append(_Line(number, process, body))
    return streams


def _split(text: str) -> tuple[str, str]:
    """The process that a line comes from, and what it wrote."""
    process = ""
    while True:
        match = _PROCESS.match(text)
        if match:
            process += match.group()
        match = match or _LOGGER.match(text) or _TREE.match(text)
        if not match:
            return process, text
        text = text[match.end() :]


class _Stream:
    """The lines of one process, read once."""

    def __init__(self, lines: list[_Line]) -> None:
        self._lines = lines
        self._base: int | None = None  # the indentation of the traceback that is open
        self._source = ""  # the last line of code that it showed
        self._link = ""
        self._origin = ""
        self._others = 0  # lines in it that were not its own

    def exceptions(self) -> Iterator[Raised]:
        """Each exception, in the order in which they were written."""
        for place, line in enumerate(self._lines):
            found = self._read(place, line)
            if found:
                yield found
                self._base, self._source, self._link = None, "", ""

    def _read(self, place: int, line: _Line) -> Raised | None:
        text = line.body.strip()
        indent = len(line.body) - len(line.body.lstrip())
        origin = _ORIGIN.search(text)
        self._origin = origin.group(1) if origin else self._origin
        if text in _LINKS:
            self._link = _LINKS[text]
        elif (_BEGIN.search(text) and not _HARMLESS.match(text)) or _PART.match(text):
            self._open(indent)
        elif self._base is not None and indent > self._base:
            self._source = self._source if _FRAME.match(text) else text
        elif indent and _FRAME.match(text):  # Ray shows frames without a header
            self._open(0)
        elif self._base is not None and _ANY_TYPE.match(text):
            return self._exception(place, line, raised=True)
        elif _INDENTED.match(text) or (not indent and _is_error(text)):
            return self._exception(place, line, raised=False)
        elif place and self._lines[place - 1].body.startswith("Error in call to target"):
            return self._quoted(line)
        else:
            self._others += 1
            self._base = self._base if self._others <= _PATIENCE else None
        return None

    def _open(self, base: int) -> None:
        self._base, self._source, self._others = base, "", 0

    def _exception(self, place: int, line: _Line, raised: bool) -> Raised:
        end, text = self._message(place, re.sub("^traceback : ", "", line.body.strip()))
        begin = max(0, place - _KEPT_LINES)
        found = Raised(
            at=line.number,
            text=text[:_LONGEST_TEXT],
            lines=[one.number for one in self._lines[begin : end + 1] if not _is_mark(one.body)],
            raised=raised,
            link=self._link,
            origin=self._origin,
            process=line.process,
        )
        if found.bare and self._source:
            return replace(found, text=f"{text.rstrip(':')}: {self._source}"[:_LONGEST_TEXT])
        return found

    def _message(self, place: int, text: str) -> tuple[int, str]:
        """Where the message ends, and the text: a message may begin on the next line."""
        end = place
        while text.endswith(":") and end - place < _MESSAGE_LINES and end + 1 < len(self._lines):
            following = self._lines[end + 1].body.strip()
            own = text.endswith(" raised:")  # and what that was
            if _BEGIN.search(following) or following in _LINKS:
                break
            if _ERROR.match(following) and not own:
                break
            if following.startswith(("===", '"""', "Set the environment variable HYDRA_")):
                break
            end, text = end + 1, f"{text} {following}"
        return end, text

    def _quoted(self, line: _Line) -> Raised | None:
        match = _REPR.match(line.body.strip())
        if not match:
            return None
        text = f"{match.group(1)}: {match.group(3)}"[:_LONGEST_TEXT]
        return Raised(line.number, text, [line.number], raised=True, process=line.process)


def _is_error(text: str) -> bool:
    return bool(_ERROR.match(text) or _OF_A_SHELL.search(text))


def _is_mark(body: str) -> bool:
    """Only `^` and `~` below a line of code."""
    return not body.strip(" ^~")
