std = "luajit"
max_line_length = 100
self = false -- a handler may leave its self unused
files["spec"] = {std = "luajit+busted"}
