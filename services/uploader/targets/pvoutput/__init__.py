"""PVOutput."""

from services.uploader.targets.pvoutput.target import Options, PVOutput

__all__ = ["Options", "PVOutput"]
