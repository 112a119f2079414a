# The image of cdi-exporter: docker build -t cdi-exporter .   (or buildah, podman: the same words)
# Any slim image with Python 3.11 or newer will do, on amd64 and arm64.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# Two environments: /build has pip and what builds, /opt/cdi-exporter only what runs.
RUN python -m venv /build \
    && /build/bin/python -m pip install --no-cache-dir --require-hashes --only-binary=:all: \
        -r requirements-build.lock \
    && python -m venv --without-pip /opt/cdi-exporter \
    && /build/bin/python -m pip --python /opt/cdi-exporter/bin/python install \
        --no-cache-dir --no-compile --require-hashes --only-binary=:all: -r requirements.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY cdi_exporter cdi_exporter
# Bytecode takes 8 MB and saves more than half of the time of each start and health check; that of
# Pygments' lexers would never be read. It stays valid if a build changes the times of files.
RUN /build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels . \
    && /build/bin/python -m pip --python /opt/cdi-exporter/bin/python install \
        --no-cache-dir --no-compile --no-deps --no-index /wheels/*.whl \
    && /opt/cdi-exporter/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        -x '/pygments/(lexers|styles|formatters)/' /opt/cdi-exporter/lib

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
# The version of the code, which `make release` sets. The others are for those who publish the image.
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="cdi-exporter" \
      org.opencontainers.image.description="A Prometheus exporter for the sync runs of Braze Cloud Data Ingestion (CDI)" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.ref.name="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.url="${SOURCE}" \
      org.opencontainers.image.documentation="${SOURCE}" \
      org.opencontainers.image.authors="The authors of cdi-exporter" \
      org.opencontainers.image.vendor="The authors of cdi-exporter" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
# What installs is not for an image that runs one program. Only /data may be written to, by the
# image's user and, for OpenShift, which chooses a user of its own, by the group 0.
RUN rm -rf /usr/local/bin/pip* /usr/local/bin/idle* /usr/local/bin/pydoc* \
        /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
        /usr/lib/python3*/ensurepip /usr/share/python-wheels \
    && install -d -o 65532 -g 0 -m 0770 /data
COPY --from=build /opt/cdi-exporter /opt/cdi-exporter
# Python's images have no bytecode of the standard library: keep that of the modules in use (5 MB).
RUN /opt/cdi-exporter/bin/python -c \
    "import cdi_exporter.app, cdi_exporter.demo, cdi_exporter.state.postgres_session"
ENV PATH=/opt/cdi-exporter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CDI_EXPORTER_STATE_FILE=/data/state.sqlite
VOLUME /data
WORKDIR /data
USER 65532:65532
EXPOSE 10234
STOPSIGNAL SIGTERM
# It finds the address in the environment and in the exporter's own flags, needs no credentials,
# and does not depend on Braze.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["cdi-exporter", "healthcheck"]
ENTRYPOINT ["cdi-exporter"]
