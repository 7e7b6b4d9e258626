# hrlab: two commands are enough. make demo sets everything up and fits a pair; make test sets everything up and tests.

# The pure Go backend's matrix product is ten times slower without.
export GOEXPERIMENT := $(if $(filter x86_64,$(shell uname -m)),simd)
HRLAB := .build/hrlab

# A user's own settings of Go are for other builds: a workspace around this checkout, vendoring, another system.
GO_ENV := $(shell go env GOHOSTOS GOHOSTARCH GOFLAGS 2>/dev/null)
export GOOS := $(word 1,$(GO_ENV))
export GOARCH := $(word 2,$(GO_ENV))
export GOFLAGS := $(wordlist 3,99,$(GO_ENV)) -mod=readonly
export GOWORK := off
export GO111MODULE := on
export CGO_ENABLED := 1
unexport GOROOT

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 16

demo: tools build ## set everything up, fit the built-in pair with six weights and compare them (folder demo)
	@$(HRLAB) setup plugin || echo "going on in pure Go" >&2
	@$(HRLAB) demo

notebooks: tools build ## install JupyterLab with a Go kernel and open the notebooks
	@$(HRLAB) setup plugin || echo "going on in pure Go" >&2
	@$(HRLAB) setup weights || echo "going on: set vgg to random in the notebooks" >&2
	@$(HRLAB) notebook install
	@$(HRLAB) notebook lab

