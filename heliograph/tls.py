"""Encrypted connections, with the certificates that the configuration names."""

import ssl


class BrokerOptions:
    """What the options of any broker say together; for sections that have them, beside `config.Config`."""

    __slots__ = ()

    host: str
    port: int
    tls: bool
    ca: str
    certificate: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; the port is 1883, with TLS 8883, unless it is given."""
        return self.host, self.port or (8883 if self.encrypted else 1883)

    @property
    def encrypted(self) -> bool:
        """Whether the connection is encrypted."""
        return self.tls or bool(self.ca or self.certificate)


def context(ca: str = "", certificate: str = "", key: str = "") -> ssl.SSLContext:
    """Return a context that verifies servers by the authority in the file `ca`, or the system's, and shows a certificate if given.

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
