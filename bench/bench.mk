# The load client, sync-bench, the peer that is written in C, and what is measured with
# them. The top Makefile includes this.

# No fused multiply and add: the load computes a game's answers bit for bit as Lua does.
BENCH_FLAGS := -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wshadow -Wconversion \
    -ffp-contract=off -MMD -MP
# sync-bench is one file, too, where the system has OpenSSL's archives.
BENCH_LIBS := $(or $(filter %ssl.a %crypto.a,$(NET_LIBS)),-lssl -lcrypto) -lz -ldl -lpthread

LOAD_MAINS := bench/load/main.c bench/load/sync-bench.c
LOAD_PARTS := $(filter-out $(LOAD_MAINS),$(wildcard bench/load/*.c bench/load/modes/*.c))
load_objects = $(patsubst bench/%.c,$(BUILD)/bench/obj/%.o,$(1))

$(BUILD)/bench/obj/%.o: bench/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -c -o $@ $<

$(BUILD)/bench/load: $(call load_objects,bench/load/main.c $(LOAD_PARTS))
	$(Q)$(CC) -o $@ $^ -lssl -lcrypto -lz

$(BUILD)/sync-bench: $(call load_objects,bench/load/sync-bench.c $(LOAD_PARTS))
	$(Q)$(CC) -o $@ $^ $(BENCH_LIBS)

$(BUILD)/bench/parts_test: bench/spec/parts_test.c spec/c/test.c $(LOAD_PARTS) \
    $(wildcard bench/load/*.h bench/load/modes/*.h) spec/c/test.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(BENCH_FLAGS)) -O1 $(SANITIZE) -o $@ $(filter %.c,$^) \
	  -lssl -lcrypto -lz

$(BUILD)/bench/uv: bench/peers/uv.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(BENCH_FLAGS)) -o $@ $< $$(pkg-config --cflags --libs libuv)

# Without liburing the rest is measured.
$(BUILD)/bench/uring: bench/peers/uring.c
	@mkdir -p $(@D)
	$(Q)if pkg-config --exists liburing; then \
	  $(CC) $(filter-out -MMD -MP -Wconversion,$(BENCH_FLAGS)) -o $@ $< \
	    $$(pkg-config --cflags --libs liburing); \
	else echo 'missing: liburing, for the peer of C on io_uring'; fi

# npm's packages of one run, by one command, since npm removes what it isn't told of.
# Without them the rest runs.
npm.remoting := rpc-websockets@^10 jayson@^5
npm.scale := socket.io@^4 @socket.io/redis-adapter@^8 redis@^5
npm.state := @colyseus/schema@^4 @colyseus/core@^0.17 @colyseus/ws-transport@^0.17 \
    @colyseus/sdk@^0.17 express@^5 ws@^8
$(BUILD)/bench/%-npm/installed: bench/bench.mk
	@mkdir -p $(@D)
	@echo 'Installing: npm $(npm.$*)'
	@npm install --prefix $(@D) --no-audit --no-fund --no-save --loglevel=error \
	  $(npm.$*:%='%') >/dev/null && touch $@ || echo 'missing: npm $(npm.$*)'

bench-build: $(BUILD)/bench/load $(BUILD)/sync-bench $(BUILD)/bench/uv $(BUILD)/bench/uring

bench-test: bench-build $(BUILD)/bench/parts_test ## test the load client against faulty servers
	@python3 -B bench/spec/run.py

bench: deps-build-bench ## measure SYNC beside its peers (QUICK=1: under two minutes)
	@$(MAKE) -s build bench-build
	@sh bench/peers/install.sh
	@python3 -B bench/runs/peers.py

bench-jit: deps-build ## measure the JIT on four handlers (QUICK=1: one short round)
	@$(MAKE) -s build bench-build
	@python3 -B bench/runs/jit.py

bench-tls: deps-build ## measure what TLS costs an echo (QUICK=1: one short round)
	@$(MAKE) -s build bench-build
	@python3 -B bench/runs/tls.py

bench-heap: deps-build ## measure an echo on top of a million live objects (QUICK=1: one short round)
	@$(MAKE) -s build bench-build
	@python3 -B bench/runs/heap.py

bench-rooms: deps-build ## measure broadcasts to 10,000 clients, plain, deflated and in TLS, and calls to a room on another worker (QUICK=1: one short round)
	@$(MAKE) -s build bench-build
	@python3 -B bench/runs/rooms.py
	@python3 -B bench/runs/calls.py

bench-io: deps-build ## measure --io-threads=1 beside one thread, by thread (QUICK=1: one short round)
	@$(MAKE) -s build bench-build
	@python3 -B bench/runs/io.py

bench-remoting: deps-build ## measure a remote call beside npm's servers (QUICK=1: one short round)
	@$(MAKE) -s build bench-build $(BUILD)/bench/remoting-npm/installed
	@python3 -B bench/runs/remoting.py

bench-scale: deps-build ## measure workers, nodes and their bus beside Socket.IO (QUICK=1: two minutes)
	@$(MAKE) -s build bench-build $(BUILD)/bench/scale-npm/installed
	@python3 -B bench/runs/scale.py

bench-state: deps-build ## measure state that clients see beside Colyseus (QUICK=1: one short round)
	@$(MAKE) -s build $(BUILD)/bench/state-npm/installed
	@python3 -B bench/runs/state.py

bench-central: deps-build ## 500 bots in examples/central: is the game's clock on time?
	@$(MAKE) -s build
	@python3 -B bench/runs/central.py

bench-reconnect: deps-build ## kill a server under 200 clients, and see them return
	@$(MAKE) -s build
	@sh spec/browser/install.sh
	@node bench/runs/reconnect.mjs $(BUILD)/reconnect.json
	@python3 -B bench/runs/reconnect_draw.py $(BUILD)/reconnect.json docs/reconnect.svg

-include $(shell find $(BUILD)/bench/obj -name '*.d' 2>/dev/null)

.PHONY: bench bench-build bench-test bench-jit bench-tls bench-heap bench-rooms bench-io bench-remoting bench-scale \
    bench-state bench-central bench-reconnect

bench-waits: deps-build ## measure what handlers that wait cost others (QUICK=1: short rounds)
	@$(MAKE) -s build bench-build
	@python3 -B bench/waiting/run.py
