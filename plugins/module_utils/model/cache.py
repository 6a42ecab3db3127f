"""The Hugging Face cache: `models--TEAM--NAME` holds whole models in `snapshots/COMMIT`."""

from __future__ import annotations

from pathlib import Path

from .folder import model_faults


def cache_fault(folder: Path) -> str:
    """What to name in place of a model's folder in the cache; empty for any other folder."""
    if not (folder / "snapshots").is_dir() or (folder / "config.json").is_file():
        return ""
    what = f"{folder} is a model's folder in the Hugging Face cache, not the model itself"
    snapshots = [path for path in sorted((folder / "snapshots").iterdir()) if path.is_dir()]
    whole = [path for path in snapshots if not model_faults(path)]
    if not whole:
        return f"{what}, and none of its {len(snapshots)} snapshots is complete; download it again"
    main = folder / "refs" / "main"
    commit = main.read_text(encoding="ascii", errors="replace").strip() if main.is_file() else ""
    named = [path for path in whole if path.name == commit] or whole
    return f"{what}: name its snapshot {named[-1]}"
