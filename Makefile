# A thin front of CMakeLists.txt: one word for users, one build description for developers.
BUILD ?= build
JOBS  ?= $(shell nproc)

.PHONY: all deps demo test bench clean

all: deps
	@cmake -S . -B $(BUILD) >$(BUILD)-configure.log 2>&1 || { cat $(BUILD)-configure.log; exit 1; }
	@cmake --build $(BUILD) -j $(JOBS)
clean:
	rm -rf $(BUILD) $(BUILD)-configure.log
