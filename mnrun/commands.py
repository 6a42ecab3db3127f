"""The table of commands: each one is the name of a playbook, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass

COLLECTION = "mnrun.train"
DOCS = "https://github.com/mnrun/mnrun/blob/main/docs"
"""Where a user without a checkout finds the documentation."""


@dataclass(frozen=True)
class Command:
    """One command of the command line."""

    name: str
    """As a user types it: one word, or two ("ray start")."""
    help: str
    playbook: str = ""
    """Name within the collection. Empty: the command runs no playbook (`sandbox shell`)."""
    variables: tuple[str, ...] = ()
    """Options that become extra vars, by the variable's name; see arguments.py."""
    trains: bool = False
    """It waits for training, which continues when the command is interrupted."""
    site: str | None = None
    """The site it always runs on, unless -i names another; None: the default inventory."""
    reads: bool = False
    """It only shows something: no headings and no count of changes around it."""
    dry: bool = False
    """It always runs as with --check."""
    one_run: bool = True
    """It is about one run, which --run can name."""
    unchecked: str = ""
    """Why it takes no --check: what it does that a check could not leave out."""
    checked_with: str = ""
    """The option with which it takes --check all the same."""
    raw_lines: bool = False
    """Its output is a log: every line is printed unchanged."""

    @property
    def fqcn(self) -> str:
        """The playbook's full name, as ansible-playbook takes it."""
        return f"{COLLECTION}.{self.playbook}"


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "init",
            "make a new site: look at a cluster and write its inventory",
            "init",
            reads=True,
            one_run=False,
            unchecked="changes nothing that is there",
        ),
        Command(
            "all",
            "run everything: SFT, PPO from its result, and the conversion of both",
            "all",
            variables=("mnrun_options", "mnrun_set_aside"),
            trains=True,
        ),
        Command(
            "plan",
            "show what mnrun all would do and why, with hours and GPU-hours",
            "all",
            variables=("mnrun_options",),
            reads=True,
            dry=True,
        ),
        Command(
            "sft",
            "run supervised fine-tuning on several nodes",
            "sft",
            variables=("mnrun_options", "mnrun_set_aside"),
            trains=True,
        ),
        Command(
            "ppo",
            "run PPO: start a Ray cluster unless there is one, train, shut it down",
            "ppo",
            variables=("mnrun_options", "mnrun_set_aside"),
            trains=True,
        ),
        Command(
            "convert",
            "convert the trained model to a verified one in Hugging Face format",
            "convert",
            variables=("convert_stages",),
            trains=True,
        ),
        Command(
            "doctor",
            "check the whole site and list every fault at once, with file and line",
            "doctor",
            variables=("_mnrun_deep",),
            reads=True,
        ),
        Command("environment", "set up and verify modules and conda environment", "environment"),
        Command("preflight", "check model, data, options and Slurm requests", "preflight"),
        Command("fetch", "download model and data from the Hugging Face Hub", "fetch"),
        Command(
            "publish",
            "upload a converted model to the Hugging Face Hub, or copy it to a folder",
            "publish",
            variables=("publish_stage",),
            trains=True,
        ),
        Command("ray start", "start a Ray cluster as a Slurm job", "ray_start", trains=True),
        Command(
            "ray stop", "shut the Ray cluster down and verify that its nodes are free", "ray_stop"
        ),
        Command(
            "ray status", "show where the Ray cluster runs, and its state", "ray_status", reads=True
        ),
        Command(
            "ray dashboard",
            "forward the Ray dashboard to this machine until Ctrl-C",
            "ray_dashboard",
            reads=True,
        ),
        Command(
            "gc",
            "list leftovers (jobs, files, processes that no run owns); --end removes them",
            "gc",
            variables=("mnrun_gc_end",),
            reads=True,
        ),
        Command(
            "status",
            "show what is running and what is done; --watch repeats it",
            "status",
            variables=("mnrun_output", "mnrun_status_watch"),
            reads=True,
        ),
        Command(
            "attach",
            "follow a run that was handed over with --detach, until it ends",
            "attach",
            reads=True,
            raw_lines=True,
        ),
        Command(
            "cancel",
            "stop running jobs, of one stage or of all, and wait until they are gone",
            "cancel",
            variables=("mnrun_cancel_stage",),
        ),
        Command(
            "logs",
            "print the log of a stage; -f follows it",
            "logs",
            variables=(
                "mnrun_logs_stage",
                "mnrun_logs_follow",
                "mnrun_logs_lines",
                "mnrun_logs_errors",
                "mnrun_logs_attempt",
                "mnrun_logs_service",
            ),
            reads=True,
            raw_lines=True,
        ),
        Command(
            "wait",
            "wait until a stage has ended, for scripts; the exit code is 0 if it is done",
            "wait",
            variables=("mnrun_wait_stage", "mnrun_wait_minutes"),
            reads=True,
        ),
        Command(
            "shell",
            "open a shell, or run a command, on a node of a running job",
            "shell",
            reads=True,
            unchecked="only opens a shell or runs a command",
            raw_lines=True,
        ),
        Command(
            "runs",
            "list all runs, or compare two: mnrun runs A B",
            "runs",
            variables=("mnrun_runs_names", "mnrun_output"),
            reads=True,
            one_run=False,
        ),
        Command(
            "report",
            "write curves, times, answers and causes of runs into a page",
            "report",
            variables=("mnrun_report_runs", "mnrun_report_sync"),
            reads=True,
            one_run=False,
            unchecked="only writes its pages here",
            checked_with="mnrun_report_sync",
        ),
        Command(
            "prune",
            "delete runs by name (dry run without --yes)",
            "prune",
            variables=("mnrun_prune_names", "mnrun_prune_confirmed"),
            one_run=False,
        ),
        Command(
            "sweep",
            "run a list or a grid of options as separate runs, some at once, and compare them",
            "sweep",
            reads=True,
            one_run=False,
        ),
        Command(
            "sandbox up",
            "start a real small Slurm cluster on this machine",
            "sandbox_up",
            variables=(
                "sandbox_nodes",
                "sandbox_gpus_per_node",
                "sandbox_simulated",
                "sandbox_offline",
                "sandbox_accounting",
                "sandbox_slurm",
            ),
            site="sandbox",
            one_run=False,
        ),
        Command(
            "sandbox down",
            "stop the sandbox; --wipe also deletes jobs and results",
            "sandbox_down",
            variables=("sandbox_wipe",),
            site="sandbox",
            one_run=False,
        ),
        Command(
            "sandbox status",
            "show which parts of the sandbox are running",
            "sandbox_status",
            site="sandbox",
            reads=True,
            one_run=False,
        ),
        Command(
            "sandbox shell",
            "open a shell, or run a command, on one of its nodes",
            one_run=False,
            unchecked="only opens a shell or runs a command",
        ),
    )
}

SWEEP_DETACH = Command("sweep", "", "sweep_detach")
"""What `mnrun sweep --detach` runs after its checks."""

GROUPS = {
    "ray": "manage the Ray cluster inside Slurm: start, stop, status, dashboard",
    "sandbox": "manage the small Slurm cluster on this machine: up, down, status, shell",
}

ALIASES = {
    "step_2_0": ("environment",),
    "step_2_1": ("preflight",),
    "step_2_2_setup": ("sft", "--check", "--diff"),
    "submit_sft": ("sft",),
    "step_3_0_setup": ("ray", "start", "--check", "--diff"),
    "start_ray": ("ray", "start"),
    "setup_ppo": ("ppo", "--check", "--diff"),
    "run_ppo": ("ppo",),
    "stop_ray": ("ray", "stop"),
    "step_3_3": ("convert",),
    "step_3_4": ("publish",),
    "data": ("preflight",),
}
"""The steps of the script that mnrun replaces, and what each is now. The set-up steps made
folders and scripts; their stage does so itself now, so they show what it will make. `data` is what
`preflight` was called before it checked more than data."""
