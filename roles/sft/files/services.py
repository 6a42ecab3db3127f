"""Beside a training, in its job: starts the services of a run, and ends them with it.

    services.py PLAN.json COMMAND…

It starts them, waits until they answer, hands their addresses to the command, the training, and
watches both. If a service does not come up, or is lost, the training ends, and stopped-N.json in
the record says why. Otherwise the exit code is the training's.
Standard library only, Python 3.8 or later: runs inside jobs, on the node of their script.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

from services_steps import ServicesError, Step, nodes_of_job

_TICK = 1.0
_SAY = 60.0  # seconds between two lines about what is waited for
_SLACK = 60.0  # seconds beyond a service's own limit in which its nodes have to report
_REACH = 10.0  # seconds to be reached from here, once it answers on its own node
_ECHO = 5.0  # seconds after a failed training in which a lost service may be reported
_LATER = 1.0  # seconds after a fault in which a signal shows that the whole job is being ended
_GRACE = 40.0  # seconds until SIGKILL
_STOP = 20.0  # seconds for services to end
_LONGEST = 480  # characters of what the record keeps
_PR_SET_PDEATHSIG = 1
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_NAMED = re.compile(r"\$(?:\{(MNRUN_SERVICE_[A-Z0-9_]+)\}|(MNRUN_SERVICE_[A-Z0-9_]+))")
_OF_RAY = "RAY_JOB_CONFIG_JSON_ENV_VAR"


class Signals:
    """Signals to this process, as a file to wait for."""

    def __init__(self) -> None:
        self.inbox, self._outbox = socket.socketpair()
        self._outbox.setblocking(False)
        self.inbox.setblocking(False)
        signal.set_wakeup_fd(self._outbox.fileno(), warn_on_full_buffer=False)
        for number in (*_PASSED_ON, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

        self.ending = False  # this job is being ended, or this Ray job

    def read(self) -> list[int]:
        """Those that came since the last call and are for the training."""
        try:
            found = [number for number in self.inbox.recv(4096) if number in _PASSED_ON]
        except BlockingIOError:
            return []
        self.ending = self.ending or signal.SIGTERM in found or signal.SIGINT in found
        return found


class Services:
    """All services of a job."""

    def __init__(self, file: str, plan: dict[str, Any], signals: Signals) -> None:
        self._signals = signals
        self._steps: list[Step] = []
        self._file, self._plan = file, plan
        self._record = Path(os.environ["MNRUN_RECORD"])
        self._number = os.environ["MNRUN_ATTEMPT"]
        self._began = time.monotonic()

    def start(self) -> None:
        """Start all of them. Raises ServicesError."""
        nodes = nodes_of_job()
        for number, one in enumerate(self._plan["services"]):
            self._steps.append(Step(one, nodes, self._plan["logs"], (self._file, number)))
            say(f"{one['name']} is starting on {', '.join(self._steps[-1].nodes)}")
        self._write()

    def wait(self, seconds: float) -> list[int]:
        """Let time pass, at most this long. Returns signals that came. Raises ServicesError."""
        files: list[Any] = [self._signals.inbox, *(step.report for step in self._steps)]
        ready = select.select(files, [], [], max(0.0, seconds))[0]
        for step in self._steps:
            if step.report in ready:
                step.take()
        return self._signals.read()

    def until_up(self) -> bool:
        """Wait until all answer. False if a signal came before. Raises ServicesError."""
        told = self._began
        missing = self._missing()
        while missing:
            if self.wait(_TICK):
                return False
            now, before, missing = time.monotonic(), missing, self._missing()
            for name, node in before:
                if (name, node) not in missing:
                    self._check_reach(name, node)
            if now - told > _SAY:
                told = now
                waiting = ", ".join(f"{name} on {node}" for name, node in missing)
                say(f"waiting for {waiting}, {now - self._began:.0f} s")
            self._refuse_silence(now)
        return True

    def _missing(self) -> list[tuple[str, str]]:
        return [(step.name, node) for step in self._steps for node in step.missing()]

    def _check_reach(self, name: str, node: str) -> None:
        """It answers on its own node: the training, here, has to reach it as well."""
        step = next(one for one in self._steps if one.name == name)
        found = step.endpoints[node]
        try:
            socket.create_connection((found.host, found.port), timeout=_REACH).close()
        except OSError as error:
            text = f"answers there, but cannot be reached at {found.address} ({error})"
            raise ServicesError(name, node, text, None, was_up=False) from error
        say(f"{name} answers on {node} after {found.up} s, {found.address}")
        self._write()

    def _refuse_silence(self, now: float) -> None:
        for step in self._steps:
            if step.missing() and now - self._began > step.timeout + _SLACK:
                node = step.missing()[0]
                text = f"has not been reported as up after {now - self._began:.0f} s"
                raise ServicesError(step.name, node, text, step.log(node), was_up=False)

    def variables(self) -> dict[str, str]:
        """Their addresses, by the names of the variables that hold them."""
        return {
            f"MNRUN_SERVICE_{step.name.upper().replace('-', '_')}": ",".join(
                step.endpoints[node].address for node in step.nodes
            )
            for step in self._steps
        }

    def _write(self) -> None:
        """Write down where they are."""
        found = [
            {"name": step.name, "node": node, "log": str(step.log(node)),
             "address": one.address if one else "", "up_seconds": one.up if one else None}
            for step in self._steps
            for node in step.nodes
            for one in [step.endpoints.get(node)]
        ]  # fmt: skip
        self._publish("services", {"services": found})

    def stopped(self, error: ServicesError) -> None:
        """Write down, and say, for which fault the training ends, unless all of it is being ended,
        which also ends services."""
        until = time.monotonic() + _LATER
        while not self._signals.ending and time.monotonic() < until:
            select.select([self._signals.inbox], [], [], max(0.0, until - time.monotonic()))
            self._signals.read()
        if self._signals.ending:
            return
        self._write()
        lines = self._redacted(error)
        text = " ".join([str(error), *lines[-2:]])[:_LONGEST]
        cause = "service" if error.was_up else "service_start"
        self._publish("stopped", {"cause": cause, "text": text, "where": error.node})
        say("\n    ".join([str(error), *lines]))

    def _redacted(self, error: ServicesError) -> list[str]:
        lines = error.lines
        for step in self._steps:  # one may tell what it has of another
            lines = step.redacted(lines)
        return lines

    def _publish(self, name: str, content: dict[str, Any]) -> None:
        path = self._record / f"{name}-{self._number}.json"
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # a full disk ends nothing by itself
            text = json.dumps({"token": os.environ["MNRUN_TOKEN"], **content}, indent=1)
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)

    def end(self) -> None:
        """End all of them, and wait for that."""
        for step in self._steps:
            step.end()
        until = time.monotonic() + _STOP
        for step in self._steps:
            if step.exit_code(max(0.1, until - time.monotonic())) is None:
                step.kill()


class Training:
    """The training's process."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        libc = ctypes.CDLL(None)
        # srun ends what it started elsewhere, if it can; another program may not end by this word.
        number = signal.SIGTERM if Path(command[0]).name == "srun" else signal.SIGKILL
        self._process = subprocess.Popen(
            command, env=env,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0),  # noqa: PLW1509
        )  # fmt: skip

    def pass_on(self, numbers: list[int]) -> None:
        """Give it signals."""
        for number in numbers:
            self._process.send_signal(number)

    @property
    def code(self) -> int | None:
        """Its exit code, as a shell has it; None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def end(self) -> None:
        """End it."""
        for word, seconds in ((self._process.terminate, _GRACE), (self._process.kill, _GRACE)):
            word()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
                return


def addressed(text: str, variables: dict[str, str]) -> str:
    """A text with addresses in place of variables."""
    return _NAMED.sub(lambda m: variables.get(m.group(1) or m.group(2), m.group(0)), text)


def with_files(command: list[str], files: list[str], variables: dict[str, str]) -> list[str]:
    """The command with addresses in its words, and in copies of the files of the record."""
    record, number = Path(os.environ["MNRUN_RECORD"]), os.environ["MNRUN_ATTEMPT"]
    command = [addressed(word, variables) for word in command]
    for name in files:
        text = (record / name).read_text("utf-8")
        if addressed(text, variables) != text:
            copy = record / f"addressed-{number}-{name}"
            copy.write_text(addressed(text, variables), encoding="utf-8")
            command = [word.replace(str(record / name), str(copy)) for word in command]
    return command


def environment(variables: dict[str, str], plan: dict[str, Any]) -> dict[str, str]:
    """The training's environment: of Ray's workers on all nodes as well."""
    env = {name: addressed(value, variables) for name, value in os.environ.items()}
    env.update(variables)
    env.update(without_proxy(env, variables))
    env.update(MNRUN_SERVICES_GPUS=str(plan["gpus"]), MNRUN_SERVICES_CPUS=str(plan["cpus"]))
    if _OF_RAY in env:
        config = json.loads(env[_OF_RAY])
        runtime = config["runtime_env"] = config.get("runtime_env") or {}
        own = runtime.get("env_vars") or {}
        direct = without_proxy({**os.environ, **own}, variables)
        runtime["env_vars"] = {**own, **variables, **direct}
        env[_OF_RAY] = json.dumps(config)
    return env


def without_proxy(env: dict[str, str], variables: dict[str, str]) -> dict[str, str]:
    """What keeps a proxy of the environment from between the training and its services."""
    addresses = (one for text in variables.values() for one in text.split(","))
    hosts = [urllib.parse.urlsplit(one).hostname or "" for one in addresses]
    found = {}
    for name, other in (("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy")):
        given = env.get(name) or env.get(other) or ""
        known = [one.strip() for one in given.split(",") if one.strip()]
        # `*` is for all hosts, and only if it stands alone.
        found[name] = given if "*" in known else ",".join(dict.fromkeys([*known, *hosts]))
    return found


def run(services: Services, command: list[str], plan: dict[str, Any]) -> int:
    """Start the services, and run the training to its end. Returns its exit code."""
    training = None
    try:
        services.start()
        if not services.until_up():
            return 128 + signal.SIGTERM
        variables = services.variables()
        words = with_files(command, plan["files"], variables)
        training = Training(words, environment(variables, plan))
        return follow(services, training)
    except ServicesError as error:
        services.stopped(error)
        if training:
            training.end()
        return 1


def follow(services: Services, training: Training) -> int:
    """Wait for the end of the training. Raises ServicesError."""
    parent = os.getppid()
    while training.code is None:
        training.pass_on(services.wait(_TICK))
        if os.getppid() != parent:  # the job's script was killed
            training.end()
    until = time.monotonic() + (_ECHO if training.code else 0.0)
    # It may have failed as a service was lost, and be the first to be heard.
    while time.monotonic() < until:
        services.wait(until - time.monotonic())
    return training.code


def say(text: str) -> None:
    """One line for the job's log."""
    print(f"[services] {text}", flush=True)


def main() -> int:
    """Entry point."""
    plan = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    # The script was killed: then nothing else ends what this one started.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    services = Services(sys.argv[1], plan, Signals())
    try:
        return run(services, sys.argv[2:], plan)
    finally:
        services.end()


if __name__ == "__main__":
    sys.exit(main())
