-- SPDX-License-Identifier: MIT
-- A ring of threads that pass a token over socket pairs: each waits for its left neighbour, then
-- tells its right one.
-- Run: ./grun scripts/examples/ring.lua [threads [rounds]]

local threads, rounds = tonumber(arg[1]) or 100, tonumber(arg[2]) or 20
local left, right = {}, {}

for i = 1, threads do
  left[i], right[i] = grun.pair()
end

-- Member i reads from pair i and writes into pair i + 1.
local function member(i)
  local from, to = right[i], left[i % threads + 1]
  while true do
    local hops = from:read("n", 1)
    if not hops then
      return to:close()
    elseif i == 1 and hops >= threads * rounds then
      print(("%d hops through %d threads"):format(hops, threads))
      return to:close()
    end
    to:write(hops + 1, "\n")
  end
end

local start, members = grun.now(), {}
for i = 1, threads do
  members[i] = grun.spawn(member, i)
end
left[1]:write("0\n")
grun.joinall(members, { raise = true })
io.stderr:write(("%.1f µs a hop\n"):format((grun.now() - start) / (threads * rounds) * 1e6))
