"""Where jobs run: partition, account, nodes, GPUs, and what a job asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mnrun.init.choice import Answers, Choice, Facts, answered, found, guess

_DAY = 86400
_SHORT = 4 * 3600
"""Seconds. Partitions with a shorter limit are for tries."""

_NODES = 2
_CONVERT = {"cpus": 16, "mem": 64 * 1024}


def where(slurm: Facts | None, answers: Answers) -> list[Choice]:
    """Return the choices about Slurm, the partition first."""
    facts = slurm or {}
    partitions = {one["name"]: one for one in facts.get("partitions") or ()}
    chosen = _partition(facts, partitions, answers)
    partition = partitions.get(str(chosen.value))
    account = _account(facts, str(chosen.value), answers)
    kind = _kind(partition)
    return [
        chosen,
        *account,
        _nodes(partition, kind, answers),
        _gpus(partition, kind, answers),
        *_requests(facts, partition, kind, account),
    ]


def _refusals(facts: Facts, partition: str) -> list[str | None]:
    return [one["why"] for one in facts.get("accepted") or () if one["partition"] == partition]


def _ranked(facts: Facts, partitions: Mapping[str, Facts]) -> list[str]:
    """The partitions with GPUs, the likeliest first."""

    def place(name: str) -> tuple[Any, ...]:
        one = partitions[name]
        refusals = _refusals(facts, name)
        up = sum(kind["up"] * kind["gpus"] for kind in one["kinds"])
        return (
            "" not in refusals, one["state"] != "UP", _is_short(one), not one["default"], -up
        )  # fmt: skip

    with_gpus = [name for name, one in partitions.items() if any(k["gpus"] for k in one["kinds"])]
    return sorted(with_gpus, key=place)


def _is_short(partition: Facts) -> bool:
    return partition["max_time"] is not None and partition["max_time"] < _SHORT


def _partition(facts: Facts, partitions: Mapping[str, Facts], answers: Answers) -> Choice:
    name = "mnrun_partition"
    if name in answers:
        return answered(name, answers[name])
    ranked = _ranked(facts, partitions)
    if not partitions:
        why = "; ".join(facts.get("unknown") or ()) or "Slurm did not answer"
        how = f"Slurm does not show its partitions ({why}): ask the administrator for yours"
        return guess(name, "YOUR_PARTITION", how, "Which partition")
    if not ranked:
        default = next((one for one in partitions if partitions[one]["default"]), None)
        how = "sinfo shows no GPUs in any partition: ask the administrator which one has some"
        first = default or next(iter(partitions))
        return guess(name, first, how, "Which partition has GPUs", list(partitions))
    open_ones = [one for one in ranked if "" in _refusals(facts, one)]
    about = _described(partitions[ranked[0]])
    others = [f"{one} ({_described(partitions[one])})" for one in ranked[1:]]
    if not open_ones and facts.get("accepted"):
        why = next((one for one in _refusals(facts, ranked[0]) if one), "no answer")
        how = f"{about}; but Slurm refuses a request for a GPU there: {why}. Ask the administrator"
        return guess(name, ranked[0], how, "Which partition", list(partitions))
    how = f"sinfo shows {about}" + (f"; there are also {', '.join(others)}" if others else "")
    if len([one for one in open_ones or ranked if not _is_short(partitions[one])]) == 1:
        return found(name, ranked[0], how)
    return guess(name, ranked[0], how, "Which partition", ranked)


def _described(partition: Facts) -> str:
    kinds = [
        f"{_count(kind['nodes'], 'node')} of {_count(kind['gpus'], f'{_type(kind)}GPU')}"
        for kind in partition["kinds"]
        if kind["gpus"]
    ]
    limit = partition["max_time"]
    return f"{' and '.join(kinds)}, limit {_in_words(limit) if limit else 'none'}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _type(kind: Facts) -> str:
    return f"{next(iter(kind['types']))} " if len(kind["types"]) == 1 else ""


def _in_words(seconds: int) -> str:
    for unit, size in (("days", _DAY), ("hours", 3600)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit if seconds != size else unit[:-1]}"
    return f"{seconds / 60:g} minutes"


def _account(facts: Facts, partition: str, answers: Answers) -> list[Choice]:
    """The account that jobs name, where Slurm refuses one without."""
    if "account" in answers:
        return [answered("account", answers["account"])]
    names = list(dict.fromkeys(one["account"] for one in facts.get("accounts") or ()))
    tried = [one for one in facts.get("accepted") or () if one["partition"] == partition]
    refused = [one for one in tried if not one["account"] and one["why"]]
    accepted = [one["account"] for one in tried if one["account"] and one["why"] == ""]
    if not refused or (not accepted and not names):
        return []
    value = (accepted or names)[0]
    if accepted and len(names) == 1:
        return [found("account", value, "sacctmgr: Slurm refuses jobs without an account")]
    how = f"Slurm refuses jobs without an account ({refused[0]['why']}); yours are {_list(names)}"
    return [guess("account", value, how, "Which account", names)]


def _list(names: list[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _kind(partition: Facts | None) -> Facts | None:
    """The nodes to use: of those with GPUs, the ones that have most of them together."""
    kinds = [kind for kind in (partition or {}).get("kinds") or () if kind["gpus"]]
    return max(kinds, key=lambda kind: (kind["up"] * kind["gpus"], kind["gpus"]), default=None)


def _nodes(partition: Facts | None, kind: Facts | None, answers: Answers) -> Choice:
    name = "mnrun_nodes"
    if name in answers:
        return answered(name, int(answers[name]))
    if not partition or not kind:
        return guess(name, _NODES, "Slurm does not show which nodes have GPUs")
    most = min(kind["up"] or kind["nodes"], partition["max_nodes"] or kind["nodes"])
    how = f"{_count(kind['nodes'], 'such node')}, {kind['up']} up"
    if partition["max_nodes"]:
        how += f"; the partition allows {partition['max_nodes']} for one job"
    return found(name, max(1, min(_NODES, most)), how)


def _gpus(partition: Facts | None, kind: Facts | None, answers: Answers) -> Choice:
    name = "mnrun_gpus_per_node"
    if name in answers:
        return answered(name, int(answers[name]))
    if not kind:
        how = "sinfo shows no GPUs of this partition's nodes: ask the administrator how many"
        return guess(name, 8, how, "How many GPUs has a node")
    types = f" ({', '.join(kind['types'])})" if kind["types"] else ""
    others = [one for one in (partition or {})["kinds"] if one["gpus"] not in (0, kind["gpus"])]
    more = f"; other nodes have {_list([str(one['gpus']) for one in others])}" if others else ""
    return found(name, kind["gpus"], f"sinfo, GRES of the nodes{types}{more}")


def _requests(
    facts: Facts, partition: Facts | None, kind: Facts | None, account: list[Choice]
) -> Iterator[Choice]:
    """The options of sbatch of each job."""
    if account:
        yield Choice("mnrun_sbatch", {"account": account[0].value}, account[0].why)
    else:
        names = [one["account"] for one in facts.get("accounts") or ()]
        default = [one["account"] for one in facts.get("accounts") or () if one["default"]]
        known = f"your default account is {default[0]}" if default else "no account is required"
        known += f"; you have {_list(list(dict.fromkeys(names)))}" if len(set(names)) > 1 else ""
        yield found("mnrun_sbatch", {}, known)
    request: dict[str, Any] = {}
    how = []
    if kind:
        request |= {"cpus-per-task": kind["cpus"], "mem": 0}
        how.append(f"a node has {kind['cpus']} CPUs; mem 0 is all of its memory")
        gpu_types = _types(partition)
        if len(gpu_types) > 1 and len(kind["types"]) == 1:
            request["gpus-per-node"] = f"{next(iter(kind['types']))}:{kind['gpus']}"
            how.append(f"the partition has GPUs of several types: {', '.join(gpu_types)}")
    limit, default_time = ((partition or {}).get(key) for key in ("max_time", "default_time"))
    request["time"] = _slurm_time(min(limit or _DAY, _DAY))
    default_is = f"the default is {_in_words(default_time)}" if default_time else "no default"
    how.append(f"the partition's limit is {_in_words(limit) if limit else 'none'}, {default_is}")
    choose = found if partition and kind else guess
    yield choose("sft_sbatch", request, "; ".join(how))
    yield choose("ray_cluster_sbatch", request, "the same nodes")
    cpus, memory = (kind["cpus"], kind["memory"]) if kind else (4, _CONVERT["mem"])
    convert = {
        "cpus-per-task": min(_CONVERT["cpus"], cpus),
        "mem": f"{max(1, min(_CONVERT['mem'], memory * 3 // 4) // 1024)}G",
    }
    yield choose("convert_sbatch", convert, "one node is enough, and no GPU is needed")


def _types(partition: Facts | None) -> list[str]:
    return sorted({name for kind in (partition or {}).get("kinds") or () for name in kind["types"]})


def _slurm_time(seconds: int) -> str:
    """Return a limit as Slurm writes it: D-HH:MM:SS."""
    days, rest = divmod(seconds, _DAY)
    return f"{days}-{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
