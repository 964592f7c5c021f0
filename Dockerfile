# Both bases must have Python (3.11 or newer) at the same path and of the same minor version: the second stage takes the
# virtual environment of the first as it is. python:3.13-slim has it in /usr/local/bin, Debian 12 in /usr/bin.
ARG BUILD_BASE=docker.io/library/python:3.13-slim
ARG RUNTIME_BASE=docker.io/library/python:3.13-slim

FROM ${BUILD_BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/mail-push
COPY requirements.txt requirements-build.txt ./
COPY wheelhouse/ wheelhouse/
# From wheelhouse/ where it holds wheels, else from the package index that pip is set up for; by hash in both cases.
RUN set -eu; \
    from=""; \
    for wheel in wheelhouse/*.whl; do if [ -e "$wheel" ]; then from="--no-index --find-links=wheelhouse"; fi; break; done; \
    options="--no-cache-dir --disable-pip-version-check --require-hashes --only-binary=:all: $from"; \
    /opt/build/bin/python3 -m pip install $options -r requirements-build.txt; \
    /opt/build/bin/python3 -m pip --python /opt/mail-push/bin/python3 install $options -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator/ operator/
RUN /opt/build/bin/python3 -m pip --disable-pip-version-check wheel \
        --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
    && /opt/build/bin/python3 -m pip --disable-pip-version-check --python /opt/mail-push/bin/python3 install \
        --no-cache-dir --no-index --no-deps /tmp/wheel/*.whl \
    && /opt/mail-push/bin/mail-push --version && /opt/mail-push/bin/pushusers -h

FROM ${RUNTIME_BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Mail Push" \
      org.opencontainers.image.description="Permanent mail push listeners on Kubernetes: operator and listener" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/mail-push /opt/mail-push
# Where OX has it.
RUN mkdir -p /opt/open-xchange/sbin && ln -s /opt/mail-push/bin/pushusers /opt/open-xchange/sbin/pushusers
# The root file system is read-only in a pod: no bytecode is written, and logs leave line by line.
ENV PATH=/opt/mail-push/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["/opt/mail-push/bin/mail-push"]
