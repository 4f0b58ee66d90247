# What a call costs, beside npm's servers of JSON-RPC. The top Makefile includes this.

REMOTING_NPM := $(BUILD)/bench/remoting-npm

$(BUILD)/bench/remoting: bench/remoting/load.c bench/ws.c bench/sha1.c bench/server.c \
    $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $(filter %.c,$^)

# Both by one command, since npm removes what it isn't told of. Without them the rest runs.
$(REMOTING_NPM)/installed: bench/remoting/remoting.mk
	@mkdir -p $(@D)
	@echo 'Installing: npm rpc-websockets, jayson'
	@npm install --prefix $(@D) --no-audit --no-fund --no-save --loglevel=error \
	  'rpc-websockets@^10' 'jayson@^5' >/dev/null && touch $@ || echo 'missing: npm rpc-websockets, jayson'

bench-remoting: deps-build ## measure a remote call beside npm's servers (QUICK=1: one short round)
	@$(MAKE) -s build $(BUILD)/bench/remoting $(REMOTING_NPM)/installed
	@python3 -B bench/remoting/run.py

.PHONY: bench-remoting
