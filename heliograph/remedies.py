"""What to do about a problem, in the words that the API and `heliograph doctor` share: imperatives, without a full stop."""

MAKE_ROOM = "delete what is not needed, or let storage keep less: `[storage] keep_gigabytes` (docs/store.md)"
SET_CLOCK = 'connect the node to a time server, or set `[node] clock = "trust"` if its clock is right without one'
RESTART_BROKER = "restart the broker"
LET_IN = "restart the broker, so that it has the passwords and rights of all services (docs/install.md, Updates)"
START_AGAIN = "`heliograph start` stops what is left running, and starts the node again"
SEE_LOG = "look at the log of {service}"
CORRECT = "correct it; `heliograph check` finds all mistakes"
