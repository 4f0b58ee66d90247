# The C tests. The top Makefile includes this; needs CC, BUILD and CORE.
#
#   make test-c      builds and runs them
#   make check-c     the same under AddressSanitizer and UBSan
#   make threads-c   the same under ThreadSanitizer
#   make valgrind-c  a thousand clients that come and go, under valgrind
#   make fuzz-c      each libFuzzer target for FUZZ_SECONDS

BUILD ?= build
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 10

C_FLAGS := -std=c11 -D_GNU_SOURCE -iquote src -iquote spec/c -g -fvisibility=hidden \
    -Wall -Wextra -Wshadow -Wconversion $(shell pkg-config --cflags libuv) $(IO_FLAGS)
C_LIBS := $(shell pkg-config --libs libuv) $(IO_LIBS) -lssl -lcrypto -lz -lhttp_parser -lm -ldl -lpthread
C_SAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

C_HELPERS := spec/c/test.c spec/c/text.c spec/c/server.c spec/c/client.c
C_TESTS := $(filter-out spec/c/nats/%,$(wildcard spec/c/*/*_test.c))
FUZZ_HELPERS := spec/fuzz/fuzz.c spec/fuzz/codec.c
FUZZ_TARGETS := $(patsubst spec/fuzz/%_fuzz.c,%,$(wildcard spec/fuzz/*_fuzz.c))

# The objects of files $(2) below folder $(1).
c_objects = $(patsubst %.c,$(BUILD)/$(1)/%.o,$(2))

$(BUILD)/c/%.o: %.c
	@mkdir -p $(@D)
	@$(CC) $(C_FLAGS) -O2 -MMD -MP -c $< -o $@

$(BUILD)/asan/%.o: %.c
	@mkdir -p $(@D)
	@$(CC) $(C_FLAGS) $(C_SAN) -O1 -MMD -MP -c $< -o $@

$(BUILD)/tsan/%.o: %.c
	@mkdir -p $(@D)
	@$(CC) $(C_FLAGS) -fsanitize=thread -O1 -MMD -MP -c $< -o $@

$(BUILD)/fuzz/%.o: %.c
	@mkdir -p $(@D)
	@$(FUZZ_CC) $(C_FLAGS) $(C_SAN) -fsanitize=fuzzer-no-link -O1 -MMD -MP -c $< -o $@

$(BUILD)/c/test: $(call c_objects,c,$(CORE) $(C_HELPERS) $(C_TESTS))
	@$(CC) $^ $(C_LIBS) -o $@

$(BUILD)/c/leaks: $(call c_objects,c,$(CORE) $(C_HELPERS) spec/c/leaks.c)
	@$(CC) $^ $(C_LIBS) -o $@

$(BUILD)/asan/test: $(call c_objects,asan,$(CORE) $(C_HELPERS) $(C_TESTS) \
    spec/c/leaks.c)
	@$(CC) $(C_SAN) $^ $(C_LIBS) -o $@

$(BUILD)/tsan/test: $(call c_objects,tsan,$(CORE) $(C_HELPERS) $(C_TESTS))
	@$(CC) -fsanitize=thread $^ $(C_LIBS) -o $@

$(BUILD)/fuzz/%_fuzz: $(BUILD)/fuzz/spec/fuzz/%_fuzz.o \
    $(call c_objects,fuzz,$(CORE) $(FUZZ_HELPERS))
	@$(FUZZ_CC) $(C_SAN) -fsanitize=fuzzer $^ $(C_LIBS) -o $@

test-c: $(BUILD)/c/test ## the C tests alone
	@$(BUILD)/c/test

check-c: $(BUILD)/asan/test ## the C tests under sanitizers
	@$(BUILD)/asan/test

# Tests fork, and what they have forked starts threads.
threads-c: $(BUILD)/tsan/test ## the C tests under ThreadSanitizer
	@TSAN_OPTIONS=die_after_fork=0 $(BUILD)/tsan/test

valgrind-c: $(BUILD)/c/leaks ## 1,000 connects and closes under valgrind
	@valgrind --quiet --leak-check=full --show-leak-kinds=all --error-exitcode=1 \
	    $(BUILD)/c/leaks

# What a target finds anew is kept below $(BUILD), and an input that fails, too.
fuzz-c: $(FUZZ_TARGETS:%=$(BUILD)/fuzz/%_fuzz)
	@for name in $(FUZZ_TARGETS); do \
	    mkdir -p $(BUILD)/fuzz/corpus/$$name $(BUILD)/fuzz/failed; \
	    echo "fuzz $$name for $(FUZZ_SECONDS) s"; \
	    $(BUILD)/fuzz/$${name}_fuzz -max_total_time=$(FUZZ_SECONDS) -max_len=4096 \
	        -timeout=10 -print_final_stats=1 -verbosity=0 -close_fd_mask=1 \
	        -artifact_prefix=$(BUILD)/fuzz/failed/$$name- \
	        $(BUILD)/fuzz/corpus/$$name spec/fuzz/corpus/$$name \
	        2>$(BUILD)/fuzz/$$name.log \
	        || { cat $(BUILD)/fuzz/$$name.log; exit 1; }; \
	    grep number_of_executed_units $(BUILD)/fuzz/$$name.log; \
	done

-include $(shell find $(BUILD)/c $(BUILD)/asan $(BUILD)/tsan $(BUILD)/fuzz -name '*.d' 2>/dev/null)

.PHONY: test-c check-c threads-c valgrind-c fuzz-c
.SECONDARY: $(call c_objects,fuzz,$(CORE) $(FUZZ_HELPERS) \
    $(FUZZ_TARGETS:%=spec/fuzz/%_fuzz.c))
