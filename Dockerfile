FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
ARG REVISION=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w -X main.version=$VERSION -X main.revision=$REVISION" -o /out/cambio ./cmd/cambio && mkdir /out/data

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="cambio" \
      org.opencontainers.image.description="Exchanges API keys for short-lived signed tokens" \
      org.opencontainers.image.source="https://github.com/cambio-auth/cambio" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/cambio /usr/local/bin/cambio
COPY --from=build --chown=65532:65532 /out/data /data
# Plain HTTP inside the container, for a proxy that does TLS. Set CAMBIO_ISSUER to
# the URL that clients use. Nothing but /data is written to.
ENV CAMBIO_LISTEN=0.0.0.0:8080 \
    CAMBIO_ALLOW_HTTP=true \
    CAMBIO_STORE=sqlite:/data/cambio.db \
    TMPDIR=/data
WORKDIR /data
VOLUME /data
EXPOSE 8080
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["cambio", "health"]
ENTRYPOINT ["cambio"]
CMD ["serve"]
