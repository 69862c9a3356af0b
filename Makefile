# nearfield's front door. Every target brings what it needs (tools/setup.sh) and may be repeated or interrupted.
SHELL := /bin/bash
JOBS ?= $(shell nproc)
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export CTEST_PARALLEL_LEVEL := $(JOBS)

.PHONY: help build demo train-demo hilbert-demo sphere-demo test test-python test-long bench docs lint format asan tsan aarch64 clean
.DEFAULT_GOAL := help

help: ## list the targets
	@echo 'nearfield: local attention on grids'
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

build: ## build the library and the program, at build/nearfield
	@tools/setup.sh build
	@$(call configure,release,-DNEARFIELD_BUILD_TESTS=OFF)
	@cmake --build --preset release
	@echo 'Built build/nearfield; `build/nearfield --help` shows what it does.'

demo: ## clean a noisy photograph, then train a classifier from Python; pictures in demo-output/
	@tools/setup.sh demo
	@$(call configure,release,-DNEARFIELD_BUILD_TESTS=OFF)
	@cmake --build --preset release --target nearfield nearfield_denoise
	@examples/denoise/demo.sh
	@examples/digits/demo.sh

train-demo: ## learn a better filter through forward and backward, in a minute; pictures in demo-output/train/
	@tools/setup.sh demo
	@$(call configure,release,-DNEARFIELD_BUILD_TESTS=OFF)
	@cmake --build --preset release --target nearfield_train
	@examples/train/demo.sh

hilbert-demo: ## train transformers along the Hilbert curve and their row-major counterparts; prints a table
	@tools/setup.sh demo
	@$(call configure,release,-DNEARFIELD_BUILD_TESTS=OFF)
	@cmake --build --preset release --target libnearfield.so
	@examples/hilbert/demo.sh

sphere-demo: ## learn to forecast shallow water on the sphere, and on the plane; pictures in demo-output/sphere/
	@tools/setup.sh demo
	@$(call configure,release,-DNEARFIELD_BUILD_TESTS=OFF)
	@cmake --build --preset release --target libnearfield.so
	@examples/sphere/demo.sh

# Library, wheel and installed copies are the same objects: compiled once.
test: export CMAKE_C_COMPILER_LAUNCHER := ccache
test: export CMAKE_CXX_COMPILER_LAUNCHER := ccache
test: export CCACHE_DIR := $(CURDIR)/build/ccache
test: ## build everything and run every test: about twenty minutes on two cores
	@tools/setup.sh test python
	@$(call configure,release,-DNEARFIELD_BUILD_TESTS=ON)
	@cmake --build --preset release
	@ctest --preset release
	@tools/test_python.sh
	@echo 'All tests passed.'

test-python: build ## build the wheel and test the Python package and the documentation
	@tools/setup.sh python
	@tools/test_python.sh

test-long: export NEARFIELD_PROPERTY_CASES ?= 100000
test-long: ## the same with many more random cases
	@$(MAKE) --no-print-directory test

bench: build ## measure this machine
	@build/nearfield bench

docs: ## build the documentation site, strictly, into build/site
	@tools/setup.sh docs
	@$(call configure,release,-DNEARFIELD_BUILD_TESTS=OFF)
	@cmake --build --preset release --target libnearfield.so
	@PYTHONPATH=python NEARFIELD_LIBRARY=build/src/libnearfield.so .venv/bin/python -m mkdocs build --strict
	@echo 'Built build/site/index.html.'

lint: ## check formatting, shell scripts, Python and the layers
	@tools/setup.sh lint
	@tools/lint.sh

format: ## format the C and C++ files in place
	@tools/setup.sh lint
	@git ls-files -z -- '*.c' '*.h' '*.cpp' '*.hpp' '*.inl' '*.cu' | xargs -0 clang-format -i

asan: ## unit and property tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/setup.sh test
	@$(call configure,asan,)
	@cmake --build --preset asan --target unit_tests property_tests c99_program c11_program
	@ctest --preset asan --label-regex '^(unit|property)$$'

tsan: ## property tests and those of the thread pool and the plan cache under ThreadSanitizer
	@tools/setup.sh test
	@$(call configure,tsan,)
	@cmake --build --preset tsan --target unit_tests property_tests
	@ctest --preset tsan --tests-regex '^(Property|ThreadPool|PlanCache|CachedPlan)\.'

aarch64: export NEARFIELD_PROPERTY_CASES ?= 100
aarch64: ## cross-compile for 64-bit Arm, and test its kernels under qemu
	@tools/setup.sh aarch64
	@$(call configure,aarch64,)
	@cmake --build --preset aarch64 --target simd_tests property_tests
	@ctest --preset aarch64

clean: ## remove everything that was built or drawn; .venv stays
	rm -rf build build-debug build-asan build-tsan build-aarch64 build-logs demo-output

configure = cmake --preset $(1) $(2) --log-level=NOTICE
