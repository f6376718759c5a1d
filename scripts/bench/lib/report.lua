-- SPDX-License-Identifier: MIT
-- What a run leaves in a directory: report.md, results.tsv with every figure, readme.md with the
-- table for README.md, and charts, which chart.py draws from the figures.

local goals = require("scripts.bench.lib.goals")
local process = require("scripts.bench.lib.process")
local runtimes = require("scripts.bench.lib.runtimes")
local statistics = require("scripts.bench.lib.statistics")
local tables = require("scripts.bench.lib.tables")
local units = require("scripts.bench.lib.units")

local M = {}

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- ---- results.tsv ----

local HEAD = { "name", "row", "figure", "title", "subject", "runtime", "median", "ratio", "least",
  "greatest", "text", "more_is_better", "chart", "runs" }

local function add_figures(lines, result)
  local row = result.row
  for _, figure in ipairs(result.figures) do
    local key = figure[1]
    for _, subject in ipairs(result.subjects) do
      local values = subject.values[key]
      if values then
        local least, greatest = statistics.range(values)
        local median = statistics.median(values)
        lines[#lines + 1] = table.concat({ row.name, row.title, key, figure[2], subject.label,
          subject.runtime, median, tables.ratio(result, subject, key) or "", least, greatest,
          units.format(key, median), units.more_is_better(key) and 1 or 0,
          row.chart == key and result.chart or "", table.concat(values, " ") }, "\t")
      end
    end
  end
end

