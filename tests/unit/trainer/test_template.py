"""A chat template of the user's own: what is refused, and the folder of a model that has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.preflight.check import check
from ansible_collections.mnrun.train.plugins.module_utils.trainer.template import (
    read_template,
    template_faults,
)

PROGRAM = Path(__file__).parents[3] / "roles" / "sft" / "files" / "with_template.py"
EACH = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("old")
    config = {"eos_token": {"content": "</s>"}, "bos_token": "<s>", "chat_template": "older"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    "text",
    [
        EACH,
        "{{ bos_token }}" + EACH + "{% if add_generation_prompt %}[assistant]{% endif %}",
        "{% generation %}" + EACH + "{% endgeneration %}",
        "{{ strftime_now('%Y') }}{{ messages | tojson(indent=2) }}",
        "{% for m in messages %}{% if false %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
        "{% if tools %}{{ tools }}{% endif %}{% if messages[0].role != 'user' %}"
        "{{ raise_exception('no') }}{% endif %}" + EACH,
    ],
)
def test_what_a_tokenizer_can_render_is_taken(model: Path, text: str) -> None:
    assert list(template_faults(text, model)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\n{% for m in messages %}", "line 2: Unexpected end of template"),
        ("{% unknown %}", "line 1: Encountered unknown tag 'unknown'"),
        ("{{ messages | no_such_filter }}", "line 1: No filter named 'no_such_filter'"),
        ("{{ raise_exception('roles must alternate') }}", "assistant: roles must alternate"),
        ("{{ messages[0].content + 1 }}", "it cannot render a conversation"),
        ("{{ nothing.at.all }}", "it cannot render a conversation"),
        ("always the same", "what it renders lacks a message's text ('What is two and three?')"),
        ("{{ messages[0].content }}", "lacks a message's text ('It is five.')"),
        ("{{ ''.__class__.__mro__ }}", "it cannot render a conversation"),
    ],
)
def test_what_it_cannot_is_refused(model: Path, text: str, words: str) -> None:
    (fault,) = template_faults(text, model)
    assert words in fault


def test_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "chat.jinja"
    assert read_template(path) == ("", "No such file or directory")
    assert read_template(tmp_path) == ("", "Is a directory")
    for content, why in ((b"", "it is empty"), (b"\xff", "it is not text in UTF-8")):
        path.write_bytes(content)
        assert read_template(path)[1] == why
    path.write_bytes(b" " * 1024 * 1025)
    assert read_template(path)[1] == "it is larger than 1 MiB"
    path.unlink()
    os.mkfifo(path)
    assert read_template(path)[1] == "it is not a regular file"


def test_the_checks_report_it(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "chat.jinja"
    path.write_text("{% for %}")
    given: dict[str, Any] = {
        "model": str(model), "other_models": [], "train_files": [], "test_files": [],
        "trainers": [], "slurm": [], "chat_template": str(path),
    }  # fmt: skip

    def nothing(*_: Any) -> Any:
        raise AssertionError

    faults = check(given, nothing).faults
    assert any(one.startswith(f"mnrun_chat_template: {path}: line 1: ") for one in faults), faults


def test_the_folder_of_links_has_it_and_is_made_again(model: Path, tmp_path: Path) -> None:
    chat, folder = tmp_path / "chat.jinja", tmp_path / "sft" / "model-with-template"
    (model / "chat_template.json").write_text("{}")
    for text, name in (("one é", "a.safetensors"), ("two", "b.safetensors")):
        chat.write_text(text)
        (model / name).write_text(name)
        subprocess.run([sys.executable, PROGRAM, model, chat, folder], check=True)
        assert (folder / "chat_template.jinja").read_text() == text
        read = json.loads((folder / "tokenizer_config.json").read_text())
        assert read == {
            "eos_token": {"content": "</s>"}, "bos_token": "<s>", "chat_template": text,
        }  # fmt: skip
        assert (folder / name).read_text() == name
        (model / name).unlink()
    assert sorted(path.name for path in folder.iterdir()) == [
        "b.safetensors", "chat_template.jinja", "config.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert [path.name for path in folder.parent.iterdir()] == ["model-with-template"]
    assert (model / "chat_template.jinja").read_text() == "old"
