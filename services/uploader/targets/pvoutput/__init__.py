"""PVOutput (service/r2), with batches of statuses.

```toml
[[uploader.targets]]
name = "roof"
kind = "pvoutput"
key = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
system = "4711"
timezone = "Australia/Brisbane"           # that of the system there: days and times are local
# url = "https://pvoutput.org/service/r2"
# counters = "today"                      # energies since local midnight; "last": lifetime energies, with c1
# net = false                             # true: generation is export, consumption is import (n=1)

[uploader.targets.names]
"*/inverter/pv_power" = "generation"      # W or kW: v2
"*/inverter/energy" = "generation"        # Wh or kWh: v1
"*/meter/power" = "consumption"           # v4; its energy: v3
"*/meter/voltage" = "voltage"             # v6; temperature: v5; extended_1 … extended_6: v7 … v12, for donors
```

Sent: averages of the interval that `getsystem` reports, stamped with its start, to `addbatchstatus`; 30 rows at once (100 for
donors), at most 3000 bytes, never across local midnight, never the same minute twice. Energies are those at the end of the
interval. A negative power and its energy are left out; so are intervals with none of v1 to v4, and v7 to v12 without a
donation. A new target continues after the time that `getstatus` reports. It obeys the rate headers and leaves 5 requests of
each hour to other programs with the same key (60 an hour, 300 for donors); it sends the last 14 days (90 for donors).

| answer | rows |
| --- | --- |
| 200, flag of the row not 0 | taken |
| flag 0, or no flag for a row | set aside |
| 400 `Date is older than …`, `Date is in the future` | these rows are set aside, the others sent again at once; if no row is later than the node's clock, all are kept: `timezone` is wrong |
| 400 `Moon powered` | sent again at once without v1 and v2 in the rows with power while the sun is down at the location of the system; if that is unknown, halved until the row is found. A row of which nothing is left is set aside |
| 400 `Load in progress` | kept, again after 30 s |
| 400 `Energy value … too high`, `Power value … too high`, `Could not read …`, others | halved until the row is found, which is set aside |
| 401, 403 | kept |
| 403 `Exceeded … requests per hour` | kept until `X-Rate-Limit-Reset` |

In the hour that comes twice in autumn the second one replaces the first: PVOutput has one row for each local time.

Facts: PVOutput's API specification, IoTaWatt's PVoutput_uploader.
"""

from services.uploader.targets.pvoutput.target import Options, PVOutput

__all__ = ["Options", "PVOutput"]