-- Facts first, as comments, which is where the charts have them from.
local function tsv(run)
  local lines = {}
  for _, fact in ipairs(run.facts) do
    lines[#lines + 1] = ("# %s: %s"):format(fact[1], fact[2])
  end
  lines[#lines + 1] = "# Command: " .. run.command
  lines[#lines + 1] = table.concat(HEAD, "\t")
  for _, result in ipairs(run.results) do
    add_figures(lines, result)
  end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- report.md ----

local function bullets(out, list)
  for _, line in ipairs(list) do
    out[#out + 1] = "- " .. line .. "\n"
  end
end

-- A message in one line.
local function one_line(text)
  return (text:gsub("%s+", " "):sub(1, 300))
end

local function missed(run)
  local list, unmeasured = {}, {}
  for _, result in ipairs(run.results) do
    for _, verdict in ipairs(result.verdicts) do
      local what = ("%s: %s, %s"):format(result.row.title, verdict.what, verdict.limit)
      if verdict.ok == false then
        list[#list + 1] = ("**%s**: reached %s, missed by %s.%s"):format(what, verdict.value,
          verdict.by, verdict.why and " Why: " .. verdict.why .. "." or "")
      elseif verdict.ok == nil then
        unmeasured[#unmeasured + 1] = what .. ": " .. verdict.value
      end
    end
  end
  return list, unmeasured
end

local function absent(run)
  local list = {}
  for _, result in ipairs(run.results) do
    if result.skipped then
      list[#list + 1] = ("%s: skipped: %s"):format(result.row.title, result.skipped)
    end
    for _, subject in ipairs(result.subjects) do
      local why = subject.skipped and "skipped: " .. subject.skipped or
        subject.failed and "**failed**: " .. one_line(subject.failed)
      if why then
        list[#list + 1] = ("%s, %s: %s"):format(result.row.title, subject.label, why)
      end
    end
  end
  for _, line in ipairs(run.not_packaged) do
    list[#list + 1] = line
  end
  return list
end

local function versions(run)
  local seen, list = {}, {}
  for _, result in ipairs(run.results) do
    for _, subject in ipairs(result.subjects) do
      if next(subject.values) and not seen[subject.runtime] then
        seen[subject.runtime] = true
        list[#list + 1] = ("%s: %s"):format(subject.runtime, runtimes.version(subject.runtime))
      end
    end
  end
  return list
end

local function section(out, result, has_charts)
  local row = result.row
  out[#out + 1] = ("\n## %s\n\n"):format(row.title)
  if result.skipped then
    out[#out + 1] = "Skipped: " .. result.skipped .. ".\n"
    return
  end
  out[#out + 1] = tables.markdown(result)
  out[#out + 1] = ("\n`scripts/bench/run %s`: %s. %s, %.0f s.\n"):format(row.name, row.how,
    result.rounds == 1 and "One round" or ("Medians of %d rounds"):format(result.rounds),
    result.seconds)
  for _, verdict in ipairs(result.verdicts) do
    local said = verdict.ok and "met" or verdict.ok == false and "**missed**" or "open"
    out[#out + 1] = ("- goal: %s %s; reached: %s, %s\n"):format(verdict.what, verdict.limit,
      verdict.value, said)
  end
  if has_charts and result.chart then
    out[#out + 1] = ("\n![%s](%s.svg)\n"):format(row.name, result.chart)
  end
end

-- Names of the charts: chart_tls, chart_tls_2 ...
local function name_charts(results)
  local count = {}
  for _, result in ipairs(results) do
    local name = result.row.name
    if result.row.chart and not result.skipped then
      count[name] = (count[name] or 0) + 1
      result.chart = "chart_" .. name .. (count[name] > 1 and "_" .. count[name] or "")
    end
  end
end

local function markdown(run)
  local out = { "# Benchmarks\n\n" }
  local list, unmeasured = missed(run)
  for _, fact in ipairs(run.facts) do
    out[#out + 1] = ("- %s: %s\n"):format(fact[1], fact[2])
  end
  out[#out + 1] = ("- Command: `%s`, %.0f s\n"):format(run.command, run.seconds)
  out[#out + 1] = "\nEvery subject of a row takes its turn in each round (A B C A B C ...); the " ..
    "figures are medians. In parentheses: the ratio to grun's, the median of the ratios of the " ..
    "rounds. CPU is the CPU time of the server with all its threads and children.\n"
  if run.chart then
    out[#out + 1] = "\n![chart](chart.svg)\n"
  elseif run.no_chart then
    out[#out + 1] = "\nNo charts: " .. one_line(run.no_chart) .. "\n"
  end
  out[#out + 1] = "\n## Goals missed\n\n"
  bullets(out, #list > 0 and list or { "none" })
  if #unmeasured > 0 then
    out[#out + 1] = "\nNot measured:\n\n"
    bullets(out, unmeasured)
  end
  for _, result in ipairs(run.results) do
    section(out, result, run.chart)
  end
  out[#out + 1] = "\n## Versions\n\n"
  bullets(out, versions(run))
  out[#out + 1] = "\n## Not compared\n\n"
  local missing = absent(run)
  bullets(out, #missing > 0 and missing or { "nothing was skipped" })
  return table.concat(out)
end

-- ---- readme.md ----

local PEERS = { { "go", "Go" }, { "node", "node" }, { "gevent", "gevent" },
  { "tarantool", "Tarantool" } }
local OTHERS = { "nginx", "fastapi", "lua-http", "cqueues", "asyncio" }

local README = [[
Measured with `%s` on %s under %s, %s; medians of rounds in which all take turns. The ratio is
grun's figure to the yardstick's.

![grun beside others](scripts/bench/chart.svg)

%s]]

local function find(result, field, value)
  for _, subject in ipairs(result.subjects) do
    if subject[field] == value and next(subject.values) then
      return subject
    end
  end
end

local function figure_of(subject, key)
  local median = subject and statistics.median(subject.values[key] or {})
  return median and units.format(key, median)
end

local function readme_line(result, entry)
  local key = entry[1]
  local own = find(result, "label", entry.subject or result.subjects[1].label)
  local yardstick = entry.yardstick and find(result, "label", entry.yardstick)
  local line = { entry[2], figure_of(own, key) or "", "", "" }
  if own and yardstick then
    line[3] = ("%s, %s"):format((entry.yardstick:gsub(" %*$", "")), figure_of(yardstick, key))
    line[4] = units.ratio(statistics.ratio(own.values[key], yardstick.values[key]))
  end
  for _, peer in ipairs(PEERS) do
    local subject = find(result, "runtime", peer[1])
    line[#line + 1] = subject and not subject.label:find("*", 1, true) and
      figure_of(subject, key) or ""
  end
  local others = {}
  for _, runtime in ipairs(OTHERS) do
    local text = figure_of(find(result, "runtime", runtime), key)
    others[#others + 1] = text and runtime .. " " .. text
  end
  line[#line + 1] = table.concat(others, ", ")
  return line
end

local function readme(run)
  local lines = { { "", "grun", "yardstick", "ratio" } }
  for _, peer in ipairs(PEERS) do
    table.insert(lines[1], peer[2])
  end
  table.insert(lines[1], "others")
  for _, result in ipairs(run.results) do
    for _, entry in ipairs(not result.skipped and result.row.readme or {}) do
      lines[#lines + 1] = readme_line(result, entry)
    end
  end
  local facts = {}
  for _, fact in ipairs(run.facts) do
    facts[fact[1]] = fact[2]
  end
  return README:format(run.command, facts.Processor, facts.System, facts.Date,
    tables.markdown_lines(lines))
end

-- ---- All of it ----

---@class bench.run
---@field results bench.result[] each with its verdicts
---@field facts string[][]
---@field command string
---@field seconds number
---@field not_packaged string[]

--- Judges the results; returns whether something failed or missed its goal.
---@param result bench.result
---@return boolean
function M.judge(result)
  result.verdicts = goals.judge(result)
  return goals.is_bad(result, result.verdicts)
end

--- Writes everything into a directory.
---@param directory string
---@param run bench.run
---@param bench_dir string
function M.write(directory, run, bench_dir)
  os.execute("mkdir -p " .. process.quote(directory))
  name_charts(run.results)
  write(directory .. "/results.tsv", tsv(run))
  local output = process.output(("/usr/bin/python3 %s %s %s && echo drawn"):format(
    process.quote(bench_dir .. "/chart.py"), process.quote(directory .. "/results.tsv"),
    process.quote(directory)))
  run.chart = output:find("drawn$") ~= nil
  run.no_chart = not run.chart and output
  write(directory .. "/report.md", markdown(run))
  write(directory .. "/readme.md", readme(run))
end

return M
