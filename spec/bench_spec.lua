-- SPDX-License-Identifier: MIT
-- The benchmark suite: its command line, its arithmetic, its report. No timing.

local grun = require("grun")
local helper = require("spec.helper")
local goals = require("scripts.bench.lib.goals")
local process = require("scripts.bench.lib.process")
local report = require("scripts.bench.lib.report")
local runtimes = require("scripts.bench.lib.runtimes")
local statistics = require("scripts.bench.lib.statistics")
local suite = require("scripts.bench.lib.suite")
local tables = require("scripts.bench.lib.tables")
local units = require("scripts.bench.lib.units")

local contents = helper.contents

-- Runs the suite's program; returns its status, stdout and stderr.
local function bench(...)
  local done = assert(grun.process.run({ "scripts/bench/run", timeout = 100, ... }))
  return done.code, done.stdout, done.stderr
end

-- A new directory, removed with what is in it after the test.
local function directory(finally)
  local path = os.tmpname()
  os.remove(path)
  assert(grun.fs.mkdir(path))
  finally(function()
    for _, entry in ipairs(grun.fs.list(path)) do
      os.remove(path .. "/" .. entry.name)
    end
    os.remove(path)
  end)
  return path
end

describe("the command line", function()
  it("lists names and what they measure", function()
    local status, out = bench("--list")
    assert.equal(0, status)
    for name in ("startup yield spawn memory timers sync echo echo_syscalls udp sendfile idle spinner http "
      .. "http_idle tls coop postgres ab"):gmatch("%S+") do
      assert.truthy(("\n" .. out):find("\n" .. name .. " +%S"), name)
    end
  end)

  it("prints its usage", function()
    local status, out = bench("--help")
    assert.equal(0, status)
    assert.truthy(out:find("usage: scripts/bench/run [options] [NAME...]", 1, true))
  end)

  local WRONG = {
    { { "nosuch" }, "no bench named nosuch; --list names them" },
    { { "yield", "nosuch" }, "no bench named nosuch; --list names them" },
    { { "--nosuch" }, "no option --nosuch" },
    { { "--rounds" }, "--rounds needs a value" },
    { { "--report" }, "--report needs a value" },
    { { "--rounds", "0", "yield" }, "--rounds takes a whole number from 1 on, not 0" },
    { { "--rounds", "1.5", "yield" }, "--rounds takes a whole number from 1 on, not 1.5" },
    { { "--rounds", "many", "yield" }, "--rounds takes a whole number from 1 on, not many" },
  }
  for _, case in ipairs(WRONG) do
    it("refuses " .. table.concat(case[1], " "), function()
      local status, out, err = bench(unpack(case[1]))
      assert.equal(2, status)
      assert.equal("", out)
      assert.equal("bench: " .. case[2], err:match("^[^\n]*"))
      assert.truthy(err:find("usage:", 1, true))
    end)
  end

  it("says that the binary does not run", function()
    local done = grun.process.run({ "env", "GRUN=/nonexistent", "scripts/bench/run", "yield" })
    assert.equal(1, done.code)
    assert.equal("/nonexistent does not run; build it first or set GRUN\n", done.stderr)
  end)

  it("measures one row and writes a report", function()
    local dir = directory(finally)
    local status, out, err = bench("--quick", "--report", dir, "spinner")
    assert.truthy(status == 0 or status == 1, err) -- 1: too noisy for the goal
    assert.falsy(out:find("FAILED", 1, true), out)
    assert.truthy(out:find("report: " .. dir .. "/report.md", 1, true), out)
    local text = contents(dir .. "/report.md")
    assert.truthy(text:find("\n## An echo server beside a thread that is always ready\n", 1, true))
    assert.truthy(text:find("\n| grun | [%d.]+ [^ |]*s |"))
    assert.truthy(text:find("\n- grun: grun 0.", 1, true))
    assert.truthy(text:find("\n- Kernel: Linux", 1, true))
    assert.truthy(contents(dir .. "/results.tsv"):find("\nspinner\t[^\n]*\tmax_us\t"))
    assert.truthy(contents(dir .. "/readme.md"):find("| ratio |", 1, true))
  end)
end)

