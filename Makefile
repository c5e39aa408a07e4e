# A thin front of CMakeLists.txt: one word for users, one build description for developers.
#   make            build everything into build/bin
#   make demo       a whole swarm on this machine (TEXT=my.txt for your own text)
#   make demo-s3    the same over a real S3 server on this machine (radosgw, ended afterwards)
#   make test       build and run every test
#   make fuzz       look for bytes that break a parser (SECONDS=600 a target, TARGET=xml for one); needs clang
#   make bench      speed of every operation on this machine
#   make gpu-check  tests, compute-sanitizer and speed on a real GPU; skipped where there is none
#   make clean      remove the build folder
BUILD ?= build
JOBS  ?= $(shell nproc)
CMAKE_FLAGS ?=
DEMO  ?= $(BUILD)/demo
DEMO_FLAGS ?=
TEXT  ?=

.PHONY: all configure build programs deps demo demo-s3 test fuzz bench gpu-check clean

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

# Sets $$text and $$name.
demo_text = if [ -n "$(TEXT)" ]; then text="$(TEXT)"; name="$(TEXT)"; else \
		text=$(BUILD)/demo-text.txt; name=$$(sh tools/demo_text.sh $$text) || exit 1; fi; \
	echo "demo: the text is $$name"

demo: programs
	@$(demo_text); \
	$(BUILD)/bin/swarm --folder $(DEMO) --replace --text "$$text" --text-name "$$name" $(DEMO_FLAGS)

# A bucket for the run and one for each of swarm's participants.
S3_NAMES = run validator-1 miner-1 miner-2 miner-3 miner-4 copycat-1 noise-1

demo-s3: programs
	@sh tools/install_deps.sh s3
	@$(demo_text); \
	server=$(BUILD)/s3-server; \
	trap 'bash tools/s3_server.sh stop $$server' EXIT; trap 'exit 130' INT TERM HUP; \
	bash tools/s3_server.sh stop $$server; \
	echo "demo: starting an S3 server"; \
	bash tools/s3_server.sh start $$server $(S3_NAMES) >/dev/null || exit 1; \
	$(BUILD)/bin/swarm --folder $(DEMO) --replace --text "$$text" --text-name "$$name" \
		--s3 $$server/credentials $(DEMO_FLAGS)

test: build
	@sh tools/install_deps.sh s3 || echo "test: without these the tests against a real S3 server are skipped"
	@cd $(BUILD) && ctest --output-on-failure

fuzz: deps
	@sh tests/fuzz/fuzz.sh . $(BUILD)/fuzz $(or $(SECONDS),600) $(TARGET)

bench: build
	@$(BUILD)/bin/bench --all

gpu-check: build
	@sh tools/gpu_check.sh $(BUILD)

clean:
	rm -rf $(BUILD)
