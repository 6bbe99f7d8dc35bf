"""Any HTTP server."""

from services.uploader.targets.http.target import Http, Options

__all__ = ["Http", "Options"]
