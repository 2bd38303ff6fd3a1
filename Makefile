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
