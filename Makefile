# SPDX-License-Identifier: GPL-3.0-or-later
# Everything a fresh machine with Python 3.11 needs is made under .build/. Two commands matter: `make demo`, `make test`.

BUILD := .build
VENV := $(BUILD)/venv
PYTHON := $(VENV)/bin/python
BPY_5_0 := $(BUILD)/bpy-5.0/.ready
BLENDERS := blender-4.2 blender-4.5 blender-5.0
NEWER_BLENDERS := blender-5.1 blender-5.2
EXTENSION := dist/make_real-0.1.0.zip
TEST_BLENDER = MAKE_REAL_PROGRAM=$(CURDIR)/$(VENV)/bin/make-real $(BUILD)/bpy-$*/bin/python -m pytest tests/blender

.PHONY: bench demo test check format extension archive unit $(BLENDERS) $(NEWER_BLENDERS) clean manners screenshots measure-main-thread bench-speed

demo: $(VENV)/.ready $(BPY_5_0) $(EXTENSION)  ## Render a garment, press the button, leave pictures and a report in out/demo/
	MAKE_REAL_PROGRAM=$(CURDIR)/$(VENV)/bin/make-real $(BUILD)/bpy-5.0/bin/python scripts/demo.py $(EXTENSION) out/demo

# A few renders of our own, every method, on the CPU; RENDERS=DIR (NAME.png, NAME.mask.png) and PHOTOS=DIR take yours.
BENCH_RENDERS := out/bench/renders
RENDERS ?= $(BENCH_RENDERS)
BENCH_COUNT ?= 4

bench: $(VENV)/.ready $(if $(filter $(BENCH_RENDERS),$(RENDERS)),$(BPY_5_0))  ## The benchmark on a small set, into out/bench/
	$(if $(filter $(BENCH_RENDERS),$(RENDERS)),cd scripts && ../$(BUILD)/bpy-5.0/bin/python -m scenes.training_renders \
	  --out ../$(BENCH_RENDERS) --count $(BENCH_COUNT) --seed 7 --split heldout)
	$(VENV)/bin/make-real evaluate --model backend/starter --renders $(RENDERS) --out out/bench --limit $(BENCH_COUNT) \
	  --seeds 1 --rival-steps 25 $(if $(PHOTOS),--photos $(PHOTOS)) $(if $(PAGE),--page $(PAGE) --section small)
	@cat out/bench/benchmark.md

# A suite waits for processes and timers half of its time, so two at once; the output of each comes in one piece.
TEST_JOBS ?= 2
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=recurse)

# Environments first, one by one: two package managers at once would lock each other out.
test: check $(BLENDERS:blender-%=$(BUILD)/bpy-%/.ready)  ## Every check and test
	@$(MAKE) --no-print-directory --jobs $(TEST_JOBS) $(SYNC) unit $(BLENDERS) $(NEWER_BLENDERS)

check: $(VENV)/.ready  ## Lint, format, types, and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

format: $(VENV)/.ready
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

unit: $(VENV)/.ready  ## Protocol, backend, translation and training, without Blender
	$(PYTHON) -m pytest --ignore tests/blender

bench-speed: $(VENV)/.ready  ## Time translations beside the released procedure; tables in out/speed/
	$(PYTHON) -m backend.speed

extension: $(EXTENSION)  ## The extension's zip, in dist/

archive: $(VENV)/.ready  ## What Install Backend installs from, in dist/
	$(PYTHON) scripts/build_backend_archive.py

# The zip is installed into each Blender; the backend that answers it is the real one with the starter model.
$(BLENDERS): blender-%: $(BUILD)/bpy-%/.ready $(EXTENSION)
	$(TEST_BLENDER)

# These two run on Python 3.13, which a machine may lack.
$(NEWER_BLENDERS): blender-%: $(EXTENSION)
	@if scripts/environment.sh python 3.13 >/dev/null; then \
	  $(MAKE) --no-print-directory $(BUILD)/bpy-$*/.ready && $(TEST_BLENDER); \
	else echo "SKIPPED: Blender $* needs Python 3.13, which this machine does not have."; fi

# Needs Blender 4.2 or later (BLENDER=...), an X display (xvfb-run will do), xdotool and ImageMagick.
BLENDER := blender
screenshots: $(VENV)/.ready $(EXTENSION) $(BUILD)/bpy-4.2/.ready  ## Drive a real window, check and photograph it; pictures in out/window/
	$(BUILD)/bpy-4.2/bin/python scripts/window/make_scene.py out/window/garment.blend
	MAKE_REAL_PROGRAM=$(CURDIR)/$(VENV)/bin/make-real python3 scripts/window/photograph.py --blender $(BLENDER) \
	  --blend out/window/garment.blend --out out/window

manners: $(VENV)/.ready $(EXTENSION) $(BUILD)/bpy-4.2/.ready  ## The same window, and everything that an artist does meanwhile
	$(BUILD)/bpy-4.2/bin/python scripts/window/make_scene.py out/window/garment.blend
	MAKE_REAL_PROGRAM=$(CURDIR)/scripts/window/scripted_backend python3 scripts/window/photograph.py --blender $(BLENDER) \
	  --blend out/window/garment.blend --out out/window --story scripts/window/manners.py

measure-main-thread: $(EXTENSION) $(BPY_5_0)  ## How long Blender stands still; rewrites its section of docs/performance.md
	$(BUILD)/bpy-5.0/bin/python scripts/measure_main_thread.py $(EXTENSION) docs/performance.md

$(EXTENSION): $(VENV)/.ready $(BPY_5_0) scripts/build_extension.py $(wildcard blender_addon/* blender_addon/*/*.py blender_addon/backend/locks/*) $(wildcard protocol/*.py)
	$(PYTHON) scripts/build_extension.py

$(VENV)/.ready: pyproject.toml scripts/environment.sh
	scripts/environment.sh backend $(VENV)

$(BUILD)/bpy-%/.ready: scripts/environment.sh
	scripts/environment.sh bpy $* $(BUILD)/bpy-$*

clean:
	rm -rf $(BUILD) dist out
