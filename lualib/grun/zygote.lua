-- SPDX-License-Identifier: MIT
-- Processes that workers are forked from (--preload), as the master sees them. The other side is
-- preload.lua.
--
-- One is `current`: new workers come from it. During a reload there is another. One that has loaded
-- and then ends is replaced, as soon as that may be.

local agenda = require("grun.agenda")
local children = require("grun.core.process")
local core = require("grun.core")
local crew = require("grun.crew")
local native = require("grun.core.worker")
local net = require("grun.socket")
local spawn_daemon = require("grun.thread").spawn_daemon
require("grun.process") -- what processes are

local PATIENCE = 5 -- seconds for an answer, which takes milliseconds
local END = 1 -- seconds for the end of one that is not needed any more
local SHORT = 1 -- seconds: who has been ready for less is replaced only after a delay
local DELAY_MIN, DELAY_MAX = 0.1, 5 -- seconds between attempts to replace one, doubling

local M = {
  current = nil, ---@type grun.master.zygote|nil
  others = {}, -- set of pids of children that are neither workers nor ours
  on_return = nil, -- fn(): there is a `current` one again
  on_gone = nil, -- fn(): one has ended
}

local coming -- the next generation's
local stopped = false
local all = {} -- set of those whose process runs
local adopted = {} -- set of pids
local turn = require("grun.lock").lock() -- to fork

---@class grun.master.zygote
---@field generation integer
---@field process grun.process
---@field channel grun.conn
---@field ready number|false when it had loaded
---@field unwanted boolean
local Zygote = {}
Zygote.__index = Zygote

function Zygote:name()
  return ("the process to fork workers from (pid %d)"):format(self.process.pid)
end

--- Ends it.
function Zygote:stop()
  self.unwanted = true
  if M.current == self then
    M.current = nil
  end
  self.channel:close()
  if not self.ready then
    return self.process:kill("KILL")
  end
  agenda.after(END, function()
    if all[self] then
      self.process:kill("KILL")
    end
  end)
end

-- ---- Forking ----

local function look_after(p)
  adopted[p.pid] = true
  spawn_daemon("child", function()
    p:wait()
    adopted[p.pid] = nil
  end)
end

local function is_known(pid)
  for worker in pairs(crew.workers) do
    if worker.process and worker.process.pid == pid then
      return true
    end
  end
  for zygote in pairs(all) do
    if zygote.process.pid == pid then
      return true
    end
  end
  return adopted[pid] or M.others[pid]
end

-- While this process adopted its workers' children, orphans of other origin may have come too. They
-- are left alone, but somebody has to take note of their ends.
-- `worker`: a new one, if any.
local function look_after_strays(worker)
  local own = native.pid()
  local file = io.open(("/proc/%d/task/%d/children"):format(own, own))
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  for number in text:gmatch("%d+") do
    local pid = tonumber(number)
    local p = pid ~= worker and not is_known(pid) and children.adopt(pid)
    if p then
      look_after(p)
    end
  end
end

-- Returns its answer: a pid, or nil and a message; nothing when there is none.
local function order(channel, about, words, sockets)
  channel:settimeout(PATIENCE)
  if channel:send_fd(words) and channel:send_fd(sockets) and channel:write(about, "\n") then
    local word, rest = (channel:read("l") or ""):match("^(%S+) (.*)$")
    if word == "pid" then
      return tonumber(rest)
    elseif word then
      return nil, rest
    end
  end
end

local function fork(self, about, words, sockets)
  if not all[self] or self.unwanted then
    return nil, self:name() .. " has ended"
  end
  native.adopt_orphans(true)
  local pid, message = order(self.channel, about, words, sockets)
  native.adopt_orphans(false)
  if not (pid or message) then
    -- A late answer would be taken for that to another order.
    self.process:kill("KILL")
    return nil, self:name() .. " does not answer"
  end
  local p
  if pid then
    p, message = children.adopt(pid)
  end
  look_after_strays(pid)
  return p, message
end

--- Makes a worker, which `about` describes and which gets the two descriptors. Returns its process,
--- or nil and a message. One after the other. Parks.
function Zygote:fork(about, words, sockets)
  return turn:with(fork, self, about, words, sockets)
end

-- ---- Its life ----

local function await_loading(self, on_ready)
  if self.channel:read("l") == "ready" then
    agenda.put(function()
      if all[self] and not self.unwanted then
        self.ready = core.now()
        on_ready(self)
      end
    end)
  end
end

local function gone(self, why, on_end)
  all[self] = nil
  self.channel:close()
  if M.current == self then
    M.current = nil
  end
  if not self.unwanted then
    on_end(self, why)
  end
  M.on_gone()
end

local function attend(self, on_ready, on_end)
  spawn_daemon("loading", await_loading, self, on_ready)
  local code, _, signal = self.process:wait()
  agenda.put(function()
    gone(self, code and ("ended with status %d"):format(code)
      or "was killed by " .. (signal or "somebody"), on_end)
  end)
  -- Not while another one forks: its worker would be taken for a stray.
  turn:with(look_after_strays)
end

-- Calls on_ready(zygote) when it has loaded, on_end(zygote, why) when it ends unasked. Returns it,
-- or nil and a message.
local function start(generation, on_ready, on_end)
  local channel, theirs = net.pair()
  if not channel then
    return nil, "no descriptors are left"
  end
  local p, message = crew.execute("preload " .. generation, theirs)
  if not p then
    channel:close()
    return nil, message
  end
  local self = setmetatable({
    generation = generation, process = p, channel = channel, ready = false, unwanted = false,
  }, Zygote)
  all[self] = true
  spawn_daemon(self:name(), attend, self, on_ready, on_end)
  return self
end

local replace

local function replace_later(generation, delay)
  agenda.after(delay, function()
    if not (stopped or M.current) then
      replace(generation, math.min(delay * 2, DELAY_MAX))
    end
  end)
end

-- One that should be there has ended. `delay`: until the next attempt, if it has not lived long.
local function on_lost(self, why, delay)
  if self.ready and core.now() - self.ready >= SHORT then
    agenda.log("%s %s; starting another", self:name(), why)
    replace(self.generation, DELAY_MIN)
  else
    agenda.log("%s %s; starting another in %g s", self:name(), why, delay)
    replace_later(self.generation, delay)
  end
end

-- `delay`: before the next attempt, if this one fails.
function replace(generation, delay)
  local zygote, message = start(generation, function(self)
    M.current = self
    M.on_return()
  end, function(self, why)
    on_lost(self, why, delay)
  end)
  if not zygote then
    agenda.log("cannot start a process to fork workers from: %s", message)
    replace_later(generation, delay)
  end
end

-- ---- For the master ----

--- Loads a generation: on_loaded(zygote), or on_failed(why). It is not `current` yet.
function M.load(generation, on_loaded, on_failed)
  local message
  coming, message = start(generation, on_loaded, function(self, why)
    if coming == self then
      coming = nil
      on_failed(why)
    else
      on_lost(self, why, DELAY_MIN)
    end
  end)
  if not coming then
    on_failed(message)
  end
end

--- Workers come from the loaded generation from now on, and from no other.
function M.commit()
  M.current, coming = coming, nil
  for zygote in pairs(all) do
    if zygote ~= M.current and not zygote.unwanted then
      zygote:stop()
    end
  end
end

--- The one that was loaded is not needed.
function M.abandon()
  local zygote = coming
  coming = nil
  if zygote then
    zygote:stop()
  end
end

--- Ends all of them, for good.
function M.stop()
  stopped, coming = true, nil
  M.commit()
end

--- Whether none runs.
function M.none()
  return next(all) == nil
end

return M
