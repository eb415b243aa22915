# One literal FROM, so that Dependabot moves tag and digest together and `--from` can replace the base.
# python:3.13-slim as of 2026-09 (Python 3.13.15, Debian trixie; an index for amd64 and arm64).
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS base

FROM base AS build
WORKDIR /build
COPY requirements.txt .
# Wheels only: no package compiles code or runs its setup.py here.
RUN pip install --no-cache-dir --no-compile --no-warn-script-location --require-hashes --only-binary :all: \
        --prefix /install -r requirements.txt
COPY entrypoint.py app/
COPY leastpriv app/leastpriv
# unchecked-hash: valid whatever happens to modification times on the way into the next stage.
RUN python -m compileall -q -s /install -p /usr/local --invalidation-mode unchecked-hash /install \
    && python -m compileall -q -s /build -p / --invalidation-mode unchecked-hash app
# The base comes without the standard library's .pyc files, and a step's container is always new: it would compile
# what it imports again in each run (a tenth of a second for --help, a third with boto3). What it never does is left out.
RUN python -m compileall -q --invalidation-mode unchecked-hash \
        -x "/(asyncio|idlelib|lib2to3|pydoc_data|site-packages|dist-packages|test|tkinter|turtledemo|unittest)/" \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY tools/image_root.py .
RUN mkdir /root-of-image && python image_root.py /root-of-image /install app

# Python, its libraries, the packages and the action alone: no package manager, no tools that build.
FROM scratch
COPY --from=build /root-of-image /
ENV PATH=/usr/local/bin:/usr/bin LANG=C.UTF-8
# Last, since they differ from release to release: the layers above them remain in the cache.
ARG VERSION=unreleased
ARG REVISION=unknown
ARG SOURCE=https://github.com/org/leastpriv-action
LABEL org.opencontainers.image.title="leastpriv-action" \
      org.opencontainers.image.description="Works out from CloudTrail which permissions a CI role needs and proposes the policy change" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.documentation="$SOURCE#readme"
# glibc's heaps, one for each of the threads that fetch, would keep some 30 MB of what the objects of a trail once took.
ENV MALLOC_ARENA_MAX=2
# -I: neither the job's PYTHON* variables nor files of the checkout, the working directory, decide what is imported.
# No USER: Docker actions must run as root to read and write what the runner mounts
# (https://docs.github.com/en/actions/reference/workflows-and-actions/dockerfile-support, read 2026-11).
ENTRYPOINT ["/usr/local/bin/python", "-I", "/app/entrypoint.py"]
