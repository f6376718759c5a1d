-- SPDX-License-Identifier: MIT
-- Listening sockets that a master keeps for its workers, so that nobody who connects is refused
-- while workers come and go.

local net = require("grun.core.net")
local native = require("grun.core.worker")
local datagram = require("grun.datagram")

local FOREIGN = "!" -- before the key of a socket that is not ours, when it is handed over

local M = {}

-- { key =, object = listener or socket, kind =, path = to remove, generation = of the latest worker
-- that asked, foreign = it was given to us and outlives us }
local sockets = {}
-- What a service manager or an earlier master gave: the same, with `name` or `key`.
local given = {}

-- An address without what does not matter for its socket.
local function canonical(address)
  return (address:gsub("^tls://", "tcp://"):gsub("^([^:/]*:%d+)$", "tcp://%1"))
end

local function key_of(kind, address, ordinal)
  return ("%s %s %s"):format(kind, canonical(address), ordinal)
end

-- The given socket for an address: by key, by name, or since it is bound there.
local function find_given(key, address)
  local wanted = canonical(address)
  local name = address:match("^systemd:(.*)$")
  for i, socket in ipairs(given) do
    if socket.key == key or name and socket.name == name or "fd:" .. socket.number == wanted
        or not socket.key and socket.address == wanted then
      table.remove(given, i)
      return socket
    end
  end
  if name then
    return nil, ("no socket named '%s' was given"):format(name), "ENOENT"
  end
end

local function address_of(object)
  return object.address and object:address() or object:sockname()
end

-- Raises on misuse.
local function make(kind, address, opts)
  local object, message, code
  if kind == "datagram" then
    object, message, code = datagram.udp(address, opts)
  else
    object, message, code = net.listen((address:gsub("^tls://", "tcp://")), opts)
  end
  local foreign = address:find("^fd:") ~= nil
  return object and { object = object, kind = kind, foreign = foreign }, message, code
end

local function find(key)
  for _, socket in ipairs(sockets) do
    if socket.key == key then
      return socket
    end
  end
end

-- Returns the entry of a socket that is not there yet, or nil, message, code.
local function take_or_make(key, kind, address, opts)
  local socket, message, code = find_given(key, address)
  if socket or message then
    return socket, message, code
  end
  local ok, made, failure, reason = pcall(make, kind, address, opts)
  if not ok then
    return nil, tostring(made), "misuse"
  end
  return made, failure, reason
end

local function open(kind, address, ordinal, opts, generation)
  local key = key_of(kind, address, ordinal)
  local socket = find(key)
  if not socket then
    local message, code
    socket, message, code = take_or_make(key, kind, address, opts)
    if not socket then
      return nil, message, code
    end
    socket.key = key
    sockets[#sockets + 1] = socket
  end
  socket.generation = math.max(generation, socket.generation or 0)
  return socket.object:fd()
end

-- Names are looked up meanwhile, and another worker wants the same.
local opening = require("grun.lock").lock()

--- The descriptor of the socket for that address, the `ordinal`-th of one worker; made or taken if
--- it is not there. Returns nil, message, code on failure ("misuse": wrong options). Parks.
function M.open(...)
  return opening:with(open, ...)
end

local function close(socket)
  if socket.path then
    os.remove(socket.path)
  end
  socket.object:close()
end

--- Closes what no worker of that generation or a later one has asked for.
function M.forget_before(generation)
  for i = #sockets, 1, -1 do
    if sockets[i].generation < generation then
      close(table.remove(sockets, i))
    end
  end
end

--- Nobody who connects from now on is let in; who waits is left to the workers, who still have the
--- sockets. Those that were given to us outlive us: who connects waits for whoever comes next.
function M.refuse_and_close()
  for _, socket in ipairs(sockets) do
    if socket.kind == "stream" and not socket.foreign then
      native.refuse(socket.object:fd())
    end
    close(socket)
  end
  sockets = {}
end

--- Addresses of all sockets.
function M.addresses()
  local list = {}
  for i, socket in ipairs(sockets) do
    list[i] = address_of(socket.object)
  end
  return list
end

--- Closes what was given and nobody has asked for.
function M.forget_given()
  for i = #given, 1, -1 do
    close(table.remove(given, i))
  end
end

-- ---- Handing over ----

--- Descriptors of all sockets, and a text that tells the next master which is which.
function M.export()
  local fds, lines = {}, {}
  for i, socket in ipairs(sockets) do
    fds[i] = socket.object:fd()
    lines[i] = (socket.foreign and FOREIGN or "") .. socket.key
  end
  return fds, table.concat(lines, "\n")
end

local function adopt(fd)
  local object, message = net.listen("fd:" .. fd, {})
  local kind = "stream"
  if not object then
    object = datagram.udp("fd:" .. fd, {})
    kind = "datagram"
  end
  if not object then
    return nil, message
  end
  return { object = object, kind = kind, number = fd, address = address_of(object) }
end

--- Takes over what another master's export() gave, as descriptors from `first` on. Unix paths are
--- this process's to remove from now on.
function M.import(first, text)
  for key in text:gmatch("[^\n]+") do
    local socket = adopt(first)
    if socket then
      socket.foreign = key:sub(1, 1) == FOREIGN
      socket.key = socket.foreign and key:sub(2) or key
      socket.path = not socket.foreign and socket.address:match("^unix[gram]*:(/.*)$")
      given[#given + 1] = socket
    end
    first = first + 1
  end
end

--- Takes descriptors that a service manager gave: a list of { fd =, name = }. Returns true, or nil
--- and what is wrong.
function M.take(list)
  for _, item in ipairs(list) do
    local socket, message = adopt(item.fd)
    if not socket then
      return nil, message
    end
    socket.name, socket.foreign = item.name, true
    given[#given + 1] = socket
  end
  return true
end

return M