describe("statistics", function()
  it("median", function()
    assert.is_nil(statistics.median({}))
    assert.equal(3, statistics.median({ 3 }))
    assert.equal(2, statistics.median({ 3, 1, 2 }))
    assert.equal(2.5, statistics.median({ 4, 1, 2, 3 }))
    local values = { 3, 1, 2 }
    statistics.median(values)
    assert.same({ 3, 1, 2 }, values)
  end)

  it("ratio is the median of the neighbours' ratios, not the ratio of the medians", function()
    assert.equal(2, statistics.ratio({ 2, 40, 6 }, { 1, 20, 3 }))
    assert.equal(2, statistics.ratio({ 2, 40, 9 }, { 1, 20, 3 }))
    assert.equal(0.5, statistics.ratio({ 1, 1, 1 }, { 2, 2 }))
    assert.equal(3, statistics.ratio({ 1, 3 }, { 0, 1 }))
    assert.is_nil(statistics.ratio({ 1 }, { 0 }))
    assert.is_nil(statistics.ratio({}, { 1 }))
  end)

  it("range", function()
    assert.same({ 1, 3 }, { statistics.range({ 3, 1, 2 }) })
    assert.is_nil(statistics.range({}))
  end)
end)

describe("units", function()
  local FORMATS = {
    { "cpu_ns", 3.14, "3.1 ns" }, { "cpu_ns", 3140, "3.14 µs" }, { "cpu_ns", 999.9, "1.00 µs" },
    { "p99_us", 1500, "1.50 ms" }, { "p99_ms", 1500, "1.50 s" }, { "seconds", 0.5, "500.00 ms" },
    { "early_ms", 0, "0" }, { "rss_kib", 4.849, "4.85 KiB" }, { "growth_kib", 8192, "8192 KiB" },
    { "requests_per_s", 1234567.4, "1,234,567" }, { "requests_per_s", 123, "123" },
    { "mb_per_s", 2259.4, "2259 MB/s" }, { "early", 0, "0" }, { "busy", 0.984, "0.98" },
  }
  for _, case in ipairs(FORMATS) do
    it(("writes %s %s"):format(case[1], case[2]), function()
      assert.equal(case[3], units.format(case[1], case[2]))
    end)
  end

  it("know which figures should be great", function()
    assert.is_true(units.more_is_better("requests_per_s"))
    assert.is_false(units.more_is_better("cpu_ns"))
  end)
end)

describe("the numbers that a program reports", function()
  it("are found between other words", function()
    assert.same({ a_ns = 1.5, b = -2, c = 3 }, process.parse("x: a_ns=1.5 b=-2 text=no\nc=3\n"))
  end)

  it("are not taken from a program that fails", function()
    assert.error_matches(function() process.figures("sh -c 'echo a=1; exit 3'") end, "status 3\na=1")
    assert.error_matches(function() process.figures("sleep 5", 0.1) end, "out of time")
  end)

  it("come with the CPU time of a process and its children", function()
    assert.truthy(process.cpu(process.output("echo $PPID")) > 0)
    assert.error_matches(function() process.cpu(4194303) end, "has ended")
  end)
end)

-- A result as the suite makes them.
local function result(row, values)
  local subjects = {}
  for i, label in ipairs({ "grun", "raw", "go" }) do
    subjects[i] = { label = label, runtime = label == "raw" and "c" or label, values = values[label] or {} }
  end
  row.name, row.title, row.how = "echo", "Echo", "as said"
  row.figures = { { "cpu_ns", "CPU" }, { "requests_per_s", "requests/s" } }
  local made = { row = row, subjects = subjects, figures = row.figures, rounds = 3, seconds = 1 }
  made.verdicts = goals.judge(made)
  return made
end

local VALUES = {
  grun = { cpu_ns = { 10, 30, 20 }, requests_per_s = { 200, 100, 300 } },
  raw = { cpu_ns = { 10, 20, 10 }, requests_per_s = { 100, 100, 100 } },
}

