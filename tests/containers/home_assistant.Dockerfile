# A Home Assistant to test against, from the package index: see tests/containers/images.
ARG PYTHON_IMAGE=python:3.14-slim
FROM ${PYTHON_IMAGE}
ARG HOME_ASSISTANT=2026.11.0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
RUN --mount=type=cache,target=/root/.cache/pip pip install --quiet homeassistant==${HOME_ASSISTANT}
# What its MQTT integration and its pages need, with what these depend on. It would install that at its start.
COPY home_assistant_needs.py /
RUN --mount=type=cache,target=/root/.cache/pip python /home_assistant_needs.py mqtt frontend hassio >needs.txt \
  && pip install --quiet --requirement needs.txt
RUN mkdir /config && printf '%s\n' \
  'homeassistant: {name: test, latitude: 52.5, longitude: 13.4, elevation: 30, unit_system: metric, time_zone: Europe/Berlin, country: DE}' \
  'http:' 'api:' 'config:' 'logger: {default: warning}' >/config/configuration.yaml
EXPOSE 8123
CMD ["sh", "-c", "[ -e /config/.storage/auth ] || hass --script auth -c /config add visitor \"$PASSWORD\" >/dev/null; exec hass --skip-pip -c /config"]
