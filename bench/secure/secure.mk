# What TLS costs. The top Makefile includes this.

$(BUILD)/bench/secure: bench/secure/secure.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $< -lssl -lcrypto

bench-tls: deps-build ## measure what TLS costs an echo (QUICK=1: one short round)
	@$(MAKE) -s build $(BUILD)/bench/secure
	@python3 -B bench/secure/run.py

.PHONY: bench-tls
