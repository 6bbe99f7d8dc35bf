"""The cyclic redundancy checks of meters, bit by bit reflected, in tables."""


def _table(polynomial: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_ARC = _table(0xA001)
_X25 = _table(0x8408)


def _remainder(table: tuple[int, ...], start: int, data: bytes) -> int:
    for byte in data:
        start = start >> 8 ^ table[(start ^ byte) & 0xFF]
    return start


def arc(data: bytes) -> int:
    """Return CRC-16/ARC, that of DSMR telegrams."""
    return _remainder(_ARC, 0, data)


def x25(data: bytes) -> int:
    """Return CRC-16/X-25, that of SML (BSI TR-03109-1)."""
    return _remainder(_X25, 0xFFFF, data) ^ 0xFFFF


def kermit(data: bytes) -> int:
    """Return CRC-16/KERMIT, which Holley's meters send in place of X-25."""
    return _remainder(_X25, 0, data)
