# One recipe for every service: docker build --build-arg SERVICE=storage .
#
# All images have the same layers: packages of others, which an update of Heliograph leaves as they are, and the library.
# What is their own is less than a megabyte.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

# The list is the same text until a dependency changes, and so is the layer that follows from it.
FROM build AS needs
COPY . ./
RUN python scripts/third_party.py > /needs.txt

FROM build AS packages
COPY requirements.lock ./
COPY --from=needs /needs.txt ./
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint requirements.lock --requirement needs.txt

FROM ${PYTHON_IMAGE} AS runtime
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/heliograph/bin:/opt/venv/bin:$PATH PYTHONPATH=/opt/heliograph PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A new volume takes its owner from here.
RUN install -d -o 10001 -g 10001 /data /data/store
WORKDIR /data
USER 10001:10001

# The simulated site: docker build --target simulator .
FROM runtime AS simulator
COPY simulator /opt/heliograph/simulator
# Not the radio receiver's port: a client of a serial port takes its share of the lines.
HEALTHCHECK --interval=30s --timeout=10s CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 5020), 5)"]
ENTRYPOINT ["python", "-m", "simulator.network"]

FROM packages AS builder
RUN --mount=type=cache,target=/root/.cache/pip pip install hatchling

FROM builder AS common-build
COPY heliograph heliograph
COPY cli cli
RUN pip install --no-build-isolation --no-deps --target /opt/heliograph ./heliograph ./cli

FROM builder AS service-build
ARG SERVICE
COPY scripts/frontend scripts/frontend
COPY services/${SERVICE} services/${SERVICE}
RUN --mount=type=cache,target=/root/.cache/pip if [ -f services/${SERVICE}/package.json ]; then PYTHON=python scripts/frontend; fi
RUN pip install --no-build-isolation --no-deps --target /opt/heliograph ./services/${SERVICE}

FROM runtime AS common
COPY --from=common-build /opt/heliograph /opt/heliograph

FROM common
ARG SERVICE
COPY --from=service-build /opt/heliograph /opt/heliograph
ENV SERVICE=${SERVICE}
HEALTHCHECK --interval=30s --timeout=10s --retries=3 CMD python -m heliograph.heartbeat $SERVICE
CMD ["sh", "-c", "exec python -m services.$SERVICE /config.toml"]
