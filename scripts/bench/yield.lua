-- SPDX-License-Identifier: MIT
-- What one grun.yield() costs while another thread is ready: the call, the switch, the return.
-- Alone: ./grun scripts/bench/yield.lua [yields]
local grun = require("grun")

local yields = tonumber((...)) or 2e6

local function spin(n)
  local yield = grun.yield
  for _ = 1, n do
    yield()
  end
end

-- Two threads, n / 2 yields each, every one of them to the other. Returns nanoseconds per yield.
local function measure(n)
  local a = grun.spawn(spin, n / 2)
  local b = grun.spawn(spin, n / 2)
  local start = os.clock()
  a:join()
  b:join()
  return (os.clock() - start) / n * 1e9
end

measure(yields / 10)
print(string.format("yield_ns=%.2f", measure(yields)))
