bench-instructions: deps-build-check ## count instructions a message by callgrind (OLD=path: beside another sync-lua; OLD_OPTIONS=--watchdog=off: beside itself with other options)
	@$(MAKE) -s build
	@python3 -B bench/instructions/run.py

.PHONY: bench-instructions
