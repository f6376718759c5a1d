-- SPDX-License-Identifier: MIT
-- grun.watch: events of files and directories.

local grun = require("grun")

local helper = require("spec.helper")
local net = require("spec.net_helper")

local fs = grun.fs
local test = net.test(it, function(fn) finally(fn) end)
local dir

before_each(function()
  dir = assert(fs.tempdir())
end)

after_each(function()
  fs.remove(dir, { recursive = true })
end)

-- What the watcher tells until nothing comes for a while: lines "kind path", paths below dir.
local function told(watcher)
  local list = {}
  while true do
    local event = watcher:next(0.1)
    if not event then
      return table.concat(list, "\n")
    end
    list[#list + 1] = event.kind .. " " .. event.path:sub(#dir + 2)
  end
end

local function write(name, text)
  assert(fs.write_file(dir .. "/" .. name, text or "text"))
end

local function lines(...)
  return table.concat({ ... }, "\n")
end

describe("a watched directory", function()
  test("tells what happens to its entries", function(keep)
    local w = keep(assert(grun.watch(dir)))
    write("a")
    assert.equal(lines("create a", "modify a", "closed_write a"), told(w))
    fs.chmod(dir .. "/a", "0600")
    assert.equal("attrib a", told(w))
    fs.mkdir(dir .. "/d")
    write("d/below")
    assert.equal("create d", told(w))
    fs.rename(dir .. "/a", dir .. "/b")
    local out, into = w:next(), w:next()
    assert.same({ "move_out", dir .. "/a", "a", "move_in", dir .. "/b", "b" },
      { out.kind, out.path, out.name, into.kind, into.path, into.name })
    assert.is_true(out.cookie ~= nil and out.cookie == into.cookie)
    fs.remove(dir .. "/b")
    assert.equal("delete b", told(w))
    assert.is_false(out.is_dir)
  end)

  test("ends with its removal", function(keep)
    local w = keep(assert(grun.watch(dir .. "/")))
    fs.remove(dir, { recursive = true })
    local event = w:next()
    assert.same({ "delete", dir .. "/" }, { event.kind, event.path })
    assert.same({ nil, "closed", "closed" }, { w:next() })
  end)

  test("is iterated over", function(keep)
    local w = keep(assert(grun.watch(dir)))
    helper.spawn(function()
      write("a")
      fs.remove(dir, { recursive = true })
    end)
    local kinds = {}
    for event in w do
      kinds[#kinds + 1] = event.kind
    end
    assert.equal("create modify closed_write delete delete", table.concat(kinds, " "))
  end)

  test("says when events were lost", function(keep)
    local w = keep(assert(grun.watch(dir)))
    local max = tonumber(fs.read_file("/proc/sys/fs/inotify/max_queued_events"))
    local a, b = dir .. "/a", dir .. "/b"
    write("a")
    for _ = 1, max / 2 + 10 do
      os.rename(a, b)
      os.rename(b, a)
    end
    local overflow = false
    while true do
      local event = w:next(0.1)
      if not event then
        break
      end
      overflow = overflow or (event.kind == "overflow" and event.path == dir)
    end
    assert.is_true(overflow)
    write("c")
    assert.equal(lines("create c", "modify c", "closed_write c"), told(w))
  end)
end)

describe("a tree", function()
  test("is watched with the directories that come and without those that go", function(keep)
    fs.mkdir(dir .. "/old/deep", { parents = true })
    local w = keep(assert(grun.watch(dir, { recursive = true })))
    write("old/deep/a")
    assert.equal(lines("create old/deep/a", "modify old/deep/a", "closed_write old/deep/a"), told(w))
    fs.mkdir(dir .. "/new/x/y", { parents = true })
    write("new/x/y/f")
    -- Each at least once, whatever was there when its directory was looked at.
    local text = "\n" .. told(w) .. "\n"
    for _, name in ipairs({ "new", "new/x", "new/x/y", "new/x/y/f" }) do
      assert.is_truthy(text:find("\ncreate " .. name .. "\n", 1, true), name)
    end
    write("new/x/y/g")
    assert.equal(lines("create new/x/y/g", "modify new/x/y/g", "closed_write new/x/y/g"), told(w))
    local outside = assert(fs.tempdir())
    fs.rename(dir .. "/new", outside .. "/new")
    assert.equal("move_out new", told(w))
    fs.write_file(outside .. "/new/x/y/h", "")
    assert.equal("", told(w))
    fs.rename(outside .. "/new", dir .. "/back")
    assert.is_truthy(told(w):find("create back/x/y/h", 1, true))
    write("back/x/y/i")
    assert.equal(lines("create back/x/y/i", "modify back/x/y/i", "closed_write back/x/y/i"), told(w))
    fs.remove(outside)
  end)

  test("loses no directory when many are made at once", function(keep)
    local w = keep(assert(grun.watch(dir, { recursive = true })))
    local t = helper.spawn(function()
      for i = 1, 50 do
        fs.mkdir(("%s/%d/%d/%d"):format(dir, i, i, i), { parents = true })
        write(("%d/%d/%d/f"):format(i, i, i))
      end
    end)
    local seen, n = {}, 0
    while n < 50 do
      local event = assert(w:next(5))
      if event.name == "f" and not seen[event.path] then
        seen[event.path] = true
        n = n + 1
      end
    end
    t:join()
  end)
end)

describe("a watched file", function()
  test("may be replaced, as editors do, and go and come", function(keep)
    write("other")
    local w = keep(assert(grun.watch(dir .. "/file")))
    write("file", "1")
    assert.equal(lines("create file", "modify file", "closed_write file"), told(w))
    fs.write_file(dir .. "/file", "2", { atomic = true })
    assert.equal("move_in file", told(w))
    write("file", "3")
    assert.matches("modify file\nclosed_write file$", told(w))
    write("other")
    assert.equal("", told(w))
    fs.remove(dir .. "/file")
    assert.equal("delete file", told(w))
    write("file")
    assert.matches("^create file", told(w))
  end)

  test("is watched behind a link, too", function(keep)
    fs.mkdir(dir .. "/d")
    write("d/real")
    fs.symlink("d/real", dir .. "/link")
    local w = keep(assert(grun.watch(dir .. "/link")))
    fs.write_file(dir .. "/d/real", "x", { append = true })
    assert.equal(lines("modify link", "closed_write link"), told(w))
    fs.remove(dir .. "/link")
    assert.equal("delete link", told(w))
  end)
end)

describe("a watcher", function()
  test("is waited for by one thread, which a timeout, cancel or close ends", function(keep)
    local w = keep(assert(grun.watch(dir)))
    assert.same({ nil, "timeout", "timeout" }, { w:next(0) })
    assert.same({ nil, "timeout", "timeout" }, { w:next(0.01) })
    local t = net.parked(w.next, w)
    assert.equal("busy", select(3, w:next()))
    t:cancel()
    t:join()
    assert.equal("cancelled", t:status())
    assert.is_nil((grun.timeout(0.01, w.next, w)))
    t = net.parked(w.next, w)
    assert.matches("^watcher " .. dir:gsub("%p", "%%%0") .. " %(fd %d+%)$", tostring(w))
    w:close()
    w:close()
    assert.same({ nil, "closed", "closed" }, { t:get() })
    assert.same({ nil, "closed", "closed" }, { w:next() })
    assert.matches("closed", tostring(w))
  end)

  it("closes when it is collected", function()
    assert(grun.watch(dir))
    collectgarbage()
    collectgarbage()
  end)

  it("says what cannot be watched", function()
    assert.same({ nil, dir .. "/x: No such file or directory", "ENOENT" },
      { grun.watch(dir .. "/x/y") })
    write("f")
    assert.equal("ENOTDIR", select(3, grun.watch(dir .. "/f/x")))
    helper.misuse(function() grun.watch(1) end, "watch: path expected, got number")
    helper.misuse(function() grun.watch("/", 1) end, "watch: table of options expected, got number")
    helper.misuse(function() grun.watch("/", { foo = 1 }) end, "watch: unknown option 'foo'")
  end)
end)
