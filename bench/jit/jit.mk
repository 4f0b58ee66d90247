# What the compiler gives to handlers a real server has. The top Makefile includes this.

# No fused multiply and add: the load computes the game's answers bit for bit as Lua does.
$(BUILD)/bench/drive: bench/jit/drive.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wshadow -Wconversion \
	  -ffp-contract=off -o $@ $<

bench-jit: deps-build ## measure the JIT on four handlers (QUICK=1: one short round)
	@$(MAKE) -s build $(BUILD)/bench/drive $(BUILD)/bench/uv
	@python3 bench/jit/run.py

.PHONY: bench-jit
