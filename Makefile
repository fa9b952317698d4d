# `make demo` and `make test` do all their own set-up, in .venv-demo and .venv, from the package index alone.
# the first that is new enough; another one: make test PYTHON=...
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
OLD := .venv-sklearn-1.6
# small, and without torchvision, whose build for another machine than torch's would break transformers
DEMO := .venv-demo
# what is imported is compiled to bytecode at its first import, a fifth of what is installed; the environment may forbid it
PIP := -m pip install --quiet --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE
# two jobs at a time, the output of each line of a recipe in one piece where this make can
SIDE_BY_SIDE := $(MAKE) --no-print-directory --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=line)
# device code for the card that is here, or for one, which shows that it compiles; each takes a core more than a minute
ifndef C3ALIGN_CUDA_ARCHITECTURES
export C3ALIGN_CUDA_ARCHITECTURES := $(or $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d . | grep -xE '[0-9]+'),90)
endif
# a folder without a working pip is the rest of an attempt that failed
venv = $(1)/bin/python -m pip --version >/dev/null 2>&1 || { \
	test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; install one or pass PYTHON=..."; exit 1; }; \
	$(PYTHON) -m venv --clear $(1); }
# what runs compiled code, without subprocesses, which a preloaded sanitizer would follow
SANITIZED := emulated or bits or trace or many_threads or once or in_place or memmap or p10 or p4 or refused_alike
CSRC := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu')

.PHONY: help demo test test-fast ready contract check browser docs wheels gallery mutate fuzz bits kills sanitize elsewhere clean
.DEFAULT_GOAL := help

help:  ## these lines
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(DEMO)/.built  ## see the gap of a real encoder closed, and used (four minutes, then ten seconds)
	@$(DEMO)/bin/python -m c3align demo

test:  ## all tests, on the newest scikit-learn and on 1.6
	@$(SIDE_BY_SIDE) ready
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal tests

ready: $(BIN)/.built $(OLD)/.installed browser check contract

contract: $(BIN)/.built $(OLD)/.installed  # scikit-learn's own checks, on the oldest that is supported
	@$(OLD)/bin/python -m pytest -q tests/test_contract.py

test-fast: $(BIN)/.built  ## the quick tests in the dev profile, newest scikit-learn only
	@C3ALIGN_HYPOTHESIS_PROFILE=dev OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow" tests

check: $(BIN)/.installed  ## lint, format, types, import layers
	@$(BIN)/python -m ruff check --quiet .
	@$(BIN)/python -m ruff format --quiet --check .
	@$(BIN)/python -m mypy
	@$(BIN)/python -m pytest -q tests/test_layers.py

browser:  ## chromium for the test of the report's page, where this machine lets us install it
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		command -v $$name >/dev/null 2>&1 && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "installing chromium for the browser test ..."; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium fonts-dejavu-core; } \
			>/dev/null 2>&1 || echo "chromium could not be installed; the browser test skips"; \
	else echo "no chromium here, and no root with apt-get to install it; the browser test skips"; fi

docs: $(BIN)/.built  ## the documentation as pages for a browser, in build/docs
	@$(BIN)/python -m tests.site

gallery: $(BIN)/.built browser  ## the README's pictures, drawn anew by tests/examples/
	@$(BIN)/python tests/examples/gallery.py

mutate: $(BIN)/.built  ## change one line at a time and see that a test notices (an hour)
	@$(BIN)/python -m tests.mutants

fuzz: $(BIN)/.built  ## change files at random, by the ten thousand, and load them (half an hour)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.attacks.fuzz

bits: $(BIN)/.built  ## flip every bit of one saved folder of each kind: is it refused? (an hour)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.attacks.bits

kills: $(BIN)/.built  ## kill fifty savings of each kind, and load what is there (some minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.attacks.kills

