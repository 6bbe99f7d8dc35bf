"""Store every reading of the nodes that this storage owns."""

import queue
from functools import partial

from heliograph.service import run
from services.storage.options import Storage
from services.storage.storage import Inbox, listen, main

inbox: Inbox = queue.SimpleQueue()
run("storage", Storage, partial(main, inbox=inbox), listen=partial(listen, inbox=inbox), uses_store=True)
