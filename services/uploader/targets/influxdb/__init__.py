"""InfluxDB 1, 2 and 3, and servers that take the same requests, such as VictoriaMetrics.

```toml
[[uploader.targets]]
name = "influx"
kind = "influxdb"
url = "http://influx.example:8086"
bucket = "home"                           # version 2; the others have a database
token = "file:/run/secrets/influx_token"
```

`services/uploader/sample.toml` explains all its options.

Sent: line protocol, up to 2000 rows at once, to `/api/v2/write`, `/write` (version 1) or `/api/v3/write_lp` (version 3). Gauges,
counters and states are floats, channels that `integers` names are integers, texts are strings, with a space for a line feed
(VictoriaMetrics would drop the whole line): no value changes the type of a field. VictoriaMetrics stores 0 for a text;
`exclude` leaves such channels out. Sending a row again changes nothing. Version 2 uses `influxdb-client`
([decision 0010](decisions/0010-influxdb-client-for-version-2.md)); `heliograph uploads test` pings the server and looks the bucket
up before it sends a reading. After a loss of its state the uploader sends what `from` asks for; with "now" it asks
the database for its newest point, and sends the last hour before it again.

| answer | rows |
| --- | --- |
| 204, 2xx without a body | taken |
| `field type conflict` | the values of that field are set aside, the rest of their rows is written at once |
| 400 that lists lines (version 3) | the values of these lines are set aside, the others were taken |
| 400, 406, 422, `partial write` | halved until the row is found, which is set aside |
| `points beyond retention policy`, `hinted handoff queue not empty` | taken: the answer would be the same next time |
| 401, 403 | kept, again after 5 minutes |
| 404 (no such database or bucket) | kept, again after a minute |
| 413 | sent again in smaller batches |
| any other | kept |

Facts: docs.influxdata.com, "Write data with the InfluxDB API" of v1 and v2, "Use the v3 write_lp API".
"""

from services.uploader.targets.influxdb.target import Influxdb, Options

__all__ = ["Influxdb", "Options"]
