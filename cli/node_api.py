"""Asks the API of a node, for the commands that show what it says."""

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.start import options
from cli.start.plan import has_producers_only
from heliograph import config, node_config
from heliograph.errors import ConfigError

SECONDS = 3.0


class NotReachable(Exception):
    """The API does not answer; the message says at which address, and why."""


class NodeApi:
    """The API of a node, at an address such as http://127.0.0.1:8000."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def health(self) -> dict[str, Any]:
        """Return what /api/v1/health says, also of a node in trouble; raise NotReachable."""
        content = self.get("health")
        if not isinstance(content, dict) or "problems" not in content:
            raise NotReachable(f"no Heliograph answers at {self.url}")
        return content

    def get(self, path: str) -> Any:
        """Return the content of a response, whatever its status; raise NotReachable if there is none."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return self._content(error)
        except ValueError:
            raise NotReachable(f"no Heliograph answers at {self.url}") from None
        except (OSError, http.client.HTTPException) as error:
            why = error.reason if isinstance(error, urllib.error.URLError) else error
            known = why.strerror if isinstance(why, OSError) else ""
            raise NotReachable(f"no answer from {self.url}: {known or why}") from None

    def _content(self, error: urllib.error.HTTPError) -> Any:
        try:
            return json.load(error)
        except (ValueError, OSError, http.client.HTTPException):
            raise NotReachable(f"no Heliograph answers at {self.url}: status {error.code}") from None


def address(path: Path | None) -> str:
    """Return where the API of a configuration listens, as this machine sees it; raise ConfigError, also if the node has none."""
    file = config.read(path) if path else {}
    if has_producers_only(file):
        raise ConfigError(
            f"{path}: [node] producers_only: the node at the broker {file.get('broker', {}).get('host', '')} has the store and "
            "the API: name its address with --url, as http://hub.local:8000"
        )
    if path == node_config.CONTAINER_CONFIG and os.environ.get("SERVICE", "api") != "api":
        return f"http://api:{options.PORT}"  # as compose.yaml calls it
    section = file.get("api", {})
    if not isinstance(section, Mapping):
        section = {}
    host = str(section.get("host", options.HOST))
    host = {"": options.HOST, "0.0.0.0": options.HOST, "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{section.get('port', options.PORT)}"
