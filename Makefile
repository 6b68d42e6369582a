# Two commands are all one needs: `make demo` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test slow campaign lint figures bench clean icarus

demo: $(VENV)/virtual
	@$(BIN)/ringpair demo

test: $(VENV)/test icarus lint
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow" --durations=15

# What takes more than a minute a test: builds for all boards, power cuts without end.
slow: $(VENV)/test icarus
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m slow --durations=15

# Millions of trials, for hours: prints what was tried and what was lost. CAMPAIGN="--only device-steps --seed 7"
campaign: $(VENV)/campaign
	$(BIN)/python scripts/campaign.py $(CAMPAIGN)

lint: $(VENV)/test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# Cycles of the device, printed as a table (see docs/protocol.md).
figures: $(VENV)/test
	$(BIN)/python scripts/bench_device.py

# The metrics beside those of pypuf, and their memory and time by number of boards (see docs/puf-evaluation.md).
# pypuf wants a TensorFlow that no current Python has; its metrics work without.
bench: $(VENV)/test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps pypuf==3.2.1
	$(BIN)/python scripts/bench_measure.py
	$(BIN)/python scripts/bench_scale.py run

# A virtual environment with what the target needs; made anew when pyproject.toml changes.
$(VENV)/virtual $(VENV)/test $(VENV)/campaign: $(VENV)/%: pyproject.toml
	@scripts/install.sh "$(PYTHON)" "$(VENV)" "$*"
	@touch $@

icarus:
	@scripts/install_icarus.sh

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
