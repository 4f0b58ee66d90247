rockspec_format = "3.0"
package = "sync"
version = "scm-1"
source = {
  url = "git+file://.",
}
description = {
  summary = "A server framework for real-time applications",
  detailed = [[
A protocol is one Lua class with an onData method. SYNC serves it over WebSocket, TCP and
Unix sockets, to Flash movies and with TLS, on any number of ports with one set of clients,
from a C core on libuv; LuaJIT makes native code of hot handlers. Needs LuaJIT, libuv,
OpenSSL, zlib, http-parser and lua-cjson with their headers.]],
  license = "MIT",
  labels = {"server", "network", "realtime", "websocket", "game", "luajit"},
}
dependencies = {
  "lua >= 5.1, < 5.2",
}
external_dependencies = {
  LIBUV = {header = "uv.h"},
  OPENSSL = {header = "openssl/ssl.h"},
  ZLIB = {header = "zlib.h"},
  HTTP_PARSER = {header = "http_parser.h"},
}
build = {
  type = "make",
  build_target = "build",
  install_target = "install",
  build_variables = {
    CFLAGS = "$(CFLAGS)",
  },
  install_variables = {
    PREFIX = "$(PREFIX)",
    BINDIR = "$(BINDIR)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
  },
  copy_directories = {"docs", "examples"},
}
