# Central with 500 bots. The top Makefile includes this.

bench-central: deps-build ## 500 bots in examples/central: is the game's clock on time?
	@$(MAKE) -s build
	@python3 -B bench/central/run.py

.PHONY: bench-central
