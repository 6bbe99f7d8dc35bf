import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.producer_services import PRODUCERS
from tests.conftest import ROOT, free_port, mosquitto_command
from tests.visitor import NOT_AUTHORIZED, Door

USERS = [
    "api",
    "modbus_poller",
    "sensor_reader",
    "serial_bridge",
    "storage",
    "viewer",
    "health",
    "mqtt_importer",
    "calculator",
    "uploader",
    "home_assistant",
    "homeassistant",
]
NODE = "heliograph/roof"


pytestmark = pytest.mark.slow


def make(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.secrets", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def hashes(folder: Path) -> dict[str, str]:
    lines = (folder / "broker/passwords").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def connect(port: int, authority: Path) -> None:
    """Shake hands as Python 3.13 does by default, on any Python."""
    context = ssl.create_default_context(cafile=authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost"),
    ):
        pass


def authority_without_key_usage(folder: Path, key: Path, authority: Path) -> Path:
    """Replace the authority's certificate by one without key usage; return a copy of it."""
    files = ["-key", str(key), "-out", str(authority)]
    subprocess.run(
        ["openssl", "req", "-x509", *files, "-days", "9", "-subj", "/CN=Heliograph"], check=True, capture_output=True
    )
    copy = folder / "copy.crt"
    copy.write_bytes(authority.read_bytes())
    return copy


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "secrets"
    made = make(folder, "--user", "plug", "--tls", "localhost", "127.0.0.1")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def broker(secrets: Path) -> Iterator[dict[str, int]]:
    """The project's passwords, ACL and TLS listener in a broker on this machine."""
    port, tls_port = free_port(), free_port()
    broker = secrets / "broker"
    tls = (broker / "conf.d/tls.conf").read_text()
    config = secrets.parent / "mosquitto.conf"
    config.write_text(
        f"allow_anonymous false\npassword_file {broker}/passwords\nacl_file {ROOT}/mosquitto/acl\n"
        f"user root\nlog_dest stderr\nlog_type error\nlistener {port} 127.0.0.1\n"
        + tls.replace("8883", f"{tls_port} 127.0.0.1").replace("/run/mosquitto", str(broker))
    )
    process = subprocess.Popen([mosquitto_command(), "-c", config])
    yield {"tcp": port, "tls": tls_port}
    process.terminate()
    process.wait()


@pytest.fixture
def door(secrets: Path, broker: dict[str, int]) -> Iterator[Door]:
    opened = Door(secrets, broker)
    yield opened
    opened.close()


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("by", ["tcp", "tls"])
def test_every_user_connects_with_its_password(door: Door, user: str, by: str) -> None:
    assert door.enter(user, by=by).greeting == "Success"


def test_python_3_13_accepts_the_certificates(secrets: Path, broker: dict[str, int]) -> None:
    connect(broker["tls"], secrets / "broker/ca.crt")


def test_an_authority_that_python_3_13_refuses_is_renewed_and_its_key_stays(tmp_path: Path) -> None:
    make(tmp_path, "--tls", "localhost")
    key, authority = tmp_path / "ca.key", tmp_path / "broker/ca.crt"
    old, old_key = authority_without_key_usage(tmp_path, key, authority), key.read_bytes()
    again = make(tmp_path, "--tls", "localhost")
    assert again.returncode == 0, again.stderr
    assert "renewed" in again.stderr
    assert key.read_bytes() == old_key
    assert "renewed" not in make(tmp_path, "--tls", "localhost").stderr
    verify = ["openssl", "verify", "-CAfile"]
    for trusted in (authority, old):  # also on machines that have a copy of the former one
        subprocess.run([*verify, trusted, tmp_path / "broker/server.crt"], check=True, capture_output=True)


def test_a_wrong_password_is_refused(door: Door) -> None:
    assert door.enter("storage", password="wrong").greeting == NOT_AUTHORIZED


def test_a_user_without_a_password_file_is_refused(door: Door) -> None:
    assert door.enter("somebody", password="anything").greeting == NOT_AUTHORIZED


@pytest.mark.parametrize(
    "user", ["serial_bridge", "modbus_poller", "sensor_reader", "api", "mqtt_importer", "calculator"]
)
def test_a_producer_publishes_on_its_own_topics(door: Door, user: str) -> None:
    visitor = door.enter(user)
    for topic in (
        "devices/meter/state",
        "devices/meter/info",
        "devices/meter/availability",
    ):
        assert visitor.publish(f"{NODE}/{topic}") != NOT_AUTHORIZED
    for kind in ("status", "journal", "replay"):
        assert visitor.publish(f"{NODE}/services/{user}/{kind}") != NOT_AUTHORIZED


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("modbus_poller", "services/serial_bridge/journal"),
        ("modbus_poller", "services/serial_bridge/replay"),
        ("modbus_poller", "services/serial_bridge/status"),
        ("modbus_poller", "services/modbus_poller/committed"),
        ("modbus_poller", "services/storage/request/backup"),
        ("modbus_poller", "devices/meter/set"),
        ("sensor_reader", "services/modbus_poller/journal"),
        ("sensor_reader", "devices/meter/set"),
        ("mqtt_importer", "services/modbus_poller/journal"),
        ("mqtt_importer", "devices/meter/set"),
        ("calculator", "services/modbus_poller/journal"),
        ("calculator", "services/modbus_poller/committed"),
        ("calculator", "devices/meter/set"),
        ("storage", "services/storage/journal"),
        ("storage", "devices/meter/state"),
        ("uploader", "services/storage/request/backup"),
        ("uploader", "services/uploader/journal"),
        ("uploader", "devices/meter/set"),
        ("viewer", "devices/meter/state"),
        ("viewer", "services/serial_bridge/committed"),
        ("viewer", "services/viewer/journal"),
        ("health", "services/health/journal"),
        ("plug", "devices/meter/state"),
        ("home_assistant", "devices/meter/state"),
        ("home_assistant", "devices/meter/info"),
        ("home_assistant", "devices/meter/set"),
        ("homeassistant", "devices/meter/state"),
        ("homeassistant", "services/storage/status"),
    ],
)
def test_no_user_publishes_on_topics_of_others(door: Door, user: str, topic: str) -> None:
    assert door.enter(user).publish(f"{NODE}/{topic}") == NOT_AUTHORIZED


