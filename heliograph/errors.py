"""The errors that several modules share.

* HeliographError
  + ConfigError      the configuration is wrong: a human has to edit it
  + MessageError     a payload is not what its topic promises: set it aside, continue
  + StoreAway        there is no store to read (yet): answer without it, try again
  + StoreDamaged     a file of the store is unreadable: a human has to look
* OSError            the disk refuses
  + DatabaseRefuses  the database of the store refuses, or does not answer: try again
"""


class HeliographError(Exception):
    """The base of all errors that Heliograph raises itself."""


class ConfigError(HeliographError):
    """The configuration is wrong; the message is one line that names file and key."""


class MessageError(HeliographError):
    """A payload is not what its topic promises."""


class StoreAway(HeliographError):
    """There is no store at this location, or it does not answer."""


class StoreDamaged(HeliographError):
    """A file of the store cannot be read as what it should be."""


class DatabaseRefuses(OSError):
    """The database server that has the store refuses, or does not answer; the message is a sentence."""
