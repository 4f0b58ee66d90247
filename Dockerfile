# SYNC's program in an image: built in one stage, in the other alone, as a user without rights.
#
#     docker build -t sync-lua .
#     docker run --init -p 8080:8080 -v "$PWD:/app:ro" sync-lua main.lua
#
# --init lets a server upgrade itself, which process 1 can't.
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY . .
RUN sh .ci/deps build && make -s build && sh packages/dist.sh sync-lua /out sync-lua

FROM debian:bookworm-slim
RUN useradd --system --home-dir /app --shell /usr/sbin/nologin sync-lua
COPY --from=build /out/sync-lua /usr/local/bin/sync-lua
WORKDIR /app
USER sync-lua
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK NONE
ENTRYPOINT ["sync-lua", "--drain=20"]
CMD ["main.lua"]
