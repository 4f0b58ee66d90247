# What sync.nats needs beside the core. The top Makefile includes this. Without libnats-dev
# nothing is built, and opening a nats:// URL says what is missing.
#
#   make check-nats   tests the link alone, under sanitizers and under valgrind

NATS_SOURCES := $(addprefix src/nats/,natslink.c buffer.c link.c topic.c commands.c connection.c)
NATS_HEADERS := $(wildcard src/nats/*.h)
NATS_LIBS = $$(pkg-config --libs libnats) -lcrypto -lpthread

NATS_LINK := $(if $(shell pkg-config --exists libnats 2>/dev/null && echo yes),$(BUILD)/sync/natslink.so)

# Its threads outlive the Lua state that has loaded it, so it is never unloaded.
$(BUILD)/sync/natslink.so: $(NATS_SOURCES) $(NATS_HEADERS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(CFLAGS)) -shared $(LDFLAGS) -Wl,-z,nodelete -o $@ $(NATS_SOURCES) $(NATS_LIBS)

build: $(NATS_LINK)

$(BUILD)/nats/%-test: spec/c/nats/%_test.c $(NATS_SOURCES) $(NATS_HEADERS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(CFLAGS)) $(SANITIZE) -o $@ $(filter %.c,$^) $(NATS_LIBS)

$(BUILD)/nats/%-leaks: spec/c/nats/%_test.c $(NATS_SOURCES) $(NATS_HEADERS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(CFLAGS)) -o $@ $(filter %.c,$^) $(NATS_LIBS)

check-nats: $(BUILD)/nats/natslink-test $(BUILD)/nats/natslink-leaks ## the link to NATS under sanitizers and valgrind
	@$(BUILD)/nats/natslink-test
	@valgrind --quiet --leak-check=full --error-exitcode=1 $(BUILD)/nats/natslink-leaks

.PHONY: check-nats
