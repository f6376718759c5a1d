-- SPDX-License-Identifier: MIT
-- The command line of the benchmark suite.
--
-- Machines are noisy, so what counts is the ratio to a yardstick measured in the same run: all
-- subjects of a row take turns (A B C A B C ...), the figures shown are medians, and a ratio is the
-- median of the ratios of the rounds. The binary under test is $GRUN, else ./grun.
-- Exit status 1 if a goal was missed or a bench failed.

local loads = require("scripts.bench.lib.loads")
local machine = require("scripts.bench.lib.machine")
local process = require("scripts.bench.lib.process")
local report = require("scripts.bench.lib.report")
local runtimes = require("scripts.bench.lib.runtimes")
local suite = require("scripts.bench.lib.suite")
local tables = require("scripts.bench.lib.tables")

local M = {}

local USAGE = [[
usage: scripts/bench/run [options] [NAME...]
  --rounds N     at most N rounds of each row (default 5)
  --quick        one short round, for trying
  --list         print the names and what they measure
  --report DIR   write report.md, results.tsv, readme.md and charts there
                 (default without names: build/bench)
  -v             show every command and its output
]]

-- Peers that one might look for and that no row has.
local NOT_PACKAGED = {
  "Tarantool: its HTTP server is not in Debian, so its plain sockets are measured in the HTTP rows",
  "Copas 1.1.7 has neither sleep nor queue: it takes part in TCP and HTTP only",
  "luv has callbacks, no threads: it takes part in TCP, UDP, HTTP and timers only",
  "lua-http and copas: no UDP; nginx and lua-http: no TCP echo",
}

local function fail_usage(message)
  io.stderr:write("bench: ", message, "\n", USAGE)
  return 2
end

local function known_names(rows)
  local known, list = {}, {}
  for _, row in ipairs(rows) do
    if not known[row.name] then
      known[row.name] = true
      list[#list + 1] = row.name
    end
  end
  return known, list
end

-- The options as a table, or nil and what is wrong.
local function parse(words, known)
  local options, i = { names = {} }, 1
  local function value(name)
    i = i + 1
    if not words[i] then
      error({ message = name .. " needs a value" })
    end
    return words[i]
  end
  while words[i] do
    local word = words[i]
    if word == "-v" then
      options.verbose = true
    elseif word == "--quick" or word == "--list" or word == "--help" then
      options[word:sub(3)] = true
    elseif word == "--rounds" then
      local text = value(word)
      options.rounds = tonumber(text)
      if not options.rounds or options.rounds < 1 or options.rounds % 1 ~= 0 then
        error({ message = "--rounds takes a whole number from 1 on, not " .. text })
      end
    elseif word == "--report" then
      options.report = value(word)
    elseif word:find("^-") then
      error({ message = "no option " .. word })
    elseif not known[word] then
      error({ message = "no bench named " .. word .. "; --list names them" })
    else
      options.names[word] = true
    end
    i = i + 1
  end
  return options
end

local function list_rows(rows)
  for _, row in ipairs(rows) do
    print(("%-14s %s"):format(row.name, row.title))
  end
end

local function configure(bench_dir, options)
  local root = bench_dir .. "/../.."
  local build_dir, grun = root .. "/build/bench", os.getenv("GRUN") or root .. "/grun"
  runtimes.configure({ bench_dir = bench_dir, build_dir = build_dir, grun = grun })
  loads.bench_dir, loads.build_dir = bench_dir, build_dir
  suite.rounds = options.rounds or options.quick and 1 or suite.rounds
  loads.seconds = options.quick and 0.3 or loads.seconds
  process.verbose = options.verbose or false
  return build_dir, grun
end

local function show(result)
  print(("%s: %s   (%s, %.0f s)"):format(result.row.name, result.row.title,
    result.rounds == 1 and "1 round" or result.rounds .. " rounds", result.seconds))
  if result.skipped then
    print("  skipped: " .. result.skipped)
  else
    io.stdout:write(tables.text(result))
  end
  for _, subject in ipairs(result.subjects) do
    if subject.skipped then
      print(("  %s skipped: %s"):format(subject.label, subject.skipped))
    elseif subject.failed then
      print(("  %s FAILED: %s"):format(subject.label, subject.failed))
    end
  end
  for _, verdict in ipairs(result.verdicts) do
    print(("  goal %s %s: %s %s"):format(verdict.what, verdict.limit, verdict.value,
      verdict.ok and "ok" or verdict.ok == false and "MISSED by " .. verdict.by or ""))
  end
  print()
  io.stdout:flush()
end

local function measure(rows, options)
  local results, bad = {}, false
  for _, row in ipairs(rows) do
    if not next(options.names) or options.names[row.name] then
      local result = suite.run(row)
      bad = report.judge(result) or bad
      show(result)
      results[#results + 1] = result
    end
  end
  return results, bad
end

--- Runs the suite; returns the exit status.
---@param bench_dir string
---@param words string[]
---@return integer
function M.run(bench_dir, words)
  suite.bench_dir = bench_dir
  local rows = suite.rows()
  local ok, options = pcall(parse, words, (known_names(rows)))
  if not ok then
    return type(options) == "table" and fail_usage(options.message) or error(options, 0)
  elseif options.help then
    io.stdout:write(USAGE)
    return 0
  elseif options.list then
    list_rows(rows)
    return 0
  end
  local build_dir, grun = configure(bench_dir, options)
  if not process.succeeds(grun .. " -e ''") then
    io.stderr:write(grun, " does not run; build it first or set GRUN\n")
    return 1
  end
  local start, facts, noise_since = process.now(), machine.facts(), machine.watch_noise()
  local results, bad = measure(rows, options)
  local noise = noise_since()
  table.insert(facts, { "Noise", ("other programs took %.0f %% of one processor meanwhile")
    :format(noise * 100) })
  if noise > machine.NOISE_LIMIT then
    print(("note: other work took %.0f %% of a processor meanwhile; repeat on a quiet machine")
      :format(noise * 100))
  end
  local directory = options.report or not next(options.names) and build_dir
  if directory then
    report.write(directory, {
      results = results,
      facts = facts,
      command = next(words) and "scripts/bench/run " .. table.concat(words, " ") or "make bench",
      seconds = process.now() - start,
      not_packaged = NOT_PACKAGED,
    }, bench_dir)
    print("report: " .. directory .. "/report.md")
  end
  return bad and 1 or 0
end

return M
