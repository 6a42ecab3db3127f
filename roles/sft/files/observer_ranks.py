"""What a node's processes tell of a training that stands still: which are its ranks, and which of
them differs from the others. Pure, but for reading /proc.

Standard library only, Python 3.8 or later: runs inside jobs.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, Iterable, Mapping

Process = Dict[str, Any]  # pid, parent, state, waits_in, command, and rank if it is one

_MOST = 256  # processes of a node
_WIDTH = 160  # characters of a command
_FEWEST = 2  # ranks of which one can differ
_FRAMES = 6
_OURS = ("/sft_node.py", "/observer", "/keep.py", "/cluster.py", "/cluster_node.py", "/script.sh")
_STARTERS = re.compile(
    r"^\S{0,999}\b(?:bash|sh|srun) "
    r"|^\S{0,999}python\S{0,99} (?:-\S{1,99} ){0,9}\S{0,999}/(?:torchrun|accelerate) "
)
_RAY = re.compile(r"^ray::(?!IDLE)|(?:^|/)(?:raylet|gcs_server)(?: |$)")
_STOPPED = {"T": "is stopped (SIGSTOP)", "t": "is stopped by a debugger"}
# Where the kernel lets a process wait that wants something of a file or a file system.
_FILE_WAITS = re.compile(
    r"wait_for_partner|fifo_open|pipe_read|pipe_write|pipe_wait|nfs|rpc_|folio_|page_bit|io_schedule"
    r"|ptlrpc|cl_sync|cl_lock|osc_|ll_|fuse|request_wait_answer|ceph|cxi|jbd2|xfs_|ext4_|rwsem"
    r"|locks_|flock"
)
# Frames of a rank that waits for the others.
_TOGETHER = re.compile(
    r"all_?reduce|all_?gather|reduce_scatter|broadcast|barrier|all_to_all|monitored|ProcessGroup"
    r"|nccl|gloo|synchronize|_run_backward|irecv|isend|\bwait \(|\bitem \(|ray/_private|ray\.get"
)


def processes(job: str, token: str = "", proc: Path = Path("/proc")) -> list[Process]:
    """The processes of a Slurm job on this node, as far as this user may see them. `token`: the
    attempt's, by which a Ray job's driver is known."""
    known = {one["pid"]: one for one in map(_process, _folders(proc)) if one}
    named = {pid for pid in known if _environment(proc / str(pid)).get("SLURM_JOB_ID") == job}
    mine = [one for pid, one in sorted(known.items()) if _descends(pid, named, known)]
    for one in mine:
        _name(one, _environment(proc / str(one["pid"])), token)
    others = [one for one in mine if not any(word in one["command"] for word in _OURS)][:_MOST]
    return [{**one, "command": one["command"][:_WIDTH]} for one in others]


def ranks(found: Iterable[Process]) -> list[Process]:
    """Those that are ranks of the training, or processes of Ray: of a rank and what it started,
    the first one."""
    all_of = {one["pid"]: one for one in found}
    return [one for one in all_of.values() if one.get("what") and not _is_child(one, all_of)]


def suspect(nodes: Mapping[str, Mapping[str, Any]]) -> str:
    """Which rank is at fault, and why, in words; empty if nothing tells.

    `nodes`: what each node reported: `processes`, and `stacks` by the process id.
    """
    seen = [(node, one) for node, each in sorted(nodes.items()) for one in each["processes"]]
    for node, one in seen:
        if one["state"] in _STOPPED:
            return f"{_called(one, nodes[node])} on {node} {_STOPPED[one['state']]}"
    own = [(node, one) for node, each in sorted(nodes.items()) for one in ranks(each["processes"])]
    waiting = [pair for pair in own if _waits_for_a_file(pair[1])]
    if waiting and len(waiting) < max(2, len(own)):
        node, one = waiting[0]
        where = one["waits_in"] or "the disk"
        return f"{one['what']} on {node} waits for a file ({where})"
    return _odd_one(own, nodes)


def unseen(nodes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a rank has no stack, but would print it by itself."""
    return any(
        one["dumps"] and not _stack(each, one)
        for each in nodes.values()
        for one in ranks(each["processes"])
    )


