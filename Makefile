# Everything a newcomer needs: `make demo` and `make test`. Python 3.11+, pip and make have to be there.

PYTHON ?= python3
VENV := .venv
UV := $(VENV)/bin/uv

.PHONY: demo test test-gpu slow lint docs docs-check docs-links options page speed clean

demo: $(VENV)/installed
	$(VENV)/bin/vaekit fit digits --condition label --size small
	@echo "Open the report.html in a browser."

test: $(VENV)/installed-test
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-gpu: $(VENV)/installed-test
	$(VENV)/bin/python -m pytest -m gpu

slow: $(VENV)/installed-test
	$(VENV)/bin/python -m pytest -m slow

lint: $(VENV)/installed-test
	$(VENV)/bin/ruff check src tests benchmarks docs
	$(VENV)/bin/ruff format --check src tests benchmarks docs
	$(VENV)/bin/mypy

# The site, in docs/_build/html: a folder of static files that work offline. The gallery's scripts run: GALLERY=0 leaves them out.
GALLERY ?= 1
docs: $(VENV)/installed-docs
	$(VENV)/bin/python -m sphinx -b html -W --keep-going -n -q -D plot_gallery=$(GALLERY) docs docs/_build/html
	@echo "Open docs/_build/html/index.html in a browser."

# Links to other sites. Links within the site are checked by `make docs`.
docs-links: $(VENV)/installed-docs
	$(VENV)/bin/python -m sphinx -b linkcheck -q -D plot_gallery=0 docs docs/_build/links

# Every command and block of code of the README and the pages, as a reader would run them, with small settings.
docs-check: $(VENV)/installed-docs
	$(VENV)/bin/python docs/check.py $(PAGES)

# What `vaekit fit --help` shows, from the settings: reading it is faster than importing what declares them.
options: $(VENV)/installed
	$(VENV)/bin/python -m vaekit.recipes.options > options.json
	mv options.json src/vaekit/cli/options.json

# The explorer's page, from its sources in explorer/. Needs Node.js 20 or newer. The tests see to it that the two agree.
page:
	cd explorer && npm ci && npm run build

# All tables of speed: an hour on two cores. On a GPU: make speed DEVICE=cuda BATCH="128 512 4096"
DEVICE ?= cpu
BATCH ?= 128 512
SUFFIX = $(if $(filter-out cpu,$(DEVICE)),--suffix=-$(DEVICE))
speed: $(VENV)/installed-bench
	$(VENV)/bin/python benchmarks/speed.py training --device $(DEVICE) --batch $(BATCH) $(SUFFIX)
	$(VENV)/bin/python benchmarks/speed.py networks --device $(DEVICE) $(SUFFIX)
	$(VENV)/bin/python benchmarks/speed.py scaling --device $(DEVICE) $(SUFFIX)
	$(VENV)/bin/python benchmarks/speed.py start
	$(VENV)/bin/python benchmarks/use_speed.py rates
	$(VENV)/bin/python benchmarks/use_speed.py memory
	$(VENV)/bin/python benchmarks/reading.py sources
	$(VENV)/bin/python benchmarks/policy_speed.py training
	$(VENV)/bin/python benchmarks/policy_speed.py decision
	$(VENV)/bin/python benchmarks/explorer.py page
	$(VENV)/bin/python benchmarks/serving.py load
	$(VENV)/bin/python benchmarks/serving.py lone --seconds 2
	$(VENV)/bin/python benchmarks/serving.py hold
	$(VENV)/bin/python benchmarks/serving.py stop

clean:
	rm -rf $(VENV)

# uv does in seconds what pip does in a minute. It does not read pip's settings, so what pip is told of local wheels is
# handed on; constraints.txt is what keeps an install reproducible.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet uv

$(VENV)/installed: $(UV) pyproject.toml constraints.txt
	$(UV) pip install --quiet --python $(VENV) --compile-bytecode -c constraints.txt -e .
	@touch $@

$(VENV)/installed-test: $(UV) pyproject.toml constraints.txt
	$(UV) pip install --quiet --python $(VENV) --compile-bytecode -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed-test
	$(UV) pip install --quiet --python $(VENV) --compile-bytecode -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/installed-bench: $(UV) pyproject.toml constraints.txt
	$(UV) pip install --quiet --python $(VENV) --compile-bytecode -c constraints.txt -e '.[bench,evolve,robots,onnx,serve]'
	@touch $@
