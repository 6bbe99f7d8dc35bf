"""The main loop of a service that acknowledges messages once they are durable."""

import logging
from collections.abc import Callable
from typing import NoReturn

from heliograph.backoff import Backoff
from heliograph.service import Service

log = logging.getLogger(__name__)


def until_stopped(service: Service, work: Callable[[], None], finish: Callable[[], None]) -> NoReturn:
    """Call `work` again and again, less and less often while it raises OSError; when the process ends, call `finish`.

    OSError means that the disk or the database refuses, or is away: nothing is acknowledged, so everything comes again.
    The status has a counter `write_failures` and, while writing fails, the reason in the fact `write_error`; the log
    reports when that begins and when it ends.
    """
    backoff = Backoff()
    service.fact("write_error", "")
    failing = False
    try:
        while True:
            try:
                work()
            except OSError as error:
                service.count("write_failures")
                service.fact("write_error", str(error))
                if not failing:
                    log.warning("%s; nothing is acknowledged until it can be written", error)
                    failing = True
                    service.report()
                service.wait(backoff.next())
            else:
                if failing:
                    log.info("writing again")
                    backoff.reset()
                    failing = False
                    service.fact("write_error", "")
                    service.report()
    finally:
        try:
            finish()
        except OSError as error:
            log.error("%s; what is not written will be sent again", error)
