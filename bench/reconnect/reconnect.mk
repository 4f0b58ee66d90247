# How a crowd of JavaScript clients returns to a server that was killed. The top Makefile
# includes this.

bench-reconnect: deps-build ## kill a server under 200 clients, and see them return
	@$(MAKE) -s build
	@sh spec/browser/install.sh
	@node bench/reconnect/run.mjs $(BUILD)/reconnect.json
	@python3 -B bench/reconnect/draw.py $(BUILD)/reconnect.json docs/reconnect.svg

.PHONY: bench-reconnect
