"""The layout guards itself: what may import what, and what every service must have."""

import ast
import pkgutil
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import grimp
import pytest

import heliograph
from heliograph import topics
from services.mqtt_importer.parsing import topic_filters

ROOT = Path(__file__).parents[1]
SERVICES = sorted(folder.name for folder in (ROOT / "services").iterdir() if (folder / "pyproject.toml").exists())
PACKAGES = ["heliograph", "simulator", "cli", *(f"services/{name}" for name in SERVICES)]
LONGEST_MODULE = 400
LONGEST_CLASS = 200
MOST_SUPPRESSIONS = 5
NOT_STAND_INS = {"postgres_server.py", "pymodbus_server.py", "web_server.py"}  # real ones, and what they are built on
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{\d*,?\d*\})\+")
CATCHES_EVERYTHING = {ROOT / "services/uploader/attempt.py"}  # docs/decisions/0012-a-target-that-raises.md
ENTRY_POINT = re.compile(r"[a-z_.]+:[a-z_]+")
SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|pragma)")
DISTRIBUTIONS = packages_distributions()


def project(package: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / package / "pyproject.toml").read_text())


def is_python(path: Path) -> bool:
    if path.suffix == ".py":
        return True
    return (
        path.is_file()
        and not path.suffix
        and path.read_bytes()[:60].startswith((b"#!/usr/bin/env python", b"#!/usr/bin/python"))
    )


def requirements(package: str) -> list[str]:
    """What a package needs, with all its extras."""
    table = project(package)["project"]
    return [
        *table["dependencies"],
        *(one for extra in table.get("optional-dependencies", {}).values() for one in extra),
    ]


@cache
def modules(package: str) -> list[Path]:
    files = (
        path for path in (ROOT / package).rglob("*") if "node_modules" not in path.parts and "vendor" not in path.parts
    )
    return sorted(path for path in files if is_python(path))


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All nodes of a module's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text(), str(path))))


@pytest.fixture(scope="module", autouse=True)
def trees_are_dropped() -> Iterator[None]:
    yield
    nodes.cache_clear()  # a million objects, which slow down every garbage collection of the tests that follow


