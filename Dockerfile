# An upload worker's image: docker build -t e123456_worker_container/dst2018:0.1 .
#
# Where no image can be pulled: scripts/base_image, then
#   docker build --network host --build-arg BASE_IMAGE=upswell-base:local -t e123456_worker_container/dst2018:0.1 .
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir uv
WORKDIR /src
ENV UV_PROJECT_ENVIRONMENT=/opt/upswell UV_PYTHON=python3 UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1
# S3, Google and Azure; the fleets docker and kubernetes, for a scaler in a container; rules.
ARG EXTRAS="--extra cloud --extra docker --extra kubernetes --extra metrics --extra rules"
COPY pyproject.toml uv.lock README.md LICENSE ./
# The dependencies first: they change seldom, and this layer is then taken from the cache.
RUN /opt/uv/bin/uv sync --frozen --no-dev $EXTRAS --no-install-project
COPY src ./src
RUN /opt/uv/bin/uv sync --frozen --no-dev $EXTRAS --no-editable
# What nothing here reads: the descriptions of AWS' other services than those that give credentials and store
# objects, and numpy's own tests.
RUN cd /opt/upswell/lib/python3*/site-packages && \
    find . -path './botocore/data/*' -type d ! -regex '.*/data/\(s3\|sts\|sso\|sso-oidc\|signin\)\(/.*\)?' \
        -prune -exec rm -r {} + && \
    find numpy -name tests -prune -exec rm -r {} +

FROM ${BASE_IMAGE}
# By this label the docker fleet knows that the worker takes its arguments and obeys its commands.
LABEL upswell.image="worker"
COPY --from=build /opt/upswell /opt/upswell
# Any user may run it: the docker fleet takes its own, so that shared folders keep their owner.
RUN mkdir -m 1777 /var/lib/upswell
ENV PATH=/opt/upswell/bin:$PATH PYTHONUNBUFFERED=1 UPSWELL_STATE_DIR=/var/lib/upswell
USER 10001:10001
STOPSIGNAL SIGTERM
# It looks at the worker's loop, never at the broker: who restarts unhealthy containers would kill uploads
# in every one of them as soon as the broker is away.
ENV UPSWELL_HEARTBEAT=/dev/shm/upswell-heartbeat
HEALTHCHECK --interval=30s --timeout=15s --start-period=30s CMD ["python3", "-m", "upswell.healthcheck"]
# Exec form: SIGTERM reaches the worker itself, which drains. The application: --app, or the only one in UPSWELL_APPS.
ENTRYPOINT ["upswell"]
CMD ["worker"]
