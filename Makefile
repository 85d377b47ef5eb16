# A front for the CMake presets: every target is one or two cmake commands.
PRESET ?= release
BUILD_DIR_release := build
BUILD_DIR_debug := build/debug
BUILD_DIR_sanitize := build/sanitize
BUILD_DIR_bench := build/bench
BUILD_DIR_fuzz := build/fuzz
BUILD = $(BUILD_DIR_$(PRESET))
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)

.PHONY: help deps configure build programs test nightly fuzz test-aarch64 device-check python study bench format format-check lint docs install clean

help:
	@echo "make study    build, then train, break and compare four LeNet-5 recipes; prints verdicts, writes a report"
	@echo "make test     build and run all tests"
	@echo "make nightly  the engine on 10,000 random graphs, files of 3,000 styles against ONNX Runtime, a larger sweep"
	@echo "make fuzz     the readers of files under libFuzzer for FUZZ_SECONDS each (600)"
	@echo "make test-aarch64  the engine's tests, built for 64-bit ARM, under an emulator"
	@echo "make device-check  networks as C on an emulated Cortex-M: 200 images, 1,000 bits flipped while it runs (DEVICE_FLIPS)"
	@echo "make python   the Python module, in build/python (PYTHONPATH=build/python python3)"
	@echo "make programs build both programs into build/bin"
	@echo "make build    the same, and the tests"
	@echo "make deps     install what the build needs from Debian's packages (done by the above where missing)"
	@echo "make bench    build and run the benchmarks"
	@echo "make format   format the sources; make format-check only looks"
	@echo "make lint     clang-tidy over the sources"
	@echo "make docs     write docs/cli.md anew from the help texts"
	@echo "make install  install programs, headers and the CMake package under PREFIX ($(PREFIX))"
	@echo "make clean    remove build/ (results/ stays)"

deps:
	@tools/install-dependencies

configure: deps
	@test -f $(BUILD)/build.ninja || cmake --preset $(PRESET)

build: configure
	@cmake --build --preset $(PRESET) --parallel $(JOBS)

test: build
	@ctest --preset $(PRESET) --parallel $(JOBS)

nightly: build
	@STEADFAST_ORACLE=ON tools/install-dependencies
	@STEADFAST_ORACLE_GRAPHS=3000 build/bin/steadfast_onnx_test --gtest_filter='OnnxRuntime*'
	@STEADFAST_GRAPHS=10000 build/bin/steadfast_engine_test --gtest_filter='*RandomGraphs*'
	@STEADFAST_SWEEP_IMAGES=100 build/bin/steadfast_campaign_test --gtest_filter='*Sample*'

fuzz: PRESET = fuzz
fuzz:
	@STEADFAST_TRAIN=OFF STEADFAST_FIGURES=OFF STEADFAST_FUZZ=ON tools/install-dependencies
	@test -f $(BUILD)/build.ninja || cmake --preset fuzz
	@cmake --build --preset fuzz --parallel $(JOBS)
	@tools/run-fuzzers $(BUILD)

test-aarch64:
	@tools/test-aarch64

DEVICE_FLIPS ?= 1000
DEVICE_IMAGES ?= 200
device-check: configure
	@STEADFAST_DEVICE=ON tools/install-dependencies
	@cmake --build --preset $(PRESET) --parallel $(JOBS) --target steadfast_c_program_test
	@STEADFAST_DEVICE_FLIPS=$(DEVICE_FLIPS) STEADFAST_DEVICE_IMAGES=$(DEVICE_IMAGES) $(BUILD)/bin/steadfast_c_program_test --gtest_filter='*OnCortexM*'

python: deps
	@STEADFAST_PYTHON=ON tools/install-dependencies
	@cmake --preset $(PRESET) -DSTEADFAST_PYTHON=ON
	@cmake --build --preset $(PRESET) --parallel $(JOBS) --target _steadfast

# The two programs, without the tests.
programs: configure
	@cmake --build --preset $(PRESET) --parallel $(JOBS) --target steadfast steadfast-train

study: programs
	@build/bin/steadfast study studies/quick.yaml

bench: PRESET = bench
bench: build
	@tools/run-benchmarks $(BUILD)

format:
	@git ls-files '*.h' '*.cpp' | xargs clang-format -i

format-check:
	@git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run --Werror

lint: configure
	@git ls-files 'steadfast/*.cpp' | xargs -P $(JOBS) -n 4 clang-tidy -p $(BUILD) --quiet

docs: build
	@build/bin/steadfast help --markdown > docs/cli.md.new && mv docs/cli.md.new docs/cli.md

install: build
	@cmake --install $(BUILD) --prefix $(PREFIX)

clean:
	@rm -rf build
