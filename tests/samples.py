"""What every service's test of its sample.toml needs: the manual must tell the truth."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from heliograph import config

OPTION = re.compile(r"# ([a-z0-9_]+ = .*)")


def uncommented(text: str) -> str:
    """A sample with every `# option = default` uncommented."""
    return "\n".join(OPTION.sub(r"\1", line) if OPTION.fullmatch(line) else line for line in text.split("\n"))


def sections(service: str) -> tuple[str, str]:
    """The sample of a service as it is shipped, and uncommented."""
    shipped = (Path(__file__).parents[1] / "services" / service / "sample.toml").read_text()
    return shipped, uncommented(shipped)


def loaded(kind: type[config.Config], service: str, text: str) -> config.Config:
    return config.section(kind, tomllib.loads(text), service, Path("sample.toml"), service)


def documented(service: str) -> dict[str, Any]:
    """The section of a service as its sample has it, with every default spelled out."""
    section = tomllib.loads(sections(service)[1])[service]
    assert isinstance(section, dict)
    return section


def fields(kind: type[msgspec.Struct]) -> set[str]:
    """The options of a section."""
    return {field.name for field in msgspec.structs.fields(kind)}


def assert_sample_tells_the_truth(kind: type[config.Config], service: str) -> None:
    """Uncommenting every default changes nothing, and every option of the section is documented."""
    shipped, spelled_out = sections(service)
    assert shipped != spelled_out
    assert loaded(kind, service, spelled_out) == loaded(kind, service, shipped)
    assert set(documented(service)) == fields(kind)
