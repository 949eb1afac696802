# The command `coffre` in a container, for `--here` on Fargate or any container service (docs/here.md):
#
#     docker build --tag coffre .
#
# The bases are tags: a digest is what your own engine pulled and you looked at. To pin one:
#
#     docker build --build-arg PYTHON=python:3.13-slim-trixie@sha256:... --build-arg POSTGRES=postgres:18-trixie@sha256:... .
ARG PYTHON=python:3.13-slim-trixie
ARG POSTGRES=postgres:18-trixie

# PostgreSQL's client programs, which work with servers 12 to 18, and the libraries that they need.
FROM ${POSTGRES} AS postgres
COPY container/programs.sh /build/
RUN sh /build/programs.sh /opt/postgresql \
    /usr/lib/postgresql/18/bin/pg_dump \
    /usr/lib/postgresql/18/bin/pg_dumpall \
    /usr/lib/postgresql/18/bin/pg_amcheck

# The package with its locked libraries, and its innermost loop in C.
FROM ${PYTHON} AS package
RUN apt-get update && apt-get install --yes --no-install-recommends make
COPY requirements/command.txt /build/
RUN python3.13 -m pip install --no-cache-dir --no-deps --require-hashes --only-binary=:all: \
    --target /opt/coffre --requirement /build/command.txt
COPY layers/coffre /build/layers/coffre
RUN COFFRE_CACHE_DIR=/build/cache make -C /build/layers/coffre copydata && cp -R /build/layers/coffre/coffre /opt/coffre/
COPY cli/coffre_cli /opt/coffre/coffre_cli
RUN python3.13 -m compileall -q -j 0 /opt/coffre

FROM ${PYTHON}
COPY --from=postgres /opt/postgresql /opt/postgresql
COPY --from=package /opt/coffre /opt/coffre
ENV PATH=/opt/postgresql/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/coffre PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["python3.13", "-m", "coffre_cli"]
CMD ["--help"]
