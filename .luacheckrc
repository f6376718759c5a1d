std = "luajit"
max_line_length = 100
globals = { "grun" }
ignore = { "581" } -- "not (x >= y)" is how a NaN is caught

files["spec"] = { std = "+busted" }
