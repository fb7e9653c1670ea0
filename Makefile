# Targets worth knowing: make test, make dev, make build.
LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# SQLite's C as Go is most of what the race detector would watch: it has no goroutine
# of its own, and no generic function whose copy others would share.
UNWATCHED := -gcflags=modernc.org/sqlite/lib=-race=false
FUZZTIME ?= 10s
SOAK ?= 10m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)

.PHONY: help test lint format unit dev build image fuzz bench slow soak fips vuln

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

test: lint unit ## everything that must hold before a commit

lint: ## vet, linters and the import arrows of .golangci.yml
	$(LINT) run
	cd internal/bench/peers && $(LINT) run

format: ## rewrite the sources as the linter wants them
	$(LINT) fmt

unit: ## all tests under the race detector
	@.ci/need
	CGO_ENABLED=1 go test -race $(UNWATCHED) -p 4 -timeout=20m $$(go list ./... | grep -v 'cmd/cambio$$')
	CGO_ENABLED=1 go test -race $(UNWATCHED) -timeout=20m -run='TestScripts/stories/(serve|inflight|story)' ./cmd/cambio
	go test -timeout=20m ./cmd/cambio # starts hundreds of processes, each ten times slower when watched
	cd internal/bench/peers && go test ./...

dev: ## the main job on one screen
	go run ./cmd/cambio dev

build: ## a static binary in bin/
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)' -o bin/cambio ./cmd/cambio

image: ## an image of it, by docker
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) -t cambio .

fuzz: ## every fuzz target for FUZZTIME each
	@.ci/fuzz $(FUZZTIME)

bench: ## the server and the sdk under load, in minutes; with SMOKE=1 every benchmark once, in seconds
ifdef SMOKE
	go test -run='^$$' -bench=. -benchtime=1x -short ./...
	cd internal/bench/peers && go test -run='^$$' -bench=. -benchtime=1x .
else
	go test -run='^$$' -bench=. -benchtime=1x -timeout=20m ./internal/bench
	go test -run='^$$' -bench=. -benchtime=0.3s -cpu=1,2,8 ./sdk
	cd internal/bench/peers && go test -run='^$$' -bench=. .
endif

slow: ## more rounds of the crash tests, the ledger's model and the year of rotations
	CAMBIO_SLOW=1 GODEBUG=fips140=only go test -count=1 -skip='Upgrade|AtOnce' ./internal/crashtest ./internal/store/sqlite ./issuer

soak: ## load, faults and attacks for SOAK, on three replicas and a database that fails over
	CAMBIO_SOAK=$(SOAK) go test -count=1 -timeout=40m -run=Hostility -v ./internal/crashtest

fips: ## what computes with keys, with only FIPS 140-3 algorithms allowed; make slow is too
	GODEBUG=fips140=only go test ./verifier ./sdk/... ./internal/client ./internal/exchange ./internal/httpapi
	GODEBUG=fips140=only go test -run='TestScripts/stories/(story|signingkeys|clientkeys|restore)' ./cmd/cambio

vuln: ## known vulnerabilities, where their database can be reached
	@.ci/vuln
