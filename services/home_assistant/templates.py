"""Templates with which Home Assistant extracts values from `state`, and makes commands for `set`.

Jinja in the dialect of Home Assistant. None of them can fail, whatever the payload: a reading need not have
every channel, and an empty result leaves the entity as it was (components/mqtt/sensor.py,
binary_sensor.py, switch.py, number.py: `_message_received`).
"""

import json

AVAILABLE = "{{ 'online' if value == 'online' else 'offline' }}"  # a sleeping device has no values either
SERVICE_AVAILABLE = "{{ value_json.state if value_json is mapping else 'offline' }}"
ON, OFF = "ON", "OFF"  # Home Assistant's own defaults


def number(channel: str) -> str:
    """Return the template of a number; true and false are 1 and 0."""
    return f"{_set_value(channel)}{{{{ v + 0 if v is number else '' }}}}"


def limited(channel: str, low: float, high: float) -> str:
    """Return the template of a writable number; beyond its limits it is unknown, as Home Assistant would refuse it."""
    within = f"v + 0 if {_plain(low)} <= v <= {_plain(high)} else 'None'"
    return f"{_set_value(channel)}{{{{ ({within}) if v is number else '' }}}}"


def state(channel: str) -> str:
    """Return the template of a state, on or off."""
    return f"{_set_value(channel)}{{{{ {{1: '{ON}', 0: '{OFF}'}}.get(v, '') if v is number else '' }}}}"


def text(channel: str) -> str:
    """Return the template of a text. An empty result would be a text, so the previous one is repeated."""
    previous = "'None' if this.state in ('unknown', 'unavailable') else this.state"
    return f"{_set_value(channel)}{{{{ v if v is not none else ({previous}) }}}}"


def command(channel: str) -> str:
    """Return the template of a command that sets a number."""
    return f"{{{json.dumps(channel)}: {{{{ value }}}}}}"


def switch_payload(channel: str, on: bool) -> str:
    """Return the payload that switches a channel."""
    return json.dumps({channel: on})


def _set_value(channel: str) -> str:
    """Return the template that sets `v` to the channel's value, none if the payload does not have it."""
    values = "value_json.get('values') or {} if value_json is mapping else {}"
    return f"{{% set v = ({values}).get('{channel}') %}}"


def _plain(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
