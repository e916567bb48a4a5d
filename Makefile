# make demo: the whole method on synthetic studies; make test: the test suite. Both make the environment themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := -m pytest -n 2 --dist loadfile modeling_tests

.PHONY: demo test test-newest test-lowest lint format clean

demo: $(VENV)/.installed
	$(BIN)/priorrg demo --output demo_output

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST)

# The suite with the newest and with the oldest versions that pyproject.toml allows; torch keeps its pinned version.
test-newest: .venv-newest/.installed
	OMP_NUM_THREADS=1 .venv-newest/bin/python $(PYTEST)

test-lowest: .venv-lowest/.installed
	OMP_NUM_THREADS=1 .venv-lowest/bin/python $(PYTEST)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch first and by its pinned version: a plain newest torch would pull gigabytes of CUDA libraries.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

.venv-newest/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --constraint constraints.txt torch
	.venv-newest/bin/python -m pip install --quiet --editable ".[dev]"
	touch $@

# pip has no way to ask for the lowest versions; uv has one. It leaves the torch that is there.
.venv-lowest/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --constraint constraints.txt torch
	.venv-lowest/bin/python -m pip install --quiet "uv>=0.9,<1"
	grep "^torch==" constraints.txt > .venv-lowest/torch.txt
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --constraint .venv-lowest/torch.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .venv-newest .venv-lowest build dist
