-- SPDX-License-Identifier: MIT
-- Sends a file so many times to each client, as the sendfile bench asks for.
-- Alone: ./grun scripts/bench/sendfile.lua FILE TIMES, then build/bench/sendfile_peer read PORT
local grun = require("grun")

local path, times = ...
times = tonumber(times)

local server = grun.server("tcp://127.0.0.1:0", function(conn)
  for _ = 1, times do
    assert(conn:sendfile(path))
  end
end)

print("listening on " .. server:address())
io.stdout:flush()
