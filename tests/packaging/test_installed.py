"""A built wheel and a built collection, each installed into a clean environment and tried."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from mnrun.commands import COMMANDS

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
PLAYBOOKS = sorted({command.playbook for command in COMMANDS.values() if command.playbook})
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
# All sanity tests of ansible-test that need no download, except four: "shebang" accepts none in
# templates of batch scripts, "use-argspec-type-path" does not know of paths within a dict,
# "action-plugin-docs" wants a module called `module`, as the action that runs most of ours is, and
# "ignores" is about a file that we do not have. docs/development.md lists the others.
SANITY = (
    "changelog", "compile", "empty-init", "line-endings", "no-assert",
    "no-get-exception", "no-illegal-filenames", "no-smart-quotes", "replace-urlopen", "symlinks",
    "use-compat-six",
)  # fmt: skip
RUBBISH = ("__pycache__", "_cache/", ".pyc", "/tests/", "collections/ansible_collections/mnrun/t")


def run(*command: str | Path, cwd: Path, code: int = 0, **environ: str) -> str:
    """Run a command that ends with `code`; no setting of Python or Ansible is in its way."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANSIBLE_", "MNRUN_", "PYTHON", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@dataclass(frozen=True)
class Installed:
    """An environment with the project in it, and an unrelated folder to stand in."""

    scripts: Path
    elsewhere: Path

    @property
    def collection(self) -> Path:
        """Where ansible-galaxy installs the collection."""
        return self.elsewhere / ".ansible/collections/ansible_collections/mnrun/train"

    def run(self, program: str | Path, *words: str, code: int = 0, cwd: Path | None = None) -> str:
        path = f"{self.scripts}{os.pathsep}{os.environ['PATH']}"
        environ = {"PATH": path, "HOME": str(self.elsewhere), "LANG": "C.UTF-8", "NO_COLOR": "1"}
        return run(self.scripts / program, *words, cwd=cwd or self.elsewhere, code=code, **environ)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tree as a clone has it: what is built must not lean on what is not."""
    copy = tmp_path_factory.mktemp("clone")
    # safe.directory: as root in a checkout of another user, git wants to be told.
    listed = run(
        *("git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"), cwd=ROOT
    )
    for name in filter(None, listed.split("\0")):
        if not os.path.lexists(ROOT / name):  # removed, and not yet committed
            continue
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    return copy


@pytest.fixture(scope="session")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it, as a publisher would."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, tree, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def collection(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("galaxy")
    galaxy = Path(sys.executable).parent / "ansible-galaxy"
    run(galaxy, "collection", "build", "--output-path", folder, tree, cwd=folder)
    (built,) = folder.glob("*.tar.gz")
    return built


def environment(folder: Path, *packages: str | Path) -> Path:
    """Make a virtual environment with some packages and return its folder of scripts."""
    venv.create(folder, with_pip=True)
    run(folder / "bin/pip", "install", "-qq", "--disable-pip-version-check", *packages, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="session")
def from_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("from-wheel")
    scripts = environment(folder / "venv", wheel)
    (folder / "elsewhere").mkdir()
    return Installed(scripts, folder / "elsewhere")


@pytest.fixture(scope="session")
def from_collection(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("from-collection")
    scripts = environment(folder / "venv", "ansible-core>=2.19.0,<2.22.0")
    (folder / "elsewhere").mkdir()
    installed = Installed(scripts, folder / "elsewhere")
    installed.run("ansible-galaxy", "collection", "install", "--offline", str(collection))
    return installed


@pytest.fixture(params=["from_wheel", "from_collection"])
def installed(request: pytest.FixtureRequest) -> Installed:
    made: Installed = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def inventory(tree: Path) -> str:
    return str(tree / "inventory/osk")


def test_the_wheel_holds_no_rubbish(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if any(part in name for part in RUBBISH)] == []
    assert "ansible_collections/mnrun/train/playbooks/all.yml" in names
    tops = {name.split("/")[0].split("-")[0] for name in names}
    assert tops == {"mnrun", "ansible_collections"}


def test_the_collection_holds_no_rubbish(collection: Path) -> None:
    with tarfile.open(collection) as archive:
        names = archive.getnames()
    assert [name for name in names if any(part in f"/{name}" for part in RUBBISH)] == []
    assert "playbooks/all.yml" in names
    assert "LICENSE" in names
    assert {"mnrun", "tests", "collections", "pyproject.toml"}.isdisjoint(names)


def test_mnrun_answers(from_wheel: Installed) -> None:
    assert from_wheel.run("mnrun", "--help").startswith("usage: mnrun COMMAND")
    assert from_wheel.run("mnrun", "--version") == "mnrun 0.1.0\n"


def test_mnrun_runs_a_playbook_of_the_wheel(from_wheel: Installed) -> None:
    """The site osk as it comes has a placeholder, which is refused before anything is touched."""
    output = from_wheel.run("mnrun", "data", "-i", "osk", code=1)
    assert "YOU_TEAM" in output
    assert "changed=0" in output


def test_without_a_site_it_says_how_to_make_one(from_wheel: Installed) -> None:
    output = from_wheel.run("mnrun", "preflight", code=2)
    assert "No site is named" in output
    assert "mnrun init ~/my-site" in output


def test_init_needs_no_checkout(from_wheel: Installed) -> None:
    """Here is no Slurm, which it says; what it looks with, and the templates, are in the wheel."""
    output = from_wheel.run("mnrun", "init", "site", "--yes", code=1)
    assert "Slurm does not answer on this machine" in output
    assert not (from_wheel.elsewhere / "site").exists()
    (templates,) = from_wheel.scripts.parent.glob("lib/*/site-packages/mnrun/init/templates")
    assert (templates / "all.yml.j2").is_file()


def test_every_playbook_is_found_by_its_name(installed: Installed, inventory: str) -> None:
    names = [f"mnrun.train.{playbook}" for playbook in PLAYBOOKS]
    output = installed.run("ansible-playbook", "--syntax-check", "-i", inventory, *names)
    assert output.count("playbook: ") == len(names)


def test_the_whole_workflow_is_listed(installed: Installed, inventory: str) -> None:
    words = ["mnrun.train.all", "-i", inventory, "--list-tasks"]
    output = installed.run("ansible-playbook", *words)
    for role in ("environment", "preflight", "sft", "ppo"):
        assert f"mnrun.train.{role} : " in output


def test_every_module_is_documented(installed: Installed) -> None:
    names = [f"mnrun.train.{module}" for module in MODULES]
    output = installed.run("ansible-doc", "--type", "module", *names)
    assert "mnrun.train.slurm_job" in output
    for name in names:
        assert f"> MODULE {name} (" in output


def test_a_checkout_works_from_its_root_as_written(tree: Path, from_collection: Installed) -> None:
    playbook = from_collection.scripts / "ansible-playbook"
    for site in ("osk", "sandbox"):
        words = ["all.yml", "-i", f"inventory/{site}", "--list-tasks"]
        output = run(playbook, *words, cwd=tree, HOME=str(tree), LANG="C.UTF-8")
        assert "mnrun.train.ppo : " in output


def test_the_sanity_tests_of_ansible_test_pass(from_collection: Installed) -> None:
    python = f"--python={sys.version_info.major}.{sys.version_info.minor}"
    words = ["sanity", "--local", python, *(f"--test={name}" for name in SANITY)]
    output = from_collection.run("ansible-test", *words, cwd=from_collection.collection)
    assert output.count("Running sanity test ") == len(SANITY)


def test_antsibull_docs_accepts_the_documentation(from_collection: Installed) -> None:
    antsibull = Path(sys.executable).with_name("antsibull-docs")
    words = ["lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "."]
    assert from_collection.run(antsibull, *words, cwd=from_collection.collection) == ""


def test_the_files_of_the_execution_environment_are_there(from_collection: Installed) -> None:
    root = from_collection.collection
    environment = yaml.safe_load((root / "meta/execution-environment.yml").read_text())
    assert environment["version"] == 1
    assert all((root / path).is_file() for path in environment["dependencies"].values())
