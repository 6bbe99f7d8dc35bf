"""Print what the services, the command and the simulator need of others, a requirement a line: see Dockerfile."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = re.compile(r"heliograph(?:\[(?P<extras>[^]]*)\])?$")


def main() -> None:
    """Read the dependencies of every pyproject.toml that an image is made of, and of the extras that they name."""
    files = [
        *ROOT.glob("services/*/pyproject.toml"),
        *(ROOT / name / "pyproject.toml" for name in ("cli", "heliograph", "simulator")),
    ]
    extras = tomllib.loads((ROOT / "heliograph/pyproject.toml").read_text())["project"]["optional-dependencies"]
    needs: set[str] = set()
    for file in files:
        for need in tomllib.loads(file.read_text())["project"]["dependencies"]:
            if own := OWN.match(need):
                for extra in (own["extras"] or "").split(","):
                    needs.update(extras.get(extra.strip(), []))
            else:
                needs.add(need)
    sys.stdout.write("".join(f"{need}\n" for need in sorted(needs)))


if __name__ == "__main__":
    main()
