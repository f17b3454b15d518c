# The verbs of the project. `make run` and `make test` are all a newcomer needs.
DATA ?= ./data
# Every target may import only what Package.swift says, which keeps the floors apart.
CHECKS := --explicit-target-dependency-import-check error

# Exclusive access to memory is checked in the builds that the tests are of; here that would cost a tenth of the time of a request.
RELEASE := -c release -Xswiftc -enforce-exclusivity=unchecked

# For the programs behind `bench`, `bench-peers` and `bench-cluster`.
ARGS ?=

.PHONY: run test build unit integration torture upgrade format lint bench bench-peers bench-cluster

# Builds Ringfort and starts it on $(DATA); it prints how to use it. Ctrl-C stops it.
run:
	scripts/install-dependencies build
	swift build $(RELEASE) --product ringfort
	.build/release/ringfort up --data "$(DATA)"

# Everything that has to pass.
test: unit integration

build:
	scripts/install-dependencies build
	swift build $(CHECKS)

# The tests of each target, one after the other: next to tests that compute for seconds on every core, those that watch a
# deadline would see deadlines missed that are the machine's and not ours.
unit:
	scripts/install-dependencies test
	swift build --build-tests $(CHECKS)
	swift test --disable-xctest --skip-build --no-parallel

# Real processes, real clients: uploads, hostile bytes, SIGKILL. `make integration TESTS=test_durability` runs one file.
TESTS ?=
integration:
	scripts/install-dependencies test
	swift build $(RELEASE) --product ringfort $(CHECKS)
	cd Tests/Integration && ../../.venv/bin/python -m unittest $(if $(TESTS),$(TESTS),discover)

# A cluster under load while its nodes are killed, stopped, cut off and damaged. As root it has more kinds of faults.
TORTURE_SECONDS ?= 600
TORTURE ?=
torture:
	scripts/install-dependencies test
	swift build $(RELEASE) --product ringfort $(CHECKS)
	cd Tests/Integration && ../../.venv/bin/python torture.py --seconds $(TORTURE_SECONDS) $(TORTURE)

# A cluster of another commit's program becomes one of today's, node by node, under load. `make upgrade PREVIOUS=COMMIT`.
PREVIOUS ?= HEAD~1
upgrade:
	scripts/install-dependencies test
	swift build $(RELEASE) --product ringfort $(CHECKS)
	scripts/build-previous $(PREVIOUS)
	cd Tests/Integration && \
		RINGFORT_PREVIOUS=$(CURDIR)/.build/previous/build/release/ringfort ../../.venv/bin/python -m unittest test_upgrade

format:
	swift format format -i -r Sources Tests benchmarks Package.swift

lint:
	swift format lint --strict -r Sources Tests benchmarks Package.swift
	scripts/tidy

# Micro-benchmarks against benchmarks/Thresholds. `make bench ARGS="--filter ring,device.commit"`.
bench:
	scripts/install-dependencies build
	swift build $(RELEASE) --product ringfort-bench $(CHECKS)
	.build/release/ringfort-bench $(ARGS)

# Three storage processes and two proxies against all in one process; healing, audit, latency. `make bench-cluster ARGS="--quick"`.
bench-cluster:
	scripts/install-dependencies peers
	swift build $(RELEASE) --product ringfort
	/usr/bin/python3 benchmarks/Cluster/bench.py $(ARGS)

# Ringfort, OpenStack Swift and nginx in turn under the same load. `make bench-peers ARGS="--quick --only ringfort,nginx"`.
bench-peers:
	scripts/install-dependencies peers
	swift build $(RELEASE) --product ringfort
	/usr/bin/python3 benchmarks/Peers/bench.py $(ARGS)
