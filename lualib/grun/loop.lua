-- SPDX-License-Identifier: MIT
-- How the loop runs threads: when a stall is reported, and in which order ready threads run.

local loop = require("grun.core.loop")

local M = {}

--- Reports every thread that holds up all others for more than so many milliseconds: 0 for none, at
--- least 10 otherwise; at start GRUN_BLOCK_WARN_MS, or 100. nil changes nothing. Returns the former
--- value.
---@param ms? integer
---@return integer
function M.block_warn(ms)
  if ms ~= nil and (type(ms) ~= "number" or not (ms >= 0 and ms <= 1e6)) then
    error("block_warn: milliseconds from 0 to 1000000 expected, got " .. tostring(ms), 2)
  end
  return loop.block_warn(ms)
end

--- Picks the next ready thread by a pseudo-random sequence that begins with this whole number (1 to
--- 2^53 - 1), the same one each time; 0 or nil: first come, first served again. So a test that
--- waits for nothing outside the process can look for an order that breaks it, and repeat that.
---@param n? integer
function M.seed(n)
  if n ~= nil and (type(n) ~= "number" or n < 0 or n >= 2 ^ 53 or n % 1 ~= 0) then
    error("seed: a whole number from 0 to 2^53 - 1 expected, got " .. tostring(n), 2)
  end
  loop.seed(n or 0)
end

return M
