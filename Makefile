# Every target can be run again; `make` lists them.

.DEFAULT_GOAL := help
.PHONY: sim help build release vulncheck walk ui ui-check ui-test screenshots ui-bench ide-image run up down npm static test test-full test-image test-stack test-chaos test-docs test-release test-ui test-changed cover check bench stall chaos save-test bench-save generate lab-up lab-down lab-test validate clean docs-page lint-openapi

# A build says which commit it is of, and whether something was changed since.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
export PATH := $(PATH):/usr/local/go/bin:$(HOME)/go/bin
# Tests, vet and generators find in Go's cache what was compiled for the program.
export CGO_ENABLED := 0

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: docs-page ui ## bin/berth, one static binary
	go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/berth .

release: docs-page ui ## bin/release: programs for amd64 and arm64, images, SBOMs, checksums; VERSION=1.2.3
	GOTOOLCHAIN=$(RELEASE_GO) go run ./deploy/release -version $(VERSION:v%=%)

# What releases are built with: the standard library's own faults are mended in its minor versions.
RELEASE_GO := go1.26.10

# The database is the Go module that vuln.go.dev is made from: it comes from where all modules come from.
vulncheck: ## known vulnerabilities in what a release calls
	@mkdir -p bin && db=$$(go mod download -json golang.org/x/vulndb@latest | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') && \
	export GOTOOLCHAIN=$(RELEASE_GO) && go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 -format json -db "file://$$db/data/osv" . ./deploy/ide/agent >bin/vulnerabilities.json && go run ./deploy/vulncheck <bin/vulnerabilities.json

ide-image: ## the full IDE image, on the engine that is here; without one on a private one, for the cache (TEMPLATES="python node java": those, too)
	deploy/ide/builder deploy/ide/build localhost/berth-ide:latest --network host

# The page at /docs: three files of swagger-ui-dist, which go into the binary. Where there is no npm the program is built
# without it, and says so at /docs.
page := openapi/page
docs-page: ## fetch the API page's files, once
	@if command -v npm >/dev/null; then $(MAKE) -s --no-print-directory $(page)/dist/swagger-ui-bundle.js; \
	else echo "no npm: /docs is left out"; fi

$(page)/dist/swagger-ui-bundle.js: $(page)/package-lock.json
	npm --prefix $(page) ci --ignore-scripts --no-audit --no-fund --loglevel=error
	cp $(addprefix $(page)/node_modules/swagger-ui-dist/,swagger-ui.css favicon-32x32.png LICENSE swagger-ui-bundle.js) $(page)/dist/

# The dashboard: vite builds it into dashboard/dist, which goes into the binary. Where there is no npm with a Node that vite
# runs on, the program is built without it, and says so at /dashboard.
web := dashboard/web
ui: ## build the dashboard, where something of it has changed
	@if command -v npm >/dev/null && node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))'; then \
	$(MAKE) -s --no-print-directory dashboard/dist/index.html; else echo "no npm with Node 20 or later: the dashboard is left out"; fi

$(web)/node_modules/.package-lock.json: $(web)/package-lock.json
	npm --prefix $(web) ci --no-audit --no-fund --loglevel=error
	@touch $@

# Folders are among them: a file that is gone changes its folder only.
web_files := $(web)/node_modules/.package-lock.json $(shell find $(web) -mindepth 1 \( -name node_modules -o -name test-results -o -name screenshots \) -prune -o -print 2>/dev/null)
dashboard/dist/index.html: $(web_files)
	npm --prefix $(web) run --silent build
	@touch $@

# The linter is installed once; after that it needs no network.
linter := openapi/lint/node_modules/.bin/redocly
$(linter): openapi/lint/package-lock.json
	npm --prefix openapi/lint ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

up: ## build Berth and run it on this machine's engine; again: replace what has changed
	@deploy/up

down: ## remove what up has made; PURGE=1: data and keys too
	@PURGE=$(PURGE) deploy/down

run: build ## berth up from source, on the lab (make lab-up first)
	@deploy/test-lab run

# Eight tests of a package run at once on any machine: most wait more than they work. Go's cache leaves out the packages
# that have not changed.
check: static ## format, vet, generated files, linters, unit tests of what has changed; needs no engine
	env -u CI -u LAB_DIR go test -trimpath -short -parallel 8 ./...

static: ## what check does before the tests
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not formatted, run gofmt -w: $$files"; exit 1; }
	go vet -trimpath ./...
	@go run -trimpath . openapi | diff -u openapi/openapi.yaml - || { echo "openapi/openapi.yaml is stale: run make generate"; exit 1; }
	@go run -trimpath . openapi --markdown | diff -u docs/API.md - || { echo "docs/API.md is stale: run make generate"; exit 1; }
	@if command -v npm >/dev/null; then $(MAKE) -s --no-print-directory lint-openapi; else echo "no npm: openapi.yaml is not linted"; fi
	@! command -v shellcheck >/dev/null || shellcheck -x $(scripts)
	@$(MAKE) -s --no-print-directory ui-check

scripts := $(wildcard deploy/*.sh) deploy/lab/walk deploy/monitoring/check $(addprefix deploy/,up down image prerequisites stall test test-lab validate) deploy/ide/build deploy/ide/builder deploy/store/build deploy/lab/images deploy/lab/traefik/build

npm: ## the packages of the dashboard, the API's page and the linter, where there is npm
	@! command -v npm >/dev/null || $(MAKE) -s --no-print-directory -j3 $(web)/node_modules/.package-lock.json $(page)/dist/swagger-ui-bundle.js $(linter)

# The dashboard's source is checked where its packages are: npm ci in dashboard/web.
ui-check: ## the dashboard, where something of it has changed: generated client, lint, types, unit tests
	@if command -v npm >/dev/null && [ -d $(web)/node_modules ]; then $(MAKE) -s --no-print-directory bin/ui-checked; \
	else echo "no npm, or no packages in $(web): the dashboard's source is not checked"; fi

bin/ui-checked: $(web_files) openapi/openapi.yaml
	npm --prefix $(web) run --silent check
	@mkdir -p bin && touch $@

ui-test: ui ## the dashboard in Chromium: every page with axe, in narrow windows, in rare states
	cd $(web) && PLAYWRIGHT_REPORT=$(CURDIR)/bin/test/playwright-pages.json npx playwright test --project=pages

screenshots: ui ## every page of the dashboard, light, dark and 390 px wide, into SCREENSHOTS (dashboard/web/screenshots)
	cd $(web) && npx playwright test --project=screenshots

ui-bench: ui ## the dashboard under load: 10,000 rows with 2,000 updates a second, 1,000 log lines a second; SECONDS=20
	cd $(web) && node e2e/bench.mjs

lint-openapi: $(linter) ## openapi/openapi.yaml against the rules of a linter
	@REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true $(linter) lint --config openapi/lint/redocly.yaml openapi/openapi.yaml

test: ## unit tests, the main paths on a real Swarm, the dashboard in Chromium, QUICKSTART: 12 to 15 minutes
	@deploy/test default

test-full: ## that and everything else, suite by suite, then the coverage, known vulnerabilities and the files of the stack
	@deploy/test full
	@$(MAKE) --no-print-directory cover vulncheck validate

test-image test-stack test-chaos test-docs test-release test-ui: ## one suite alone; docs/contributing.md says what it has
	@deploy/test suite $(@:test-%=%)

test-changed: ## the suites of what has changed since BASE=HEAD
	@deploy/test changed

cover: ## the coverage of all packages by what make test runs
	@deploy/test cover

bench: ## the benchmarks, on a real Swarm
	@deploy/test-lab bench

stall: ## unit tests of PKG=./worker, stopped for 2.5 s again and again; RUN=TestName, STALL=, RUN_FOR=, LIMIT= seconds; needs root
	@RUN='$(RUN)' STALL=$(STALL) RUN_FOR=$(RUN_FOR) LIMIT=$(LIMIT) deploy/stall $(or $(PKG),./...)

chaos: ## every fault at every step of create and stop, on a lab of its own; prints the matrix
	@CHAOS=all PKG=./internal/e2e RUN='TestChaos|TestManyUnderFaults' deploy/test-lab only

save-test: ## workspaces through faults, kills and two writers; SAVE_CYCLES=200, SAVE_SEED= makes another run
	SAVE_CYCLES=$(or $(SAVE_CYCLES),200) go test -count=1 -timeout 2h -v ./internal/workspace \
	  -run 'TestSaveRestoreCycles|TestKilledInTheMiddleOfASave|TestTwoWritersLoseNothing'

sim: build ## a simulated fleet of 100 nodes and 10,000 containers for SIM_MINUTES=5; SIM_NODES, SIM_CONTAINERS; prints what each process uses
	go test -c -o bin/sim.test ./internal/sim
	BERTH_BIN=$(CURDIR)/bin/berth SIM_MINUTES=$(or $(SIM_MINUTES),5) unshare --map-root-user --net sh -c \
	  'ip link set lo up && ulimit -n $$(ulimit -Hn) && exec bin/sim.test -test.v -test.run TestSim -test.timeout 2h'

bench-save: ## saving and restoring, against rclone on the same tree and server
	go test -run '^$$' -bench BenchmarkAgainstRclone -benchtime 1x -timeout 30m -v ./internal/workspace

lab-up: ## start the lab: two engines, one Swarm, no route outside
	@deploy/test-lab up

lab-test: ## tests in the running lab; PKG=./internal/e2e RUN=TestName
	@deploy/test-lab some

lab-down: ## remove the lab
	@deploy/test-lab down

generate: ## write what is generated from the code
	go run . openapi >openapi/openapi.yaml.new && mv openapi/openapi.yaml.new openapi/openapi.yaml
	go run . openapi --markdown >docs/API.md.new && mv docs/API.md.new docs/API.md
	go test -count=1 -run TestConfigReference . -args -update >/dev/null

validate: ## check compose.yaml and deploy/stack.yaml with what this machine has
	@deploy/validate
	@deploy/monitoring/check

walk: build ## the commands of docs/QUICKSTART.md and docs/SETUP.md, in labs of their own
	@deploy/lab/walk

clean: ## remove what was built; keys and data stay
	rm -rf bin coverage
