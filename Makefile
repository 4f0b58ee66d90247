# SYNC. `make help` lists the targets.

PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
LUADIR  ?= $(PREFIX)/share/lua/5.1
LIBDIR  ?= $(PREFIX)/lib/lua/5.1
DESTDIR ?=

CC      ?= cc
LUAJIT  ?= luajit
BUILD   := build
V       ?= 0
Q       := $(if $(filter 0,$(V)),@)
VERSION := $(shell cat VERSION)

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes
CFLAGS  ?= -O2 -g
override CFLAGS += -std=c11 -D_GNU_SOURCE -fvisibility=hidden -fPIC $(WARN) \
                   -iquote src -include stdint.h -include stddef.h -MMD -MP
# The program is linked with the libraries' archives, so that it is one file. Where a
# system has none, the shared library serves; without cjson's, `require "cjson"` looks for
# the installed one.
LUA_CFLAGS := $(shell pkg-config --cflags luajit 2>/dev/null)
LUA_DIR    := $(shell pkg-config --variable=libdir luajit 2>/dev/null)
LUA_STATIC := $(wildcard $(LUA_DIR)/libluajit-5.1.a)
CJSON      := $(wildcard $(LUA_DIR)/liblua5.1-cjson.a)
UV_LIBS    := $(shell pkg-config --libs libuv-static 2>/dev/null || pkg-config --libs libuv 2>/dev/null)
# TLS, compression and the parser of HTTP heads.
NET_STATIC := $(wildcard $(addprefix $(LUA_DIR)/lib,ssl.a crypto.a z.a http_parser.a))
NET_SHARED := -lssl -lcrypto -lz -lhttp_parser
NET_LIBS   := $(if $(filter 4,$(words $(NET_STATIC))),$(addprefix $(LUA_DIR)/lib,ssl.a crypto.a z.a http_parser.a),$(NET_SHARED))
LUA_WHOLE  := -Wl,--whole-archive $(LUA_STATIC) -Wl,--no-whole-archive
LUA_LIBS   := $(if $(LUA_STATIC),$(LUA_WHOLE),$(shell pkg-config --libs luajit 2>/dev/null))
HOST_FLAGS := $(LUA_CFLAGS) $(if $(CJSON),-DSYNC_WITH_CJSON) $(if $(LUA_STATIC),-DSYNC_WITH_LUAJIT)

