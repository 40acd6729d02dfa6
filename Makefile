# `make help` lists what can be done.

CARGO ?= cargo
# Arguments for `ser` (make run).
ARGS ?=
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 60

.PHONY: help run test check deb optimised bench instructions record-instructions licences fuzz peers

help: ## Lists these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

run: ## Builds ser and starts it with its built-in set-up (ARGS="--domain example.org")
	$(CARGO) build --release -p server
	$(CARGO) run --quiet --release -p server --bin ser -- $(ARGS)

test: peers ## Installs what tests need and runs every test
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace --no-fail-fast
	$(CARGO) run --quiet --release -p bench --bin instructions -- --check

check: peers ## The fast loop: format, lints, unit tests, tidy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --quiet --workspace --exclude tests
	$(CARGO) xtask tidy
	$(CARGO) xtask reference --check

deb: ## Builds a Debian package: target/deb/ser_VERSION_ARCHITECTURE.deb
	$(CARGO) build --release -p server
	$(CARGO) xtask deb

optimised: peers ## Builds ser in target/optimised, steered by what runs under load: a fifth faster, three times as long
	$(CARGO) xtask optimise

bench: peers ## Measures ser beside Kamailio and a bare relay, and records it in bench/RESULTS.md
	$(CARGO) build --release -p server -p bench
	$(CARGO) run --quiet --release -p bench --bin side_by_side

instructions: peers ## Counts the instructions of a REGISTER, of a call, of a script's route and of their parts
	$(CARGO) run --quiet --release -p bench --bin instructions

record-instructions: peers ## Records these counts, for make test to compare
	$(CARGO) run --quiet --release -p bench --bin instructions -- --record

licences: ## Checks licences, sources and known faults of the crates that ours are built on (installs cargo-deny)
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check

fuzz: ## Runs each fuzz target for FUZZ_SECONDS
	cd fuzz && for target in $$($(CARGO) fuzz list --fuzz-dir .); do \
		$(CARGO) fuzz run --sanitizer none --fuzz-dir . $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

peers:
	tests/peers/install
