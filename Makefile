# clexlab: needs make and Python 3.11 or newer; everything else goes into .venv.
#   make lab     JupyterLab on the first lesson        LAB="--no-browser --port 8899" passes options on
#   make test    the whole suite                       TESTS="tests/test_rope.py -x" chooses, WORKERS= runs one after the other
#   make run     every lesson headless                 PROFILE=smoke|cpu|gpu
#   make bench   speed, written to data/results        make check      ruff and the fast tests
#   make notebooks   execute the lessons and store them tidied          make clean   remove .venv and caches
# PYTHON=/path/to/python3 and TORCH=cpu|cuda choose the interpreter and the build of torch.

VENV    ?= .venv
PROFILE ?= cpu
LAB     ?=
TESTS   ?=
# One test process a core; a file stays in one, with the Lab or the model its tests share.
WORKERS ?= -n logical --maxprocesses 4 --dist loadfile
BIN     := $(VENV)/bin

.PHONY: lab test run bench check notebooks clean setup

lab: setup
	@exec $(BIN)/clexlab lab $(LAB)

test: setup
	@$(BIN)/python -m pytest $(WORKERS) $(TESTS)

run: setup
	@$(BIN)/clexlab run all --profile $(PROFILE)

bench: setup
	@$(BIN)/clexlab bench

check: setup
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m pytest -m "not browser and not slow" --ignore tests/test_notebooks.py

notebooks: setup
	@$(BIN)/python -m clexlab.notebooks $(LESSONS)

setup:
	@python=$$(PYTHON="$(PYTHON)" sh scripts/find_python.sh) && "$$python" scripts/setup_env.py --venv "$(VENV)"

clean:
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build *.egg-info browser-artifacts
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