describe("goals", function()
  -- The goal, whether it is met, what was reached, and by how much it is missed.
  local GOALS = {
    { { "cpu_ns", at_most = 20 }, true, "20.0 ns" },
    { { "cpu_ns", at_most = 16 }, false, "20.0 ns", "25 %" },
    { { "cpu_ns", at_most = 10, least = true }, true, "10.0 ns" },
    { { "cpu_ns", at_most = 1.5, of = "raw" }, true, "1.50" },
    { { "cpu_ns", at_most = 1.2, of = "raw" }, false, "1.50", "25 %" },
    { { "cpu_ns", plus = 10, of = "raw" }, true, "10.0 ns" },
    { { "cpu_ns", plus = 8, of = "raw" }, false, "10.0 ns", "25 %" },
    { { "cpu_ns", at_most = 0.1, of_figure = "requests_per_s" }, true, "0.07" },
    { { "cpu_ns", at_most = 0 }, false, "20.0 ns", "20.0 ns" },
    { { "requests_per_s", at_least = 2, of = "raw" }, true, "2.00" },
    { { "requests_per_s", at_least = 4, of = "raw" }, false, "2.00", "50 %" },
    { { "requests_per_s", at_least = 100, subject = "raw" }, true, "100" },
    { { "requests_per_s", at_least = 2, of = "go" }, nil, "go was not measured" },
    { { "cpu_ns", at_most = 2, subject = "go" }, nil, "not measured" },
  }
  for i, case in ipairs(GOALS) do
    it(("are judged: %d"):format(i), function()
      local made = result({ goals = { case[1] } }, VALUES)
      local verdict = made.verdicts[1]
      assert.same({ case[2], case[3], case[4] }, { verdict.ok, verdict.value, verdict.by })
      assert.equal(case[2] == false, goals.is_bad(made, made.verdicts))
    end)
  end

  it("do not hide that a subject failed", function()
    local made = result({}, VALUES)
    made.subjects[3].failed = "no"
    assert.is_true(goals.is_bad(made, made.verdicts))
  end)
end)

describe("a table", function()
  it("has ratios to the first subject and no line without figures", function()
    assert.equal("|  | CPU | requests/s |\n|---|---:|---:|\n| grun | 20.0 ns | 200 |\n" ..
      "| raw | 10.0 ns (0.67) | 100 (0.50) |\n", tables.markdown(result({}, VALUES)))
  end)

  it("lines up in a terminal", function()
    local values = { grun = { cpu_ns = { 20000 } }, raw = { cpu_ns = { 10000 }, requests_per_s = { 1 } } }
    assert.equal(table.concat({
      "                    CPU  requests/s",
      "  grun         20.00 µs",
      "  raw   10.00 µs (0.50)           1",
      "" }, "\n"), tables.text(result({}, values)))
  end)
end)

