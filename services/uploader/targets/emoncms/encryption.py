"""The encrypted form of Emoncms' bulk, for servers without TLS: emoncms docs/input_encrypted.md, IoTaWatt."""

import hashlib
import hmac
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

BLOCK = 16  # bytes


class EncryptedRequest(NamedTuple):
    """A request that only the server can read, and the answer that only it can give."""

    body: bytes
    headers: Mapping[str, str]
    expected: bytes


class Encryption:
    """AES-128-CBC under the user's write key, signed with HMAC-SHA256 of the plain text."""

    def __init__(self, key: str, userid: str, random: Callable[[int], bytes] = os.urandom) -> None:
        """`key` is 32 hexadecimal digits; `random` gives the initialization vectors."""
        self._key = bytes.fromhex(key)
        self._userid = userid
        self._random = random

    def seal(self, plain: bytes) -> EncryptedRequest:
        """Return a form, encrypted."""
        start = self._random(BLOCK)
        padding = PKCS7(8 * BLOCK).padder()
        padded = padding.update(plain) + padding.finalize()
        encryptor = Cipher(AES(self._key), CBC(start)).encryptor()
        body = urlsafe_b64encode(start + encryptor.update(padded) + encryptor.finalize())
        signature = hmac.digest(self._key, plain, "sha256").hex()
        headers = {"Content-Type": "aes128cbc", "Authorization": f"{self._userid}:{signature}"}
        return EncryptedRequest(body, headers, urlsafe_b64encode(hashlib.sha256(plain).digest()))
