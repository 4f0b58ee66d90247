--- JSON-RPC 2.0 as a protocol: see `sync.remoting.jsonrpc`.
return require "sync.remoting.jsonrpc"
