import secrets
from typing import Any

import httpx

USER = "visitor"
CLIENT = "http://127.0.0.1/"  # the web page that a user logs in on, for Home Assistant


class Core:
    """A Home Assistant, used over its HTTP interface (developers.home-assistant.io/docs/api/rest, auth_api)."""

    def __init__(self, port: int, password: str) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self._password = password

    def log_in(self) -> None:
        flow = self._post(
            "/auth/login_flow", {"client_id": CLIENT, "handler": ["homeassistant", None], "redirect_uri": CLIENT}
        )
        credentials = {"client_id": CLIENT, "username": USER, "password": self._password}
        code = self._post(f"/auth/login_flow/{flow['flow_id']}", credentials)["result"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": CLIENT}
        answer = self.http.post("/auth/token", data=form)
        answer.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def connect(self, broker: str, user: str, password: str) -> bool:
        """Add the MQTT integration, as its dialogue does; return whether it reached the broker within its five seconds."""
        flow = self._post("/api/config/config_entries/flow", {"handler": "mqtt"})
        given = {
            "broker": broker,
            "port": 1883,
            "username": user,
            "password": password,
            "other_settings": {"set_client_cert": False, "set_ca_cert": "off"},
        }
        done = self._post(f"/api/config/config_entries/flow/{flow['flow_id']}", given)
        if done["type"] == "form":
            self.http.delete(f"/api/config/config_entries/flow/{flow['flow_id']}")
            assert done["errors"] == {"base": "cannot_connect"}, done
            return False
        assert done["type"] == "create_entry", done
        return True

    def states(self) -> dict[str, dict[str, Any]]:
        """Return every entity's state and attributes, by its id; nothing while Home Assistant is away."""
        try:
            answer = self.http.get("/api/states")
        except httpx.TransportError:
            return {}
        return {one["entity_id"]: one for one in answer.json()} if answer.status_code == 200 else {}

    def state(self, entity: str) -> str:
        return str(self.states().get(entity, {}).get("state", ""))

    def shows(self, entity: str, state: str) -> bool:
        return self.state(entity) == state

    def call(self, service: str, entity: str, **data: object) -> None:
        self._post(f"/api/services/{service}", {"entity_id": entity, **data})

    def _post(self, path: str, data: dict[str, Any]) -> Any:
        answer = self.http.post(path, json=data)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()


def password() -> str:
    return secrets.token_urlsafe(12)


# Runs inside its container: the units and state classes that it accepts.
TABLES = """
import json
from homeassistant.components.sensor.const import DEVICE_CLASS_STATE_CLASSES, DEVICE_CLASS_UNITS
units = {str(name): [unit or "" for unit in accepted] for name, accepted in DEVICE_CLASS_UNITS.items()}
states = {str(name): list(accepted) for name, accepted in DEVICE_CLASS_STATE_CLASSES.items()}
print(json.dumps([units, states]))
"""