describe("the suite", function()
  local measured

  before_each(function()
    measured = {}
    suite.bench_dir = "scripts/bench"
    runtimes.configure({ bench_dir = "scripts/bench", build_dir = "build/bench", grun = helper.grun })
  end)

  local function row(more)
    local made = {
      name = "x", title = "x",
      subjects = { { "grun", "echo.lua" }, { "luajit", "cpu.lua a b", as = "jit" } },
      figures = { { "n", "n" } },
      measure = function(subject)
        measured[#measured + 1] = subject.label
        return { n = #measured, m = 1 }
      end,
    }
    for key, value in pairs(more or {}) do
      made[key] = value
    end
    return made
  end

  it("lets all take turns", function()
    local done = suite.run(row({ rounds = 3 }))
    assert.equal("grun jit grun jit grun jit", table.concat(measured, " "))
    assert.same({ 1, 3, 5 }, done.subjects[1].values.n)
    assert.equal("luajit scripts/bench/cpu.lua a b", done.subjects[2].command)
    assert.equal(3, done.rounds)
  end)

  it("ends a row that takes too long", function()
    assert.equal(1, suite.run(row({ rounds = 3, budget = -1 })).rounds)
  end)

  it("goes on without a subject that fails", function()
    local done = suite.run(row({ rounds = 2, measure = function(subject)
      return subject.label == "jit" and { n = 1 } or error("broken", 0)
    end }))
    assert.equal("broken", done.subjects[1].failed)
    assert.same({ 1, 1 }, done.subjects[2].values.n)
  end)

  it("leaves out what a row leaves out, and what there is too little memory for", function()
    local done = suite.run(row({ rounds = 1, leave_out = { "jit" } }))
    assert.equal(1, #done.subjects)
    assert.truthy(suite.run(row({ memory_mib = 2 ^ 40 })).skipped:find("MiB of memory are free"))
    done = suite.run(row({ rounds = 1, subjects = { { "grun", "echo.lua", memory_mib = 2 ^ 40 } } }))
    assert.truthy(done.subjects[1].skipped)
    assert.same({}, done.subjects[1].values)
  end)

  it("skips a row that says why", function()
    assert.equal("no", suite.run(row({ missing = function() return "no" end })).skipped)
  end)

  it("shows whatever is printed where a row does not say what", function()
    local done = suite.run(row({ rounds = 1, figures = "whatever it prints" }))
    assert.same({ { "m", "m" }, { "n", "n" } }, done.figures)
  end)

  it("has rows whose files, figures and goals exist", function()
    for _, one in ipairs(suite.rows()) do
      local labels, keys = {}, {}
      for _, subject in ipairs(one.subjects) do
        labels[subject.as or subject[1]] = true
        contents("scripts/bench/" .. subject[2]:match("%S+"))
      end
      for _, figure in ipairs(type(one.figures) == "table" and one.figures or {}) do
        keys[figure[1]] = true
      end
      for _, goal in ipairs(one.goals or {}) do
        assert.truthy(keys[goal[1]], one.title)
        assert.truthy(not goal.of or labels[goal.of], one.title)
        assert.truthy(not goal.subject or labels[goal.subject], one.title)
        assert.truthy(not goal.of_figure or keys[goal.of_figure], one.title)
      end
      for _, entry in ipairs(one.readme or {}) do
        assert.truthy(keys[entry[1]], one.title)
        assert.truthy(not entry.yardstick or labels[entry.yardstick], one.title)
        assert.truthy(not entry.subject or labels[entry.subject], one.title)
      end
      for _, label in ipairs(one.leave_out or {}) do
        assert.truthy(labels[label], one.title .. ": " .. label)
      end
      assert.truthy(not one.chart or keys[one.chart], one.title)
    end
  end)
end)

describe("a report", function()
  it("names goals missed and why, what was skipped and what failed", function()
    local dir = directory(finally)
    local made = result({
      goals = { { "cpu_ns", at_most = 1.2, of = "raw", why = "it has its reasons" } },
      readme = { { "cpu_ns", "echo, CPU", yardstick = "raw" } },
    }, VALUES)
    made.subjects[3].skipped = "not here"
    local skipped = { row = { title = "Other", name = "other" }, skipped = "no file", subjects = {},
      figures = {}, verdicts = {} }
    runtimes.configure({ bench_dir = "scripts/bench", build_dir = "build/bench", grun = helper.grun })
    report.write(dir, { results = { made, skipped }, command = "make bench", seconds = 5,
      facts = { { "Processor", "a fast one" }, { "System", "Debian" }, { "Date", "today" } },
      not_packaged = { "Erlang: not in this Debian" } }, "scripts/bench")
    local text = contents(dir .. "/report.md")
    local function says(part)
      assert.truthy(text:find(part, 1, true), part .. "\nis not in\n" .. text)
    end
    says("- **Echo: grun: CPU, ≤ 1.20 × raw**: reached 1.50, missed by 25 %. Why: it has its reasons.\n")
    says("- Echo, go: skipped: not here\n")
    says("- Other: skipped: no file\n")
    says("- Erlang: not in this Debian\n")
    says("`scripts/bench/run echo`: as said. Medians of 3 rounds, 1 s.\n")
    text = contents(dir .. "/readme.md")
    says("| echo, CPU | 20.0 ns | raw, 10.0 ns | 1.50 |")
    text = contents(dir .. "/results.tsv")
    says("echo\tEcho\tcpu_ns\tCPU\tgrun\tgrun\t20\t\t10\t30\t20.0 ns\t0\t\t10 30 20\n")
  end)
end)
