# A thin front of CMakeLists.txt: one word for users, one build description for developers.
#   make            build everything into build/bin
#   make demo       a whole swarm on this machine (TEXT=my.txt for your own text)
#   make test       build and run every test
#   make fuzz       look for bytes that break a parser (SECONDS=600 a target, TARGET=xml for one); needs clang
#   make bench      speed of every operation on this machine
#   make clean      remove the build folder
BUILD ?= build
JOBS  ?= $(shell nproc)
CMAKE_FLAGS ?=
DEMO  ?= $(BUILD)/demo
DEMO_FLAGS ?=
TEXT  ?=

.PHONY: all configure build programs deps demo test fuzz bench clean

all: build

deps:
	@sh tools/install_deps.sh

configure: deps
	@mkdir -p $(BUILD)
	@cmake -S . -B $(BUILD) $(CMAKE_FLAGS) >$(BUILD)/configure.log 2>&1 || { cat $(BUILD)/configure.log; exit 1; }

build: configure
	@cmake --build $(BUILD) -j $(JOBS)

programs: configure
	@cmake --build $(BUILD) -j $(JOBS) --target programs

demo: programs
	@if [ -n "$(TEXT)" ]; then text="$(TEXT)"; name="$(TEXT)"; else \
		text=$(BUILD)/demo-text.txt; name=$$(sh tools/demo_text.sh $$text) || exit 1; fi; \
	echo "demo: the text is $$name"; \
	$(BUILD)/bin/swarm --folder $(DEMO) --replace --text "$$text" --text-name "$$name" $(DEMO_FLAGS)

test: build
	@cd $(BUILD) && ctest --output-on-failure

fuzz: deps
	@sh tests/fuzz/fuzz.sh . $(BUILD)/fuzz $(or $(SECONDS),600) $(TARGET)

bench: build
	@$(BUILD)/bin/bench

clean:
	rm -rf $(BUILD)
