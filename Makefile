# All there is to type. Each target installs what it lacks first; one cargo profile serves them all, so that RocksDB is
# compiled once.

locked := $(if $(CI),--locked)

# The measures of bench/README.md.
bench_parts := bench-fold bench-ingest bench-query bench-freshness bench-memory bench-start bench-moves bench-scale
SIZE ?= small

.PHONY: help run build test lint fmt fuzz bench bench-build $(bench_parts)

help:
	@echo "make run    build track and start it on http://127.0.0.1:8080; options: make run ARGS='--listen 0.0.0.0:80'"
	@echo "make test   every test, those against a real Kafka broker included"
	@echo "make lint   formatting, clippy, and the dependencies' licences and sources"
	@echo "make fuzz   every fuzz target for a minute; longer, or one alone: make fuzz ARGS='600 body'"
	@echo "make fmt    format the code"
	@echo "make bench  measure track beside its peers; SIZE=medium or full for larger sizes, make bench-fold for one part"

run: build
	@$(or $(CARGO_TARGET_DIR),target)/release/track $(ARGS)

build:
	@scripts/setup run
	@scripts/build build --release $(locked) --bin track

test:
	@scripts/setup test
	@scripts/build test --release $(locked) $(or $(ARGS),--workspace)

lint:
	@scripts/setup lint
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	@scripts/build clippy --release $(locked) --workspace --all-targets -- -D warnings
	.cache/tools/bin/cargo-deny --all-features check licenses bans sources

fuzz:
	@fuzz/run $(ARGS)

fmt:
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml

bench-build:
	@scripts/setup test
	@scripts/build build --release $(locked) -p track -p track-bench --bins

bench: bench-build
	bench/run --size $(SIZE) $(ARGS)

$(bench_parts): bench-%: bench-build
	bench/run $* --size $(SIZE) $(ARGS)
