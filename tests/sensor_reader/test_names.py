import re

from hypothesis import given
from hypothesis import strategies as st

from services.sensor_reader import names

WORDS = st.from_regex(
    r"[A-Za-z0-9]([A-Za-z0-9@:,.+_-]{0,26}[A-Za-z0-9])?", fullmatch=True
)  # as drivers and buses call things


def device_before(product: str, location: str) -> str:
    """The names that sensors had before there was one rule for all services: series keep them."""
    name, suffix = (re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_-")[:63] for text in (product, location))
    if not suffix or name == suffix:
        return name or "sensor"
    if not name or suffix.startswith((f"{name}_", f"{name}-")):
        return suffix
    return f"{name}_{suffix}"[:63]


@given(product=WORDS | st.just(""), location=WORDS | st.just(""))
def test_a_sensor_is_called_as_it_was_before_there_was_one_rule(product: str, location: str) -> None:
    assert names.device(product, location) == device_before(product, location)
