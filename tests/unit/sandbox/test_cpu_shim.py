"""The CPU shim's hook: when it patches, and that it leaves every other Python alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHIM = Path(__file__).parents[3] / "roles" / "sandbox" / "files" / "env"

# A stand-in for verl in a Python of its own; the real one is tried in tests/sandbox.
DEVICE = "is_cuda_available = {cuda}\nis_npu_available = {npu}\npatched = False\n"
PATCHES = "def patch(device):\n    device.patched += 1\n"
GPU_PATCHES = "import sys\ndef patch():\n    sys.modules['verl.utils.device'].patched += 1\n"
REPORT = """
print(json.dumps({
    "patched": sys.modules["verl.utils.device"].patched if "verl" in sys.modules else None,
    "loaded": sorted(name for name in sys.modules if name.startswith("mnrun_cpu")),
    "hooks": sorted(finder.name for finder in sys.meta_path if hasattr(finder, "after")),
    "torch": "torch" in sys.modules,
    "collector": gc.get_threshold()[0],
}))
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    (tmp_path / "verl" / "utils").mkdir(parents=True)
    for name in ("verl/__init__.py", "verl/utils/__init__.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "mnrun_cpu_patches.py").write_text(PATCHES)
    (tmp_path / "mnrun_gpu_patches.py").write_text(GPU_PATCHES)
    for name in ("mnrun_import_hook.py", "mnrun_cpu_shim.py", "mnrun_gpu_shim.py"):
        (tmp_path / name).write_text((SHIM / name).read_text())
    return tmp_path


def run(
    packages: Path, lines: str, *, cuda: bool = False, npu: bool = False, kind: str = "cpu"
) -> Any:
    device = packages / "verl" / "utils" / "device.py"
    device.write_text(DEVICE.format(cuda=cuda, npu=npu))
    pth = (SHIM / f"mnrun_{kind}_shim.pth").read_text()
    # Python runs a virtual environment's .pth files twice.
    start = f"import gc, json, sys\nsys.path.insert(0, {str(packages)!r})\n"
    program = f"{start}{pth}{pth}{lines}{REPORT}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_verl_on_a_cpu_is_patched_once(packages: Path) -> None:
    report = run(packages, "import verl.utils.device\nimport verl.utils.device\n")
    assert report["patched"] == 1
    assert report["hooks"] == []


@pytest.mark.parametrize("device", ["cuda", "npu"])
def test_verl_on_a_gpu_is_left_alone(packages: Path, device: str) -> None:
    report = run(packages, "import verl.utils.device\n", cuda=device == "cuda", npu=device == "npu")
    assert report["patched"] == 0
    assert report["loaded"] == ["mnrun_cpu_shim"]


@pytest.mark.parametrize(("device", "patched"), [("cuda", 1), ("npu", 0)])
def test_the_shim_for_gpus_patches_on_those_only(packages: Path, device: str, patched: int) -> None:
    lines = "import verl.utils.device\nimport verl.utils.device\n"
    report = run(packages, lines, kind="gpu", cuda=device == "cuda", npu=device == "npu")
    assert report["patched"] == patched
    assert report["loaded"] == []
    assert report["hooks"] == []


def test_a_python_without_verl_pays_a_list_entry(packages: Path) -> None:
    report = run(packages, "import decimal\n")
    assert report == {
        "patched": None,
        "loaded": ["mnrun_cpu_shim"],
        "hooks": ["verl.utils.device"],
        "torch": False,
        "collector": 50_000,  # which looks rarely in every Python of the environment
    }


def test_a_verl_that_is_not_there_fails_as_usual(packages: Path) -> None:
    lines = (
        "import shutil\n"
        f"shutil.rmtree({str(packages / 'verl')!r})\n"
        "try:\n    import verl.utils.device\n"
        "except ModuleNotFoundError as error:\n    assert error.name == 'verl', error\n"
        "else:\n    raise SystemExit('imported')\n"
    )
    assert run(packages, lines)["patched"] is None
