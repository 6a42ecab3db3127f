"""verl's merger, with one tensor lost."""

import runpy
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

runpy.run_module("verl.model_merger", run_name="__main__", alter_sys=True)
path = Path(sys.argv[sys.argv.index("--target_dir") + 1]) / "model.safetensors"
tensors = load_file(path)
del tensors["model.norm.weight"]
save_file(tensors, path.with_suffix(".less"), metadata={"format": "pt"})
path.with_suffix(".less").replace(path)
