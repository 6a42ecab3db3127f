"""How a model's folder turns a conversation into text, and whether it brings code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .weights import read_json


def chat_template(folder: Path) -> str:
    """The folder's chat template in Jinja2; empty if it has none."""
    for name in ("chat_template.jinja", "chat_template.json"):
        file = folder / name
        if file.is_file():
            return _of_file(file)
    read = read_json(folder / "tokenizer_config.json")
    return _of_value(read.get("chat_template")) if isinstance(read, dict) else ""


def _of_file(file: Path) -> str:
    if file.suffix == ".json":
        read = read_json(file)
        return _of_value(read.get("chat_template")) if isinstance(read, dict) else ""
    return file.read_text(encoding="utf-8", errors="replace")


def _of_value(value: Any) -> str:
    """A template, or the default one of several with names."""
    if isinstance(value, list):
        named = {each.get("name"): each.get("template") for each in value if isinstance(each, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else ""


def special_tokens(folder: Path) -> dict[str, str]:
    """The special tokens that a template may name: bos_token, eos_token, …"""
    read = read_json(folder / "tokenizer_config.json")
    items = read.items() if isinstance(read, dict) else ()
    tokens = {
        name: value.get("content") if isinstance(value, dict) else value
        for name, value in items
        if name.endswith("_token")
    }
    return {name: token for name, token in tokens.items() if isinstance(token, str)}


def own_code(folder: Path) -> str:
    """The kind of a model that brings its own code (`auto_map`); empty for any other."""
    read = read_json(folder / "config.json")
    if not isinstance(read, dict) or not read.get("auto_map"):
        return ""
    return str(read.get("model_type") or "of an unnamed type")
