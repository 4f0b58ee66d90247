# The load generator, sync-bench, and the peer that is written in C. The top Makefile
# includes this.

BENCH_FLAGS := -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wshadow -Wconversion

# What both programs are made of.
BENCH_PARTS := bench/ws.c bench/sha1.c bench/histogram.c

$(BUILD)/bench/load: $(wildcard bench/*.[ch])
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $(filter %.c,$^)

$(BUILD)/sync-bench: $(wildcard bench/ramp/*.[ch]) $(BENCH_PARTS) $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $(filter %.c,$^)

$(BUILD)/bench/parts_test: bench/spec/parts_test.c spec/c/test.c bench/wire.c $(BENCH_PARTS) \
    $(wildcard bench/*.h) spec/c/test.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -O1 $(SANITIZE) -o $@ $(filter %.c,$^)

$(BUILD)/bench/uv: bench/peers/uv.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $< $$(pkg-config --cflags --libs libuv)

bench-build: $(BUILD)/bench/load $(BUILD)/sync-bench $(BUILD)/bench/uv

bench-test: bench-build $(BUILD)/bench/parts_test ## test the load generator against faulty servers
	@python3 -B bench/spec/run.py

bench: deps-build ## measure SYNC beside its peers (QUICK=1: under two minutes)
	@$(MAKE) -s build bench-build
	@sh bench/install.sh
	@python3 -B bench/run.py

.PHONY: bench bench-build bench-test
