"""Slots for clients, shared among their addresses."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Slots(Generic[T]):
    """At most `most` slots in all, and `each` for one address.

    Who comes when there is none left gets that of the oldest client which may leave, of an address that has at least `margin`
    more than its own: with 0 that may be its own address. `evict` is called with the client that loses its slot; it takes
    none of its own accord.
    """

    def __init__(
        self,
        most: int,
        each: int,
        *,
        margin: int,
        evict: Callable[[T], object],
        may_leave: Callable[[T], bool] = lambda _: True,
    ) -> None:
        self._most = most
        self._each = each
        self._margin = margin
        self._evict = evict
        self._may_leave = may_leave
        self._by_address: dict[str, dict[T, None]] = {}
        self._addresses: dict[T, str] = {}

    def __len__(self) -> int:
        """Return how many slots are taken."""
        return len(self._addresses)

    def take(self, address: str, client: T) -> bool:
        """Give a client a slot; return False if there is none for it."""
        if not self._is_room(address):
            return False
        self._by_address.setdefault(address, {})[client] = None
        self._addresses[client] = address
        return True

    def leave(self, client: T) -> None:
        """Take back the slot of a client, if it has one."""
        address = self._addresses.pop(client, None)
        if address is not None:
            clients = self._by_address[address]
            del clients[client]
            if not clients:
                del self._by_address[address]

    def _is_room(self, address: str) -> bool:
        own = len(self._by_address.get(address, ()))
        if own >= self._each:
            return self._evict_one([address] if self._margin == 0 else [])
        if len(self) < self._most:
            return True
        fuller = [one for one, clients in self._by_address.items() if len(clients) >= own + self._margin]
        return self._evict_one(sorted(fuller, key=lambda one: len(self._by_address[one]), reverse=True))

    def _evict_one(self, addresses: list[str]) -> bool:
        for address in addresses:
            for client in self._by_address[address]:
                if self._may_leave(client):
                    self.leave(client)
                    self._evict(client)
                    return True
        return False