sanitize: $(BIN)/.built  ## the compiled core under address, undefined-behaviour and thread sanitizers; CUDA's emulated
	@rm -rf build/sanitize && mkdir -p build/sanitize
	@cp -r c3align csrc tests setup.py pyproject.toml README.md LICENSE build/sanitize/
	@data="$${C3ALIGN_DATA:-$(CURDIR)/../shared/data}" && export C3ALIGN_DATA="$$data" && cd build/sanitize && for kind in address,undefined thread; do \
		case $$kind in address*) library=libasan.so; tests="tests/test_ops.py tests/test_cuda_emulated.py";; \
			*) library=libtsan.so; tests=tests/test_ops.py;; esac; \
		echo "$$kind sanitizer ..."; rm -rf build c3align/ops/_C.*.so; \
		C3ALIGN_SANITIZE=$$kind C3ALIGN_NATIVE=on C3ALIGN_CUDA=off $(CURDIR)/$(BIN)/python setup.py --quiet build_ext --inplace && \
		LD_PRELOAD="$$(c++ -print-file-name=$$library) $$(c++ -print-file-name=libstdc++.so.6)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1 \
		TSAN_OPTIONS=halt_on_error=1:exitcode=66 PYTHONPATH=. OMP_NUM_THREADS=1 C3ALIGN_SANITIZE=$$kind \
		$(CURDIR)/$(BIN)/python -m pytest -q -p no:cacheprovider $$tests -k "$(SANITIZED)" || exit 1; done

wheels:  ## manylinux wheels for every Python that is here, each tried where no compiler is (ten minutes each)
	@.ci/wheels

elsewhere: $(BIN)/.built  ## the bits of the compiled core by clang, and of NEON in an emulator
	@command -v clang++ >/dev/null 2>&1 && command -v qemu-aarch64-static >/dev/null 2>&1 && \
		command -v aarch64-linux-gnu-g++ >/dev/null 2>&1 || { \
		echo "installing clang, an ARM compiler and qemu ..."; apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install --no-install-recommends clang g++-aarch64-linux-gnu qemu-user-static >/dev/null; }
	@$(BIN)/python -m pytest -q -rs tests/test_elsewhere.py

clean:  ## remove what these targets made
	rm -rf $(VENV) $(OLD) $(DEMO) build dist *.egg-info c3align/ops/_C.*.so

# The compiler is asked apart, so that a changed kernel does not reinstall anything, and needs little that is installed.
$(BIN)/.built: $(BIN)/.installed $(BIN)/.compiled
	@touch $@

$(BIN)/.compiled: $(BIN)/.tools setup.py $(CSRC)
	@echo "compiling csrc/ ..."
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

$(BIN)/.tools: constraints.txt
	@$(call venv,$(VENV))
	@$(BIN)/python $(PIP) -c constraints.txt setuptools pybind11 ninja
	@touch $@

$(BIN)/.installed: $(BIN)/.tools pyproject.toml
	@echo "setting up $(VENV) (a minute, once) ..."
	@$(BIN)/python $(PIP) -c constraints.txt torch==2.13.0
	@C3ALIGN_NATIVE=off C3ALIGN_CUDA=off $(BIN)/python $(PIP) -c constraints.txt --no-build-isolation -e '.[test]'
	@$(BIN)/python $(PIP) -c constraints.txt --no-deps numpydoc  # its validation needs no Sphinx
	@touch $@

$(DEMO)/.built: $(DEMO)/.installed setup.py $(CSRC)
	@echo "compiling csrc/ ..."
	@C3ALIGN_CUDA=off $(DEMO)/bin/python setup.py --quiet build_ext --inplace
	@touch $@

$(DEMO)/.installed: pyproject.toml constraints.txt
	@echo "setting up $(DEMO) (a minute or two, once) ..."
	@$(call venv,$(DEMO))
	@$(DEMO)/bin/python $(PIP) -c constraints.txt torch==2.13.0 setuptools pybind11 ninja
	@C3ALIGN_NATIVE=off C3ALIGN_CUDA=off $(DEMO)/bin/python $(PIP) -c constraints.txt --no-build-isolation -e '.[demo]'
	@touch $@

# after the other, because both write c3align.egg-info
$(OLD)/.installed: pyproject.toml tests/constraints-sklearn-1.6.txt | $(BIN)/.installed
	@echo "setting up $(OLD) ..."
	@$(call venv,$(OLD))
	@$(OLD)/bin/python $(PIP) -c tests/constraints-sklearn-1.6.txt setuptools pytest hypothesis pandas
	@C3ALIGN_NATIVE=off C3ALIGN_CUDA=off $(OLD)/bin/python $(PIP) -c tests/constraints-sklearn-1.6.txt --no-build-isolation -e .
	@touch $@
