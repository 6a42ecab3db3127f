"""What a trainer would make of the rows and the model, beside their being there and intact."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator

from ..model.chat import chat_template, own_code
from .lengths import too_long
from .reads import Reads

_NO_DEFAULT_TEMPLATE = (4, 44)  # the transformers that has no chat template of its own any more


def content_faults(reads: Reads, model: Path) -> list[str]:
    """The faults of intact files and an intact model (or one that is not known, Path())."""
    files = [*reads.train_files, *reads.test_files]
    faults = list(_source_faults(reads, files))
    if (model / "config.json").is_file():
        faults += _code_faults(reads, model)
        template = reads.template or chat_template(model)
        if reads.chats and not template and _needs_template():
            faults.append(_no_template(reads, model))
        elif reads.limit is not None and template:
            faults += too_long(reads.limit, files, model, template)
    return [f"{reads.stage}: {fault}" for fault in faults]


def _source_faults(reads: Reads, files: list[Path]) -> Iterator[str]:
    if reads.scored is None:
        return
    for path in files:
        there = sorted(_distinct(path, reads.source))
        unknown = [source for source in there if not reads.scored.knows(source)]
        if unknown:
            shown = ", ".join(map(repr, unknown[:5]))
            yield (
                f"{path}: the trainer has no reward function for {reads.source} {shown}; name yours"
                f" in custom_reward_function.path, or give the rows a {reads.source} that it scores"
                f" ({', '.join(sorted(reads.scored.names)[:4])}, …)"
            )


def _distinct(path: Path, column: str) -> set[str]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only in the training environment

    found: set[str] = set()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=[column]):
            found.update(str(value) for value in batch.column(0).unique().to_pylist())
    return found


def _needs_template() -> bool:
    try:
        major, minor = metadata.version("transformers").split(".")[:2]
        return (int(major), int(minor)) >= _NO_DEFAULT_TEMPLATE
    except (metadata.PackageNotFoundError, ValueError):
        return False


def _no_template(reads: Reads, model: Path) -> str:
    option = f"set {reads.template_option}, or " if reads.template_option else ""
    return (
        f"{model} has no chat template, which the trainer needs to make a text of each prompt:"
        f" {option}use an instruction-tuned model, or put a chat_template.jinja into its folder"
    )


def _code_faults(reads: Reads, model: Path) -> Iterator[str]:
    kind = own_code(model)
    if kind and not reads.trusts and not _built_in(kind):
        yield (
            f"{model} brings its own code (auto_map in config.json, model type {kind}), which the"
            f" trainer runs only with {reads.trust_option}=true; read that code first"
        )


def _built_in(kind: str) -> bool:
    """Whether transformers has a model of this type itself, which it then takes."""
    found = find_spec("transformers")
    if found is None or not found.origin:
        return True
    listed = Path(found.origin).parent / "models" / "auto" / "configuration_auto.py"
    return not listed.is_file() or f'"{kind}"' in listed.read_text(encoding="utf-8")