def imports(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = str(node.module)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def plain(requirement: str) -> str:
    """The name of a distribution, without its version and extras, as importlib.metadata compares it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[ \[<>=~!;]", requirement)[0]).lower()


def is_allowed(module: str, package: str, declared: set[str]) -> bool:
    top = module.split(".")[0]
    own = package.replace("/", ".")
    if top in sys.stdlib_module_names or module == own or module.startswith(f"{own}."):
        return True
    if top == "heliograph":
        return "heliograph" in declared
    return bool(declared & {plain(name) for name in DISTRIBUTIONS.get(top, [])})


def compose_section(name: str) -> dict[str, str]:
    """The entries of a section of compose.yaml, each with its lines."""
    text = re.split(
        r"^\S", (ROOT / "compose.yaml").read_text().partition(f"\n{name}:\n")[2], maxsplit=1, flags=re.MULTILINE
    )[0]
    _, *parts = re.split(r"^  ([a-z_]+):(?: #.*)?$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def access_rules() -> dict[str, list[str]]:
    """The topic lines of each user of the broker."""
    rules: dict[str, list[str]] = {}
    user = ""
    for line in (ROOT / "mosquitto/acl").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "user":
            user = rest
            assert user not in rules, f"mosquitto/acl: user {user} has two blocks"
            rules[user] = []
        elif word == "topic":
            rules[user].append(rest)
    return rules


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_the_standard_library_itself_and_what_it_declares(package: str) -> None:
    declared = {plain(requirement) for requirement in requirements(package)}
    assert modules(package)
    for path in modules(package):
        for module in imports(path):
            assert is_allowed(module, package, declared), f"{path.relative_to(ROOT)} reaches into {module}"


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_declared_that_is_not_imported(package: str) -> None:
    used = {module.split(".")[0] for path in modules(package) for module in imports(path)}
    used_distributions = {plain(name) for module in used for name in [module, *DISTRIBUTIONS.get(module, [])]}
    declared = {plain(requirement) for requirement in requirements(package)}
    # data of zoneinfo; what psycopg is written in; what a service is made of; what pymodbus opens ports and uvicorn
    # WebSockets with
    hidden = {"tzdata", "psycopg-binary", "heliograph", "pyserial", "websockets"}
    unused = declared - used_distributions - hidden
    assert not unused, f"{package}/pyproject.toml declares what no module imports: {', '.join(sorted(unused))}"


def loaded(path: Path) -> Iterator[tuple[str, str]]:
    """What a module loads by name: (module, what it loads).

    That is what `import_module` loads by a text or from its own folder, and every "module:attribute" beside `resolve_name`.
    """
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if any(isinstance(node, ast.Name) and node.id == "resolve_name" for node in nodes(path)):
        texts = (node.value for node in nodes(path) if isinstance(node, ast.Constant) and isinstance(node.value, str))
        yield from ((name, text.partition(":")[0]) for text in texts if ENTRY_POINT.fullmatch(text))
    for node in nodes(path):
        if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith("import_module"):
            continue
        match node.args:
            case [ast.Constant(value=str(module))]:
                yield name, module
            case [ast.JoinedStr(values=[ast.FormattedValue(value=ast.Name("__name__")), ast.Constant(value="."), _])]:
                yield from ((name, f"{name}.{plugin.name}") for plugin in pkgutil.iter_modules([str(path.parent)]))
            case _:
                pytest.fail(f"{path}:{node.lineno}: cannot tell what this loads")


def test_no_import_cycle_hides_behind_import_module() -> None:
    graph = grimp.build_graph("heliograph", "services", "simulator", "cli")
    for package in PACKAGES:
        for path in modules(package):
            for importer, imported in loaded(path):
                if imported in graph.modules:
                    graph.add_import(importer=importer, imported=imported)
    order = TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules})
    try:
        order.prepare()
    except CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def test_the_services_are_there() -> None:
    assert {
        "api",
        "calculator",
        "home_assistant",
        "modbus_poller",
        "mqtt_importer",
        "sensor_reader",
        "serial_bridge",
        "storage",
        "uploader",
    } <= set(SERVICES)
    folders = {path.name for path in (ROOT / "services").iterdir() if path.is_dir() and path.name != "__pycache__"}
    lacking = sorted(folders - set(SERVICES))
    assert not lacking, f"services/{lacking[0]} has no pyproject.toml"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_all_that_a_service_has(service: str) -> None:
    folder = ROOT / "services" / service
    for name in ("README.md", "__init__.py", "__main__.py", "sample.toml"):
        assert (folder / name).exists(), f"services/{service} has no {name}"
    assert list((ROOT / "tests" / service).glob("test_*.py")), f"tests/{service} has no tests"
    assert re.search(rf"^\[+{service}[\].]", (folder / "sample.toml").read_text(), re.MULTILINE)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_one_name_everywhere(service: str) -> None:
    table = project(f"services/{service}")
    assert table["project"]["name"] == f"heliograph-{service.replace('_', '-')}"
    wheel = table["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["sources"] == {"": f"services/{service}"}
    main = (ROOT / "services" / service / "__main__.py").read_text()
    assert f'run("{service}"' in main or f'"{service}"' in main


@pytest.mark.parametrize("service", SERVICES)
def test_compose_runs_every_service_with_its_password(service: str) -> None:
    block = compose_section("services").get(service)
    assert block, f"compose.yaml: services: has no {service}"
    assert f"SERVICE: {service} " in block, f"compose.yaml: services: {service}: does not build this service"
    assert re.search(rf"secrets: \[(.*, )?{service}[,\]]", block), (
        f"compose.yaml: services: {service}: secrets: lacks it"
    )
    secret = compose_section("secrets").get(service)
    assert secret, f"compose.yaml: secrets: has no {service}"
    assert secret.strip() == f"file: ${{HELIOGRAPH_SECRETS:-./secrets}}/{service}"


def test_the_images_have_the_version_of_the_project() -> None:
    """Case K12."""
    for file in ("compose.yaml", "simulator/compose.yaml"):
        images = re.findall(r"image: (\S+)", (ROOT / file).read_text())
        own = [image for image in images if "MOSQUITTO" not in image]
        assert own
        for image in own:
            assert re.fullmatch(
                rf"\$\{{COMPOSE_PROJECT_NAME\}}/\w+:\$\{{HELIOGRAPH_VERSION:-{re.escape(heliograph.__version__)}\}}",
                image,
            ), image


@pytest.mark.parametrize("service", SERVICES)
def test_compose_keeps_what_a_service_writes_to_a_volume_that_is_declared(service: str) -> None:
    used = set(re.findall(r"\"([a-z_]+):/data", compose_section("services").get(service, "")))
    missing = used - compose_section("volumes").keys()
    assert not missing, f"compose.yaml: volumes: lacks {', '.join(sorted(missing))}"


@pytest.mark.parametrize("service", SERVICES)
def test_the_broker_has_rules_for_every_service(service: str) -> None:
    rules = access_rules()
    assert service in rules, f"mosquitto/acl has no user {service}: see mosquitto/README.md, Adding a user"
    assert rules[service], f"mosquitto/acl: user {service} has no topic line"


def may(rules: list[str], right: str, topic_filter: str) -> bool:
    """Whether the topic lines of a user give it this right, "read" or "write", to all that a filter matches."""
    given = [words[-1] for words in map(str.split, rules) if words[0] in (right, "readwrite") or len(words) == 1]
    return any(topic_filters.covers(one, topic_filter) for one in given)


REQUESTS = ("heliograph/+/services/uploader/request/#", "heliograph/+/services/uploader/response/#")


@pytest.mark.parametrize("user", [user for user in access_rules() if user != "uploader"])
def test_only_the_uploader_and_who_asks_read_requests_with_secrets(user: str) -> None:
    rules = access_rules()[user]
    denied = [words[1] for words in map(str.split, rules) if words[0] == "deny"]
    for request in REQUESTS:
        is_denied = any(topic_filters.covers(one, request) for one in denied)
        assert is_denied or not may(rules, "read", request), f"mosquitto/acl: user {user} needs: topic deny {request}"


def subscriptions(service: str) -> Iterator[tuple[str, str]]:
    """What a service subscribes to of all devices or all services: (where, filter)."""
    for path in modules(f"services/{service}"):
        for node in nodes(path):
            if not isinstance(node, ast.Call):
                continue
            function = ast.unparse(node.func).rpartition(".")[2]
            if function in ("every_device", "every_service"):
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                assert isinstance(node.args[0], ast.Constant), f"{where}: {function} takes a text here, for this test"
                yield where, getattr(topics, function)(node.args[0].value)


def is_producer(service: str) -> bool:
    return any("service.producer()" in path.read_text() for path in modules(f"services/{service}"))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_read_what_it_subscribes_to(service: str) -> None:
    rules = access_rules().get(service, [])  # a subscription that the broker denies looks as if it were granted
    for where, topic_filter in subscriptions(service):
        assert may(rules, "read", topic_filter), (
            f"mosquitto/acl: user {service} needs the line: topic read {topic_filter} ({where})"
        )


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_hear_questions_for_announcements_and_ask_if_it_does(service: str) -> None:
    rules = access_rules().get(service, [])
    asks = any("request_announcements()" in path.read_text() for path in modules(f"services/{service}"))
    for right in ["read", *(["write"] if asks else [])]:
        assert may(rules, right, topics.ANNOUNCE), (
            f"mosquitto/acl: user {service} needs the line: topic {'readwrite' if asks else 'read'} {topics.ANNOUNCE}"
        )


@pytest.mark.parametrize("service", [name for name in SERVICES if is_producer(name)])
def test_a_producer_may_publish_its_readings_and_read_what_is_committed(service: str) -> None:
    rules = access_rules().get(service, [])
    own = topics.every_service("status").removesuffix("+/status") + service
    needed = [("write", f"{own}/journal"), ("write", f"{own}/replay"), ("read", f"{own}/committed")]
    needed += [("write", topics.every_device(kind)) for kind in ("state", "info", "availability")]
    needed.append(("write", topics.every_value()))
    needed.append(("read", topics.every_device("info")))  # an empty one says that a device was forgotten
    missing = [f"topic {right} {one}" for right, one in needed if not may(rules, right, one)]
    assert not missing, f"mosquitto/acl: user {service} needs the lines: {missing}"


def test_the_broker_has_no_rules_for_a_service_that_does_not_exist() -> None:
    assert set(access_rules()) - set(SERVICES) == {
        "homeassistant",
        "viewer",
        "health",
    }  # OTHER_USERS of cli/secrets.py


@pytest.mark.parametrize("package", PACKAGES)
def test_all_versions_are_equal(package: str) -> None:
    assert project(package)["project"]["version"] == heliograph.__version__


@pytest.mark.parametrize("package", ["simulator", "cli", *(f"services/{name}" for name in SERVICES)])
def test_only_one_module_knows_where_the_slashes_of_topics_go(package: str) -> None:
    for path in modules(package):
        for node in nodes(path):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.startswith(f"{topics.ROOT}/"), f"{path}:{node.lineno}: {node.value}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_long(package: str) -> None:
    pages = [path for path in (ROOT / package).rglob("*.js") if not {"vendor", "node_modules"} & set(path.parts)]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in [*modules(package), *pages]}
    assert {path: length for path, length in lengths.items() if length >= LONGEST_MODULE} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_class_is_long(package: str) -> None:
    lengths = {
        f"{path.relative_to(ROOT)}: {node.name}": int(node.end_lineno or 0) - node.lineno + 1
        for path in modules(package)
        for node in nodes(path)
        if isinstance(node, ast.ClassDef)
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_CLASS} == {}


@pytest.mark.parametrize("package", [*PACKAGES, "benchmarks"])
def test_no_handler_catches_everything(package: str) -> None:
    for path in modules(package):
        for node in nodes(path):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}:{node.lineno}: a bare except"
                caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
                is_broad = bool(caught & {"Exception", "BaseException"})
                assert not is_broad or path in CATCHES_EVERYTHING, f"{path}:{node.lineno}"


def is_expression(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, OverflowError):
        return False
    return True


@pytest.mark.parametrize("package", PACKAGES)
def test_no_group_of_a_regular_expression_is_possessive(package: str) -> None:
    # Before Python 3.11.5 such a group matches wrongly (CPython issue 106052), and Debian 12 has 3.11.2: make it atomic.
    for path in modules(package):
        for node in nodes(path):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and POSSESSIVE_GROUP.search(node.value):
                assert not is_expression(node.value), f"{path}:{node.lineno}: {node.value}"


STAND_INS = [path for path in sorted((ROOT / "tests").rglob("*_server.py")) if path.name not in NOT_STAND_INS]


@pytest.mark.parametrize("path", STAND_INS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_stand_in_names_what_it_was_compared_with(path: Path) -> None:
    manual = ast.get_docstring(ast.parse(path.read_text())) or ""
    compared = r"^Compared with: (no real server\b.*\b20\d\d\b|the source of .*\b20\d\d\b|.*\d.* on 20\d\d-\d\d-\d\d)"
    assert re.search(compared, manual, re.MULTILINE), (
        f"{path}: expected a line such as: Compared with: Emoncms 11.16.8 on 2026-11-30, by test_emoncms_cases.py."
    )


def test_tools_are_hardly_ever_silenced() -> None:
    suppressions = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in [*PACKAGES, "benchmarks", "tests"]
        for path in modules(package)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if SUPPRESSION.search(line)
    ]
    assert len(suppressions) <= MOST_SUPPRESSIONS, suppressions
