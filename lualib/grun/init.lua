-- SPDX-License-Identifier: MIT
-- The grun table: what every script sees. Parts that not every script needs load at their first
-- use.

local core = require("grun.core")
local thread = require("grun.thread")
local scope = require("grun.scope")

---@class grun
local grun = {
  spawn = core.spawn,
  spawn_later = core.spawn_later,
  current = core.current,
  sleep = core.sleep,
  yield = core.yield,
  idle = core.idle,
  hibernate_after = core.hibernate_after,
  now = core.now,
  deadline = scope.deadline,
  threads = thread.threads,
  on_error = thread.on_error,
  timeout = scope.timeout,
  shield = scope.shield,
  is_cancel = scope.is_cancel,
}

-- Name of a function -> the module it comes from; name of a module's table -> that module.
local later = {
  wait = "grun.wait",
  iwait = "grun.wait",
  joinall = "grun.wait",
  killall = "grun.wait",
  select = "grun.select",
  op_sleep = "grun.select",
  event = "grun.event",
  result = "grun.result",
  semaphore = "grun.semaphore",
  lock = "grun.lock",
  condition = "grun.lock",
  barrier = "grun.lock",
  rwlock = "grun.lock",
  queue = "grun.queue",
  group = "grun.group",
  scope = "grun.group",
  pool = "grun.pool",
  greenlet = "grun.greenlet",
  greenlet_current = "grun.greenlet",
  connect = "grun.socket",
  listen = "grun.socket",
  pair = "grun.socket",
  udp = "grun.datagram",
  wait_readable = "grun.socket",
  wait_writable = "grun.socket",
  resolve = "grun.dns",
  dns = "grun.dns",
  server = "grun.server",
  servers = "grun.server",
  http = "grun.http",
  process = "grun.process",
  fs = "grun.fs",
  watch = "grun.watch",
  signal = "grun.signal",
  signal_wait = "grun.signal",
  offload = "grun.offload",
  offload_threads = "grun.offload",
  tls = "grun.tls",
  coop = "grun.coop",
  stats = "grun.stats",
  backdoor = "grun.backdoor",
  log = "grun.log",
  profile = "grun.profile",
  block_warn = "grun.loop",
  seed = "grun.loop",
  worker = "grun.worker",
}

package.loaded["grun"] = setmetatable(grun, {
  __names = { later }, -- for completion
  __index = function(self, key)
    local module = later[key]
    if not module then
      return nil
    end
    local loaded = require(module)
    local value = loaded[key] or loaded
    rawset(self, key, value)
    return value
  end,
})

core.hooks.signal = function(name)
  return require("grun.stop").signal(name)
end

core.hooks.deadlock = function()
  return require("grun.inspect").deadlock()
end

core.hooks.control = function(what)
  return require("grun.control").hook(what)
end

return grun
