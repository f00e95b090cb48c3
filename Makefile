# Each target does all of its own set-up, from a bare Python 3.11+ with venv and pip. Without make: sh scripts/demo.sh
.PHONY: demo test test-agents test-projects check torture locks docs clean

demo: ## see it work: real agent, real git, no key, nothing billed
	@sh scripts/demo.sh

test: ## the whole test suite
	@sh scripts/test.sh

test-agents: ## the real Codex and Gemini CLIs, installed from npm by hash (needs Node 20)
	@sh scripts/test-agents.sh

test-projects: ## public projects, fetched, made ready and worked on by the real Claude Code (needs Node 20)
	@sh scripts/test-projects.sh

check: ## everything that the CI runs: format, lint, types, floors, docs, tests
	@bash .ci/run

torture: ## the long form of what the books must live through; writes docs/torture.md
	@sh scripts/setup.sh dev
	@.venv/bin/python -m torture --write docs/torture.md
	@CREWCAP_TIMES=40 .venv/bin/python -m pytest -n 2 --timeout 3600 tests/contracts -k "cost or cut"

docs: ## write the reference pages again, from the code
	@sh scripts/setup.sh dev
	@.venv/bin/python -m tools.reference
	@.venv/bin/python -m tools.promises

locks: ## write the lock files again, from pyproject.toml (needs uv)
	@sh scripts/setup.sh dev
	@.venv/bin/python -m tools.locks

clean: ## remove what the targets above made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis crewcap-demo
