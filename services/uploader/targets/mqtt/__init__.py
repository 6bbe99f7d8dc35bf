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

A topic for each value, with the plain number, is what openWB, openHAB or a microcontroller read most easily. A target that
publishes them on the node's own broker, where the uploader may write and a viewer read `value/#`:

```toml
[[uploader.targets]]
name = "values"
kind = "mqtt"
host = "127.0.0.1"                        # in containers: "mosquitto"
user = "uploader"
password = "file:data/secrets/uploader"
topic = "value/$node/$device/$name"
retain = true
```

A value arrives once storage has committed it, within twelve seconds by default.

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
