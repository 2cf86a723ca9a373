# Everything a fresh Debian 12 with Rust, gcc, make, node and npm needs is fetched by the targets
# that need it, once; a second run finds it there.

CARGO ?= cargo
GANGLINE = target/release/gangline

.PHONY: help up build test lint bench setup

help:
	@echo 'make up      build, then run dispatcher and one worker (ARGS="--open" and the like are passed on)'
	@echo 'make build   the release binary, $(GANGLINE)'
	@echo 'make test    every test'
	@echo 'make lint    formatting and lints'
	@echo 'make bench   micro-benchmarks; "$(GANGLINE) bench" measures a running server'

up: build
	$(GANGLINE) up $(ARGS)

build: .tools
	$(CARGO) build --release --locked

# The black-box stories are told twice, because they hold on both stores.
test: setup
	$(CARGO) test --locked
	GANGLINE_TEST_STORE=redis $(CARGO) test --locked --test it

lint: .tools
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

bench: .tools
	$(CARGO) bench --locked

setup: NEEDS += redis-server:redis-server
setup: .tools node_modules/.package-lock.json

# npm writes this file last, so it says that the rest is there.
node_modules/.package-lock.json: package.json package-lock.json | .tools
	npm ci --no-audit --no-fund
	@touch $@

# The commands that building and testing call, each with its package. apt-get is asked only for those that are missing.
NEEDS = cc:gcc node:nodejs npm:npm
.PHONY: .tools
.tools:
	@command -v $(CARGO) >/dev/null || { echo 'Rust is missing: see https://rustup.rs' >&2; exit 1; }
	@missing=; \
	for need in $(NEEDS); do \
		command -v $${need%%:*} >/dev/null || missing="$$missing $${need##*:}"; \
	done; \
	if [ -n "$$missing" ]; then \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends $$missing; \
	fi
