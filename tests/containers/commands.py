"""Every command of `heliograph` that is in a container, as docs/commands.md has it, with what it answers."""

import json
import re
from typing import NamedTuple

from tests.containers.compose import Project


class Call(NamedTuple):
    """A command with its options, what its output has, and its exit code."""

    arguments: str
    answer: str = ""
    code: int | None = 0  # None: 0 or 1, as it happens to be
    typed: str = ""


NO_TARGET = "no target called|no dead letter"
COPY = "--data /tmp/copy"
NAMES = "--node old --device meter"
RUNNING = {
    "api": [
        Call("version", "^heliograph "),
        Call("status", ": ok "),
        Call("doctor", "nothing found"),
        Call("key garden", "garden = "),
        Call("forget {node}/emonth", "devices/emonth/info"),
    ],
    "uploader": [
        Call("uploads put shelf", typed='{"kind": "file"}'),
        Call("uploads list", "shelf"),
        Call("uploads test shelf", "nothing was sent|rows in shelf", None),
        Call("uploads pause shelf"),
        Call("uploads resume shelf"),
        Call("uploads dead-letters list shelf"),
        Call("uploads dead-letters edit shelf 1 power=3", NO_TARGET, 1),
        Call("uploads dead-letters retry shelf"),
        Call("uploads dead-letters drop shelf --all"),
        Call("uploads delete shelf --yes"),
    ],
    "storage": [
        Call("status", ": ok "),
        Call("doctor", "nothing found"),
        Call("store info", "^/data/store, "),
        Call("store check", "all files are sound"),
        Call("store rename device {node}/grid {node}/house --dry-run"),
        Call("store backup /tmp/backup"),
        Call("store check --backup /tmp/backup"),
        Call(f"store restore /tmp/backup {COPY}"),
        *(
            Call(f"store export {COPY} '{{node}}/grid/*' --format {kind} -o /tmp/grid.{kind}")
            for kind in ("csv", "jsonl", "line")
        ),
        *(Call(f"store import {kind} {COPY} /tmp/grid.{kind}") for kind in ("csv", "jsonl")),
        Call(f"store import line {COPY} /tmp/grid.line --node old"),
        Call(f"store import emoncms {COPY} http://127.0.0.1:9 --key x {NAMES}", "127.0.0.1:9", 1),
        Call(f"store import phpfina {COPY} /tmp/none {NAMES}", "/tmp/none", 2),
        Call(f"store import phptimeseries {COPY} /tmp/none {NAMES}", "/tmp/none", 2),
        Call(f"store import tracer {COPY} /tmp/none {NAMES}", "/tmp/none", 2),
        Call(f"store meter-replaced {COPY} {{node}}/grid/energy_import --at 2026-11-01 --yes", "no reading before", 2),
        Call(f"store rescale {COPY} {{node}}/grid/energy_export --to Wh --yes"),
        Call(f"store delete {COPY} '{{node}}/grid/voltage' --from 2020-01-01 --to 2100-01-01 --yes"),
        Call(f"store salvage {COPY}"),
        Call(f"store copy {COPY} --to /tmp/other"),
    ],
}
STOPPED = {
    "modbus_poller": [Call("try", "tracer .*: [0-9]+ values"), Call("scan simulator:5020", "epever_tracer")],
    "serial_bridge": [Call("try", "emontx .*: [0-9]+ values")],
    "sensor_reader": [Call("try", "system .*: [0-9]+ values")],
    "storage": [Call("store info", "/data/store, ")],
}
ON_THE_HOST = {"start", "logs", "check", "sample", "secrets"}


# Runs inside a container: all commands in one process, because each start of Python takes longer than most of them.
RUN = """
import json, shlex, sys
from click.testing import CliRunner
from cli.main import main
answers = []
for arguments, typed in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, shlex.split(arguments), input=typed or None)
    answers.append((done.exit_code, done.output, repr(done.exception)))
json.dump(answers, sys.stdout)
"""


def while_it_runs(project: Project, service: str, node: str) -> None:
    """Run the commands of a service's container in it."""
    calls = [(call.arguments.replace("{node}", node), call.typed) for call in RUNNING[service]]
    answers = json.loads(project.execute(service, "python", "-c", RUN, json.dumps(calls)))
    for call, (code, answer, exception) in zip(RUNNING[service], answers, strict=True):
        assert code in ((0, 1) if call.code is None else (call.code,)), f"{call.arguments}\n{answer}\n{exception}"
        assert re.search(call.answer, answer, re.MULTILINE), f"{call.arguments}\n{answer}"


def while_it_is_stopped(project: Project, service: str) -> None:
    """Run the commands of a service's container in another one, beside a service that was stopped."""
    project.compose("stop", service)
    for call in STOPPED[service]:
        answer = project.compose("run", "--rm", "-T", service, "heliograph", *call.arguments.split())
        assert re.search(call.answer, answer), f"{call.arguments}\n{answer}"
    project.compose("start", service)
