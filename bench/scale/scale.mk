# What several processes are worth, and what their bus costs. The top Makefile includes this.

SCALE_NPM := $(BUILD)/bench/scale-npm

$(BUILD)/bench/scale: bench/scale/load.c bench/ws.c bench/sha1.c bench/histogram.c \
    $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $(filter %.c,$^)

# All by one command, since npm removes what it isn't told of. Without them the rest runs.
$(SCALE_NPM)/installed: bench/scale/scale.mk
	@mkdir -p $(@D)
	@echo 'Installing: npm socket.io, @socket.io/redis-adapter, redis'
	@npm install --prefix $(@D) --no-audit --no-fund --no-save --loglevel=error \
	  'socket.io@^4' '@socket.io/redis-adapter@^8' 'redis@^5' >/dev/null && touch $@ || \
	  echo 'missing: npm socket.io, @socket.io/redis-adapter, redis'

bench-scale: deps-build ## measure workers, nodes and their bus beside Socket.IO (QUICK=1: two minutes)
	@$(MAKE) -s build $(BUILD)/bench/load $(BUILD)/bench/scale $(SCALE_NPM)/installed
	@python3 -B bench/scale/run.py

.PHONY: bench-scale
