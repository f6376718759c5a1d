std = "luajit"
max_line_length = 100
max_string_line_length = false -- scripts inside long strings
globals = { "grun" }
ignore = { "581" } -- "not (x >= y)" is how a NaN is caught

-- Tables of inputs, one a line.
files["spec"] = { std = "+busted", max_line_length = 120 }
files["spec/parking"] = { globals = { "grun", "CHUNKS" } } -- what its programs share
-- Scripts for wrk.
files["scripts/bench/http_*.lua"] = { globals = { "wrk", "init", "request" } }
