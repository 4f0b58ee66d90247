--- `sync.Remote` as a module: see `sync.remoting.remote`.
return require "sync.remoting.remote"
