"""The routes of the present state: health, nodes, devices and newest values."""

import asyncio
import time
from typing import Annotated

from fastapi import FastAPI, Query
from starlette.responses import Response

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.store.interface import Reader
from services.api import queries, seeding, views
from services.api.health import HealthWatch
from services.api.history_routes import SeriesQuery
from services.api.live import LiveState
from services.api.reader_pool import ReaderPool
from services.api.schemas import DeviceResponse, Health, LatestResponse, NodeResponse, described, json_response

STORE_SECONDS = 5.0  # how long /health and /latest wait for the store

NodeQuery = Annotated[str | None, Query(description="Only the devices of this node.")]


def register(app: FastAPI, live: LiveState, store: ReaderPool, watch: HealthWatch) -> None:
    """Add the routes to an application."""

    @app.get("/api/v1/health", responses=described(Health, "Bus and store answer."), tags=["node"])
    async def health() -> Response:
        """What is wrong with this node, 503 if broker or store do not answer, and the status of its services."""
        store_problem, damages = await _store_problems(store)
        content = views.health(live, watch, store_problem, time.time(), damages)
        return json_response(content, 200 if content.bus and content.store else 503)

    @app.get("/api/v1/nodes", responses=described(NodeResponse, "Nodes.", "list"), tags=["node"])
    async def nodes() -> Response:
        """Every known node, with its services and their last status."""
        return json_response(views.nodes(live))

    @app.get("/api/v1/devices", responses=described(DeviceResponse, "Devices.", "list"), tags=["readings"])
    async def devices(node: NodeQuery = None) -> Response:
        """Every device with its channels and their newest values."""
        return json_response(views.devices(live, node))

    @app.get("/api/v1/latest", responses=described(LatestResponse, "By series.", "map"), tags=["readings"])
    async def latest(patterns: SeriesQuery = None) -> Response:
        """The newest value of each series, of all without `series`."""
        names = queries.patterns(patterns or ["*/*/*"])
        try:
            stored = await asyncio.wait_for(seeding.seed(live, store), STORE_SECONDS)
        except (StoreAway, StoreDamaged, TimeoutError):
            stored = seeding.Stored([], {})
        return json_response(views.latest(live, names, stored))


async def _store_problems(store: ReaderPool) -> tuple[str, list[str]]:
    """Return why the store does not answer, empty if it does; and what it cannot read."""
    try:
        return "", await asyncio.wait_for(store.run(_damages), STORE_SECONDS)
    except (StoreAway, StoreDamaged) as error:
        return str(error), []
    except TimeoutError:
        return f"the store did not answer within {STORE_SECONDS:.0f} s", []


def _damages(reader: Reader) -> list[str]:
    reader.series()  # raises StoreAway while there is none
    return reader.problems()
