"""A real Emoncms from a checkout of its source, with PHP, MariaDB and Redis of its own, on loopback ports."""

import json
import os
import secrets
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from cli import programs
from tests.conftest import ROOT, free_port

START_SECONDS = 60.0
UNPRIVILEGED = 65534  # MariaDB refuses to run as root
UNPACKED = ROOT / ".tools/root/usr"
PHP_MODULES = (
    *("mysqlnd", "pdo", "iconv", "ctype", "gettext", "tokenizer", "posix", "sockets"),
    *("curl", "mbstring", "mysqli", "igbinary", "redis"),
)
MOST_NODES = 32  # unless a test says otherwise
PHP_TIME_SERIES, PHP_FINA, VIRTUAL = 2, 5, 7
RECORD = struct.Struct("<BIf")  # of PHPTimeSeries
SETTINGS = """\
[sql]
server = "127.0.0.1"
port = {mariadb}
database = "emoncms"
username = "emoncms"
password = "emoncms"
[redis]
enabled = true
host = "127.0.0.1"
port = {redis}
[input]
max_node_id_limit = {nodes}
[feed]
engines_hidden = []
phpfina[datadir] = "{folder}/phpfina/"
phptimeseries[datadir] = "{folder}/phptimeseries/"
[interface]
enable_multi_user = true
disable_rate_limiting = true
[log]
location = "{folder}/log"
"""
# What a web server does for Emoncms: the path becomes ?q=, and files are files.
ROUTER = """\
<?php
$path = ltrim(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH), '/');
if ($path !== '' && is_file(__DIR__ . '/' . $path) && !str_ends_with($path, '.php')) return false;
$_GET['q'] = $path;
$_SERVER['SERVER_ADDR'] = '127.0.0.1';
require __DIR__ . '/index.php';
"""


