"""What identifies a trainer and the files that its options name: content, not place."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.preflight.code import (
    named_files,
    version_of,
)


def test_the_content_of_a_named_file_counts_and_its_place_does_not(tmp_path: Path) -> None:
    first, second = tmp_path / "reward.py", tmp_path / "elsewhere" / "r.py"
    second.parent.mkdir()
    for path in (first, second):
        path.write_text("def compute_score(): return 1\n")
    found = named_files({"custom_reward_function.path": str(first), "lr": 1, "name": "x"})
    assert list(found) == ["custom_reward_function.path"]
    assert named_files({"custom_reward_function.path": str(second)}) == found
    assert named_files({"custom_reward_function.path": f"file://{second}"}) == found
    second.write_text("def compute_score(): return 2\n")
    assert named_files({"custom_reward_function.path": str(second)}) != found


def test_files_in_a_list_count_and_folders_only_if_they_are_models(tmp_path: Path) -> None:
    tools = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in tools:
        path.write_text(path.name)
    model, dumps = tmp_path / "model", tmp_path / "dumps"
    for folder in (model, dumps):
        folder.mkdir()
        (folder / "data").write_text("x")
    (model / "config.json").write_text("{}")
    options = {"tools": [str(path) for path in tools], "model": str(model), "dump": str(dumps)}
    found = named_files({**options, "missing": str(tmp_path / "no"), "text": "{{ a }}\n/b"})
    assert set(found) == {"tools", "model"}
    tools[1].write_text("new")
    assert named_files(options)["tools"] != found["tools"]


def test_the_version_is_of_the_package_that_is_installed() -> None:
    assert version_of("pytest.main")[:1].isdigit()
    assert version_of("no_such_package.main") == ""


def test_files_among_other_things_count_and_the_option_stays(tmp_path: Path) -> None:
    reward, tools = tmp_path / "reward.py", tmp_path / "tools"
    tools.mkdir()
    for path in (reward, tools / "search.py"):
        path.write_text("def compute_score(): return 1\n")
    options = {
        "custom_reward_function": {"path": str(reward), "name": "compute_score"},
        "agents": [{"file": str(reward)}],
        "mixed": [str(reward), "other"],
        "hydra": f"[{reward},'{reward}']",
        "called": f"{reward}:compute_score",
        "tools": str(tools),
    }
    found = named_files(options)
    assert set(found) == {"custom_reward_function.path", "agents.0.file", "mixed.0",
                          f"hydra: {reward}", f"called: {reward}", "tools"}  # fmt: skip
    for path in (reward, tools / "search.py"):
        path.write_text("def compute_score(): return 2\n")
    new = named_files(options)
    assert set(new) == set(found)
    assert all(new[name] != found[name] for name in found)


def test_a_text_that_only_begins_like_a_path_is_none() -> None:
    texts = ["/" + "a" * 300, "/a" * 5000, "/a\0b", "/", "~", "~nobody-here/x", "//", "é/" * 200]
    assert named_files({str(n): text for n, text in enumerate(texts)}) == {}
    assert named_files({"some": {"text": texts}}) == {}
