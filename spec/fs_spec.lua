-- SPDX-License-Identifier: MIT
-- grun.fs: operations on files by other OS threads.

local grun = require("grun")

local helper = require("spec.helper")
local net = require("spec.net_helper")

local fs = grun.fs
local dir

before_each(function()
  dir = assert(fs.tempdir())
end)

after_each(function()
  fs.remove(dir, { recursive = true })
end)

local function fails(message, code, result, got_message, got_code)
  assert.same({ nil, (message:gsub("DIR", dir, 1)), code }, { result, got_message, got_code })
end

describe("fs.read_file and fs.write_file", function()
  it("bring back what was written, of any size and content", function()
    for _, size in ipairs({ 0, 1, 4096, 1e6 + 1 }) do
      local text = net.noise(size) .. "\0\n"
      assert.is_true(fs.write_file(dir .. "/a", text))
      assert.is_true(net.same(text, fs.read_file(dir .. "/a")))
    end
  end)

  it("append, and replace at once", function()
    fs.write_file(dir .. "/a", "one ")
    assert.is_true(fs.write_file(dir .. "/a", "two", { append = true }))
    assert.equal("one two", fs.read_file(dir .. "/a"))
    fs.chmod(dir .. "/a", "0640")
    assert.is_true(fs.write_file(dir .. "/a", "three", { atomic = true }))
    assert.equal("three", fs.read_file(dir .. "/a"))
    assert.equal(tonumber("640", 8), fs.stat(dir .. "/a").mode)
    assert.equal(1, #fs.list(dir))
  end)

  it("leave no temporary file when the target cannot be replaced", function()
    fs.mkdir(dir .. "/d")
    assert.is_nil(fs.write_file(dir .. "/d", "x", { atomic = true }))
    assert.equal(1, #fs.list(dir))
  end)

  it("go through links, which stay links", function()
    fs.write_file(dir .. "/a", "old")
    fs.symlink("a", dir .. "/l")
    assert.is_true(fs.write_file(dir .. "/l", "new", { atomic = true }))
    assert.equal("link", fs.lstat(dir .. "/l").type)
    assert.equal("new", fs.read_file(dir .. "/a"))
  end)

  it("give new files the permissions asked for", function()
    for _, atomic in ipairs({ false, true }) do
      fs.write_file(dir .. "/a" .. tostring(atomic), "", { mode = "0600", atomic = atomic })
      assert.equal(384, fs.stat(dir .. "/a" .. tostring(atomic)).mode)
    end
  end)

  it("read no more than allowed", function()
    fs.write_file(dir .. "/a", "12345")
    assert.equal("12345", fs.read_file(dir .. "/a", 5))
    fails("DIR/a: too large", "too_large", fs.read_file(dir .. "/a", 4))
    fails("/dev/zero: too large", "too_large", fs.read_file("/dev/zero", 1e5))
  end)

  it("read files that do not tell their size", function()
    assert.matches("^Linux version .*\n$", fs.read_file("/proc/version"))
  end)

  it("say what is wrong, with the path", function()
    fails("DIR/x: No such file or directory", "ENOENT", fs.read_file(dir .. "/x"))
    fails("DIR: Is a directory", "EISDIR", fs.read_file(dir))
    fails("DIR/x/y: No such file or directory", "ENOENT", fs.write_file(dir .. "/x/y", ""))
    fails("/dev/full: No space left on device", "ENOSPC", fs.write_file("/dev/full", "x"))
  end)
end)

describe("looking at files", function()
  it("tells types, sizes and times", function()
    fs.write_file(dir .. "/a", "123")
    local info = fs.stat(dir .. "/a")
    assert.same({ "file", 3, 1 }, { info.type, info.size, info.nlink })
    assert.is_true(math.abs(info.mtime - os.time()) < 60)
    assert.equal("directory", fs.stat(dir).type)
    assert.equal("char", fs.stat("/dev/null").type)
    fails("DIR/x: No such file or directory", "ENOENT", fs.stat(dir .. "/x"))
    assert.same({ true, false, false },
      { fs.exists(dir), fs.exists(dir .. "/x"), fs.exists(dir .. "/a/x") })
  end)

  it("lists the entries of a directory by name", function()
    fs.write_file(dir .. "/b", "")
    fs.mkdir(dir .. "/a")
    fs.symlink("nowhere", dir .. "/c")
    require("posix.sys.stat").mkfifo(dir .. "/d")
    assert.same({
      { name = "a", type = "directory" }, { name = "b", type = "file" },
      { name = "c", type = "link" }, { name = "d", type = "pipe" },
    }, fs.list(dir))
    fails("DIR/b: Not a directory", "ENOTDIR", fs.list(dir .. "/b"))
    assert.same({}, fs.list(dir .. "/a"))
  end)

  it("follows links and does not", function()
    fs.write_file(dir .. "/a", "")
    fs.symlink("a", dir .. "/l")
    assert.equal("a", fs.readlink(dir .. "/l"))
    assert.equal(fs.realpath(dir) .. "/a", fs.realpath(dir .. "/l"))
    assert.same({ "file", "link" }, { fs.stat(dir .. "/l").type, fs.lstat(dir .. "/l").type })
    fails("DIR/a: Invalid argument", "EINVAL", fs.readlink(dir .. "/a"))
  end)
end)

describe("changing files", function()
  it("makes directories, with parents on demand", function()
    assert.is_true(fs.mkdir(dir .. "/a", { mode = "0700" }))
    assert.equal(448, fs.stat(dir .. "/a").mode)
    fails("DIR/a: File exists", "EEXIST", fs.mkdir(dir .. "/a"))
    fails("DIR/x/y: No such file or directory", "ENOENT", fs.mkdir(dir .. "/x/y"))
    assert.is_true(fs.mkdir(dir .. "/x/y//z/", { parents = true }))
    assert.is_true(fs.mkdir(dir .. "/x/y/z", { parents = true }))
    fs.write_file(dir .. "/f", "")
    fails("DIR/f: Not a directory", "ENOTDIR", fs.mkdir(dir .. "/f", { parents = true }))
  end)

  it("removes trees without following links", function()
    fs.mkdir(dir .. "/keep")
    fs.write_file(dir .. "/keep/me", "")
    fs.mkdir(dir .. "/t/u/v", { parents = true })
    fs.write_file(dir .. "/t/u/f", "")
    fs.symlink("../../keep", dir .. "/t/u/l")
    fails("DIR/t: Directory not empty", "ENOTEMPTY", fs.remove(dir .. "/t"))
    assert.is_true(fs.remove(dir .. "/t", { recursive = true }))
    assert.is_false(fs.exists(dir .. "/t"))
    assert.is_true(fs.exists(dir .. "/keep/me"))
    fs.symlink("keep", dir .. "/l")
    assert.is_true(fs.remove(dir .. "/l", { recursive = true }))
    assert.is_true(fs.exists(dir .. "/keep/me"))
    fails("DIR/x: No such file or directory", "ENOENT", fs.remove(dir .. "/x"))
    fails("DIR/x: No such file or directory", "ENOENT",
      fs.remove(dir .. "/x", { recursive = true }))
  end)

  it("never removes the root, or a directory by its own dots", function()
    for _, name in ipairs({ "/", "//", "/.", "/usr/..", "///../" }) do
      assert.same({ nil, name .. ": Operation not permitted", "EPERM" },
        { fs.remove(name, { recursive = true }) })
    end
    fails("DIR/.: Invalid argument", "EINVAL", fs.remove(dir .. "/.", { recursive = true }))
  end)

  it("renames and copies", function()
    fs.write_file(dir .. "/a", net.noise(3e5), { mode = "0600" })
    assert.is_true(fs.copy(dir .. "/a", dir .. "/b"))
    assert.equal(fs.read_file(dir .. "/a"), fs.read_file(dir .. "/b"))
    assert.equal(384, fs.stat(dir .. "/b").mode)
    assert.is_true(fs.write_file(dir .. "/a", "short"))
    assert.is_true(fs.copy(dir .. "/a", dir .. "/b"))
    assert.equal("short", fs.read_file(dir .. "/b"))
    assert.is_true(fs.copy("/proc/version", dir .. "/v"))
    assert.equal(fs.read_file("/proc/version"), fs.read_file(dir .. "/v"))
    assert.is_true(fs.rename(dir .. "/b", dir .. "/c"))
    assert.is_false(fs.exists(dir .. "/b"))
    local both = ("%s/x -> %s/y: No such file or directory"):format(dir, dir)
    assert.same({ nil, both, "ENOENT" }, { fs.rename(dir .. "/x", dir .. "/y") })
    assert.same({ nil, both, "ENOENT" }, { fs.copy(dir .. "/x", dir .. "/y") })
  end)

  it("does not copy a file onto itself", function()
    fs.write_file(dir .. "/a", "precious")
    fs.symlink("a", dir .. "/l")
    assert.equal("EINVAL", select(3, fs.copy(dir .. "/a", dir .. "/l")))
    assert.equal("precious", fs.read_file(dir .. "/a"))
    assert.equal("EISDIR", select(3, fs.copy(dir, dir .. "/b")))
  end)

  it("makes files and directories of new names", function()
    local a, b = fs.tmpname(dir .. "/x-"), fs.tmpname(dir .. "/x-")
    assert.is_true(a ~= b and a:find("^" .. dir:gsub("%p", "%%%0") .. "/x%-......$") ~= nil)
    assert.same({ "file", 0, 384 }, { fs.stat(a).type, fs.stat(a).size, fs.stat(a).mode })
    assert.equal("directory", fs.stat(fs.tempdir(dir .. "/")).type)
    assert.equal("ENOENT", select(3, fs.tmpname(dir .. "/nonesuch/")))
  end)
end)

describe("grun.fs", function()
  it("lets other threads run while one operation takes its time", function()
    -- Opening a FIFO waits for its other end.
    require("posix.sys.stat").mkfifo(dir .. "/fifo")
    local t = net.parked(fs.read_file, dir .. "/fifo")
    fs.write_file(dir .. "/fifo", "late")
    assert.equal("late", t:get(5))
  end)

  -- In a process of its own, since what was begun may go on for ever.
  it("is left at once by cancelled threads, also by more than it can serve", function()
    local out, err, status = helper.run_script(([[
      local fs, fifo = grun.fs, "%s/fifo"
      require("posix.sys.stat").mkfifo(fifo)
      print(grun.timeout(0.01, fs.read_file, fifo))
      local threads = {}
      for i = 1, 30 do
        threads[i] = grun.spawn(fs.read_file, fifo)
      end
      local writer = grun.spawn(fs.write_file, "%s/never", "x")
      grun.sleep(0.3)
      writer:cancel()
      for _, t in ipairs(threads) do
        t:cancel()
      end
      grun.joinall(threads)
      print(threads[1]:status(), threads[30]:status(), writer:join() and writer:status())
      -- Eight are inside open(2) until somebody opens the other end; the queue is empty.
      local t = grun.spawn(fs.exists, "/")
      print(t:join(0.05))
      local fcntl, unistd = require("posix.fcntl"), require("posix.unistd")
      repeat
        unistd.close(fcntl.open(fifo, fcntl.O_RDWR))
      until t:join(0.01)
      print(t:get(), fs.exists("%s/never"))]]):format(dir, dir, dir))
    assert.same({ "nil\ttimeout\ttimeout\ncancelled\tcancelled\tcancelled\n" ..
      "nil\ttimeout\ttimeout\ntrue\tfalse\n", "", 0 }, { out, err, status })
  end)

  it("raises on wrong arguments at the caller's line", function()
    helper.misuse(function() fs.read_file() end,
      "bad argument #1 to 'read_file' (string expected, got no value)")
    helper.misuse(function() fs.read_file("a\0b") end,
      "bad argument #1 to 'read_file' (path contains a zero byte)")
    helper.misuse(function() fs.read_file("a", -1) end,
      "bad argument #2 to 'read_file' (number of bytes, 0 or more, expected)")
    helper.misuse(function() fs.write_file("a", {}) end,
      "bad argument #2 to 'write_file' (string expected, got table)")
    helper.misuse(function() fs.write_file("a", "", { foo = 1 }) end,
      "bad argument #3 to 'write_file' (unknown option 'foo')")
    helper.misuse(function() fs.write_file("a", "", { mode = "9" }) end,
      "bad argument #3 to 'write_file' (permissions such as \"0644\" expected)")
    helper.misuse(function() fs.write_file("a", "", { atomic = true, append = true }) end,
      "bad argument #3 to 'write_file' (append and atomic exclude each other)")
    helper.misuse(function() fs.chmod("a") end, "bad argument #2 to 'chmod' (value expected)")
    helper.misuse(function() fs.list(1) end,
      "bad argument #1 to 'list' (string expected, got number)")
    helper.misuse(function() fs.mkdir("a", 7) end,
      "bad argument #2 to 'mkdir' (table expected, got number)")
  end)
end)
