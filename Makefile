# make prints its targets.
.PHONY: help check test race generate
help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/	/'

check: ## format, vet, house rules, quick tests
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	go vet ./...
	go test -short ./...

test: ## all tests, as CI runs them
	go test ./...

BUF = github.com/bufbuild/buf/cmd/buf@v1.75.0
generate: ## what is generated from proto/
	GOBIN=$(CURDIR)/bin go install $(BUF)
	GOBIN=$(CURDIR)/bin go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
	GOBIN=$(CURDIR)/bin go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
	cd proto && PATH="$(CURDIR)/bin:$$PATH" buf generate
