"""Encrypted connections, with whatever certificates the configuration names."""

import ssl


def context(ca: str = "", certificate: str = "", key: str = "") -> ssl.SSLContext:
    """Return what verifies a server, by the authority in the file `ca` or the system's, and shows a certificate if one is given.

    Raises ValueError, which names the option, if a file cannot be used.
    """
    try:
        made = ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise ValueError(f"ca: cannot use {ca!r}: {error.strerror or error}") from None
    if certificate:
        try:
            made.load_cert_chain(certificate, key or None)
        except OSError as error:
            raise ValueError(f"certificate: cannot use {certificate!r}: {error.strerror or error}") from None
    return made
