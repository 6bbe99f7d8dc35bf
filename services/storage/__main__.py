"""Store every reading of the nodes that this storage owns."""

from heliograph.service import run
from services.storage.storage import Storage, main

run("storage", Storage, main, persistent=True, manual_ack=True)
