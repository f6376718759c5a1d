-- SPDX-License-Identifier: MIT
-- What the specs about worker processes share.

local children = require("spec.cli.child")

local M = { eventually = children.eventually }

local contents = children.contents
local opened = {}

--- Starts grun with a list of arguments; it is ended after the test.
function M.start(args)
  local child = children.start(args)
  opened[#opened + 1] = child
  return child
end

--- Ends all that was started; done after every test.
function M.end_all()
  for _, child in ipairs(opened) do
    if not child:ended() then
      child:signal("INT")
      pcall(child.wait, child)
    end
    child:destroy()
  end
  opened = {}
end

--- Makes an it() after whose body what was started is ended, then clean_up() is called. Called with
--- the spec file's own it and a function that calls its finally.
function M.test(it, finally, clean_up)
  return function(name, body)
    it(name, function()
      finally(function()
        M.end_all()
        if clean_up then
          clean_up()
        end
      end)
      body()
    end)
  end
end

--- The processes whose parent is `pid`.
function M.children_of(pid)
  local list = {}
  for child in contents(("/proc/%d/task/%d/children"):format(pid, pid)):gmatch("%d+") do
    list[#list + 1] = tonumber(child)
  end
  return list
end

--- The letter of its state, nil when it is gone. "Z": nobody has reaped it yet.
function M.state_of(pid)
  return contents(("/proc/%d/stat"):format(pid)):match("%) (%a)")
end

function M.kill(signal, pid)
  assert(os.execute(("kill -%s %d"):format(signal, pid)) == 0)
end

return M
