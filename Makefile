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

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes
CFLAGS  ?= -O2 -g
override CFLAGS += -std=c11 -D_GNU_SOURCE -fvisibility=hidden -fPIC $(WARN) \
                   -include stdint.h -include stddef.h -MMD -MP
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
HOST_FLAGS := $(LUA_CFLAGS) $(if $(CJSON),-DSYNC_WITH_CJSON)

CORE    := $(filter-out src/main.c,$(wildcard src/*.c))
MODULES := $(wildcard lua/sync/*.lua)
PROTOCOLS := $(wildcard protocols/*.lua)
# LuaJIT's own modules in Lua: -jv, -jdump, -jp and the names of its errors.
JIT_DIR  = $(dir $(shell $(LUAJIT) -e 'print(package.searchpath("jit.v", package.path))'))
JIT     := v dump p zone bc vmdef dis_x86 dis_x64 dis_arm64 dis_arm64be

# lua/sync/init.lua is the module sync; protocols/echo.lua is sync.protocols.echo.
module = $(patsubst sync.init,sync,$(subst /,.,$(patsubst lua/%.lua,%,$(patsubst protocols/%,lua/sync/protocols/%,$(1)))))
BYTECODE := $(foreach m,$(MODULES) $(PROTOCOLS),$(BUILD)/lua/$(call module,$(m)).o) \
            $(BUILD)/lua/sync.cdef.o $(BUILD)/lua/sync.clientjs.o $(BUILD)/lua/sync.panelpage.o $(BUILD)/lua/sync.newfiles.o $(foreach m,$(JIT),$(BUILD)/lua/jit.$(m).o)

.DEFAULT_GOAL := help
.PHONY: help build run demo demo-flash flash-door test check soak flap fuzz docs lint install uninstall rock clean deps-%
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

deps-%:
	@sh .ci/deps $(subst -, ,$*)

run: deps-build ## install what is missing, build, and serve examples/echo.lua
	@$(MAKE) -s build
	./sync-lua examples/echo.lua

demo: deps-build ## the same for examples/central: draw, chat and play together
	@$(MAKE) -s build
	./sync-lua examples/central/main.lua

# Central's movie, and Ruffle to play it: what /flash.html asks for.
CENTRAL_FLASH := examples/central/public/flash
demo-flash: deps-build-flash ## examples/central with its Flash door: Haxe, and Ruffle from npm
	@$(MAKE) -s build flash-door
	./sync-lua examples/central/main.lua

flash-door:
	@sh spec/browser/install.sh
	@mkdir -p $(BUILD)/flash $(CENTRAL_FLASH)
	@haxe clients/flash/examples/central.hxml
	@cp $(BUILD)/flash/central.swf $(BUILD)/node/node_modules/@ruffle-rs/ruffle/*.js \
	  $(BUILD)/node/node_modules/@ruffle-rs/ruffle/*.wasm $(CENTRAL_FLASH)

build: sync-lua $(BUILD)/sync/libsync.so $(BUILD)/sync/cdef.lua $(BUILD)/sync/clientjs.lua $(BUILD)/sync/panelpage.lua $(BUILD)/sync/newfiles.lua $(BUILD)/sync-bench ## build ./sync-lua, the C module and sync-bench

# C

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(HOST_FLAGS) -c -o $@ $<

# Its thread (log.c) outlives the Lua state that has loaded it.
$(BUILD)/sync/libsync.so: $(CORE:src/%.c=$(BUILD)/obj/%.o)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,-z,nodelete -o $@ $^ $$(pkg-config --libs libuv) $(NET_SHARED) -lm

define link
$(Q)$(CC) $(LDFLAGS) $(1) -Wl,-E -Wl,--exclude-libs,libssl.a:libcrypto.a -o $@ $(filter %.o,$^) $(LUA_LIBS) $(CJSON) $(UV_LIBS) $(NET_LIBS) -lm -ldl -lpthread
endef

sync-lua: $(BUILD)/obj/main.o $(CORE:src/%.c=$(BUILD)/obj/%.o) $(BYTECODE)
	$(call link,)

# Lua as bytecode

$(BUILD)/sync/cdef.lua: src/sync.h
	@mkdir -p $(@D)
	$(Q){ echo '-- Made of src/sync.h.'; printf 'return [==[\n'; cat $<; echo ']==]'; } > $@

# What the server serves as /sync.js.
$(BUILD)/sync/clientjs.lua: clients/js/sync.js
	@mkdir -p $(@D)
	$(Q){ echo '-- Made of clients/js/sync.js.'; printf 'return [==[\n'; cat $<; echo ']==]'; } > $@

# What it serves as /panel.
$(BUILD)/sync/panelpage.lua: clients/panel/index.html
	@mkdir -p $(@D)
	$(Q){ echo '-- Made of clients/panel/index.html.'; printf 'return [==[\n'; cat $<; echo ']==]'; } > $@

# What `sync-lua new` writes; the folders are named so that a file that is gone is noticed.
NEW_FILES := $(shell find templates/new -type f | LC_ALL=C sort)
$(BUILD)/sync/newfiles.lua: $(NEW_FILES) $(shell find templates/new -type d)
	@mkdir -p $(@D)
	$(Q){ echo '-- Made of templates/new.'; echo 'return {'; for file in $(NEW_FILES); do printf '{path = "%s", text = [==[\n' "$${file#templates/new/}"; cat $$file; echo ']==]},'; done; echo '}'; } > $@

$(BUILD)/lua/sync.%.o: $(BUILD)/sync/%.lua
	@mkdir -p $(@D)
	$(Q)$(LUAJIT) -b -n sync.$* $< $@

define bytecode
$(BUILD)/lua/$(call module,$(1)).o: $(1)
	@mkdir -p $$(@D)
	$$(Q)$$(LUAJIT) -b -g -n $(call module,$(1)) $$< $$@
endef
$(foreach m,$(MODULES) $(PROTOCOLS),$(eval $(call bytecode,$(m))))

$(BUILD)/lua/jit.%.o:
	@mkdir -p $(@D)
	$(Q)$(LUAJIT) -b -n jit.$* $(JIT_DIR)$*.lua $@

# Tests

test: deps-build-test ## install what is missing, build, and run all tests
	@$(MAKE) -s build
	@sh spec/all

include src/nats/nats.mk
-include spec/c/c.mk bench/bench.mk bench/jit/jit.mk bench/reconnect/reconnect.mk bench/secure/secure.mk bench/instructions/instructions.mk bench/remoting/remoting.mk bench/central/central.mk bench/scale/scale.mk

# The same program with the address and undefined-behaviour sanitizers.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

$(BUILD)/asan/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) $(HOST_FLAGS) -c -o $@ $<

$(BUILD)/asan/sync-lua: $(BUILD)/asan/obj/main.o $(CORE:src/%.c=$(BUILD)/asan/obj/%.o) $(BYTECODE)
	$(call link,$(SANITIZE))

check: deps-build-test-check ## run the C tests and the specs under sanitizers and valgrind, and test the conformance suite
	@$(MAKE) -s build $(BUILD)/asan/sync-lua
	@$(MAKE) -s check-c valgrind-c
	@SYNC_LUA=$(BUILD)/asan/sync-lua sh spec/all --specs-only
	@node spec/conformance/faults.mjs

$(BUILD)/soak: spec/soak/soak.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -o $@ $< -lz

soak: deps-build ## 10,000 clients, clients that never read, are killed, or send what inflates
	@$(MAKE) -s build $(BUILD)/soak
	@$(BUILD)/soak ./sync-lua spec/soak/server.lua
	@./sync-lua spec/soak/budgets.lua

flap: build ## 20 runs of two nodes whose Redis comes and goes: all that is lost is counted
	@./sync-lua spec/cluster/flap.lua

fuzz: deps-build-check build ## run each fuzz target for FUZZ_SECONDS (10)
	@$(MAKE) -s fuzz-c
	@./sync-lua spec/fuzz/frame.lua

docs: deps-docs ## the manual of the Lua library as HTML, in build/docs
	@ldoc --fatalwarnings .

lint: deps-lint ## luacheck, clang-format and clang-tidy
	@luacheck -q lua protocols spec examples bench templates
	@clang-format --dry-run -Werror src/*.c src/*.h $(wildcard spec/*/*.[ch] bench/*.[ch] bench/*/*.[ch])
	@clang-tidy --quiet src/*.c -- -std=c11 -D_GNU_SOURCE -include stdint.h -include stddef.h $(LUA_CFLAGS) 2>/dev/null

# Installing

install: build ## install sync-lua, the Lua modules and the C module (PREFIX, DESTDIR)
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LUADIR)/sync/protocols $(DESTDIR)$(LIBDIR)/sync
	install -m 755 sync-lua $(DESTDIR)$(BINDIR)/sync-lua
	install -m 755 $(BUILD)/sync-bench $(DESTDIR)$(BINDIR)/sync-bench
	install -m 644 $(MODULES) $(BUILD)/sync/cdef.lua $(BUILD)/sync/clientjs.lua $(BUILD)/sync/panelpage.lua $(BUILD)/sync/newfiles.lua $(DESTDIR)$(LUADIR)/sync
	install -m 644 $(PROTOCOLS) $(DESTDIR)$(LUADIR)/sync/protocols
	install -m 755 $(BUILD)/sync/libsync.so $(DESTDIR)$(LIBDIR)/sync/libsync.so

uninstall: ## remove what install has installed
	rm -f $(DESTDIR)$(BINDIR)/sync-lua $(DESTDIR)$(BINDIR)/sync-bench
	rm -rf $(DESTDIR)$(LUADIR)/sync $(DESTDIR)$(LIBDIR)/sync

rock: deps-build-rock ## make a source rock and a folder that serves it, build/rocks
	@rm -rf $(BUILD)/rocks && mkdir -p $(BUILD)/rocks/sync
	@tar -cf - --exclude=./$(BUILD) --exclude=./.git --exclude=./sync-lua --exclude=node_modules . | tar -xf - -C $(BUILD)/rocks/sync
	@tar -czf $(BUILD)/rocks/sync.tar.gz -C $(BUILD)/rocks sync
	@sed 's|url = .*|url = "file://$(CURDIR)/$(BUILD)/rocks/sync.tar.gz", dir = "sync",|' sync-scm-1.rockspec > $(BUILD)/rocks/sync-scm-1.rockspec
	@cd $(BUILD)/rocks && luarocks --lua-version 5.1 pack sync-scm-1.rockspec >/dev/null
	@rm -rf $(BUILD)/rocks/sync $(BUILD)/rocks/sync.tar.gz
	@luarocks-admin --lua-version 5.1 make_manifest $(BUILD)/rocks >/dev/null
	@echo 'now: luarocks --lua-version 5.1 install --server=$(CURDIR)/$(BUILD)/rocks sync'

clean: ## remove what was built
	rm -rf $(BUILD) sync-lua

-include $(wildcard $(BUILD)/obj/*.d $(BUILD)/asan/obj/*.d)
