-- SPDX-License-Identifier: MIT
-- Three threads pass a turn round a ring with three events: each waits for its own event, clears
-- it, does its work and sets the next one's.
-- Run: ./grun scripts/examples/turns.lua [rounds]
-- Prints:
--   round 1: thread 1
--   round 1: thread 2
--   round 1: thread 3
--   round 2: thread 1
--   round 2: thread 2
--   round 2: thread 3

local rounds = tonumber(arg[1]) or 2
local turn = { grun.event(), grun.event(), grun.event() }

local function player(i)
  local mine, next_one = turn[i], turn[i % #turn + 1]
  for round = 1, rounds do
    mine:wait()
    mine:clear()
    print(("round %d: thread %d"):format(round, i))
    next_one:set()
  end
end

grun.scope(function(group)
  for i = #turn, 1, -1 do -- in whatever order they start
    group:spawn(player, i)
  end
  turn[1]:set()
end)
