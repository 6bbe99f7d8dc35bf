"""Names of devices and channels for the nodes, locations and inputs that clients post."""

from heliograph import names
from services.api.errors import RequestRefused

MAX_NAMES = 20_000  # that are remembered, of channels


class PostedNames:
    """Names texts by the rule of the data folder, and notices two texts with one name. Bounded.

    Names that the rule does not make, because the configuration or a position gives them, are claimed like those that it makes.
    """

    def __init__(self, rule: names.NamingRule = names.PRESENT) -> None:
        self.rule = rule
        self._devices = names.NameOwners(MAX_NAMES)
        self._channels = names.NameOwners(MAX_NAMES)

    def claim_device(self, name: str, text: str) -> str:
        """Return the name for a device that clients call so; raise RequestRefused if another device has it."""
        try:
            self._devices.claim(name, text)
        except names.NameTaken as error:
            raise RequestRefused(str(error)) from None
        return name

    def claim_channel(self, device: str, name: str, text: str) -> None:
        """Claim the name of a channel for the text that clients send; raise NameTaken if another text has it."""
        self._channels.claim(f"{device}/{name}", text)
