"""Print the requirements of integrations of an installed Home Assistant, and of their dependencies."""

import importlib.util
import json
import sys
from pathlib import Path


def main(names: list[str]) -> None:
    spec = importlib.util.find_spec("homeassistant")
    assert spec
    assert spec.origin
    known: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in known:
            continue
        known.add(name)
        manifest = json.loads((Path(spec.origin).parent / "components" / name / "manifest.json").read_text())
        waiting += manifest.get("dependencies", [])
        for requirement in manifest.get("requirements", []):
            sys.stdout.write(f"{requirement}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
