-- A PostgreSQL server for bench/waiting/run.py: prints its URL, and ends with its standard input.

local server = require "spec.support.postgres".start()
print(server.url)
io.stdout:flush()
io.read "*a"
server:stop()
