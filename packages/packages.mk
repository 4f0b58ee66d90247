# What is shipped: the program alone with its checksums, and a package for Debian. Debug
# information lies beside it.

DIST     := $(BUILD)/dist
DIST_BIN := sync-lua-$(VERSION)-linux-$(shell uname -m)

dist: build ## the program as one file, stripped, its debug information and checksums: build/dist
	@sh packages/dist.sh sync-lua $(DIST) $(DIST_BIN)

deb: build ## the same as a package for Debian, with a unit for systemd: build/deb
	@sh packages/deb.sh sync-lua $(BUILD)/deb $(VERSION)

.PHONY: dist deb
