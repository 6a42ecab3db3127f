"""The program that is `python` for jobs in a container image, with a stand-in for Apptainer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import testing
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.environment.image import (
    PYXIS,
    Image,
    bindable,
    launcher,
)
from ansible_collections.mnrun.train.plugins.module_utils.environment.script import render
from ansible_collections.mnrun.train.plugins.modules.activation import main

from tests.helpers.activation_environment import EMPTY

GOLDEN = Path(__file__).parent / "golden"

# Runs what is to run in the image here, with what an image sets itself. Its words go to a file.
STAND_IN = """#!/bin/bash
printf '%s\\n' "$@" > "$WORDS"
export WANDB_MODE=of-the-image ONLY_THERE=yes PATH=$THERE:/usr/bin:/bin
while [ "$1" != /bin/bash ]; do shift; done
exec "$@"
"""


class Place:
    """A machine with a runtime for images, and what the activation script says of one."""

    def __init__(self, folder: Path, runtime: str = "apptainer") -> None:
        self.folder = folder
        self.words = folder / "words"
        for name in ("bin", "there", "launchers", "data"):
            (folder / name).mkdir()
        self.program(f"bin/{runtime}", STAND_IN)
        self.program("there/python", f'#!/bin/bash\nexec {sys.executable} "$@"\n')
        (folder / "image.sif").touch()
        self.image = Image(str(folder / "image.sif"), binds=[str(folder / "data")])

    def program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def run(self, command: str, image: Image | None = None, **settings: Any) -> Any:
        """Source the script and run a line after it, as a job does."""
        image = image or self.image
        launchers, script = self.folder / "launchers", self.folder / "activate.sh"
        given = EMPTY._replace(image=image, launchers=str(launchers), **settings)
        script.write_text(render(given))
        self.program("launchers/python", launcher(image, str(script)))
        env = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "HOME": "/nonexistent",
            "WORDS": str(self.words),
            "THERE": str(self.folder / "there"),
            "PYTHONPATH": "/of/this/machine",
            "CONDA_PREFIX": "/of/this/machine",
            "NCCL_DEBUG": "WARN",
        }
        line = ["bash", "--noprofile", "--norc", "-c", f'source "{script}" || exit 3; {command}']
        return subprocess.run(
            line, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    def environment(self, **settings: Any) -> dict[str, str]:
        done = self.run(
            "python -c 'import json, os; print(json.dumps(dict(os.environ)))'", **settings
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout)
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_variables_of_the_site_win_in_the_image_and_pythons_of_the_host_stay_out(
    place: Place,
) -> None:
    given = {"NCCL_IB_HCA": "mlx5_0,mlx5_1", "QUOTED": 'it\'s $HOME "x"\\'}
    found = place.environment(variables=given, wandb_mode="offline")
    assert {name: found[name] for name in given} == given
    assert found["WANDB_MODE"] == "offline"
    assert found["NCCL_DEBUG"] == "WARN"  # what the job itself had, or a module set
    assert found["ONLY_THERE"] == "yes"
    assert found["PYTHONNOUSERSITE"] == "1"  # packages in ~/.local are for another Python
    assert not {"PYTHONPATH", "CONDA_PREFIX", "BASH_ENV"} & set(found)
    assert not [name for name in found if name.startswith("MNRUN_VALUE_")]


def test_a_python_path_that_a_user_sets_is_meant_for_the_image(place: Place) -> None:
    found = place.environment(variables={"PYTHONPATH": "/data/code"})
    assert found["PYTHONPATH"] == "/data/code"


def test_no_value_is_on_a_command_line(place: Place) -> None:
    key = place.folder / "key"
    key.write_text("very-secret\n")
    key.chmod(0o600)
    found = place.environment(wandb_mode="online", wandb_key_files=[str(key)])
    assert found["WANDB_API_KEY"] == "very-secret"
    assert "very-secret" not in place.words.read_text()


def test_sourced_within_the_image_it_enters_no_other(place: Place) -> None:
    again = f"source {place.folder}/activate.sh && command -v python && echo $A"
    code = f"import subprocess; subprocess.run(['bash', '-c', {again!r}], check=True)"
    init = place.folder / "init.sh"
    init.write_text("module() { LOADEDMODULES=$2; }\n")
    done = place.run(
        f'python -c "{code}"',
        variables={"A": "b"},
        modules_init=str(init),
        modules=["apptainer/1"],
    )
    assert done.stdout.split() == [f"{place.folder}/there/python", "b"], done.stderr


def test_the_exit_code_and_the_words_pass_through(place: Place) -> None:
    done = place.run(
        "python -c 'import sys; sys.exit(sys.argv[1:] == [\"a b\", \"\"] and 7)' 'a b' ''"
    )
    assert done.returncode == 7, done.stderr


def test_places_are_bound_at_their_own_paths_and_where_links_lead(place: Place) -> None:
    real, link = place.folder / "data", place.folder / "link"
    link.symlink_to(real)
    image = place.image._replace(binds=[str(link), str(place.folder / "data" / "to" / "come")])
    place.run("python -c ''", image)
    bound = [word for word in place.words.read_text().splitlines() if word.startswith("--bind")]
    assert bound == [f"--bind={real}:{real}", f"--bind={real}:{link}", f"--bind={real}:{real}"]


def test_the_launcher_alone_activates(place: Place) -> None:
    place.run("true")
    done = subprocess.run(
        [place.folder / "launchers" / "python", "-c", "import os; print(os.environ['ONLY_THERE'])"],
        env={
            "PATH": f"{place.folder}/bin:/usr/bin:/bin",
            "HOME": "/nonexistent",
            "WORDS": str(place.words),
            "THERE": str(place.folder / "there"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "yes\n"


def test_a_missing_runtime_and_a_missing_image_are_reported(place: Place) -> None:
    (place.folder / "image.sif").unlink()
    assert f"there is no image {place.folder}/image.sif" in place.run("true").stderr
    (place.folder / "bin" / "apptainer").unlink()
    done = place.run("true")
    assert done.returncode == 3
    assert "there is no apptainer on" in done.stderr
    assert "environment_modules" in done.stderr


def test_singularity_does_as_well(tmp_path: Path) -> None:
    assert Place(tmp_path, "singularity").environment()["ONLY_THERE"] == "yes"


def test_a_host_without_a_new_python_is_reported(place: Place) -> None:
    for name in ("python3", *(f"python3.{minor}" for minor in range(8, 14))):
        place.program(f"bin/{name}", "#!/bin/bash\nexit 1\n")
    text = render(EMPTY._replace(image=place.image)).replace("/usr/bin/python3 ", "")
    script = place.folder / "old.sh"
    script.write_text(text)
    path = f"{place.folder}/bin:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", f"source {script}"],
        env={"PATH": path}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "no Python 3.8 or later on" in done.stderr


@pytest.mark.parametrize(
    ("image", "settings", "fault"),
    [
        (Image("docker://a/b:1"), {}, "apptainer pull IMAGE.sif docker://a/b:1"),
        (Image("oras://a/b:1"), {}, "apptainer pull IMAGE.sif oras://a/b:1"),
        (Image("/a.sif"), {"conda_hook": "/conda.sh"}, "environment_conda_hook are both given"),
        (Image("/a.sif"), {"modules": ["nccl/2"], "modules_init": "/m"}, "(nccl/2) does not exist"),
        (Image("/a:b.sif"), {}, "cannot be bound"),
        (Image("/a.sif", binds=["/a,b"]), {}, "cannot be bound"),
    ],
)
def test_settings_that_cannot_be_meant(image: Image, settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(Invalid) as error:
        render(EMPTY._replace(image=image, **settings))
    assert fault in str(error.value)


def test_what_variables_name_is_bound_but_not_what_each_image_has_itself() -> None:
    given = {
        "HF_HOME": "/data/hf", "TMP": "/tmp/x", "LIB": "/usr/lib", "LIB64": "/lib64/x", "N": 3,
        "LIST": "/a:/b", "TEXT": "/not a path", "WORK": "/work", "HOMELY": "~/cache", "ROOT": "/",
    }  # fmt: skip
    assert bindable(given) == ["/data/hf", "/work", "~/cache"]


@pytest.mark.parametrize("name", ["apptainer", "pyxis"])
def test_the_whole_launcher(name: str) -> None:
    path = "nvcr.io#team/verl:0.5" if name == PYXIS else "/images/my verl.sif"
    image = Image(path, name, ["/home/alice/training", "/data"], ["--some=option"])
    text = launcher(image, "/home/alice/training/.mnrun/activate.sh")
    assert text == (GOLDEN / f"image-{name}").read_text()
    subprocess.run(["bash", "-n", "-c", text], check=True, timeout=60)


def test_the_module_installs_the_launcher_and_identifies_the_image(
    place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    given = {
        "path": str(tmp_path / "run" / "activate.sh"),
        "image": {"path": str(tmp_path / "image.sif"), "binds": [str(tmp_path / "data")]},
        "wandb": {"mode": "disabled"},
        "verify": False,
    }

    def run() -> dict[str, Any]:
        with testing.patch_module_args(given), pytest.raises(SystemExit):
            main()
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    first, again = run(), run()
    assert (first["changed"], again["changed"]) == (True, False)
    assert Path(first["python"]) == tmp_path / "run" / "image" / "python"
    assert Path(first["python"]).stat().st_mode & 0o777 == 0o755
    (tmp_path / "image.sif").write_text("another")
    assert run()["image"] != first["image"]
