-- SPDX-License-Identifier: MIT
-- The smallest HTTP server.
-- Run: ./grun scripts/examples/hello_http.lua [ADDRESS]     then: curl http://127.0.0.1:8080/you

local grun = require("grun")
io.stdout:setvbuf("line")

local server = assert(grun.server(arg[1] or "http://127.0.0.1:8080", function(req)
  return ("hello %s\n"):format(req.path == "/" and "world" or req.path:sub(2))
end))

print("serving " .. server:address())
