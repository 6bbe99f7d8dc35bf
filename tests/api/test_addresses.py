from pathlib import Path

import httpx
import pytest

from services.api.addresses import Addresses
from services.api.ingest import gate
from services.api.ingest.gate import TRIES
from tests.api.receiver import receiver_at

BEHIND = Addresses(["127.0.0.1", "172.16.0.0/12"])


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("172.18.0.1", "172.18.0.1 5000"),  # a proxy that does not say for whom it asks
        ("127.0.0.1", "127.0.0.1 5000"),
        ("fd00:1:2:3:4:5:6:7", "fd00:1:2:3"),
        ("testclient", "testclient"),
    ],
)
def test_a_client_is_an_address_and_a_proxy_that_is_silent_is_not_one_client(host: str, client: str) -> None:
    assert BEHIND.named(host, 5000) == client


def test_limits_hold_for_the_address_that_a_trusted_proxy_says_and_no_other(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "TRY_SECONDS", 600.0)  # no other try is due while this runs, however long that takes

    def tries(source: str, forwarded: str) -> int:
        headers = {"x-forwarded-for": f"10.0.0.9, {forwarded}", "x-api-key": f"{source} {forwarded} {count}"}
        transport = httpx.HTTPTransport(local_address=source, verify=False)
        with httpx.Client(transport=transport, base_url=receiver.url) as client:
            return client.post("/api/v1/readings", headers=headers, json={}).status_code

    with receiver_at(tmp_path) as receiver:
        for count in range(TRIES):
            assert tries("127.0.0.1", "10.0.0.1") == 401
            assert tries("127.0.0.2", f"10.0.1.{count}") == 401  # no proxy: what it says about others is nothing
        count = TRIES
        assert tries("127.0.0.1", "10.0.0.1") == 429
        assert tries("127.0.0.1", "10.0.0.2") == 401
        assert tries("127.0.0.2", "10.0.1.99") == 429
