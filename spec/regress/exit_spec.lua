-- SPDX-License-Identifier: MIT
-- os.exit while others wait in the middle of everything.

local child = require("spec.parking.child")

local PARKED = [[
local log = assert(io.open(arg[1], "a"))
KEPT = newproxy(true)
getmetatable(KEPT).__gc = function()
  print("finalizer", grun.sleep(1))
end
local conn, peer = grun.pair()
local ways = {
  function() pcall(grun.sleep, 60) end,
  function() ("x"):gsub("x", function() grun.sleep(60) end) end,
  function() coroutine.wrap(function() grun.sleep(60) end)() end,
  function() table.sort({ 1, 2 }, function() grun.sleep(60) end) end,
  function() grun.timeout(60, grun.sleep, 60) end,
  function() grun.event():wait() end,
  function() grun.spawn(grun.sleep, 60):join() end,
  function() require("parkmod").call(grun.sleep, 60) end,
}
for i = 1, 24 do
  grun.spawn(ways[i % #ways + 1])
end
grun.spawn(conn.read, conn)
grun.spawn(function()
  grun.sleep(0.001)
  print("unflushed");
  %s
end)
grun.sleep(60)]]

local DOORS = {
  ["from a thread"] = "os.exit(%s)",
  ["from a coroutine in a pcall in a gsub callback"] =
    '("x"):gsub("x", function() pcall(coroutine.wrap(function() os.exit(%s) end)) end)',
  ["from below a C module"] = "require('parkmod').call(os.exit, %s)",
  ["from an error handler"] = "xpcall(error, function() os.exit(%s) end)",
}

describe("os.exit", function()
  for door, source in pairs(DOORS) do
    for arguments, expected in pairs({
      ["7"] = { "unflushed\n", 7 },
      ["8, true"] = { "unflushed\nfinalizer\tnil\tcannot wait in a finalizer\tmisuse\n", 8 },
      ["true"] = { "unflushed\n", 0 },
      ["false, false"] = { "unflushed\n", 1 },
    }) do
      it(("(%s) %s ends the process although 25 others wait"):format(arguments, door), function()
        local script = PARKED:gsub("%%s", function() return source:format(arguments) end)
        local out, err, status = child.run_text(script, {}, { "/dev/null" })
        assert.same({ expected[1], "", expected[2] }, { out, err, status })
      end)
    end
  end
end)