test: tools build ## set everything up and run every test
	$(HRLAB) setup plugin
	@$(call debian,ffmpeg,ffmpeg)
	@$(call debian,$(firstword $(wildcard /usr/lib/postgresql/*/bin/postgres) postgres),postgresql)
	@$(call debian,/usr/sbin/sshd,openssh-server)
	@$(call pip,tracker/testdata/tensorboard.txt,$(TENSORBOARD))
	@$(call pip,tracker/mlflow/testdata/requirements.txt,$(MLFLOW))
	HRLAB_TEST_REQUIRE_XLA=1 HRLAB_TEST_REQUIRE_NOTEBOOKS=1 HRLAB_TEST_REQUIRE_FFMPEG=1 HRLAB_TEST_REQUIRE_POSTGRES=1 HRLAB_TEST_REQUIRE_SSHD=1 HRLAB_TEST_TENSORBOARD=$(TENSORBOARD) HRLAB_TEST_MLFLOW=$(MLFLOW) go test -timeout 30m ./...
	go test -race -short -timeout 10m $(RACE)

# debian installs a package where its program is missing, or says which it is.
debian = command -v $(1) >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends $(2); } >/dev/null || { \
	echo "$(1) is missing: apt-get install $(2)" >&2; exit 2; }

# What the tests of exports read event files by; 45 MB, by pip, with pinned hashes.
TENSORBOARD := $(CURDIR)/.build/tensorboard

# MLflow's client, which logs to tracker/mlflow in its test; 210 MB.
MLFLOW := $(CURDIR)/.build/mlflow

# pip installs what a file of requirements pins in a folder, unless that is there already.
pip = cmp -s $(1) $(2)/requirements.txt || { rm -rf $(2) && \
	python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps --require-hashes \
	--target $(2) -r $(1) && cp $(1) $(2)/requirements.txt; }

# -race where no cgo device is involved.
RACE := ./nvidia ./picture ./video ./hrstyle/safetensors ./hrstyle/sample ./tracker ./tracker/web ./tracker/mlflow ./report ./experiments

check: tools ## lint, vet, formatting
	go vet ./...
	go tool -modfile=.ci/tools/go.mod golangci-lint run
	go mod tidy -diff

bench: tools build ## whole steps beside PyTorch's, the tracker beside MLflow, LUTs beside FFmpeg, where those are there; cells of notebooks
	$(HRLAB) setup plugin
	@$(HRLAB) bench --vgg $(or $(HRLAB_VGG),$(wildcard ../shared/weights/vgg19_features_fp16.safetensors),random) $(PEER:%=--peer %)
	@$(HRLAB) notebook install
	@cd notebooks && ../.venv/bin/python testdata/bench.py ../$(HRLAB)
	go test -run xxx -bench . -benchtime 2s ./tracker | grep ^Benchmark
	go test -run xxx -bench . -benchtime 1s ./tracker/web | grep ^Benchmark
	go test -run xxx -bench . -benchtime 1x ./tracker/mlflow | grep ^Benchmark
	go test -run xxx -bench Cube -benchtime 10x ./picture | grep ^Benchmark
	go test -run xxx -bench . -benchtime 1x ./experiments 2>/dev/null | grep ^Benchmark
	@if command -v ffmpeg >/dev/null; then go test -run xxx -bench . -benchtime 1x ./video | grep ^Benchmark; fi
	HRLAB_TEST_REQUIRE_NOTEBOOKS=1 go test -run xxx -bench Painted -benchtime 1x ./experiments/pages | grep painted
	@python3 cmd/hrlab/testdata/watched.py $(HRLAB) docs/before-after.png docs/tracker.png
	go test -run xxx -bench . -benchtime 3x ./cmd/hrlab 2>/dev/null | grep ^Benchmark
	@if python3 -c 'import mlflow' 2>/dev/null; then python3 tracker/testdata/mlflow_peer.py; python3 tracker/testdata/pages_peer.py $(HRLAB); else echo "no MLflow beside it: pip install mlflow"; fi

PEER = $(if $(shell python3 -c 'import torch' 2>&1),,$(wildcard ../shared/reference/peer.py))

soak: tools ## the fuzzers, ten minutes each, hundreds of kills, every store's tests a hundred times, and machines that are cut off, which needs root
	HRLAB_TEST_SOAK=1 HRLAB_TEST_REQUIRE_POSTGRES=1 go test -timeout 1h -v -run Chaos ./cmd/hrlab
	HRLAB_TEST_SOAK=1 go test -timeout 1h -run 'Kill|SQLite/AtOnce' ./tracker
	HRLAB_TEST_REQUIRE_POSTGRES=1 go test -timeout 24h -count 100 -run '^Test(SQLite|PostgreSQL)$$' ./tracker ./experiments
	HRLAB_TEST_SOAK=1 go test -timeout 2h -v -run Memory ./experiments
	go test -fuzz FuzzHandlers -fuzztime 10m -fuzzminimizetime 5s ./tracker/web
	go test -fuzz FuzzFilter -fuzztime 10m -fuzzminimizetime 5s ./tracker
	go test -fuzz FuzzHandler -fuzztime 10m -fuzzminimizetime 5s ./tracker/mlflow
	go test -fuzz FuzzRead -fuzztime 10m -fuzzminimizetime 5s ./hrstyle/safetensors
	go test -fuzz FuzzDecode -fuzztime 10m -fuzzminimizetime 5s ./picture
	go test -fuzz FuzzExif -fuzztime 10m -fuzzminimizetime 5s ./picture
	go test -fuzz FuzzReadCube -fuzztime 10m -fuzzminimizetime 5s ./picture

test-slurm: tools ## Slurm on this machine alone: an array of workers; needs root, slurm-wlm, munge and postgresql
	HRLAB_TEST_SLURM=1 HRLAB_TEST_REQUIRE_POSTGRES=1 go test -timeout 10m -count 1 -v -run Slurm ./cmd/hrlab

# What draws curves in the tracker's page. Without npm the page says that it is missing.
CHARTS := tracker/web/assets/dist/uPlot.esm.js

build: $(CHARTS)
	@go build -o $(HRLAB) ./cmd/hrlab

$(CHARTS): tracker/web/assets/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tracker/web/assets --no-audit --no-fund --silent && touch $@ || echo "going on without curves in the page" >&2; fi

tools:
	@command -v go >/dev/null || { echo "Go 1.26 is missing: https://go.dev/dl" >&2; exit 2; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: apt-get install gcc libc6-dev" >&2; exit 2; }
	@command -v python3 >/dev/null || { echo "Python 3 is missing: apt-get install python3" >&2; exit 2; }

.PHONY: help demo notebooks test check bench soak test-slurm build tools
