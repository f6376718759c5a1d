-- SPDX-License-Identifier: MIT
-- Repairs of modules that were not made to be entered by a second thread, or not for so many
-- descriptors; made when a script loads them.

local core = require("grun.core.coop")

local M = {}

local repairs = {}

-- Outside of a loop cqueues.poll uses one loop for all, which a second thread must not enter.
function repairs.cqueues(cqueues)
  local poll = cqueues.poll

  -- The first step calls poll, the second waits. One error of either is the caller's.
  local function steps(loop)
    for _ = 1, 2 do
      local ok, message, code = loop:step()
      if not ok then
        return nil, message, code
      end
    end
    return true
  end

  function cqueues.poll(...)
    if cqueues.running() then
      return poll(...)
    end
    local loop, results = cqueues.new(), nil
    loop:wrap(function(...)
      results = { n = select("#", ...), poll(...) }
    end, ...)
    local ok, message, code = steps(loop)
    loop:close()
    if not ok then
      error(message or "cqueues.poll: error " .. tostring(code), 2)
    end
    return unpack(results or {})
  end
end

local SELECT_MAX = 1024 -- FD_SETSIZE: LuaSocket's own select takes no descriptors from here on

local function has_high(list)
  for i = 1, list and #list or 0 do
    local getfd = list[i].getfd
    if getfd and getfd(list[i]) >= SELECT_MAX then
      return true
    end
  end
  return false
end

-- Adds the sockets of a list to fds; data that a socket has read already counts as news.
local function collect(list, event, fds, events, sockets)
  local dirty = false
  for i = 1, list and #list or 0 do
    local socket = list[i]
    local fd = socket:getfd()
    if fd >= 0 then
      local n = #fds + 1
      fds[n], events[n], sockets[n] = fd, event, socket
      dirty = dirty or event == "r" and socket.dirty ~= nil and socket:dirty()
    end
  end
  return dirty
end

local function add(list, socket)
  list[#list + 1] = socket
  list[socket] = #list
end

-- socket.select for any descriptor, through poll(2).
local function select_any(reads, writes, timeout)
  local fds, events, sockets = {}, {}, {}
  local dirty = collect(reads, "r", fds, events, sockets)
  collect(writes, "w", fds, events, sockets)
  local ready, message = core.poll(fds, events, dirty and 0 or timeout or -1)
  if not ready then
    return {}, {}, message
  end
  local readable, writable, any = {}, {}, false
  for i, socket in ipairs(sockets) do
    if ready[i] or events[i] == "r" and socket.dirty and socket:dirty() then
      add(events[i] == "r" and readable or writable, socket)
      any = true
    end
  end
  return readable, writable, not any and "timeout" or nil
end

repairs["socket.core"] = function(socket)
  local few = socket.select
  function socket.select(reads, writes, timeout)
    if has_high(reads) or has_high(writes) then
      return select_any(reads, writes, timeout)
    end
    return few(reads, writes, timeout)
  end
end

-- What package.preload holds for these modules: finds them as require would have, then repairs.
function M.load(name)
  local tried = {}
  for i = 2, #package.loaders do
    local loader = package.loaders[i](name)
    if type(loader) == "function" then
      local module = loader(name)
      module = module ~= nil and module or package.loaded[name]
      if type(module) == "table" then
        repairs[name](module)
      end
      return module
    end
    tried[#tried + 1] = loader
  end
  error("module '" .. name .. "' not found:" .. table.concat(tried), 3)
end

return M
