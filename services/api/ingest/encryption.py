"""emoncms' encryption for devices without TLS: AES-128-CBC, signed with an HMAC; the response proves the decryption.

Facts: emoncms' docs/input_encrypted.md and IoTaWatt's Emoncms_uploader.cpp.
"""

import base64
import binascii
import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from services.api.errors import RequestRefused

MEDIA_TYPE = "aes128cbc"
BLOCK = 16


def decrypt(key: str, body: bytes, signature: str) -> bytes:
    """Return the plain text of a body, base64 of IV and ciphertext; raise RequestRefused (401) if another key made it."""
    try:
        decoded = base64.b64decode(body.replace(b"-", b"+").replace(b"_", b"/"), validate=True)
    except binascii.Error:
        raise RequestRefused("the body is not base64", 400) from None
    if len(decoded) < 2 * BLOCK or len(decoded) % BLOCK:
        raise RequestRefused("the body is not an initialisation vector and blocks of 16 bytes", 400)
    secret = bytes.fromhex(key)
    decryptor = Cipher(algorithms.AES(secret), modes.CBC(decoded[:BLOCK])).decryptor()
    padded = decryptor.update(decoded[BLOCK:]) + decryptor.finalize()
    padding = PKCS7(8 * BLOCK).unpadder()
    try:
        plain = padding.update(padded) + padding.finalize()
    except ValueError:
        plain = None
    # One error for both, so that an attacker does not learn which it was.
    expected = hmac.digest(secret, plain or b"", "sha256").hex()
    if plain is None or not hmac.compare_digest(expected.encode(), signature.strip().lower().encode()):
        raise RequestRefused("the body is not signed with the key of this device", 401)
    return plain


def proof(plain: bytes) -> str:
    """Return the response that proves that the body was decrypted: the SHA-256 of the plain text, in base64."""
    return base64.urlsafe_b64encode(hashlib.sha256(plain).digest()).decode()
