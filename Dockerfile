FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/cambio ./cmd/cambio && mkdir /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/cambio /usr/local/bin/cambio
COPY --from=build --chown=65532:65532 /out/data /data
# Plain HTTP inside the container, for a proxy that does TLS. Set CAMBIO_ISSUER to
# the URL that clients use.
ENV CAMBIO_LISTEN=0.0.0.0:8080 \
    CAMBIO_ALLOW_HTTP=true \
    CAMBIO_STORE=sqlite:/data/cambio.db
WORKDIR /data
VOLUME /data
EXPOSE 8080
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s CMD ["cambio", "health"]
ENTRYPOINT ["cambio"]
CMD ["serve"]
