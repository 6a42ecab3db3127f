"""A model's folder with a chat template of the user's own.

    with_template.py MODEL TEMPLATE FOLDER

FOLDER is made again each time: links to the model's files, beside the template and a tokenizer's
configuration that has it. What a trainer saves of its tokenizer then has the template, and so the
converted model, and PPO that starts from it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

CONFIG = "tokenizer_config.json"
TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")


def fill(model: Path, text: str, folder: Path) -> None:
    """Make the folder's entries."""
    for entry in sorted(model.iterdir()):
        if entry.name not in (CONFIG, *TEMPLATES):
            (folder / entry.name).symlink_to(entry)
    config = {}
    if (model / CONFIG).is_file():
        config = json.loads((model / CONFIG).read_text(encoding="utf-8"))
    config["chat_template"] = text
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / TEMPLATES[0]).write_text(text, encoding="utf-8")


def main() -> None:
    """Entry point. The folder is whole or the one before: a killed job leaves no half of it."""
    model, template, folder = (Path(word) for word in sys.argv[1:4])
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    old = folder.with_name(f"{folder.name}.old")
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir(parents=True)
    fill(model.absolute(), template.read_text(encoding="utf-8"), fresh)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    main()
