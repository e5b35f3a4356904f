# The blog, from the command line. What each target is for: make help

SERVICES := event-bus posts comments query moderation client
SHIFT    ?= 0
FUZZTIME ?= 6s

.DEFAULT_GOAL := help
.PHONY: help run build test lint unit fuzz bench images cluster-test clean-data clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## start the whole blog at http://localhost:3000; SHIFT=100 adds 100 to every port, CLUSTER=1 makes it three buses
	@exec bin/run -shift $(SHIFT) $(if $(CLUSTER),-cluster)

build: ## build the six services into bin/
	@test -d bin || echo "Building; the first time takes a minute or two."
	@go build -o bin/ $(SERVICES:%=./%) ./infra/run $(if $(CLUSTER),github.com/nats-io/nats-server/v2)

test: lint unit fuzz ## everything that is checked without a cluster

lint: ## gofmt, go vet, staticcheck
	@files=$$(gofmt -l .); test -z "$$files" || { echo "not formatted; gofmt -w mends it:"; echo "$$files"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

unit: ## all tests: units, contracts, real processes, a real browser
	go run ./test/all ./...

fuzz: ## every fuzz target for FUZZTIME each
	go run ./test/all -fuzz $(FUZZTIME) ./...

bench: ## measure the speed (docs/performance.md)
	go run ./test/bench

images: ## build the six container images with Docker, podman or buildah
	infra/images.sh

cluster-test: ## try the blog on the Kubernetes cluster that KUBECONFIG names
	go test ./test/cluster -cluster -count=1 -v -timeout 40m

clean-data: ## empty data/: every post and comment that make run has stored
	rm -rf data

clean: clean-data ## also remove what was built
	rm -rf bin
