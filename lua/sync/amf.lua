--- Values of Flash, as users know them: see `sync.flash.values`.
return require "sync.flash.values"
