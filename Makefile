# make demo: bring up everything and leave it running. make test: install what the tests need and pass them.
# Environments are made by scripts/environment.sh from requirements/*.lock: nothing but Python 3.11+ and pip is needed.

PYTHON ?=
RUN = PYTHONPATH=$(CURDIR) .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := check
.PHONY: check demo learn test smoke faults faults-full bench real gpu audit docs pictures lint format lock environment parler environment-demo environment-training help

check: lint test          ## lint, types, borders and all tests (the default)

help:                     ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*##/  make \1\t/' | expand -t 20

environment-demo:         ## what `make demo` needs: the serving set, and Label Studio in an environment of its own
	@PYTHON=$(PYTHON) sh scripts/environment.sh serving label-studio

environment-training:     ## what `make demo` has, and what training needs (torch): for `train asr` and `worker training`
	@PYTHON=$(PYTHON) sh scripts/environment.sh training

environment:              ## what tests, checks and training need; with CI=true also `make parler`
	@PYTHON=$(PYTHON) sh scripts/environment.sh development label-studio $(if $(filter true,$(CI)),parler)

parler:                   ## .venv-parler: parler-tts with its own transformers, to fine-tune an Indic Parler-TTS (1.2 GB)
	@PYTHON=$(PYTHON) sh scripts/environment.sh parler

demo: environment-demo    ## everything on this machine with bundled calls; ARGS="--port 9191" passes options
	@exec env PYTHONPATH=$(CURDIR) .venv/bin/python -m ml_backend demo $(ARGS)

learn:                    ## the whole loop for calls, intents and a voice, step by step, on top of the demo (5 to 20 minutes)
	@PYTHON=$(PYTHON) sh scripts/environment.sh training label-studio
	@exec env PYTHONPATH=$(CURDIR) .venv/bin/python -m ml_backend learn $(ARGS)

test: environment         ## every test, with the real parts found on this machine
	@$(RUN) -m pytest -n 2 --dist loadgroup $(ARGS)

smoke: environment        ## the whole stack with a real Label Studio, and a browser where there is one
	@$(RUN) -m pytest -m "stack or browser" tests/stack -s $(ARGS)

faults: environment       ## each fault of the table once: kills, full disks, cut networks, hostile servers (3 minutes)
	@$(RUN) -m tests.faults quick

faults-full: environment  ## the same in numbers and times, and every guard proven (40 minutes); ARGS="--seed 7" replays
	@$(RUN) -m tests.faults full $(ARGS)

bench: environment        ## what docs/explanation/measurements.md shows; writes bench/results.json
	@$(RUN) -m bench $(ARGS)

gpu:                      ## what only a GPU can show, at most 8 minutes; fetch the wheels before: scripts/gpu.sh wheels
	@sh scripts/gpu.sh $(ARGS)

audit:                    ## known vulnerabilities of every pinned package, where the advisory database can be reached
	@PYTHON=$(or $(PYTHON),python3) sh scripts/audit.sh

real: environment         ## whisper-base and people's voices, fetched once; writes bench/real.json (15 CPU minutes)
	@$(RUN) -m bench.real $(ARGS)

docs: environment         ## the documents as a site, build/site/index.html: a broken link or an orphan page fails
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict
	@echo "build/site/index.html; with search: .venv/bin/python -m http.server -d build/site"

pictures: environment     ## the pictures of the README, from the running demo and from `make learn` (first time: 15 minutes)
	@$(RUN) -m scripts.pictures $(ARGS)

lint: environment docs    ## ruff, mypy, import borders, and the documents
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .
	@.venv/bin/python -m mypy
	@PYTHONPATH=$(CURDIR) .venv/bin/lint-imports

format: environment       ## let ruff put the code in order
	@.venv/bin/python -m ruff check --fix .
	@.venv/bin/python -m ruff format .

lock: environment         ## resolve what pyproject.toml asks for anew
	@sh requirements/lock.sh $(ARGS)
