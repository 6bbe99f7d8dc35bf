"""Texts with $names in them, which are replaced and never run.

A name is written $name, or ${name} where a letter follows or where there is nothing else in the
text (config.toml takes "$name" alone for a variable of the environment). $$ is a dollar sign.
"""

from collections.abc import Collection, Mapping
from string import Template
from typing import Any


def check(option: str, template: str, names: Collection[str], prefixes: tuple[str, ...] = ()) -> None:
    """Raise ValueError unless a template can be filled with these names, and such that begin with a prefix."""
    parsed = Template(template)
    if not parsed.is_valid():
        raise ValueError(f"{option}: a $ without a name in {template!r}; $$ is a dollar sign")
    for name in parsed.get_identifiers():
        if name not in names and not name.startswith(prefixes):
            raise ValueError(f"{option}: there is no ${name}; there are {' '.join(f'${known}' for known in names)}")


def filled(template: str, values: Mapping[str, object]) -> str:
    """Return a checked template with its names replaced."""
    return Template(template).substitute(values) if "$" in template else template


def alone(template: str) -> str:
    """Return the name that a template is, if it is nothing but one; else ""."""
    if template.startswith("${") and template.endswith("}") and template[2:-1].isidentifier():
        return template[2:-1]
    return template[1:] if template.startswith("$") and template[1:].isidentifier() else ""


def check_all(option: str, template: Any, names: Collection[str], prefixes: tuple[str, ...] = ()) -> None:
    """Check every text in nested lists and tables."""
    if isinstance(template, str):
        check(option, template, names, prefixes)
    elif isinstance(template, dict):
        for key, value in template.items():
            check_all(f"{option}.{key}", value, names, prefixes)
    elif isinstance(template, list):
        for value in template:
            check_all(option, value, names, prefixes)
