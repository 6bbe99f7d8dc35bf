"""Make the passwords of a node's services, a key for its API, and certificates for its broker; what is there already stays.

Needs nothing but Python; certificates also take the openssl command.
"""

import argparse
import base64
import hashlib
import ipaddress
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cli import programs
from heliograph import topics
from heliograph.producer_services import PRODUCERS

OTHER_USERS = (
    "viewer",
    "health",
    "homeassistant",
)  # people with mosquitto_sub; the health check of the broker's container; Home Assistant
ITERATIONS = 1_000  # the passwords are random, so guessing is hopeless anyway

# A container reads its file as a user that the host does not know, so the files are open and the folder is closed:
# a single file can be mounted through it.
FOLDER_MODE = 0o700
FILE_MODE = 0o644
KEY_MODE = 0o600  # no container reads it: it is for the sender of readings
SCRYPT = (1 << 14, 8, 1)

EXPLANATION = """\
FOLDER/<service>         one password per service folder, for [broker] password = "file:FOLDER/{service}"
FOLDER/viewer            for people: mosquitto_sub -u viewer
FOLDER/api.key           the key with which sensors and programs may send readings over HTTP
FOLDER/api.keyhash       its hash, for [api.keys] node = "file:FOLDER/api.keyhash"
FOLDER/store.url         empty: for the URL of a PostgreSQL store, [node] store = "file:FOLDER/store.url"
FOLDER/broker/passwords  their hashes, for Mosquitto's password_file
FOLDER/broker/conf.d/    with --tls: the listener on port 8883
FOLDER/broker/ca.crt     with --tls: what other machines need as [broker] ca
FOLDER/for/<node>/       with --for: passwords, ca.crt and the begin of a config.toml, for a second machine
FOLDER/ca.key            with --tls: signs the broker's certificate; keep it, and keep it secret

To change a password delete its file, run this again and restart the broker and the service. To change the key delete
api.key, run this again and restart api; `heliograph key` makes more keys, one for each sender.
"""


def main(arguments: Sequence[str] | None = None, program: str = "scripts/heliograph secrets") -> None:
    """Make what is missing in the folder."""
    options = parser(program).parse_args(arguments)
    try:
        make(options.folder, options.user, options.tls or [])
        if options.node:
            collect(options.folder, options.node)
    except OSError as error:
        sys.exit(f"secrets: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"secrets: openssl failed: {error.stderr.strip()}")


def parser(program: str) -> argparse.ArgumentParser:
    """Return what parses the command line, and prints help."""
    made = argparse.ArgumentParser(
        prog=program,
        description=__doc__,
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=programs.ROOT / "secrets" if programs.IS_CHECKOUT else Path("secrets"),
        help="default: secrets",
    )
    made.add_argument(
        "--user",
        action="append",
        default=[],
        metavar="NAME",
        help="another user, for a device or a program",
    )
    made.add_argument(
        "--tls",
        nargs="+",
        metavar="NAME",
        help="also make a certificate for these host names and addresses of the broker",
    )
    made.add_argument(
        "--for",
        dest="node",
        metavar="NODE",
        help="also collect what a second machine needs, whose devices this node stores: docs/second-pi.md",
    )
    return made


def make(folder: Path, users: list[str], names: list[str]) -> None:
    """Make the missing passwords, the broker's files, and a certificate for the names if there are any."""
    for user in users:
        if not re.fullmatch(r"[a-z0-9_-]+", user):
            sys.exit(f"secrets: {user!r} cannot be a user: lower-case letters, digits, _ and - can")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)
    broker = folder / "broker"
    (broker / "conf.d").mkdir(parents=True, exist_ok=True)
    for subfolder in (broker, broker / "conf.d"):
        subfolder.chmod(0o755)

    services = sorted(path.parent.name for path in programs.ROOT.glob("services/*/__main__.py"))
    new = [user for user in (*services, *OTHER_USERS, *users) if add_password(folder / user)]
    files = sorted(path for path in folder.iterdir() if path.is_file() and "." not in path.name)
    for path in files:
        path.chmod(FILE_MODE)
    passwords = {path.name: path.read_text().strip() for path in files}
    lines = hashes(broker / "passwords")
    wrong = [user for user, password in passwords.items() if not fits(password, lines.get(user, ""))]
    if wrong or set(lines) - set(passwords):
        known = {user: hashed(passwords[user]) if user in wrong else lines[user] for user in passwords}
        write(
            broker / "passwords",
            "".join(f"{user}:{line}\n" for user, line in known.items()),
        )
        # mosquitto_sub reads its options here, so that the password is in no list of processes.
        write(
            broker / "mosquitto_sub",
            f"-i health\n-u health\n-P {passwords['health']}\n",
        )
    if not (folder / "store.url").exists():
        write(folder / "store.url", "")
    if add_api_key(folder):
        say(f"made a key for the API in {folder / 'api.key'}")
    if new:
        say(f"made passwords for {', '.join(new)} in {folder}")
    if names:
        certify(folder, names)


def collect(folder: Path, node: str) -> None:
    """Write into a folder what the producers of another node need to connect to this node's broker."""
    if not topics.is_name(node):
        sys.exit(f"secrets: {node!r} cannot be a node: lower-case letters, digits, _ and - can")
    broker = folder / "broker"
    if not (broker / "server.crt").exists():
        sys.exit(
            "secrets: other machines need a certificate of this broker: name its host names and addresses with --tls"
        )
    host = openssl("x509", "-in", broker / "server.crt", "-noout", "-subject", "-nameopt", "RFC2253").strip()
    target = folder / "for" / node
    target.mkdir(parents=True, exist_ok=True)
    for closed in (target.parent, target):
        closed.chmod(FOLDER_MODE)
    for service in PRODUCERS:
        write(target / service, (folder / service).read_text())
    write(target / "ca.crt", (broker / "ca.crt").read_text())
    write(target / "config.toml", SECOND_NODE.format(node=node, host=host.removeprefix("subject=CN=")))
    say(f"collected what {node} needs in {target}")


