"""API keys: created once, stored as hashes, recognised without hashing again.

The input of the hash is the SHA-256 of the key in lower-case hexadecimal, because that is what pimonitor's sensors
send; the hash is scrypt's (RFC 7914), so that the configuration file does not give the keys away.
"""

import asyncio
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

COST, BLOCK, PARALLEL = 1 << 14, 8, 1  # 16 MiB and 0.1 s on a PC
MOST_COST = 1 << 16
MEMORY_BYTES = 96 << 20
SALT_BYTES = 16
DIGEST_BYTES = 32
REMEMBERED = 1000


def new_key() -> str:
    """Return a new key: 32 lower-case hexadecimal characters, which emonHub and IoTaWatt expect."""
    return secrets.token_hex(16)


def digest(key: str) -> str:
    """Return the SHA-256 of a key in hexadecimal: pimonitor's `api_hash`."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


class HashedKey(NamedTuple):
    """A line of [api.keys]: scrypt's parameters and its result."""

    cost: int
    block: int
    parallel: int
    salt: bytes
    expected: bytes

    def is_of(self, key_digest: str) -> bool:
        """Whether this is the hash of the key that has the digest; takes 0.1 s or more."""
        result = _scrypt(key_digest, self.salt, self.cost, self.block, self.parallel)
        return hmac.compare_digest(result, self.expected)


def hashed(key: str) -> str:
    """Return the line of [api.keys] for a key."""
    salt = secrets.token_bytes(SALT_BYTES)
    result = _scrypt(digest(key), salt, COST, BLOCK, PARALLEL)
    return f"scrypt:{COST}:{BLOCK}:{PARALLEL}:{salt.hex()}:{result.hex()}"


def parse_hash(text: str) -> HashedKey:
    """Parse what `hashed` returned; raise ValueError, without showing it, for anything else."""
    parts = text.split(":")
    try:
        if len(parts) != 6 or parts[0] != "scrypt":
            raise ValueError
        cost, block, parallel = map(int, parts[1:4])
        salt, expected = map(binascii.unhexlify, parts[4:])
        fits = 1 < cost <= MOST_COST and not cost & (cost - 1) and 0 < block <= 8 and 0 < parallel <= 4
        if not fits or len(expected) != DIGEST_BYTES:
            raise ValueError
    except ValueError:
        raise ValueError("it is not the hash of a key: `heliograph key` makes a key and its hash") from None
    return HashedKey(cost, block, parallel, salt, expected)


def _scrypt(key_digest: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        key_digest.encode("utf-8", "replace"), salt=salt, n=cost, r=block, p=parallel, maxmem=MEMORY_BYTES, dklen=32
    )


class Keys:
    """Maps the digest of a key to its owner. scrypt runs once per key: the result is remembered under a keyed hash.

    `plain` are keys that are configured in plain text, by the name of their owner.
    """

    def __init__(self, hashes: Mapping[str, str], plain: Mapping[str, str] | None = None) -> None:
        self._entries = {name: parse_hash(text) for name, text in hashes.items()}
        self._secret = secrets.token_bytes(32)
        self._known = {self._mark(digest(key)): name for name, key in (plain or {}).items()}
        self._unknown: OrderedDict[bytes, None] = OrderedDict()
        self._searches: dict[bytes, asyncio.Task[str]] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def any(self) -> bool:
        """Whether there is any key."""
        return bool(self._entries or self._known)

    def known(self, key_digest: str) -> str | None:
        """Return the owner of a key, "" if a search found none, None if there was no search yet."""
        mark = self._mark(key_digest)
        return self._known.get(mark, "" if mark in self._unknown else None)

    def is_searched(self, key_digest: str) -> bool:
        """Whether a search for it is under way."""
        return self._mark(key_digest) in self._searches

    async def search(self, key_digest: str) -> str:
        """Search for the owner of a key, in a thread, one search at a time; return "" if it has none."""
        mark = self._mark(key_digest)
        if mark not in self._searches:
            self._searches[mark] = asyncio.create_task(self._search(key_digest, mark), name="key")
        return await asyncio.shield(self._searches[mark])

    async def _search(self, key_digest: str, mark: bytes) -> str:
        try:
            async with self._one_at_a_time:
                owner = await asyncio.to_thread(self._owner, key_digest)
            self._remember(mark, owner)
        finally:
            del self._searches[mark]
        return owner

    def _owner(self, key_digest: str) -> str:
        return next((name for name, one in self._entries.items() if one.is_of(key_digest)), "")

    def _remember(self, mark: bytes, owner: str) -> None:
        if owner:
            self._known[mark] = owner
            return
        self._unknown[mark] = None
        if len(self._unknown) > REMEMBERED:
            self._unknown.popitem(last=False)

    def _mark(self, key_digest: str) -> bytes:
        return hmac.digest(self._secret, key_digest.encode("utf-8", "replace"), "sha256")