def _odd_one(own: list[Any], nodes: Mapping[str, Mapping[str, Any]]) -> str:
    """The rank that is busy with something else while the others wait for it."""
    stacks = [(pair, _top(_stack(nodes[pair[0]], pair[1]))) for pair in own]
    known = [(pair, top) for pair, top in stacks if top]
    busy = [pair for pair, top in known if not _TOGETHER.search(top)]
    if len(busy) != 1 or len(known) < _FEWEST:
        return ""
    node, one = busy[0]
    return f"{one['what']} on {node} does something else than the others, which wait for it"


def _stack(node: Mapping[str, Any], one: Process) -> str:
    return str((node.get("stacks") or {}).get(str(one["pid"])) or "")


def _top(stack: str) -> str:
    """The innermost frames of the main thread, as py-spy shows them."""
    main = stack.partition('"MainThread"')[2].partition("\n\n")[0]
    return "\n".join(main.split("\n")[1 : 1 + _FRAMES])


def _waits_for_a_file(one: Process) -> bool:
    return one["state"] == "D" or bool(_FILE_WAITS.search(one["waits_in"]))


def _called(one: Process, node: Mapping[str, Any]) -> str:
    """What a process is called: a rank, or a child of one, such as a data loader."""
    all_of = {each["pid"]: each for each in node["processes"]}
    if not one.get("what"):
        return f"process {one['pid']} ({one['command'][:40]})"
    parent = all_of.get(one["parent"])
    if _is_child(one, all_of) and parent:
        return f"a child of {one['what']} (process {one['pid']}, such as a data loader)"
    return str(one["what"])


def _is_child(one: Process, all_of: Mapping[int, Process]) -> bool:
    parent = all_of.get(one["parent"])
    return bool(parent and parent.get("what") and parent["what"] == one.get("what"))


def _folders(proc: Path) -> list[Path]:
    try:
        return [proc / name for name in os.listdir(proc) if name.isdigit()]  # noqa: PTH208 - only the names
    except OSError:
        return []


def _process(folder: Path) -> Process | None:
    try:
        words = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        return {
            "pid": int(folder.name),
            "parent": int(words[1]),
            "state": words[0],
            "cpu_seconds": (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"),
            "waits_in": _read(folder / "wchan").strip("\0\n 0"),
            "kernel_stack": _read(folder / "stack").splitlines()[:8],
            "command": command.strip(),
        }
    except (OSError, ValueError, IndexError):
        return None  # it ended meanwhile


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _environment(folder: Path) -> dict[str, str]:
    try:
        text = (folder / "environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return {}
    return dict(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)


def _descends(pid: int, named: Any, known: Mapping[int, Process]) -> bool:
    """Ray's processes overwrite their environment with their title: then their parent's counts."""
    for _generation in range(64):
        if pid in named:
            return True
        if pid not in known:
            return False
        pid = known[pid]["parent"]
    return False


def _name(one: Process, environment: Mapping[str, str], token: str) -> None:
    """Say what a process is, if it is a rank or one of Ray's."""
    command, rank = one["command"], environment.get("RANK", "")
    starts = bool(_STARTERS.search(command))
    if _RAY.search(command):
        title = command.split(" ")[0].rpartition("/")[2]
        one["what"] = f"{title} (process {one['pid']})"
    elif rank.isdigit() and not starts:
        one["what"] = f"rank {rank}"
    elif token and environment.get("MNRUN_TOKEN") == token and "RAY_ADDRESS" in environment:
        one["what"] = "" if starts else "the driver"
    one["dumps"] = environment.get("PYTHONFAULTHANDLER") == "1"