# What watches connections' sockets: src/net/poller.h. BACKEND=poll builds what needs no more
# than libuv has.
BACKEND  ?= auto
URING    := $(wildcard $(shell pkg-config --variable=libdir liburing 2>/dev/null)/liburing.a)
IO_FLAGS := $(if $(filter-out poll,$(BACKEND)),-DSYNC_EPOLL $(if $(URING),-DSYNC_URING))
IO_LIBS  := $(if $(filter -DSYNC_URING,$(IO_FLAGS)),$(URING))
override CFLAGS += $(IO_FLAGS)
# What was built otherwise is built again: a file of the flags is younger than its objects.
$(shell mkdir -p $(BUILD); echo '$(IO_FLAGS)' | cmp -s - $(BUILD)/io-flags || echo '$(IO_FLAGS)' >$(BUILD)/io-flags)
$(foreach o,obj asan/obj c/src asan/src tsan/src fuzz/src,$(patsubst src/%.c,$(BUILD)/$(o)/%.o,$(wildcard src/net/*.c))): $(BUILD)/io-flags

# The core; src/nats is a module of its own.
CORE    := $(filter-out src/main.c src/host/% src/nats/%,$(wildcard src/*.c src/*/*.c))
# What the program has beside it. Where LuaJIT is linked in, some of it stands in the place
# of functions that LuaJIT calls.
INSTEAD := mprotect munmap lj_vm_call lj_vm_cpcall lj_vm_pcall $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),lj_vm_next)
HOST    := src/main.c $(if $(LUA_STATIC),$(wildcard src/host/*.c))
HOST_LD := $(if $(LUA_STATIC),$(INSTEAD:%=-Wl,--wrap=%))

# The Lua library: modules by the file they are made of. lua/sync/http/init.lua is the
# module sync.http, protocols/echo.lua is sync.protocols.echo.
LUA     := $(sort $(shell find lua/sync protocols -name '*.lua'))
# Files and folders that Lua reads as modules, by the module's name.
EMBEDDED := sync.cdef sync.version sync.http.clientjs sync.http.roomjs sync.http.statejs \
    sync.http.panelpage sync.http.tokenpage sync.cli.newfiles sync.cluster.nats.cdef \
    sync.fetch.cdef sync.secrets.cdef sync.sql.cdef sync.work.cdef
embedded.sync.cdef := src/sync.h
embedded.sync.version := VERSION
embedded.sync.http.clientjs := clients/js/sync.js
embedded.sync.http.roomjs := clients/js/sync-room.js
embedded.sync.http.statejs := clients/js/sync-state.js
embedded.sync.http.panelpage := clients/panel/index.html
embedded.sync.http.tokenpage := clients/panel/token.html
embedded.sync.cli.newfiles := templates/new
embedded.sync.cluster.nats.cdef := src/nats/natslink.h
embedded.sync.fetch.cdef := src/fetch/fetch.h
embedded.sync.secrets.cdef := src/secrets/secrets.h
embedded.sync.sql.cdef := src/sql/sqlite.h
embedded.sync.work.cdef := src/work/work.h
# LuaJIT's own modules in Lua: -jv, -jdump, -jp and the names of its errors.
JIT_DIR  = $(dir $(shell $(LUAJIT) -e 'print(package.searchpath("jit.v", package.path))'))
JIT     := v dump p zone bc vmdef dis_x86 dis_x64 dis_arm64 dis_arm64be

installed = $(patsubst protocols/%,sync/protocols/%,$(1:lua/%=%))
module   = $(subst /,.,$(patsubst %/init,%,$(patsubst %.lua,%,$(installed))))
embedded = $(BUILD)/$(subst .,/,$(1)).lua
EMBEDS   := $(foreach m,$(EMBEDDED),$(call embedded,$(m)))
BYTECODE := $(patsubst %,$(BUILD)/lua/%.o,$(foreach f,$(LUA),$(call module,$(f))) $(EMBEDDED) $(JIT:%=jit.%))

.DEFAULT_GOAL := help
.PHONY: help build run demo demo-flash flash-door test check soak upgrade-check flap rooms-chaos chaos state-model state-check hostile fuzz docs lint install uninstall rock clean deps-%
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

deps-%:
	@sh .ci/deps $(subst -, ,$*)

run: deps-build ## install what is missing, build, and serve examples/echo.lua
	@$(MAKE) -s build
	./sync-lua examples/echo.lua

demo: deps-build ## the same for examples/central, on all addresses: draw, chat, play together
	@$(MAKE) -s build
	./sync-lua examples/central/main.lua

# Central's movie, and Ruffle to play it: what /flash.html asks for.
CENTRAL_FLASH := examples/central/public/flash
demo-flash: deps-build-flash ## make demo with its Flash door: Haxe, and Ruffle from npm
	@$(MAKE) -s build flash-door
	./sync-lua examples/central/main.lua

flash-door:
	@sh spec/browser/install.sh ruffle
	@mkdir -p $(BUILD)/flash $(CENTRAL_FLASH)
	@haxe clients/flash/examples/central.hxml
	@cp $(BUILD)/flash/central.swf $(BUILD)/node/node_modules/@ruffle-rs/ruffle/*.js \
	  $(BUILD)/node/node_modules/@ruffle-rs/ruffle/*.wasm $(CENTRAL_FLASH)

build: sync-lua $(BUILD)/sync/libsync.so $(EMBEDS) $(BUILD)/sync-bench ## build ./sync-lua, the C module and sync-bench

# C

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(HOST_FLAGS) -c -o $@ $<

# Its thread (log.c) outlives the Lua state that has loaded it.
$(BUILD)/sync/libsync.so: $(CORE:src/%.c=$(BUILD)/obj/%.o)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,-z,nodelete -o $@ $^ $$(pkg-config --libs libuv) $(IO_LIBS) $(NET_SHARED) -lm -ldl -lpthread

define link
$(Q)$(CC) $(LDFLAGS) $(1) $(HOST_LD) -Wl,-E -Wl,--exclude-libs,libssl.a:libcrypto.a -o $@ $(filter %.o,$^) $(LUA_LIBS) $(CJSON) $(UV_LIBS) $(IO_LIBS) $(NET_LIBS) -lm -ldl -lpthread
endef

sync-lua: $(HOST:src/%.c=$(BUILD)/obj/%.o) $(CORE:src/%.c=$(BUILD)/obj/%.o) $(BYTECODE)
	$(call link,)

# Lua as bytecode

# A folder's own time tells that a file is gone.
define embed
$(call embedded,$(1)): src/embed.sh $(shell find $(embedded.$(1)))
	@mkdir -p $$(@D)
	$$(Q)sh src/embed.sh $(embedded.$(1)) > $$@
endef
$(foreach m,$(EMBEDDED),$(eval $(call embed,$(m))))

# A module's file; with its debug information where it's ours.
define bytecode
$(BUILD)/lua/$(1).o: $(2)
	@mkdir -p $$(@D)
	$$(Q)$$(LUAJIT) -b $(3) -n $(1) $$< $$@
endef
$(foreach f,$(LUA),$(eval $(call bytecode,$(call module,$(f)),$(f),-g)))
$(foreach m,$(EMBEDDED),$(eval $(call bytecode,$(m),$(call embedded,$(m)),)))
$(foreach m,$(JIT),$(eval $(call bytecode,jit.$(m),$(JIT_DIR)$(m).lua,)))

# Tests

test: deps-build-test ## install what is missing, build, and run all tests
	@$(MAKE) -s build
	@sh spec/all

include src/nats/nats.mk packages/packages.mk
-include spec/c/c.mk bench/bench.mk bench/instructions/instructions.mk

# The same program with the address and undefined-behaviour sanitizers.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

$(BUILD)/asan/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) $(HOST_FLAGS) -c -o $@ $<

$(BUILD)/asan/sync-lua: $(HOST:src/%.c=$(BUILD)/asan/obj/%.o) $(CORE:src/%.c=$(BUILD)/asan/obj/%.o) $(BYTECODE)
	$(call link,$(SANITIZE))

# Programs of Lua don't end by returning, so what they have is no leak; C tests do.
check: deps-build-test-check ## run the C tests and the specs under sanitizers and valgrind, and test the conformance suite
	@$(MAKE) -s build $(BUILD)/asan/sync-lua
	@$(MAKE) -s check-c threads-c valgrind-c
	@ASAN_OPTIONS=detect_leaks=0 SYNC_LUA=$(BUILD)/asan/sync-lua sh spec/all --specs-only
	@node spec/conformance/faults.mjs

$(BUILD)/soak: spec/soak/soak.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -o $@ $< -lz

soak: deps-build ## 10,000 clients, clients that never read, are killed, or send what inflates
	@$(MAKE) -s build $(BUILD)/soak
	@$(BUILD)/soak ./sync-lua spec/soak/server.lua
	@./sync-lua spec/soak/budgets.lua

UPGRADE_LOAD = $(addprefix spec/upgrade/,load.c wire.c talk.c)
$(BUILD)/upgrade-load: $(UPGRADE_LOAD) spec/upgrade/load.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -o $@ $(UPGRADE_LOAD) -lz -lssl -lcrypto

upgrade-check: build $(BUILD)/upgrade-load ## 2,000 clients whose server is upgraded and reloaded ten times in a minute (SECONDS=60)
	@./sync-lua spec/upgrade/check.lua $(SECONDS)

flap: build ## 20 runs of two nodes whose Redis comes and goes: all that is lost is counted
	@./sync-lua spec/cluster/flap.lua

rooms-chaos: build ## 300 members in 30 rooms on three nodes: one killed, one stopped for 30 s, one cut off
	@SYNC_CHAOS=whole ./sync-lua "$$(command -v busted)" spec/rooms/persist_spec.lua

$(BUILD)/chaos-clock.so: spec/chaos/clock.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(CFLAGS)) -shared $(LDFLAGS) -o $@ $< -ldl -lpthread

# SEED= has the same acts again.
MINUTES ?= 10
chaos: build $(BUILD)/chaos-clock.so ## MINUTES (10) of kills, upgrades, stops, cuts, shortages and wrong clocks under clients that count; SEED= replays
	@sh spec/browser/install.sh
	@node spec/chaos/run.mjs ./sync-lua $(MINUTES) $(SEED)

STEPS ?= 100000
ROOMS ?= 100
state-model: build ## random lives of rooms' states beside a model: STEPS in process (100000), ROOMS over sockets (100)
	@./sync-lua spec/state/long.lua $(STEPS) $(ROOMS)

# The program doesn't end by returning, so what it has is no leak.
PATCHES ?= 100000
state-check: build $(BUILD)/asan/sync-lua ## state-model under sanitizers, and PATCHES mutated ones (100000) for each decoder
	@ASAN_OPTIONS=detect_leaks=0 $(BUILD)/asan/sync-lua spec/state/long.lua $(STEPS) $(ROOMS)
	@ASAN_OPTIONS=detect_leaks=0 FUZZ=$(PATCHES) $(BUILD)/asan/sync-lua "$$(command -v busted)" \
	  spec/state/replica_spec.lua spec/remoting/joined_spec.lua
	@FUZZ=$(PATCHES) node --test --test-reporter=dot clients/js/test/state.test.mjs

# The strings of spec/support/hostile.lua as parameters, headers, fields, calls and tokens. The
# program doesn't end by returning, so what it has is no leak.
HOSTILE ?= 100000
hostile: build $(BUILD)/asan/sync-lua ## 100,000 hostile strings wherever a client's come to, under sanitizers
	@HOSTILE=$(HOSTILE) ASAN_OPTIONS=detect_leaks=0 $(BUILD)/asan/sync-lua "$$(command -v busted)" spec/http/hostile_spec.lua spec/auth_spec.lua
	@HOSTILE=$(HOSTILE) ASAN_OPTIONS=detect_leaks=0 $(BUILD)/asan/sync-lua "$$(command -v busted)" --filter=hostile --filter=inject spec/sql spec/redis/init_spec.lua

fuzz: deps-build-check build ## run each fuzz target for FUZZ_SECONDS (10)
	@$(MAKE) -s fuzz-c
	@./sync-lua spec/fuzz/frame.lua
	@./sync-lua spec/fuzz/form.lua
	@./sync-lua spec/fuzz/json.lua
	@./sync-lua spec/fuzz/amf.lua 20000

docs: deps-docs ## the manual of the Lua library as HTML, in build/docs
	@ldoc --fatalwarnings .

# What a package of npm has to say by itself is compared with where it comes from.
lint: deps-build-lint ## luacheck, clang-format, clang-tidy, floors, circles, links and versions
	@luacheck -q lua protocols spec examples bench templates .ci
	@$(LUAJIT) .ci/floors.lua
	@$(MAKE) -s build
	@$(LUAJIT) .ci/cycles.lua $(BUILD)/obj
	@$(LUAJIT) .ci/links.lua
	@grep -q '"version": "$(VERSION)"' clients/js/package.json || { echo 'clients/js/package.json: its version is not $(VERSION), which VERSION says' >&2; false; }
	@grep -q '^## $(VERSION)' CHANGELOG.md || { echo 'CHANGELOG.md: has nothing on $(VERSION), which VERSION says' >&2; false; }
	@clang-format --dry-run -Werror $(shell find src spec bench -name '*.[ch]')
	@clang-tidy --quiet $(shell find src -name '*.c') -- -std=c11 -D_GNU_SOURCE -iquote src -include stdint.h -include stddef.h $(HOST_FLAGS) $(IO_FLAGS) 2>/dev/null

# Installing

# What an older version has left there would be found first.
install: build ## install sync-lua, the Lua modules and the C modules (PREFIX, DESTDIR)
	@rm -rf $(DESTDIR)$(LUADIR)/sync $(DESTDIR)$(LIBDIR)/sync
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/sync
	install -m 755 sync-lua $(BUILD)/sync-bench $(DESTDIR)$(BINDIR)
	install -m 755 $(BUILD)/sync/*.so $(DESTDIR)$(LIBDIR)/sync
	$(Q)$(foreach f,$(LUA),install -D -m 644 $(f) $(DESTDIR)$(LUADIR)/$(call installed,$(f)) &&) true
	$(Q)$(foreach f,$(EMBEDS),install -D -m 644 $(f) $(DESTDIR)$(LUADIR)/$(f:$(BUILD)/%=%) &&) true

uninstall: ## remove what install has installed
	rm -f $(DESTDIR)$(BINDIR)/sync-lua $(DESTDIR)$(BINDIR)/sync-bench
	rm -rf $(DESTDIR)$(LUADIR)/sync $(DESTDIR)$(LIBDIR)/sync

# The rockspec of the tree is that of no version; this writes VERSION's.
ROCK := sync-$(VERSION)-1
rock: deps-build-rock ## make a source rock and a folder that serves it, build/rocks
	@rm -rf $(BUILD)/rocks && mkdir -p $(BUILD)/rocks/sync
	@tar -cf - --exclude=./$(BUILD) --exclude=./.git --exclude=./sync-lua --exclude=node_modules . | tar -xf - -C $(BUILD)/rocks/sync
	@tar -czf $(BUILD)/rocks/sync.tar.gz -C $(BUILD)/rocks sync
	@sed -e 's|url = .*|url = "file://$(CURDIR)/$(BUILD)/rocks/sync.tar.gz", dir = "sync",|' -e 's|"scm-1"|"$(VERSION)-1"|' sync-scm-1.rockspec > $(BUILD)/rocks/$(ROCK).rockspec
	@cd $(BUILD)/rocks && luarocks --lua-version 5.1 pack $(ROCK).rockspec >/dev/null
	@rm -rf $(BUILD)/rocks/sync $(BUILD)/rocks/sync.tar.gz
	@luarocks-admin --lua-version 5.1 make_manifest $(BUILD)/rocks >/dev/null
	@echo 'now: luarocks --lua-version 5.1 install --server=$(CURDIR)/$(BUILD)/rocks sync'

clean: ## remove what was built
	rm -rf $(BUILD) sync-lua

-include $(shell find $(BUILD)/obj $(BUILD)/asan/obj -name '*.d' 2>/dev/null)
