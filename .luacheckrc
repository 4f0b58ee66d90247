std = "luajit"
max_line_length = 100
self = false -- a base method that does nothing has an unused self
files["spec"] = {std = "luajit+busted"}
files["spec/support/init.lua"] = {std = "luajit+busted"}