def test_storage_receives_frames_only_from_the_producer_that_they_name(door: Door) -> None:
    storage = door.enter("storage")
    storage.subscribe(
        f"{NODE}/services/+/journal",
        f"{NODE}/services/+/replay",
        f"{NODE}/services/+/status",
    )
    door.enter("modbus_poller").publish(f"{NODE}/services/serial_bridge/journal")
    honest = door.enter("serial_bridge")
    honest.publish(f"{NODE}/services/serial_bridge/status")
    honest.publish(f"{NODE}/services/serial_bridge/journal")
    honest.publish(f"{NODE}/services/serial_bridge/replay")
    # The acknowledgement of a subscription comes after everything that was delivered before it.
    storage.subscribe(f"{NODE}/services/+/replay")
    assert storage.received() == [
        f"{NODE}/services/serial_bridge/journal",
        f"{NODE}/services/serial_bridge/replay",
    ]


def test_a_request_and_its_response_arrive(door: Door) -> None:
    api, storage = door.enter("api"), door.enter("storage")
    storage.subscribe(f"{NODE}/services/storage/request/#")
    api.subscribe(f"{NODE}/services/api/response/#")
    assert api.publish(f"{NODE}/services/storage/request/backup") == "Success"
    assert storage.publish(f"{NODE}/services/api/response/backup") == "Success"
    storage.subscribe(f"{NODE}/services/storage/request/#")
    api.subscribe(f"{NODE}/services/api/response/#")
    assert storage.received() == [f"{NODE}/services/storage/request/backup"]
    assert api.received() == [f"{NODE}/services/api/response/backup"]


def test_a_second_run_changes_nothing(secrets: Path) -> None:
    before = {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}
    again = make(secrets)
    assert (again.returncode, again.stderr) == (0, "")
    assert {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()} == before


def test_a_deleted_password_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    make(tmp_path)
    before, old = hashes(tmp_path), (tmp_path / "storage").read_text()
    (tmp_path / "storage").unlink()
    make(tmp_path)
    after = hashes(tmp_path)
    assert (tmp_path / "storage").read_text() != old
    assert [user for user in before if after[user] != before[user]] == ["storage"]


def test_a_user_whose_password_file_was_removed_is_removed_unless_it_is_a_service(
    tmp_path: Path,
) -> None:
    make(tmp_path, "--user", "plug")
    assert "plug" in hashes(tmp_path)
    (tmp_path / "plug").unlink()
    make(tmp_path)
    assert "plug" not in hashes(tmp_path)


def test_the_folder_is_private_and_its_files_are_readable_in_containers(
    secrets: Path,
) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE((secrets / "ca.key").stat().st_mode) == 0o600
    for path in (
        secrets / "storage",
        secrets / "broker/passwords",
        secrets / "broker/server.key",
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["../out", "Big", "a b", "user:x", "", "."])
def test_a_name_that_cannot_be_a_user_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    made = make(tmp_path / "secrets", "--user", name)
    assert made.returncode == 1
    assert len(made.stderr.splitlines()) == 1
    assert not (tmp_path / "secrets").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = make(tmp_path / "file/secrets")
    assert made.returncode == 1
    assert len(made.stderr.splitlines()) == 1


def test_what_a_second_machine_needs_is_collected_and_lets_its_producers_in(tmp_path: Path) -> None:
    """Case N4."""
    folder = tmp_path / "secrets"
    done = make(folder, "--for", "shed")
    assert done.returncode == 1
    assert "name its host names and addresses with --tls" in done.stderr
    assert "cannot be a node" in make(folder, "--tls", "localhost", "--for", "../shed").stderr
    assert make(folder, "--tls", "localhost", "127.0.0.1", "--for", "shed").returncode == 0
    collected = folder / "for/shed"
    assert stat.S_IMODE(collected.stat().st_mode) == 0o700
    files = {path.name: path.read_text() for path in collected.iterdir()}
    assert set(files) == {*PRODUCERS, "ca.crt", "config.toml"}
    assert all(files[name] == (folder / name).read_text() for name in PRODUCERS)
    assert files["ca.crt"] == (folder / "broker/ca.crt").read_text()
    lines = files["config.toml"].strip().splitlines()
    page = (ROOT / "docs/second-pi.md").read_text()
    assert "\n".join(lines).replace("localhost", "hub.local") in page
    before = {name: text for name, text in files.items() if name != "config.toml"}
    assert make(folder, "--for", "shed").returncode == 0  # again, with the certificate that there is
    assert {path.name: path.read_text() for path in collected.iterdir() if path.name != "config.toml"} == before
