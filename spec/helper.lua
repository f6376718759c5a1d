-- SPDX-License-Identifier: MIT
-- Loaded by busted before the specs (see .busted). A test that leaves threads or descriptors behind
-- fails. What a test has to put away belongs into finally(). What is older than the test (made by
-- before_each, say) does not count for it, but is looked at again at the end of the file.

local busted = require("busted")
local lfs = require("lfs")
local grun = require("grun")

local M = { grun = os.getenv("GRUN") or arg and arg[-1] or "./grun" }

-- ---- What is there ----

-- Number of a descriptor -> what it is open on. The control socket comes when it likes.
local function descriptors()
  local open, control = {}, require("grun.control").fd()
  for fd in lfs.dir("/proc/self/fd") do
    local target = tonumber(fd) and tonumber(fd) ~= control and
      lfs.symlinkattributes("/proc/self/fd/" .. fd, "target")
    if target and not target:find("^/proc/%d+/fd$") then
      open[tonumber(fd)] = target
    end
  end
  return open
end

local function snapshot()
  local there = { threads = {}, fds = descriptors(), deadline = grun.deadline() }
  for _, t in ipairs(grun.threads()) do
    there.threads[t.id] = true
  end
  return there
end

local function new_threads(before)
  local list = {}
  for _, t in ipairs(grun.threads()) do
    if not before.threads[t.id] then
      list[#list + 1] = t
    end
  end
  return list
end

-- Lets threads end that are about to, and those that the end of a connection wakes.
local function settle(before)
  for _ = 1, 20 do
    if #new_threads(before) == 0 then
      return
    end
    grun.yield()
    grun.idle()
  end
end

-- One line for each thing that is there now and was not before.
local function leaks(before)
  settle(before)
  local lines = {}
  for _, t in ipairs(new_threads(before)) do
    lines[#lines + 1] = ("  %s, spawned at %s"):format(tostring(t), t.spawned_at or "?")
  end
  for fd, target in pairs(descriptors()) do
    if before.fds[fd] ~= target then
      lines[#lines + 1] = ("  fd %d open on %s"):format(fd, target)
    end
  end
  if grun.deadline() and not before.deadline then
    lines[#lines + 1] = "  a deadline"
  end
  return lines
end

local function check(before, who)
  local lines = leaks(before)
  if #lines > 0 then
    busted.fail(who .. " left behind:\n" .. table.concat(lines, "\n"), 2)
  end
end

-- ---- Around every test and file ----

local before_test, before_file, original, failed
local files, owned = {}, {}

local function kill_owned()
  for i = #owned, 1, -1 do
    table.remove(owned, i):kill(1)
  end
end

local function checked(element, run)
  return function()
    local finally, cleaned = element.env.finally, false
    element.env.finally = function(fn)
      cleaned = true
      finally(function()
        fn()
        kill_owned()
        check(before_test, "the test")
      end)
    end
    run()
    if not cleaned then
      kill_owned()
      check(before_test, "the test")
    end
  end
end

busted.subscribe({ "test", "start" }, function(element)
  before_test, original = snapshot(), element.run
  element.run = checked(element, original)
  return nil, true
end)

-- What a failed test left must not disturb the next one.
busted.subscribe({ "test", "end" }, function(element, _, status)
  element.run = original
  kill_owned()
  failed = failed or status == "failure" or status == "error"
  for _, t in ipairs(new_threads(before_test)) do
    t:cancel("left behind")
  end
  settle(before_test)
  for i = #files, 1, -1 do
    os.remove(table.remove(files, i))
  end
  return nil, true
end)

busted.subscribe({ "file", "start" }, function()
  before_file, failed = snapshot(), false
  return nil, true
end)

busted.subscribe({ "file", "end" }, function()
  if not failed then
    check(before_file, "the file")
  end
  return nil, true
end)

-- ---- For the specs ----

--- As grun.spawn; the thread is killed when the test ends, however that ends.
function M.spawn(...)
  owned[#owned + 1] = grun.spawn(...)
  return owned[#owned]
end

--- Name of a new file that is removed after the test; empty or with that content.
function M.tmpname(content)
  local name = os.tmpname()
  files[#files + 1] = name
  if content then
    local file = assert(io.open(name, "w"))
    file:write(content)
    file:close()
  end
  return name
end

--- Name of a file ending in .lua that holds `source`, removed after the test.
function M.script(source)
  local name = M.tmpname()
  files[#files + 1] = name .. ".lua"
  assert(os.rename(name, name .. ".lua"))
  local file = assert(io.open(name .. ".lua", "w"))
  file:write(source)
  file:close()
  return name .. ".lua"
end

--- A word for the shell.
function M.quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

--- The text of a file.
function M.contents(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- Runs grun with a list of arguments and waits for its end. opts: stdin (text), env (table of
--- variables), timeout (seconds, default 20; then the child is killed), prefix (a command that
--- runs it, "prlimit --as=…"). Returns its stdout, its stderr and its status: 124 after the
--- timeout, 128 + n when signal n killed it. Other threads may stand still meanwhile.
function M.run_child(args, opts)
  opts = opts or {}
  local out, err, words = M.tmpname(), M.tmpname(), { "env" }
  for name, value in pairs(opts.env or {}) do
    words[#words + 1] = M.quote(name .. "=" .. value)
  end
  words[#words + 1] = ("timeout -k 2 %g"):format(opts.timeout or 20)
  words[#words + 1] = opts.prefix
  words[#words + 1] = M.quote(M.grun)
  for _, word in ipairs(args) do
    words[#words + 1] = M.quote(word)
  end
  local command = ("%s <%s >%s 2>%s; echo $?"):format(table.concat(words, " "),
    opts.stdin and M.tmpname(opts.stdin) or "/dev/null", out, err)
  local shell = assert(io.popen(command))
  local status = tonumber(shell:read("*l"))
  shell:close()
  return M.contents(out), M.contents(err), status
end

--- Runs the text of a script; opts and results as in run_child.
function M.run_script(source, opts)
  return M.run_child({ M.script(source) }, opts)
end

--- Runs fn() and returns the uncaught errors of threads meanwhile, which then are not on stderr: a
--- list of { thread =, err =, traceback = }.
function M.reports(fn)
  local list = {}
  local previous = grun.on_error(function(thread, err, traceback)
    list[#list + 1] = { thread = thread, err = err, traceback = traceback }
  end)
  local ok, problem = xpcall(fn, debug.traceback)
  grun.on_error(previous)
  if not ok then
    error(problem, 0)
  end
  return list
end

--- Asserts that fn(), written on one line and without a tail call, raises `message` at that line.
function M.misuse(fn, message)
  local info = debug.getinfo(fn, "S")
  local ok, err = pcall(fn)
  local expected = ("%s:%d: %s"):format(info.short_src, info.linedefined, message)
  busted.assert.same({ false, expected }, { ok, err })
end

package.loaded["spec.helper"] = M
return M
