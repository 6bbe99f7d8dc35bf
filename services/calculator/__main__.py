"""Run with: python -m services.calculator config.toml."""

import queue
from functools import partial

from heliograph.service import run
from services.calculator.calculator import Inbox, listen, main
from services.calculator.options import Calculator

inbox: Inbox = queue.SimpleQueue()
run("calculator", Calculator, partial(main, inbox=inbox), listen=partial(listen, inbox=inbox), uses_store=True)
