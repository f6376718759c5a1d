-- SPDX-License-Identifier: MIT
-- Bodies of requests on their way. A thread of its own sends one, so that the response can be read
-- meanwhile: a server may answer piece by piece, and take more only when its answer is read.

local core = require("grun.core")
local httpc = require("grun.core.httpc")
local thread = require("grun.thread")
local bodies = require("grun.http.body")

local INTERIM = 20 -- responses before the final one that come while the server takes nothing
local STOP = 1 -- seconds that are waited for the thread to end

-- The server closed, perhaps after it had answered.
local GONE = { EPIPE = true, ECONNRESET = true, closed = true }

---@class grun.http.upload
---@field conn grun.conn
---@field length? integer what the head says; nil: chunked
---@field over? boolean it has ended, or is about to
---@field complete? boolean all of it was sent
---@field streaming? boolean the caller has the response, so that silence of both sides counts
---@field moved number when the server took something last
---@field asking? number since when the iterator is asked for a piece
local Upload = {}
Upload.__index = Upload

local M = {}

--- Seconds that the server may take for the next step of a request.
---@param req table
---@return number
function M.left(req)
  local seconds = req.read_timeout
  if req.limit then
    return math.min(seconds, math.max(0, req.limit - core.now()))
  end
  return seconds
end

-- ---- In its thread ----

-- Notes what went wrong, unless the response tells it as well.
local function note(self, ok, err, message, code)
  if not ok and not thread.is_own_cancel(err) then
    self._caught = thread.caught(err)
  elseif not ok then
    self._problem = { "closed", "closed" }
  elseif not (GONE[code] or code == "timeout" and self._answered) then
    self._problem = { message, code }
  end
end

local function run(self)
  local ok, sent, message, code = xpcall(bodies.send, core.traceback, self._body, self)
  if self.over then
    return
  end
  self.over, self.moved, self.complete = true, core.now(), ok and sent
  if not self.complete then
    note(self, ok, sent, message, code)
  end
  if self:failed() then
    self.conn:close() -- nobody is to take it for the whole, and who waits for the response wakes up
  end
end

-- ---- What the thread asks for ----

---@return number
function Upload:left()
  return M.left(self._req)
end

--- Whether a server that takes nothing is not stuck: what it sent is unread, or was until lately.
---@return boolean
function Upload:excused()
  return self._answered and not self._heard and self:left() > 0
    and (core.now() - self._read < self._req.read_timeout or not httpc.is_idle(self.conn))
end

-- ---- For who reads the response ----

-- Calls look(conn, seconds) until it sees something. Returns that, or nil, message, code once the
-- server has said nothing for too long. It need not before it has all, unless `streaming`.
local function wait_for(self, look)
  local since = core.now()
  while true do
    local now = core.now()
    since = math.max(since, (self.over or self.streaming) and self.moved or now)
    local seconds = math.min(since + self._req.read_timeout, self._req.limit or math.huge) - now
    local seen = look(self.conn, math.max(0, seconds))
    if seen then
      return seen
    elseif seconds <= 0 then
      return nil, "timeout", "timeout"
    end
  end
end

--- Waits for the head of the final response, or the end of the connection. Returns true, or nil,
--- message, code. Parks.
---@return true|nil, string?, string?
---@async
function Upload:await_head()
  local n, moved = 0, nil
  repeat
    local seen, message, code = wait_for(self, httpc.early)
    if not seen then
      return nil, message, code
    end
    n = self.moved == moved and n + 1 or 1
    moved = self.moved
  until seen == "answer" or n > INTERIM
  return true
end

--- Waits for a piece of the response's body, or its end. Returns as await_head. Parks.
---@return true|nil, string?, string?
---@async
function Upload:await_piece()
  local ok, message, code = wait_for(self, httpc.wait)
  self._read = core.now()
  return ok, message, code
end

--- The head of the response is there. Unless it tells of success, the server wants no more. Parks.
---@param status integer
---@async
function Upload:answer(status)
  self._answered = true
  if status < 200 or status > 299 then
    self:kill()
  end
end

--- The response is over: waits for the end of the upload, for which an iterator may take `grace`
--- seconds a piece; with 0 ends it. Parks.
---@param grace number
---@async
function Upload:settle(grace)
  self._heard = true
  local started = core.now()
  while not self.over do
    local now = core.now()
    local since = math.max(started, self.asking or now)
    local seconds = math.min(since + grace, self._req.limit or math.huge) - now
    if seconds <= 0 or self._thread == core.current() then
      self:kill()
    elseif self._thread:join(seconds < math.huge and seconds or nil) then
      self.over = true
    end
  end
end

--- What a failure of the response is due to: the upload's own, or that. Raises an error of the
--- iterator. `again`: whether the request may be sent once more.
function Upload:blame(message, code, again)
  if self._caught then
    return thread.rethrow(self._caught)
  elseif self._problem then
    return self._problem[1], self._problem[2], false
  end
  return message, code, again
end

---@return boolean
function Upload:failed()
  return (self._caught or self._problem) ~= nil
end

--- Ends it. Never parks; finalizers call it too.
function Upload:stop()
  if not self.over then
    self.over = true
    self._thread:cancel("the request is over")
  end
end

--- The same, and waits for the thread, which then uses the body no more. Parks.
---@async
function Upload:kill()
  self:stop()
  if self._thread ~= core.current() then
    self._thread:join(STOP)
  end
end

--- Sends the body of a request in a thread of its own.
---@param req table
---@param conn grun.conn
---@param length? integer
---@return grun.http.upload
function M.start(req, conn, length)
  local self = setmetatable({ conn = conn, length = length, moved = core.now(), sent = 0,
    _read = core.now(), _req = req, _body = req.body }, Upload)
  self._thread = thread.spawn_daemon("http.upload", run, self)
  return self
end

return M
