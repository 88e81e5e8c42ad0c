# The controller of a pool: the program alone.
#
#     scripts/wheel FOLDER
#     docker build --platform linux/amd64 -f k8s/controller.Dockerfile -t NAME FOLDER
#
FROM python:3.13-slim-trixie AS wheel
COPY lance_backfill-*.whl /tmp/wheels/
RUN pip install --no-cache-dir --no-deps --prefix=/unpacked /tmp/wheels/*.whl

FROM debian:trixie-slim
# Whom to trust. Debian's versions move on within a release, and older ones are gone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /unpacked/bin/lance-backfill /usr/local/bin/lance-backfill

USER 65532:65532
ENTRYPOINT ["/usr/local/bin/lance-backfill"]