def ask(method: str, url: str, body: bytes = b"", headers: Mapping[str, str] = {}) -> tuple[int, bytes]:
    """Return the status and the body of the answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Account:
    """A user of a real Emoncms."""

    def __init__(self, server: "Emoncms", user: str, key: str) -> None:
        self.url = server.url
        self.user = user
        self.key = key
        self.allow_nodes = server.allow_nodes
        self._feeds: dict[tuple[str, str], int] = {}

    def call(self, path: str, form: Mapping[str, object] | None = None, **query: object) -> Any:
        """Return the JSON that a call is answered with."""
        body = urlencode({"apikey": self.key, **(form or {})}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        status, answer = ask("POST", f"{self.url}/{path}?{urlencode(query)}", body, headers)
        assert status == 200, answer
        return json.loads(answer)

    def feed(self, name: str, engine: int, *, tag: str = "", unit: str = "", interval: int = 10) -> int:
        """Create a feed and return its number."""
        options = json.dumps({"interval": interval})
        made = self.call("feed/create.json", tag=tag, name=name, engine=engine, options=options, unit=unit)
        assert made["success"], made
        return int(made["feedid"])

    def record(self, node: str, *names: str) -> None:
        """Create inputs whose values are logged to feeds from now on."""
        first = json.dumps([[1, node, dict.fromkeys(names, 0)]], ensure_ascii=False)
        assert ask("POST", f"{self.url}/input/bulk?time=0&apikey={self.key}", *form(data=first)) == (200, b"ok")
        for known in self.call("input/list.json"):
            if known["nodeid"] == node and known["name"] in names:
                feed = self._feeds[node, known["name"]] = self.feed(known["name"], PHP_TIME_SERIES, tag=node)
                process = json.dumps([{"fn": "process__log_to_feed", "args": [feed]}])
                assert self.call("input/process/set.json", {"processlist": process}, inputid=known["id"])["success"]

    def points(self, node: str, name: str) -> dict[int, float]:
        """Return the values of an input, by time in s."""
        _, content = ask("GET", f"{self.url}/feed/export.json?id={self._feeds[node, name]}&start=0&apikey={self.key}")
        return {moment: value for _, moment, value in RECORD.iter_unpack(content)}


def form(**fields: object) -> tuple[bytes, dict[str, str]]:
    return urlencode(fields).encode(), {"Content-Type": "application/x-www-form-urlencoded"}


class Emoncms:
    """The servers; each test has an account of its own there."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self._folder = folder
        self._source = folder / "source"
        self._user = UNPRIVILEGED if os.getuid() == 0 else None
        self._port, self._mariadb, self._redis = free_port(), free_port(), free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        shutil.copytree(checkout, self._source, ignore=shutil.ignore_patterns(".git"))
        for name in ("phpfina", "phptimeseries", "log", "mariadb", "redis"):
            (folder / name).mkdir()
        (self._source / "router.php").write_text(ROUTER)
        self.allow_nodes(MOST_NODES)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def version(self) -> str:
        """The line that a stand-in has."""
        emoncms = json.loads((self._source / "version.json").read_text())["version"]
        commands = (["php", "--version"], ["mariadbd", "--version"], ["redis-server", "--version"])
        versions = [subprocess.check_output([programs.find(name), option], text=True) for name, option in commands]
        return f"Emoncms {emoncms}; {'; '.join(one.splitlines()[0] for one in versions)}"

    def allow_nodes(self, most: int) -> None:
        """Set how many nodes an account may have."""
        (self._source / "settings.ini").write_text(
            SETTINGS.format(mariadb=self._mariadb, redis=self._redis, folder=self._folder, nodes=most)
        )

    def start(self) -> None:
        self._start_mariadb()
        redis = ("--port", str(self._redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self._run(programs.find("redis-server"), *redis, folder=self._folder / "redis")
        self._wait("MariaDB and Redis", lambda: is_open(self._mariadb) and is_open(self._redis))
        log = ("-d", f"session.save_path={self._folder}/redis", "-d", "log_errors=1")
        web = ("-S", f"127.0.0.1:{self._port}", "-t", ".", "router.php")
        self._run(programs.find("php"), *php_modules(), *log, *web, folder=self._source)
        self._wait("Emoncms", lambda: ask("GET", f"{self.url}/")[0] == 200)

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def account(self) -> Account:
        """Register a user and return its account."""
        name = f"u{secrets.token_hex(6)}"
        body = form(username=name, password="a-password", email=f"{name}@example.org", timezone="UTC")
        _, answer = ask("POST", f"{self.url}/user/register.json", *body)
        made = json.loads(answer)
        assert made["success"], made
        return Account(self, str(made["userid"]), made["apikey_write"])

    def _start_mariadb(self) -> None:
        data = self._folder / "mariadb"
        if self._user is not None:
            os.chown(data, self._user, self._user)
        server = programs.find("mariadbd")
        base = UNPACKED if (UNPACKED / "share/mysql").exists() else Path("/usr")
        share = base / "share/mysql"
        messages = (f"--lc-messages-dir={share}", f"--character-sets-dir={share}/charsets")
        own = ("--no-defaults", f"--datadir={data}", *messages, f"--plugin-dir={base}/lib/mysql/plugin")
        # As mariadb-install-db does, without accounts: a server without grants takes every user.
        scripts = [share / f"{name}.sql" for name in ("mysql_system_tables", "mysql_system_tables_data")]
        tables = "".join(path.read_text() for path in scripts)
        made = subprocess.run(
            [server, *own, "--bootstrap", "--skip-grant-tables"],
            input=f"CREATE DATABASE mysql;\nUSE mysql;\n{tables}\nCREATE DATABASE emoncms;\n".encode(),
            capture_output=True,
            check=False,
            **self._as_user(),
        )
        assert made.returncode == 0, made.stderr.decode()
        listens = (f"--port={self._mariadb}", "--bind-address=127.0.0.1", f"--socket={data}/socket")
        self._run(server, *own, *listens, "--skip-grant-tables", "--skip-networking=0", folder=data, **self._as_user())

    def _as_user(self) -> dict[str, Any]:
        return {} if self._user is None else {"user": self._user, "group": self._user, "extra_groups": []}

    def _run(self, *command: str, folder: Path, **more: Any) -> None:
        with (self._folder / f"{Path(command[0]).name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more)
            )

    def _wait(self, what: str, is_ready: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError, HTTPException):
                if is_ready():
                    return
            logs = "\n".join(path.read_text(errors="replace")[-1000:] for path in self._folder.glob("*.log"))
            assert all(process.poll() is None for process in self._processes), f"{what}: {logs}"
            assert time.monotonic() < end, f"{what} did not start: {logs}"
            time.sleep(0.1)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def php_modules() -> list[str]:
    """Return the options by which an unpacked PHP finds its modules; an installed one knows them."""
    folders = sorted((UNPACKED / "lib/php").glob("2*"))
    if not folders:
        return []
    modules = [part for name in PHP_MODULES for part in ("-d", f"extension={name}")]
    return ["-n", "-d", f"extension_dir={folders[-1]}", *modules]


@pytest.fixture(scope="module")
def emoncms(request: pytest.FixtureRequest) -> Iterator[Emoncms]:
    """The Emoncms of --emoncms, which runs and is removed afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # tmp_path is closed to other users
        folder = Path(name)
        folder.chmod(0o755)
        server = Emoncms(Path(request.config.getoption("--emoncms")), folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def parametrize_servers(metafunc: pytest.Metafunc, other: str) -> None:
    """Run the tests of a module on the server `other`, and with --emoncms on the real one, too: fixture `server`."""
    real = ["emoncms"] if metafunc.config.getoption("--emoncms") else []
    metafunc.parametrize("server", [other, *real], indirect=True)
