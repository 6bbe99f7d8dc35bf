"""Emoncms, with `input/bulk`, as emonHub and IoTaWatt use it.

```toml
[[uploader.targets]]
name = "emoncms"
kind = "emoncms"
key = "0123456789abcdef0123456789abcdef"  # the write key; better "file:/run/secrets/emoncms"
# url = "https://emoncms.org"
# node = "${device}"                      # the name of the node there; a fixed text makes one node of all devices
# names = { "*/meter/power" = "1" }       # example: 1 to 99 are positions, as in IoTaWatt; a row that lacks one goes by name
# times = "absolute"                      # "sentat": the server's clock counts, for a node whose clock is wrong
# compress = false                        # cb=1: a tenth of the bytes, for servers since 2016
# userid = "1234"                         # example: encryption for servers without TLS; the key has to be hexadecimal
```

Sent: `POST /input/bulk`, up to 1000 rows, oldest first: Emoncms does not add history before the newest value of a
feed. Times are whole seconds. Texts are not sent, true is 1. Of names Emoncms keeps alphanumeric characters, spaces and `_ - .`; a row with a
name of which nothing is left is set aside. A new target, and one whose state was lost, gets of each device
what is newer than the newest time that `/input/get` reports for its inputs, and does not lie ahead of the clock; with `userid` and `http:` it does not ask, for that would show the key.

| answer | rows |
| --- | --- |
| 200, body exactly `ok` (encrypted: the digest of the request) | taken |
| 200, `{"success": false, …}` | halved until the row is found, which is set aside; a bulk stores what comes before its first error, and storing it again changes nothing in a feed |
| the same about a limit, such as `Reached the maximal allowed number of different NodeIds` | kept, again after 5 minutes |
| the same about the key or the user; an empty body (no key); any other body; 401, 403, 404 | kept |

Processes of Emoncms that add up values (accumulators) count a row twice if the answer to it was lost.

Facts: emoncms Modules/input (input_methods.php, docs/input_encrypted.md), emonHub's EmonHubEmoncmsHTTPInterfacer, IoTaWatt's
Emoncms_uploader.
"""

from services.uploader.targets.emoncms.target import Emoncms, Options

__all__ = ["Emoncms", "Options"]
