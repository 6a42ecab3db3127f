"""Model folders and the identity of their content."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.model import identity
from ansible_collections.mnrun.train.plugins.module_utils.model.folder import model_faults, nearest
from ansible_collections.mnrun.train.plugins.module_utils.model.weights import (
    INDEX,
    file_fault,
    safetensors_fault,
    torch_fault,
)

from tests.helpers.checkpoints import safetensors as header_of_weights
from tests.helpers.checkpoints import write_hf
from tests.helpers.models import safetensors

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def sharded(model: Path, index: str, *names: str) -> None:
    weights = {f"w{number}": name for number, name in enumerate(names)}
    (model / index).write_text(json.dumps({"weight_map": weights}))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    safetensors(folder / "model.safetensors")
    return folder


def test_a_whole_model_has_no_faults(model: Path) -> None:
    assert model_faults(model) == []


def test_whole_shards_of_either_kind_have_no_faults(model: Path) -> None:
    (model / "model.safetensors").rename(model / "a.safetensors")
    safetensors(model / "b.safetensors")
    sharded(model, "model.safetensors.index.json", "a.safetensors", "b.safetensors")
    assert model_faults(model) == []
    for path in model.glob("*safetensors*"):
        path.unlink()
    with zipfile.ZipFile(model / "a.bin", "w") as archive:
        archive.writestr("data.pkl", "x")
    (model / "b.bin").write_bytes(b"\x80\x02 a pickle of torch before 1.6")
    sharded(model, "pytorch_model.bin.index.json", "a.bin", "b.bin")
    assert model_faults(model) == []


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def missing_shard(model: Path) -> None:
    sharded(model, "model.safetensors.index.json", "model.safetensors", "no.safetensors")


def half_a_zip(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(b"PK\3\4 cut off")


def pointers(model: Path) -> None:
    (model / "model.safetensors").write_text(POINTER)
    (model / "tokenizer.json").write_text(POINTER)


def nothing_but_config(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("spoil", "faults"),
    [
        (lambda m: truncate(m / "model.safetensors"), [["model.safetensors", "copy or download"]]),
        (missing_shard, [["no.safetensors is missing"]]),
        (half_a_zip, [["pytorch_model.bin", "truncated"]]),
        (pointers, [["model.safetensors, tokenizer.json only point", "git lfs pull"]]),
        (lambda m: (m / "config.json").write_text("{"), [["config.json", "missing or damaged"]]),
        (nothing_but_config, [["no tokenizer"], ["no weights"]]),
        (lambda m: sharded(m, "model.safetensors.index.json"), [["names no weights"]]),
    ],
)
def test_every_fault_names_its_file(
    model: Path, spoil: Callable[[Path], None], faults: list[list[str]]
) -> None:
    spoil(model)
    found = model_faults(model)
    assert len(found) == len(faults)
    for fault, words in zip(found, faults, strict=True):
        assert str(model) in fault
        assert all(word in fault for word in words), fault


@pytest.mark.parametrize("shards", [1, 3])
def test_a_whole_model_of_a_training_has_no_faults(tmp_path: Path, shards: int) -> None:
    write_hf(tmp_path, shards)
    assert model_faults(tmp_path, advice="") == []


def test_every_fault_of_a_model_is_named_at_once(tmp_path: Path) -> None:
    write_hf(tmp_path, 3)
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "model-0-of-3.safetensors").unlink()
    (tmp_path / "model-1-of-3.safetensors").write_bytes(header_of_weights()[:-4])
    text = "\n".join(model_faults(tmp_path, advice=""))
    for words in ("config.json is missing or damaged", "contains no tokenizer", "model-0-of-3"):
        assert words in text
    assert "it has 116 bytes; according to its header, 120" in text


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": 3}'])
def test_an_index_without_weights_is_a_fault(tmp_path: Path, index: str) -> None:
    write_hf(tmp_path)
    (tmp_path / INDEX).write_text(index)
    assert model_faults(tmp_path, advice="") == [f"{tmp_path / INDEX} names no weights"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 8) + b'{"a": 1}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
    ],
)
def test_what_is_no_safetensors_file_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    assert "does not start with a safetensors header" in safetensors_fault(path)


def test_a_file_with_holes_is_damaged_though_its_directory_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(9):
            archive.writestr(f"a/data/{number}", b"weights" * 99)
    assert torch_fault(path) == ""
    whole = path.read_bytes()
    start = whole.index(b"PK\x01\x02")
    for begin, end in ((0, start), (0, 400), (start - 800, start), (start, start + 40)):
        path.write_bytes(whole[:begin] + bytes(end - begin) + whole[end:])
        assert torch_fault(path) == f"{path} is truncated or damaged"
    path.write_bytes(whole[:300] + whole[-300:])
    assert torch_fault(path) != ""


def with_hole(path: Path, content: bytes, begin: int, end: int) -> None:
    """Write a file without blocks from `begin` to `end`."""
    with path.open("wb") as stream:
        stream.write(content[:begin])
        stream.seek(end)
        stream.write(content[end:])
    with path.open("rb") as stream:
        hole = os.lseek(stream.fileno(), 0, os.SEEK_HOLE)
    assert hole < len(content), "this file system keeps no holes"


def archive_of(path: Path, middle: bytes) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"pickled")
        archive.writestr("a/data/0", middle)
        archive.writestr("a/version", b"3")
    return path.read_bytes()


def test_a_hole_within_an_entry_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    content = archive_of(path, os.urandom(200_000))
    with_hole(path, content, 65536, 131072)
    assert torch_fault(path) == f"{path} is truncated or damaged"
    assert file_fault(path) == torch_fault(path)


def test_zeros_that_a_file_system_keeps_as_a_hole_are_whole(tmp_path: Path) -> None:
    """Moments of an optimizer that are all zero, where zeros are compressed."""
    path = tmp_path / "a.pt"
    content = archive_of(path, bytes(200_000))
    with_hole(path, content, 65536, 131072)
    assert path.read_bytes() == content
    assert torch_fault(path) == ""


def test_a_hole_proves_nothing_in_an_archive_without_checksums(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    content = archive_of(path, os.urandom(200_000))
    # As torch.serialization.set_crc32_options(False) writes it: in the directory at the end.
    start = content.rindex(b"PK\x01\x02", 0, content.index(b"PK\x01\x02") + 4)
    bare = bytearray(content)
    while bare[start : start + 4] == b"PK\x01\x02":
        bare[start + 16 : start + 20] = b"none"
        sizes = struct.unpack("<HHH", bare[start + 28 : start + 34])
        start += 46 + sum(sizes)
    with_hole(path, bytes(bare), 65536, 131072)
    assert torch_fault(path) == ""


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert torch_fault(tmp_path / "a.pt") == f"{tmp_path / 'a.pt'} is missing"
    assert safetensors_fault(tmp_path / "a") == f"{tmp_path / 'a'} is missing"


def test_a_missing_folder_shows_what_is_there_instead(model: Path) -> None:
    wanted = model.with_name("small") / "x"
    assert model_faults(wanted) == [
        f"there is no model folder {wanted}; {model.parent} contains: tiny"
    ]
    assert nearest(model / "a" / "b").startswith(f"{model} contains: config.json, ")


def test_an_identity_follows_from_names_and_content_alone(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / ".cache").write_text("hidden files do not count")
    (copy / "sub").mkdir()
    before = identity.folder_identity(model)
    assert identity.folder_identity(copy) == before
    safetensors(copy / "model.safetensors", fill=b"\1")
    changed = identity.folder_identity(copy)
    (model / "config.json").rename(model / "other.json")
    assert len({before, changed, identity.folder_identity(model)}) == 3


def test_large_files_count_by_blocks_to_their_very_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "WHOLE", 1000)
    monkeypatch.setattr(identity, "BLOCKS", 8)
    monkeypatch.setattr(identity, "BLOCK", 16)
    path = tmp_path / "weights"
    data = bytes(range(256)) * 16
    path.write_bytes(data)
    before = identity.file_identity(path)
    assert identity.file_identity(path) == before
    for changed in (b"x" + data[1:], data[:-1] + b"x", data + b"x"):
        path.write_bytes(changed)
        assert identity.file_identity(path) != before


@pytest.mark.parametrize("name", ["../model-1.safetensors", "/model-1.safetensors", "", 7])
def test_an_index_names_files_of_its_own_folder_only(model: Path, name: object) -> None:
    sharded(model, INDEX, "model-1.safetensors")
    (model / INDEX).write_text(json.dumps({"weight_map": {"w": name}}))
    (fault,) = model_faults(model)
    assert fault.startswith(f"{model / INDEX} ")
    (model / INDEX).write_text(
        json.dumps({"weight_map": {"w": "model-1.safetensors", "v": "../x"}})
    )
    (fault,) = model_faults(model)
    assert "'../x' is not a path within a folder" in fault
