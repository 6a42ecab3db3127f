"""What mnrun says of a cluster with GPUs: its checks, a new site from nothing, and a report."""

from __future__ import annotations

import re
import shlex
import shutil
from typing import Any

import yaml

from .need import matched, need
from .site import SITE, Answer, Site
from .variables import variables

RUN = "gate"  # of a step that trains
_GATE = re.compile(r"passed in ([\d.]+) s: (\d+) nodes?, (\d+|no) GPUs?")
_RATE = re.compile(r"all-reduce: ([\d.]+) GB/s over all ranks(?: by (.+?))?; by node")


def doctor(site: Site) -> dict[str, Any]:
    """`mnrun doctor --deep`: the whole site, and its nodes with a short job."""
    limit = site.patience(120)
    answer = site.mnrun("doctor", "--deep", run="doctor", limit=limit, **_given(site))
    return {"seconds": answer.seconds, **_deep(site, answer)}


def _given(site: Site) -> dict[str, Any]:
    """A site from nothing does not know what this machine's GPUs may not do."""
    return {"environment_variables": variables()} if site.options.real else {}


def _deep(site: Site, answer: Answer) -> dict[str, Any]:
    """What the doctor found of the nodes; there may be no fault."""
    need(answer.code == 0, f"mnrun doctor: exit code {answer.code}", answer)
    passed, rate = matched(_GATE, answer), matched(_RATE, answer)
    nodes, gpus = int(passed[2]), passed[3]
    expected = str(site.options.gpus) if site.options.real else "no"
    need((nodes, gpus) == (site.options.nodes, expected), f"{nodes} nodes, {gpus} GPUs", answer)
    warnings = re.findall(r"^\s*! .*", answer.output, re.MULTILINE)
    return {"gate_seconds": float(passed[1]), "gb_per_s": float(rate[1]), "transport": rate[2],
            "warnings": len(warnings)}  # fmt: skip


def init(site: Site) -> dict[str, Any]:
    """`mnrun init` writes a site for this cluster, which passes all checks, with a job too."""
    folder = site.out / "site"
    shutil.rmtree(folder, ignore_errors=True)
    arguments = shlex.quote(f"-F {site.options.path('ssh_config')}")
    ssh = f"ansible_ssh_common_args={arguments}"
    words = ["init", str(folder), "--yes", "--login", "login", "-e", ssh]
    made = site.plain(*words, limit=site.patience(90))
    need(made.code == 0, f"mnrun init: exit code {made.code}", made)
    values = yaml.safe_load((folder / "group_vars/all.yml").read_text(encoding="utf-8"))
    found = {name: values[f"mnrun_{name}"] for name in ("partition", "nodes", "gpus_per_node")}
    there = {"partition": "gpu", "nodes": site.options.nodes, "gpus_per_node": site.options.gpus}
    need(found == there, f"found: {found}", made)
    checked = site.mnrun("doctor", "--deep", run="init", limit=site.patience(120), site=folder,
                         **_given(site))  # fmt: skip
    return {"seconds": made.seconds, **found, "trainer": values["mnrun_trainer"],
            "doctor": _deep(site, checked)}  # fmt: skip


def report(site: Site) -> dict[str, Any]:
    """`mnrun report` of a run that has trained: curves, time, and the use of its GPUs."""
    folder = site.out / "report"
    shutil.rmtree(folder, ignore_errors=True)
    answer = site.plain("report", RUN, "--to", str(folder), "-i", SITE, limit=site.patience(60))
    need(answer.code == 0, f"mnrun report: exit code {answer.code}", answer)
    page = (folder / "report.html").read_text(encoding="utf-8")
    use = re.findall(r"\d+ % busy, \d+ of \d+ GiB", page)
    need(use, "the page has no use of the GPUs", answer)
    return {"seconds": answer.seconds, "page_bytes": len(page), "use": use[0]}
