# One recipe for every service: docker build --build-arg SERVICE=storage .
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

# The simulated site: docker build --target simulator .
FROM build AS simulator-build
COPY requirements.lock ./
COPY simulator simulator
RUN python -c 'import tomllib; print(*tomllib.load(open("simulator/pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > needs.txt
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint requirements.lock --requirement needs.txt

FROM ${PYTHON_IMAGE} AS simulator
COPY --from=simulator-build /opt/venv /opt/venv
COPY simulator /app/simulator
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=10s CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 4002), 5)"]
ENTRYPOINT ["python", "-m", "simulator.network"]

FROM build AS service-build
ARG SERVICE
COPY requirements.lock ./
COPY scripts/frontend scripts/frontend
COPY heliograph heliograph
COPY cli cli
COPY services/${SERVICE} services/${SERVICE}
RUN --mount=type=cache,target=/root/.cache/pip if [ -f services/${SERVICE}/package.json ]; then PYTHON=python scripts/frontend; fi
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint requirements.lock ./heliograph ./cli ./services/${SERVICE}

FROM ${PYTHON_IMAGE}
ARG SERVICE
COPY --from=service-build /opt/venv /opt/venv
ENV SERVICE=${SERVICE} PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A new volume takes its owner from here.
RUN install -d -o 10001 -g 10001 /data /data/store
WORKDIR /data
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=10s --retries=3 CMD python -m heliograph.heartbeat $SERVICE
CMD ["sh", "-c", "exec python -m services.$SERVICE /config.toml"]
