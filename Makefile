# `make demo` and `make test` are all a fresh machine needs: each does its own set-up first.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench setup clean

VENV := .venv
WORKERS ?= 2
BENCH_ARGS ?=
TEST_ARGS ?=

help: ## show this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)$$/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: ## set up, start a local cloud, build and deploy Iris's image, load it, report on its cold starts
	@scripts/setup demo
	@$(VENV)/bin/preheat demo

test: ## set up and run every test (TEST_ARGS="-k name" for some, WORKERS=4 for more at once)
	@scripts/setup test
	@$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(TEST_ARGS)

check: ## set up and run the linters, types, import floors and repository rules
	@scripts/setup test
	@scripts/check

bench: ## set up and measure Preheat beside its peers (BENCH_ARGS=--quick for a short run)
	@scripts/setup bench
	@$(VENV)/bin/python -m bench $(BENCH_ARGS)

setup: ## set up only
	@scripts/setup test

clean: ## remove everything set up, built or cached here (runs/ and bench/results/ stay)
	rm -rf $(VENV) bench/.venv bench/.preheat .preheat build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -type d -name __pycache__ -prune -exec rm -rf {} +
