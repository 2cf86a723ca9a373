# The image of every part: dispatcher, worker and command line are one binary. Beside it lies what the built-in template runs.
# BuildKit is needed for the caches: Docker 23 or newer, or DOCKER_BUILDKIT=1.

FROM node:22-bookworm-slim AS dashboard
WORKDIR /src
COPY dashboard/package.json dashboard/package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY dashboard .
RUN npm run build

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
COPY --from=dashboard /src/dist/site dashboard/dist/site
# Locked, because builds of several services of one file may run side by side.
RUN --mount=type=cache,sharing=locked,target=/usr/local/cargo/registry \
    --mount=type=cache,sharing=locked,target=/src/target \
    cargo build --release --locked --bins \
    && mkdir /programs \
    && cp target/release/gangline target/release/gangline-fractal /programs/ \
    && strip --strip-debug /programs/*

# Debian rather than a bare file system: a worker's jobs need /bin/sh and the usual tools.
# Images with more tools for jobs are made FROM this one.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -qy --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /bin/sh gangline \
    # New volumes take their owner from what they are mounted on.
    && install -d -o gangline -g gangline -m 0700 /var/lib/gangline /var/lib/gangline/blobs /run/gangline
COPY --from=build /programs/ /usr/local/bin/
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /home/gangline
ENV GANGLINE_DATA_DIR=/var/lib/gangline
EXPOSE 3000
ENTRYPOINT ["gangline"]
CMD ["serve", "--listen=0.0.0.0:3000"]
