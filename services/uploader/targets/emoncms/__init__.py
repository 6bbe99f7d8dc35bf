"""Emoncms."""

from services.uploader.targets.emoncms.target import Emoncms, Options

__all__ = ["Emoncms", "Options"]
