"""A chat template: rendering one as the trainers' tokenizers do, and what is wrong with one."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Iterator

from ..model.chat import special_tokens

_LONGEST = 1024 * 1024  # bytes
_QUESTION, _ANSWER = "What is two and three?", "It is five."
_SAMPLE = [
    {"role": "user", "content": _QUESTION},
    {"role": "assistant", "content": _ANSWER},
    {"role": "user", "content": _QUESTION},
]


def renderer(template: str, tokens: dict[str, str]) -> Any:
    """A function that makes a text of `messages`. Raises jinja2's TemplateSyntaxError."""
    from jinja2 import TemplateError  # noqa: PLC0415 - only in the training environment
    from jinja2.ext import Extension  # noqa: PLC0415
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    class Generation(Extension):
        """What an assistant says may be marked: {% generation %} … {% endgeneration %}."""

        tags = {"generation"}  # noqa: RUF012 - as jinja2 has it

        def parse(self, parser: Any) -> Any:
            """The marked part alone."""
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.filters["tojson"] = lambda value, **how: json.dumps(
        value, ensure_ascii=False, **how
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now(timezone.utc).strftime(form)
    made = environment.from_string(template)
    return lambda **given: made.render(**tokens, **given)


def read_template(path: Path) -> tuple[str, str]:
    """The text of a user's own template, and what is wrong with its file."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        return "", "it is not a regular file"  # a pipe may never end
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        return "", getattr(error, "strerror", None) or "it is not text in UTF-8"
    if len(text) > _LONGEST:
        return "", "it is larger than 1 MiB"
    return text, "" if text.strip() else "it is empty"


def template_faults(text: str, model: Path) -> Iterator[str]:
    """What is wrong with a template, by a conversation rendered with the model's special tokens."""
    from jinja2 import TemplateError, TemplateSyntaxError  # noqa: PLC0415

    try:
        render = renderer(text, special_tokens(model))
        made = render(messages=_SAMPLE, add_generation_prompt=True)
    except TemplateSyntaxError as error:
        yield f"line {error.lineno}: {error.message}"
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        yield f"it cannot render a conversation of a user and an assistant: {error}"
    else:
        lost = [said for said in (_QUESTION, _ANSWER) if said not in made]
        if lost:
            yield f"what it renders lacks a message's text ({lost[0]!r})"
