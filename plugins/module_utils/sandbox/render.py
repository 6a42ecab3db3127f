"""The cluster's configuration, as text."""

from __future__ import annotations

from string import Template
from typing import Iterable

from .gpus import Size
from .layout import CLUSTER, CONTROLLER, LOGIN, USER, USERS, Node, Options
from .portable import LIBRARIES, PLUGINS

# A stand-in for a node of a real site.
SIMULATED = Size(cores=64, memory=2_000_000)

SLURM = Template("""\
# Written by the sandbox each time it starts.
ClusterName=$cluster
SlurmctldHost=$controller
SlurmUser=root
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=$directory/log/slurmctld.log
SlurmdLogFile=$directory/log/slurmd-%n.log
StateSaveLocation=$spool
# Gone with the node, as after a reboot.
SlurmdSpoolDir=/run/slurmd
${plugins}MpiDefault=none
SwitchType=switch/none
TaskPlugin=task/none
ProctrackType=proctrack/$proctrack
JobAcctGatherType=jobacct_gather/linux
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
# The nodes may be configured to be far larger than this machine.
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=1
KillWait=5
# With 20 s a busy machine drains its nodes: "Kill task failed".
UnkillableStepTimeout=60
SlurmdTimeout=20
MessageTimeout=10
PropagateResourceLimitsExcept=MEMLOCK
$accounting
NodeName=$names CPUs=$cores Sockets=1 CoresPerSocket=$cores ThreadsPerCore=1 RealMemory=$memory$gres
PartitionName=gpu Nodes=$names Default=YES MaxTime=7-00:00:00 State=UP
PartitionName=debug Nodes=$first MaxTime=30:00 State=UP
""")

WITH_ACCOUNTING = f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={CONTROLLER}
AccountingStoreFlags=job_comment,job_env,job_script
AccountingStorageTRES=gres/gpu
"""

SLURMDBD = Template("""\
DbdHost=$controller
SlurmUser=root
${plugins}PidFile=/run/slurmdbd.pid
LogFile=$directory/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=$database
""")

SSH_CONFIG = Template("""\
# Written by the sandbox. ssh -F $directory/ssh_config $login
Host $login
  HostName $login
  ProxyCommand /usr/bin/python3 -IS $directory/bin/connect.py $directory/login.sock
  ProxyUseFdpass yes
Host $nodes
  ProxyJump $login
Match user root
  IdentityFile $directory/root_key
Host *
  User $user
  IdentityFile $directory/key
  IdentitiesOnly yes
  PasswordAuthentication no
  StrictHostKeyChecking yes
  UserKnownHostsFile $directory/known_hosts
  GlobalKnownHostsFile /dev/null
""")


def slurm_conf(options: Options, proctrack: str, size: Size = SIMULATED) -> str:
    """slurm.conf; `proctrack` is `cgroup` or `linuxproc`, `size` that of a compute node."""
    names = [node.name for node in options.compute]
    return SLURM.substitute(
        cluster=CLUSTER,
        controller=CONTROLLER,
        directory=options.directory,
        proctrack=proctrack,
        spool=options.spool,
        plugins=_plugins(options),
        accounting=WITH_ACCOUNTING if options.accounting else "",
        names=",".join(names),
        first=names[0],
        cores=size.cores,
        memory=size.memory,
        gres=f" Gres=gpu:{options.gpus}" if options.gpus else "",
    )


def _plugins(options: Options) -> str:
    folder = options.slurm_folder
    return f"PluginDir={folder / LIBRARIES / PLUGINS}\n" if folder else ""


def gres_conf(options: Options) -> str:
    """gres.conf: every node has devices of these names, real GPUs or stand-ins."""
    if not options.gpus:
        return ""
    folder = "gpu" if options.real else "fakegpu"
    return f"AutoDetect=off\nName=gpu File=/run/{folder}/nvidia[0-{options.gpus - 1}]\n"


def cgroup_conf(options: Options) -> str:
    """cgroup.conf: the freezer follows each process of a job; nothing is limited."""
    mountpoint = options.path("run")
    return f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={mountpoint}\nConstrainDevices=no\n"


def slurmdbd_conf(options: Options) -> str:
    """slurmdbd.conf."""
    return SLURMDBD.substitute(
        controller=CONTROLLER,
        directory=options.directory,
        plugins=_plugins(options),
        database=database(options),
    )


def database(options: Options) -> str:
    """The name of the database that slurmdbd keeps the accounting in."""
    return "_".join(filter(None, ("slurm_acct_db", options.series.replace(".", "_"))))


def hosts(options: Options) -> str:
    """/etc/hosts of the nodes."""
    lines = [f"{node.address} {node.name}" for node in options.machines]
    return "\n".join(["127.0.0.1 localhost", *lines]) + "\n"


def passwd(system: str) -> str:
    """/etc/passwd of the nodes: this machine's system accounts and the cluster's users."""
    lines = ["root:x:0:0:root:/root:/bin/bash"]
    lines += [":".join(entry) for entry in _system(system) if entry[0] != "root"]
    lines += [f"{name}:x:{uid}:{uid}::/home/{name}:/bin/bash" for name, uid in USERS.items()]
    return "\n".join(lines) + "\n"


def group(system: str) -> str:
    """/etc/group of the nodes: this machine's system groups and the users' own."""
    lines = [":".join([*entry[:3], ""]) for entry in _system(system)]
    return "\n".join([*lines, *(f"{name}:x:{uid}:" for name, uid in USERS.items())]) + "\n"


def shadow(passwd_text: str) -> str:
    """/etc/shadow: no account has a password, and none is locked (sshd refuses those)."""
    names = [line.split(":")[0] for line in passwd_text.splitlines()]
    return "".join(f"{name}:*:19000:0:99999:7:::\n" for name in names)


def _system(text: str) -> list[list[str]]:
    """The entries of passwd or group that belong to the system; numbers 1000 and up are people."""
    entries = [line.split(":") for line in text.splitlines()]
    return [
        entry
        for entry in entries
        if len(entry) > 3
        and entry[0] not in USERS
        and entry[2].isdigit()
        and (int(entry[2]) < 1000 or int(entry[2]) >= 65534)
    ]


def ssh_config(options: Options) -> str:
    """The ssh configuration for this machine's side: how to reach the nodes."""
    nodes = " ".join(node.name for node in options.compute)
    return SSH_CONFIG.substitute(directory=options.directory, login=LOGIN, nodes=nodes, user=USER)


def known_hosts(keys: Iterable[tuple[Node, str]]) -> str:
    """known_hosts, from each node and its public host key; with addresses for use inside."""
    lines = []
    for node, key in keys:
        kind, value = key.split()[:2]
        lines.append(f"{node.name},{node.address} {kind} {value}\n")
    return "".join(lines)
