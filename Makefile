# Every target can be run again; `make` lists them.

.DEFAULT_GOAL := help
.PHONY: help build run up down test check bench generate lab-up lab-down lab-test validate clean

# A build says which commit it is of, and whether something was changed since.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
export PATH := $(PATH):/usr/local/go/bin

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/berth, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/berth .

up: ## build Berth and run it on this machine's engine; again: replace what has changed
	@deploy/up

down: ## remove what up has made; PURGE=1: data and keys too
	@PURGE=$(PURGE) deploy/down

run: build ## berth up from source, on the lab (make lab-up first)
	@deploy/test run

check: ## format, vet, generated files, unit tests; needs no engine
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not formatted, run gofmt -w: $$files"; exit 1; }
	go vet ./...
	@go run . openapi | diff -u openapi/openapi.yaml - || { echo "openapi/openapi.yaml is stale: run make generate"; exit 1; }
	@! command -v shellcheck >/dev/null || shellcheck -x deploy/up deploy/down deploy/image deploy/prerequisites deploy/test deploy/validate
	env -u CI -u LAB_DIR go test -race -short ./...

test: ## everything, on a real Swarm of its own; prints the coverage
	@deploy/test all

bench: ## the benchmarks, on the same Swarm
	@deploy/test bench

lab-up: ## start the lab: two engines, one Swarm, no route outside
	@deploy/test up

lab-test: ## tests in the running lab; PKG=./internal/e2e RUN=TestName
	@deploy/test some

lab-down: ## remove the lab
	@deploy/test down

generate: ## write what is generated from the code
	go run . openapi >openapi/openapi.yaml.new && mv openapi/openapi.yaml.new openapi/openapi.yaml

validate: ## check compose.yaml and deploy/stack.yaml with what this machine has
	@deploy/validate

clean: ## remove what was built; keys and data stay
	rm -rf bin coverage
