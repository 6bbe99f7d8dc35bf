"""Packets to and from radio nodes: the data codes of their values, and whitening."""

from collections.abc import Iterable, Sized

WHITENING = bytes(byte ^ 0x55 for byte in range(256))  # for bytes.translate, both ways


def check_codes(codes: Iterable[str], known: str) -> None:
    """Raise ValueError if one of the data codes is unknown."""
    for code in codes:
        if len(code) != 1 or code not in known:
            raise ValueError(f"datacodes: no such code: {code!r}; known are {' '.join(known)}")


def check_lengths(codes: Sized, **options: Sized) -> None:
    """Raise ValueError if an option has more entries than there are data codes, if there are any."""
    for option, given in options.items():
        if codes and len(given) > len(codes):
            raise ValueError(f"{option}: {len(given)} for {len(codes)} datacodes")
