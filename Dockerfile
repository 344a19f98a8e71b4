# The sink worker: static, without a shell, as a user of its own.
#
#   docker build -t firetrail/sink-worker --build-arg VERSION=v0.1.0 .
#   docker run --rm firetrail/sink-worker --help
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/sink-worker ./cmd/sink-worker \
 && mkdir -p /out/data /out/tmp

FROM scratch
# For TLS to brokers whose certificates a public authority signed.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/sink-worker /sink-worker
# A new volume takes over the owner of the directory it is mounted on.
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/tmp /tmp
USER 65532:65532
ENV FIRETRAIL_SQLITE=/data/audit.db \
    FIRETRAIL_DLQ_DIR=/data/dlq \
    FIRETRAIL_LOG_FORMAT=json
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["/sink-worker"]
CMD ["run"]
