-- SPDX-License-Identifier: MIT
-- Compiled code stays: neither LuaJIT's limits, which a large program outgrows, nor a crowded
-- address space around the library make it throw the code away.

local helper = require("spec.helper")

-- Prints how often all compiled code was flushed. First come `threads` parked ones and `megabytes`
-- of mappings, then more loops than LuaJIT's own limits allow.
local SCRIPT = [[
local threads, megabytes, loops = THREADS, MEGABYTES, 2000
local ffi = require("ffi")
ffi.cdef("void *mmap(void *, size_t, int, int, int, long);")
jit.off()
local gate = grun.event()
for i = 1, threads do
  grun.spawn(gate.wait, gate)
  if i % 1000 == 0 then
    grun.yield()
  end
end
local PROT_READ, PRIVATE_ANONYMOUS_NORESERVE, step = 1, 0x4022, 16
for _ = 1, megabytes / step do
  local at = ffi.C.mmap(nil, step * 2 ^ 20, PROT_READ, PRIVATE_ANONYMOUS_NORESERVE, -1, 0)
  assert(ffi.cast("intptr_t", at) ~= -1, "mmap failed")
end
local flushes, compiled = 0, 0
jit.attach(function(what)
  flushes = flushes + (what == "flush" and 1 or 0)
  compiled = compiled + (what == "stop" and 1 or 0)
end, "trace")
jit.on()
for i = 1, loops do
  local text = ("local s, t = 0, {} for i = 1, 100 do s = s + i * %d t[i] = tostring(s) end")
  loadstring(text:format(i))()
end
jit.off()
print(flushes, compiled >= loops)
os.exit(0)
]]

local function flushes(threads, megabytes)
  local script = SCRIPT:gsub("THREADS", threads):gsub("MEGABYTES", megabytes)
  return helper.run_script(script, { timeout = 60 })
end

describe("compiled code", function()
  local cases = { { 0, 0 }, { 0, 8192 }, { 100000, 1024 } }

  for _, case in ipairs(cases) do
    it(("stays with %d threads and %d MiB mapped"):format(case[1], case[2]), function()
      local out, err = flushes(case[1], case[2])
      assert.equal("0\ttrue\n", out .. err)
    end)
  end
end)
