"""Any HTTP server: templates, or a preset for a known server, describe the requests.

```toml
[[uploader.targets]]
name = "anything"
kind = "http"
url = "https://server.example/api/${device}"
# preset = ""                             # see below; a preset has templates of its own
# method = "POST"                         # GET, PUT, PATCH
# send = "row"                            # "device", "channel": a request for each; "batch": one for many rows
json = { at = "${time}", values = "${values}", text = "$device at $iso" }
headers = { Authorization = "Bearer ${key}" }
# user = "me"                             # example: HTTP Basic
# password = "file:/run/secrets/anything" # example
# success_codes = [200, 409]              # example; any 2xx if it is empty
success_pattern = "stored"                # a pattern that the body of a success holds
reject_pattern = "bad value"              # a pattern of a body that rejects the rows
[uploader.targets.variables]
key = "never-shown"                       # names of your own; better "file:/run/secrets/key"
```

One of `json` (any structure), `form` (a table) and `body` (a text), and `query` (a table), are templates: names are replaced,
escaped as their location demands, and nothing is ever run.

| name | is |
| --- | --- |
| `$time`, `$iso`, `$local` | the row's time: seconds, ISO 8601 in UTC, in `timezone` |
| `$node`, `$device` | those of its first value |
| `$values`, `$pairs` | all values by name: as JSON, as `{a:1,b:2}` |
| `$value_power` | the value of the channel named `power`; without one, the field that needs it is left out |
| `$channel`, `$name`, `$unit`, `$value` | with `send = "channel"` |
| `$items` | with `send = "batch"`: a list of what `item` makes of each row |

In `json` a text that is nothing but a name becomes a number, a truth value or a table. A body that is neither success nor
rejection keeps the rows. A lost answer can cause duplicates.

Presets have templates and answers of their own, and take what they need from `variables`:

| preset | server | variables | sent |
| --- | --- | --- | --- |
| `solar_protocol` | `/api/v1/api.php` of a Solar Protocol server | `key`, `mac`, `ip`, `title`, `log` | that this server is there, with the time of the newest row; `Wrong API Key provided.` keeps it |
| `pimonitor` | pimonitor's `/` | `key`, `location` (30 characters), `sensor` | `temperature` (°C become °F) and `humidity` of each device, in a request of its own: pimonitor drops a second sensor. It gets SHA-256 of the key, and reports success whatever becomes of a row |
| `oemgateway` | Emoncms, its folder as `url` | `key` | `GET /input/post.json?apikey=…&time=…&node=DEVICE&json={1:1,2:2}`; exactly `ok` is taken |
"""

from services.uploader.targets.http.target import HttpTarget, Options

__all__ = ["HttpTarget", "Options"]
