import re

from hypothesis import given
from hypothesis import strategies as st

from services.sensor_reader import names

WORDS = st.from_regex(
    r"[A-Za-z0-9]([A-Za-z0-9@:,.+_-]{0,26}[A-Za-z0-9])?", fullmatch=True
)  # as drivers and buses call things


def device_before(product: str, place: str) -> str:
    """The names that sensors had before there was one rule for all services: series go on under them."""
    what, where = (re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_-")[:63] for text in (product, place))
    if not where or what == where:
        return what or "sensor"
    if not what or where.startswith((f"{what}_", f"{what}-")):
        return where
    return f"{what}_{where}"[:63]


@given(product=WORDS | st.just(""), place=WORDS | st.just(""))
def test_a_sensor_is_called_as_it_was_before_there_was_one_rule(product: str, place: str) -> None:
    assert names.device(product, place) == device_before(product, place)
