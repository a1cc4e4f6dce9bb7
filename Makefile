# Everything a fresh machine needs: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := true

.PHONY: demo test compiled-tests test-lowest stress fuzz soak lint fix bench image image-check sbom clean project-files

demo: .venv/ready
	dvc repro
	@python -c "import json; m = json.load(open('report/metrics.json')); \
	print(*(f'{k:<9} {m[k][\"pooled\"]:.3f}, 95 % interval {m[k][\"low\"]:.3f} to {m[k][\"high\"]:.3f}' for k in ('auc', 'accuracy', 'f1')), sep='\n')"
	@echo "report: $(CURDIR)/report/index.html   pictures: $(CURDIR)/report/slides/index.html"

# Files of tests share the cores; what measures time runs by itself. Threads of BLAS and OpenMP beside busy cores wait for
# each other: eigenvectors of 512 x 512 cost 1.9 s of CPU with two of them, and 0.05 s with one. Nor does a test need
# several processes of its own, where it does not ask for them.
test test-lowest stress: export OPENBLAS_NUM_THREADS := 1
test test-lowest stress: export OMP_NUM_THREADS := 1
test test-lowest stress: export SAMMIL_WORKERS := 1
# Each worker loads all files of tests: compiled once, beside the types that keep one core busy, they cost it 15 s and not 37.
test: .venv/ready
	@python -m compileall -q sammil_cli
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint compiled-tests
	pytest -m "not alone and not stress" --numprocesses $(shell $(PYTHON) -c "import os; print(min(4, os.cpu_count() + 1))") --dist loadfile --no-loadscope-reorder
	pytest -m alone $$(grep -rl --include=*.py mark.alone tests)

compiled-tests: .venv/ready
	@PYTHONDONTWRITEBYTECODE= pytest --collect-only -p no:cacheprovider > .venv/collected || { cat .venv/collected; exit 1; }

# Bags of 50,000 instances, outlines of a million points, a small soak, what choosing on the test part gains with each
# model, every model on real bags, journeys and experiments that others resemble: up to a minute each.
stress: .venv/ready
	pytest -m stress

# The floors in pyproject.toml are versions that these tests passed with.
test-lowest: .venv/ready
	rm -rf .venv-lowest && $(PYTHON) -m venv .venv-lowest
	VIRTUAL_ENV=$(CURDIR)/.venv-lowest $(BIN)/uv pip install --quiet --compile-bytecode --resolution lowest-direct \
	--editable '.[cluster,openvino]' 'pytest>=8.3' 'pytest-timeout>=2.3' 'pytest-xdist>=3.6' 'hypothesis>=6.120'
	PATH="$(CURDIR)/.venv-lowest/bin:$$PATH" .venv-lowest/bin/python -m pytest -m "not alone and not slow" -W default \
	--ignore tests/image --numprocesses logical --maxprocesses 4 --dist loadfile

# Files of every kind, damaged at random: what reads them refuses them or is right. Findings lie in .sammil/fuzz.
fuzz: .venv/ready
	SAMMIL_HYPOTHESIS=long pytest --timeout 0 tests/storage/test_store_machine.py tests/hostile/test_round_trips.py
	python tests/hostile/fuzz.py --seconds 1200 --seed $$(date +%j)

# A thousand slides and everything that can go wrong with them: nothing is lost, stale or done twice. Half an hour.
soak: .venv/ready
	python benchmarks/soak.py

lint: .venv/ready
	ruff check .
	ruff format --check .
	mypy

# What ruff can mend by itself.
fix: .venv/ready
	ruff check --fix .
	ruff format .

bench: .venv/ready
	for script in benchmarks/bench_*.py; do python $$script; done

# Every package of the lock, with its hashes, as CycloneDX.
sbom: .venv/ready
	cyclonedx-py requirements --output-reproducible --index-url /simple --pyproject pyproject.toml \
	--output-format JSON --output-file sbom.json requirements.lock

image:
	docker build -t sammil --build-arg REVISION=$$(git rev-parse HEAD) .

# Without a container engine: builds the image on a stand-in base and uses it as its users do; as root.
image-check: .venv/ready
	.ci/image-check

# uv lives in the environment itself; the lock's hashes are checked for every package. Compiled once, every command
# starts twice as fast, also where PYTHONDONTWRITEBYTECODE is set; sammil itself is compiled again before each test run.
.venv/ready: requirements.lock requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sammil needs Python 3.11 or newer; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet 'uv>=0.9,<1'
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock -r requirements-dev.lock
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --build-constraint requirements-dev.lock --editable .
	$(BIN)/python -m compileall -q sammil_cli
	touch $@

clean:
	rm -rf .venv artifacts report runs data/slides

# params.yaml and dvc.yaml of the demo project, and the list of what Python code may rely on, are written from the package;
# tests hold them to it.
project-files: .venv/ready
	python -c "from sammil_cli.project.presets import render_params as p; from sammil_cli.project.pipeline import FILES, render_dvc as d; \
	open('params.yaml', 'w').write(p('demo', stages=list(FILES))); open('dvc.yaml', 'w').write(d(demo=True))"
	python tests/api/surface.py > tests/api/surface.txt
	python tests/encoder_table.py
