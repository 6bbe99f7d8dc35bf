"""Another MQTT broker, with QoS 1.

```toml
[[uploader.targets]]
name = "cloud"
kind = "mqtt"
host = "broker.example"
# port = 8883                             # example; 0 is 1883, or 8883 with TLS
# version = "5"                           # "3.1.1"
tls = true
# ca = ""                                 # a file with the authority to trust, in place of those of this machine
# certificate = ""                        # files with a client's own; like ca, they turn on TLS
# certificate_key = ""
user = "house"
password = "file:/run/secrets/cloud"
# topic = "$node/$device/$name"           # also $channel and $unit
# format = "value"                        # "json": one message for all values with the same topic; "values": with commas, each
                                          # in its place: there is nothing between two commas where one is missing
# payload = "${value}"                    # also $time, $unit and those above
# retain = false
```

A value arrives once storage has committed it, within twelve seconds by default. The node's own broker can have a topic for each value at once, for
openWB, evcc, openHAB or a microcontroller: [plain-values.md](plain-values.md).

A row is taken when all its messages are acknowledged. A message may arrive twice after a broken connection; none is left out.
The client identifier is `heliograph-NODE-NAME` unless `client_id` names another.

| answer | rows |
| --- | --- |
| acknowledgement | taken; a broker with MQTT 3.1.1 acknowledges messages that it discards, too: use version 5 |
| no connection, refused user, broken connection, no acknowledgement in `timeout` | kept from the first row that was not acknowledged |
| not authorized, quota exceeded, unspecified error (MQTT 5) | kept |
| topic name invalid, payload format invalid, packet too large (MQTT 5); a topic with `+` or `#` | set aside |
"""

from services.uploader.targets.mqtt.target import MqttTarget, Options

__all__ = ["MqttTarget", "Options"]
