"""Files of a backup that only a pass phrase opens: lines of Fernet tokens, after a line with what makes the key of the pass phrase.

Fernet (cryptography.io/en/latest/fernet) encrypts and authenticates; each token has a part of one file, its number and
whether it is the last one, so that no part can be left out, repeated, or taken from another file. The key is made with scrypt (RFC 7914).
"""

import base64
import hashlib
import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO

from cryptography.fernet import Fernet, InvalidToken

from heliograph.errors import HeliographError

ENDING = ".encrypted"
LEAST_CHARACTERS = 12
PART_BYTES = 1 << 20
SALT_BYTES = 16
COST, BLOCK, PARALLEL = 1 << 15, 8, 1  # of scrypt: 32 MiB of memory, some tenths of a second
MEMORY_BYTES = 64 << 20
HEAD = struct.Struct(">8sQ?")  # hash of the file's name, number of the part, whether it is the last one
MARK = b"heliograph-backup-1"


class WrongPassphrase(HeliographError):
    """The pass phrase does not open a file, or the file is not as it was written."""


class Encryption:
    """Encrypts files with a pass phrase, and decrypts those that were encrypted with it."""

    def __init__(self, passphrase: str) -> None:
        """Raise ValueError for a pass phrase that can be guessed."""
        if len(passphrase) < LEAST_CHARACTERS:
            raise ValueError(f"a pass phrase needs {LEAST_CHARACTERS} characters at least")
        self._passphrase = passphrase
        self._salt = os.urandom(SALT_BYTES)

    def encrypt(self, plain: IO[bytes], target: Path, name: str) -> None:
        """Write encrypted content into a file, as that of a file which is called `name`; raise OSError."""
        fernet = _fernet(self._passphrase, self._salt)
        with target.open("wb") as encrypted:
            encrypted.write(b"%s %s\n" % (MARK, base64.b64encode(self._salt)))
            part, number = plain.read(PART_BYTES), 0
            while True:
                following = plain.read(PART_BYTES)
                head = HEAD.pack(_of_name(name), number, not following)
                encrypted.write(fernet.encrypt(head + part) + b"\n")
                if not following:
                    return
                part, number = following, number + 1

    def decrypt(self, source: Path, target: Path, name: str) -> None:
        """Write the content of an encrypted file that was called `name` into another one; raise WrongPassphrase, OSError."""
        with source.open("rb") as encrypted, target.open("wb") as plain:
            for part in self._parts(encrypted, name):
                plain.write(part)

    def check(self, source: Path, name: str) -> None:
        """Raise WrongPassphrase unless the pass phrase opens a file that was called `name`, and all of it is there."""
        with source.open("rb") as encrypted:
            for _ in self._parts(encrypted, name):
                pass

    def _parts(self, encrypted: IO[bytes], name: str) -> Iterator[bytes]:
        mark, _, salt = encrypted.readline().strip().partition(b" ")
        try:
            if mark != MARK:
                raise WrongPassphrase(f"{name} is not an encrypted file of a backup")
            fernet = _fernet(self._passphrase, base64.b64decode(salt, validate=True))
            is_last = False
            for number, line in enumerate(encrypted):
                content = fernet.decrypt(line.strip())
                if is_last or HEAD.unpack(content[: HEAD.size])[:2] != (_of_name(name), number):
                    raise WrongPassphrase(f"{name}: a part of it belongs elsewhere")
                is_last = HEAD.unpack(content[: HEAD.size])[2]
                yield content[HEAD.size :]
        except (InvalidToken, ValueError, struct.error):
            raise WrongPassphrase(f"the pass phrase does not open {name}") from None
        if not is_last:
            raise WrongPassphrase(f"{name}: its end is missing")


def _of_name(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8]


@lru_cache(maxsize=8)
def _fernet(passphrase: str, salt: bytes) -> Fernet:
    key = hashlib.scrypt(passphrase.encode(), salt=salt, n=COST, r=BLOCK, p=PARALLEL, maxmem=MEMORY_BYTES, dklen=32)
    return Fernet(base64.urlsafe_b64encode(key))
