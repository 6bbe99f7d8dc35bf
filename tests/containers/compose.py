import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import heliograph
from tests.conftest import ROOT

T = TypeVar("T")
PATIENCE_SECONDS = 90.0


class Project:
    """The node's compose.yaml with the simulated site, under a name of its own; `root` is the checkout.

    The files and profiles are named as people name them, in variables that a .env would have.
    """

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        *overrides: Path,
        root: Path = ROOT,
        profiles: str = "home_assistant",
    ) -> None:
        self.name = name
        self._root = root
        self.patience = PATIENCE_SECONDS
        files = (root / "compose.yaml", root / "simulator/compose.yaml", *overrides)
        chosen = {"COMPOSE_FILE": os.pathsep.join(map(str, files)), "COMPOSE_PROFILES": profiles}
        self._environment = {**os.environ, **environment, **chosen}
        self._command = ["docker", "compose", "-p", name, "--progress", "quiet"]

    def compose(self, *arguments: str) -> str:
        return self._run([*self._command, *arguments])

    def start(self) -> None:
        """Start everything and wait until it is healthy; fail with what the containers logged."""
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", "240")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.compose('logs', '--tail', '12')}") from None

    def remove(self) -> None:
        """Remove everything but the build cache."""
        self.compose("down", "--volumes", "--timeout", "3")
        self._run(["docker", "image", "rm", *self.images()])

    def execute(self, service: str, *command: str) -> str:
        """Run a command inside of a service's container and return what it prints."""
        return self.compose("exec", "-T", service, *command)

    def inspect(self, service: str) -> dict[str, Any]:
        containers: list[dict[str, Any]] = json.loads(self._run(["docker", "inspect", f"{self.name}-{service}-1"]))
        return containers[0]

    def hashes(self, **environment: str) -> dict[str, str]:
        """Return what compose compares to find out whether a service has changed, with other variables."""
        output = self._run([*self._command, "config", "--hash", "*"], environment)
        return dict(line.split() for line in output.splitlines())

    def images(self) -> list[str]:
        """Return the images that were built for this project."""
        return self._run(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", f"{self.name}/*"]).split()

    def layer_bytes(self) -> dict[str, int]:
        """Return the size of each layer of the images of this project: what they have in common is there once."""
        sizes: dict[str, int] = {}
        for image in self.images():
            inspected: list[dict[str, Any]] = json.loads(self._run(["docker", "image", "inspect", image]))
            steps = self._run(["docker", "history", "--human=false", "--format", "{{.Size}}", image])
            layers = inspected[0]["RootFS"]["Layers"]
            # steps without a layer have no bytes; a layer without bytes hides among them, and costs none
            filled = [size for size in map(int, reversed(steps.split())) if size]
            sizes |= dict(zip(reversed(layers), reversed(filled), strict=False))
        return sizes

    def layers(self, service: str) -> list[str]:
        """Return the layers of a service's image, those of the base image first."""
        images: list[dict[str, Any]] = json.loads(self._run(["docker", "image", "inspect", self._image(service)]))
        layers: list[str] = images[0]["RootFS"]["Layers"]
        return layers

    def newest_layer_bytes(self, service: str) -> int:
        """Return the size of the last layer of a service's image."""
        steps = self._run(["docker", "history", "--human=false", "--format", "{{.Size}}", self._image(service)])
        return next(size for size in map(int, steps.split()) if size)

    def started(self, service: str) -> str:
        """Return when the service's container started last, once it runs."""
        state = self.inspect(service)["State"]
        return str(state["StartedAt"]) if state["Running"] else ""

    def eventually(self, check: Callable[[], T], what: str) -> T:
        """Return the first truthy answer, or fail after a generous time-out with what the containers logged last."""
        end = time.monotonic() + self.patience
        while not (answer := check()):
            assert time.monotonic() < end, f"never came true: {what}\n{self.compose('logs', '--tail', '12')}"
            time.sleep(0.1)
        return answer

    def kill(self, service: str) -> None:
        """Kill -9 the container's processes, which is no `docker kill`: the restart policy acts."""
        before = self.started(service)
        container = self.inspect(service)
        pid = container["State"]["Pid"]
        group = Path(f"/proc/{pid}/cgroup")  # of another process, where the engine is on another machine
        if os.geteuid() == 0 and group.exists() and container["Id"] in group.read_text():
            os.kill(pid, signal.SIGKILL)
        else:
            self.execute(service, "sh", "-c", "(sleep 0.2; kill -9 $(cat /proc/1/task/1/children)) >/dev/null 2>&1 &")
        self.eventually(lambda: self.started(service) not in ("", before), f"{service} is restarted")

    def _image(self, service: str) -> str:
        return f"{self.name}/{service}:{heliograph.__version__}"

    def _run(self, command: list[str], environment: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            command,
            cwd=self._root,
            env={**self._environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout
