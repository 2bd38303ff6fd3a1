# make prints its targets. CI runs the same commands.
SHELL := /bin/bash
GO ?= go
export CGO_ENABLED = 0

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
BUF         = github.com/bufbuild/buf/cmd/buf@v1.75.0

.DEFAULT_GOAL := help
.PHONY: help build check test race services sim mutants fuzz chaos bench generate clean

help:
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build: ## the binary, in bin/divisi
	$(GO) build -trimpath -o bin/divisi ./cmd/divisi

check: ## format, vet, static checks, house rules, quick tests (under 3 minutes)
	@files=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$files" || { echo "not formatted (run gofmt -w):"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) test -short -timeout 170s ./...

test: ## all tests; with CI=true also 20,000 schedules of the simulator, and the mutants
	$(GO) vet ./...
	$(GO) test -timeout 25m ./...
ifeq ($(CI),true)
	$(MAKE) sim SEEDS=20000
	$(MAKE) mutants
endif

race: ## all tests under the race detector, the short ones of those (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...

services: ## the suites on real servers, which it installs (the first time takes minutes)
	DIVISI_SERVICES=all $(GO) test -timeout 40m ./internal/services ./storage/s3 ./storage/hdfs ./connectors/kafka
	DIVISI_SERVICES=all $(GO) test -timeout 60m -run '^Test(HDFS|Kafka)|S3' ./cmd/divisi

SEEDS ?= 10000
FIRST ?= 1
sim: ## SEEDS=N random schedules of a simulated cluster (from FIRST=K); SEED=K repeats one and prints its history
	$(GO) test ./internal/sim -run TestSchedules -count 1 -timeout 0 -v $(if $(SEED),-seed $(SEED),-seeds $(SEEDS) -first $(FIRST))

mutants: ## defects put into the protocol, each to be found by the simulator within 1,000 schedules
	$(GO) test -tags mutants ./internal/sim -run TestMutants -count 1 -timeout 0 -v

FUZZ_SECONDS = $(if $(filter command line,$(origin SECONDS)),$(SECONDS),10)
fuzz: ## every fuzz target for SECONDS=N seconds each
	@set -e; for pkg in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$pkg/*_test.go | sed 's/func //'); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZ_SECONDS)s $$pkg; done; done

chaos: ## faults on a real cluster: RUNS=N of each sort (SEED=N: of the first), a job of 100 stages, 1,000 jobs
	DIVISI_CHAOS_RUNS=$(or $(RUNS),10) DIVISI_CHAOS_SEED=$(or $(SEED),1) $(GO) test -count=1 -v -timeout 120m -run '^TestChaos' ./cmd/divisi

bench: ## benchmarks beside their peers; ONLY=name for one of them, SLOW=1 also with Spark, Hadoop MapReduce and Beam
	$(GO) run ./benchmarks $(if $(ONLY),-only $(ONLY)) $(if $(SLOW),-slow)

generate: ## what is generated from proto/
	GOBIN=$(CURDIR)/bin $(GO) install $(BUF)
	GOBIN=$(CURDIR)/bin $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
	GOBIN=$(CURDIR)/bin $(GO) install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
	cd proto && PATH="$(CURDIR)/bin:$$PATH" buf generate

clean: ## what make built
	rm -rf bin
