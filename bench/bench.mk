# The load generator, and the peer that is written in C. The top Makefile includes this.

BENCH_FLAGS := -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wshadow -Wconversion

$(BUILD)/bench/load: $(wildcard bench/*.c) bench/load.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $(filter %.c,$^)

$(BUILD)/bench/uv: bench/peers/uv.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $< $$(pkg-config --cflags --libs libuv)

bench-build: $(BUILD)/bench/load $(BUILD)/bench/uv

bench: deps-build ## measure SYNC beside its peers (QUICK=1: under two minutes)
	@$(MAKE) -s build bench-build
	@sh bench/install.sh
	@python3 bench/run.py

.PHONY: bench bench-build
