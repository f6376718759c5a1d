-- SPDX-License-Identifier: MIT
-- A chat room: every line somebody types goes to everybody else. Shows many connections sharing
-- plain Lua tables without locks: a thread is only interrupted where it waits.
-- Run:  ./grun scripts/examples/chat.lua [tcp://127.0.0.1:7001]
-- Then: nc 127.0.0.1 7001        from several terminals

local address = arg[1] or "tcp://127.0.0.1:7001"
local members = {} -- connection -> name

local function tell_others(from, text)
  for conn in pairs(members) do
    if conn ~= from then
      -- A reader that is too slow for a second misses this line; nobody waits longer for it.
      grun.timeout(1, conn.write, conn, text, "\n")
    end
  end
end

local function chat(conn)
  conn:write("Your name? ")
  local name = conn:read("l")
  if not name or name == "" then
    return
  end
  members[conn] = name
  tell_others(conn, name .. " joined")
  conn:write("Welcome, " .. name .. ". Quit with /quit.\n")
  local ok, err = pcall(function()
    for line in conn:lines() do
      if line == "/quit" then
        return
      end
      tell_others(conn, name .. ": " .. line)
    end
  end)
  members[conn] = nil
  grun.shield(tell_others, conn, name .. " left")
  if not ok then
    error(err, 0)
  end
end

local server = assert(grun.server(address, chat))
io.stdout:setvbuf("line")
print("listening on " .. server:address())