SECOND_NODE = """\
[node]
name = "{node}"
producers_only = true

[broker]
host = "{host}"
port = 8883
ca = "/home/pi/hub/ca.crt"
password = "file:/home/pi/hub/{{service}}"
"""


def add_password(path: Path) -> bool:
    """Write a random password unless there is one; return whether it was written."""
    if path.exists():
        return False
    write(path, secrets.token_urlsafe(24) + "\n")
    return True


def add_api_key(folder: Path) -> bool:
    """Write a key unless there is one, and its hash unless that fits; return whether a key was written."""
    path, hash_path = folder / "api.key", folder / "api.keyhash"
    is_new = not path.exists()
    if is_new:
        write(path, secrets.token_hex(16) + "\n")
        path.chmod(KEY_MODE)
    key = path.read_text().strip()
    line = hash_path.read_text().strip() if hash_path.exists() else ""
    salt = line.split(":")[4] if line.count(":") == 5 else ""
    if not re.fullmatch(r"([0-9a-f]{2})+", salt) or key_hash(key, bytes.fromhex(salt)) != line:
        write(hash_path, key_hash(key) + "\n")
    return is_new


def key_hash(key: str, salt: bytes = b"") -> str:
    """Return what services/api/ingest/keys.py reads: scrypt of the key's SHA-256 in hexadecimal."""
    cost, block, parallel = SCRYPT
    salt = salt or os.urandom(16)
    digest = hashlib.sha256(key.encode()).hexdigest().encode()
    key_bytes = hashlib.scrypt(digest, salt=salt, n=cost, r=block, p=parallel, maxmem=64 << 20, dklen=32)
    return f"scrypt:{cost}:{block}:{parallel}:{salt.hex()}:{key_bytes.hex()}"


def hashes(path: Path) -> dict[str, str]:
    """Return the hash of every user in Mosquitto's password file, if there is one."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


def hashed(password: str, salt: bytes = b"", iterations: int = ITERATIONS) -> str:
    """Return what mosquitto_passwd writes for a password: type 7, PBKDF2 with SHA-512 and a salt of 12 bytes."""
    salt = salt or os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def fits(password: str, line: str) -> bool:
    """Whether a hash is of this password."""
    match line.split("$"):
        case ["", "7", iterations, salt, _]:
            return hashed(password, base64.b64decode(salt), int(iterations)) == line
    return False


def certify(folder: Path, names: list[str]) -> None:
    """Make an authority unless there is one, and sign a new certificate for the broker with it."""
    if not shutil.which("openssl"):
        sys.exit("secrets: certificates take the openssl command; on Debian: apt install openssl")
    broker = folder / "broker"
    key, authority = folder / "ca.key", broker / "ca.crt"
    request, settings = folder / "server.csr", folder / "openssl.cnf"
    settings.write_text(CERTIFICATES.format(names=",".join(map(alternative_name, names))))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    is_new = not key.exists()
    if is_new or not is_strict(authority):
        own_key = (*curve, "-keyout", key) if is_new else ("-key", key)
        openssl("req", "-x509", "-config", settings, "-extensions", "authority", *own_key, "-out", authority,
                "-days", "7300", "-subj", "/CN=Heliograph")  # fmt: skip
        if not is_new:
            say(f"renewed {authority}, which Python 3.13 refused: copy it again to the machines that have it")
    openssl("req", "-config", settings, *curve, "-keyout", broker / "server.key", "-out", request,
            "-subj", f"/CN={names[0]}")  # fmt: skip
    openssl("x509", "-req", "-in", request, "-CA", authority, "-CAkey", key,
            "-set_serial", str(secrets.randbits(64)), "-days", "3650",
            "-extfile", settings, "-extensions", "server", "-out", broker / "server.crt")  # fmt: skip
    request.unlink()
    settings.unlink()
    for name in ("ca.crt", "server.crt", "server.key"):
        (broker / name).chmod(FILE_MODE)
    write(broker / "conf.d/tls.conf", TLS_LISTENER)
    say(f"made a certificate for {', '.join(names)} in {broker}")


# What RFC 5280, 4.2.1, demands of an authority and of a server: Python 3.13 and newer refuse anything less.
CERTIFICATES = """\
[req]
distinguished_name = subject
[subject]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


def is_strict(authority: Path) -> bool:
    """Whether a certificate says that its key may sign others."""
    return "Certificate Sign" in openssl("x509", "-in", authority, "-noout", "-text")


TLS_LISTENER = """\
listener 8883
cafile /run/mosquitto/ca.crt
certfile /run/mosquitto/server.crt
keyfile /run/mosquitto/server.key
tls_version tlsv1.2
"""


def alternative_name(name: str) -> str:
    """Return a name or an address as a certificate spells it."""
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def openssl(*arguments: str | Path) -> str:
    """Run openssl and return its output; raise CalledProcessError if it fails."""
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout


def write(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(FILE_MODE)
    new.rename(path)


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(f"secrets: {text}\n")


if __name__ == "__main__":
    main()
