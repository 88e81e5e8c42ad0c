# Head and workers of a pool: Ray, the program and package of lance-backfill, pyarrow.
#
#     scripts/wheel FOLDER
#     docker build --platform linux/amd64 -f k8s/worker.Dockerfile -t NAME FOLDER
#
# The pool file takes it by digest. Ray's version is that of the pool file, ray_version, and of
# scripts/ray. Functions need no new image: code and environments come from the service's own store.
# An environment was locked for one minor version of Python: take that one.
ARG RAY=2.60.0
ARG PYTHON=py312
# -cu128 and such have CUDA's libraries; environments that bring their own, as those of torch do, need
# only the node's driver.
ARG VARIANT=""
FROM rayproject/ray:${RAY}-${PYTHON}${VARIANT}

COPY lance_backfill-*.whl /tmp/wheels/
# pyarrow is for functions that are registered with `--env image:…`, which see what is installed here;
# add what those need in an image FROM this one.
RUN pip install --no-cache-dir --only-binary=:all: /tmp/wheels/*.whl pyarrow==25.0.1

# Hosts of functions run on the interpreter of this image.
ENV LANCE_BACKFILL_PYTHON=python

# The user of Ray's images, by its number: Kubernetes sees that it is not root.
USER 1000:100
