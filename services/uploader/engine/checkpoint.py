"""How far one target has come, written down before it matters."""

import time

from services.uploader.engine.delivery import Delivery
from services.uploader.engine.state import DeliveryState, State

SECONDS = 2.0  # between two writes, if a row that comes twice does no harm


class Checkpoint:
    """Keeps what is known of a target, and which rows were refused, in the state; raises StateAway."""

    def __init__(self, state: State, name: str, known: DeliveryState, delivery: Delivery) -> None:
        self._state = state
        self._name = name
        self._known = known
        self._delivery = delivery
        self._has_changed = False
        self._saved = float("-inf")

    def change(self) -> None:
        """Note that something is to be kept."""
        self._has_changed = True

    def save_if_due(self) -> None:
        """Write down what must be kept before anything else is sent."""
        is_late = time.monotonic() - self._saved > SECONDS
        if is_late or self._delivery.has_to_tell() or not self._delivery.may_repeat():
            self.save()

    def save(self) -> None:
        """Write down what has changed."""
        if self._has_changed:
            delivery = self._delivery
            self._state.save(self._name, self._known, delivery.rejected, delivery.solved)
            delivery.rejected, delivery.solved = [], []
            self._has_changed, self._saved = False, time.monotonic()
