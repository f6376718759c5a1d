-- SPDX-License-Identifier: MIT
-- What the specs about sockets share.

local grun = require("grun")
local helper = require("spec.helper")

local M = {}

--- Makes an it() whose body gets keep(object...), which closes its arguments after the test and
--- returns them. Called with the spec file's own it and a function that calls its finally.
function M.test(it, finally)
  return function(name, body)
    it(name, function()
      local opened = {}
      finally(function()
        for i = #opened, 1, -1 do
          opened[i]:close()
        end
      end)
      body(function(...)
        for i = 1, select("#", ...) do
          opened[#opened + 1] = (select(i, ...))
        end
        return ...
      end)
    end)
  end
end

--- A client and the server's end of its connection.
function M.connected(keep, address, opts)
  local listener = keep(assert(grun.listen(address)))
  local client = keep(assert(grun.connect(listener:address(), opts)))
  return client, keep(assert(listener:accept()))
end

local probe, problem = grun.udp("udp://[::1]:0")
if probe then
  probe:close()
end
--- Why tests over IPv6 cannot run here; nil where they can.
M.no_ipv6 = problem

--- A path for a unix socket, removed after the test.
function M.unix_path()
  local name = helper.tmpname()
  os.remove(name)
  return name
end

--- Runs fn(...) in a thread and returns it once it waits.
function M.parked(fn, ...)
  local t = grun.spawn(fn, ...)
  while t:status() ~= "waiting" do
    assert(t[1], "the thread ended instead of waiting")
    grun.yield()
  end
  return t
end

local BLOCK = 65536 -- words of 8 bytes

--- n bytes without a short period, so that lost or repeated pieces show: numbered blocks.
function M.noise(n)
  local words, blocks, seed = {}, {}, 1
  for i = 1, math.min(math.ceil(n / 8), BLOCK) - 1 do
    seed = (seed * 16807) % 2147483647
    words[i] = ("%08x"):format(seed)
  end
  local block = table.concat(words)
  for i = 1, math.ceil(n / 8 / BLOCK) do
    blocks[i] = ("%08x"):format(i) .. block
  end
  return table.concat(blocks):sub(1, n)
end

--- True, or in few words how two long texts differ.
function M.same(expected, got)
  if expected == got then
    return true
  end
  local i = 1
  while expected:byte(i) == got:byte(i) do
    i = i + 1
  end
  return ("%d bytes instead of %d, different from byte %d"):format(#got, #expected, i)
end

return M
