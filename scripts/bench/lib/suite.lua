-- SPDX-License-Identifier: MIT
-- Runs rows. A row is a table:
--   name      what `scripts/bench/run NAME` calls it; several rows may have the same
--   title     what is measured
--   how       how, for the report
--   measure   function(subject) -> table of figures (see lib/loads.lua)
--   subjects  list of { runtime, "file arguments", as = label }: who is measured. The first one is
--             what the others are compared with. Also: memory_mib, rounds as for the row;
--             environment, NAME=value ...; options for its load
--   leave_out list of labels that the list of subjects has and this row has not
--   figures   list of { key, title }, or "whatever it prints"
--   goals     list of goals (lib/goals.lua)
--   rounds    at most so many rounds
--   budget    seconds: a row ends after the round that exceeds it (default 60)
--   memory_mib  memory that must be free
--   needs     file of this directory without which there is no row
--   missing   function() -> why it cannot be measured, or nil
--   arguments function() -> arguments of every subject
--   readme    list of { key, title, yardstick = label, subject = label }: lines of README's table
--   chart     key of the figure that is drawn

local process = require("scripts.bench.lib.process")
local runtimes = require("scripts.bench.lib.runtimes")

local M = {
  rounds = 5,
  budget = 60, -- seconds
  bench_dir = nil,
}

local FILES = { "threads", "net", "http" }

--- Every row, in order.
---@return table[]
function M.rows()
  local rows = {}
  for _, file in ipairs(FILES) do
    for _, row in ipairs(require("scripts.bench.rows." .. file)) do
      if not row.needs or process.contents(M.bench_dir .. "/" .. row.needs) ~= "" then
        rows[#rows + 1] = row
      end
    end
  end
  return rows
end

local function available_mib()
  local kib = process.contents("/proc/meminfo"):match("\nMemAvailable:%s*(%d+)")
  return tonumber(kib or 0) / 1024
end

-- Why a row or subject that needs this much memory cannot be measured.
local function too_little_memory(mib)
  if mib and available_mib() < mib then
    return ("less than %d MiB of memory are free"):format(mib)
  end
end

local function contains(list, value)
  for _, one in ipairs(list or {}) do
    if one == value then
      return true
    end
  end
  return false
end

local function command_of(row, definition)
  local environment = definition.environment
  return (environment and "env " .. environment .. " " or "") ..
    runtimes.command(definition[1], definition[2]) ..
    (row.arguments and " " .. row.arguments() or "")
end

-- The subject as it takes part: with a label, and with the command or with why there is none.
local function prepare(row, definition)
  local subject = {
    label = definition.as or definition[1],
    runtime = definition[1],
    rounds = definition.rounds or math.huge,
    options = definition.options,
    values = {},
    skipped = runtimes.missing(definition[1]) or too_little_memory(definition.memory_mib),
  }
  if not subject.skipped then
    local ok, command = pcall(command_of, row, definition)
    subject[ok and "command" or "failed"] = command
  end
  return subject
end

local function prepare_all(row)
  local subjects = {}
  for _, definition in ipairs(row.subjects) do
    if not contains(row.leave_out, definition.as or definition[1]) then
      subjects[#subjects + 1] = prepare(row, definition)
    end
  end
  return subjects
end

local function run_once(row, subject)
  local ok, found = pcall(row.measure, subject)
  if not ok then
    subject.failed = tostring(found)
    if subject.failed:find("interrupted!", 1, true) then -- what ^C becomes in luajit
      error(found, 0)
    end
    return
  end
  for key, value in pairs(found) do
    subject.values[key] = subject.values[key] or {}
    table.insert(subject.values[key], value)
  end
end

-- Columns for the figures that the subjects printed.
local function discover(subjects)
  local seen, figures = {}, {}
  for _, subject in ipairs(subjects) do
    for key in pairs(subject.values) do
      if not seen[key] then
        seen[key] = true
        figures[#figures + 1] = { key, key }
      end
    end
  end
  table.sort(figures, function(a, b) return a[1] < b[1] end)
  return figures
end

---@class bench.result
---@field row table
---@field skipped? string why it was not measured
---@field subjects table[] with label, runtime, values (key -> list), skipped or failed (why)
---@field figures table[]
---@field rounds integer
---@field seconds number that it took

--- Measures a row: every subject once, in turn, as many rounds as there are.
---@param row table
---@return bench.result
function M.run(row)
  local start = process.now()
  local result = { row = row, subjects = {}, figures = {}, rounds = 0 }
  result.skipped = row.missing and row.missing() or too_little_memory(row.memory_mib)
  if not result.skipped then
    result.subjects = prepare_all(row)
    local rounds, limit = math.min(M.rounds, row.rounds or M.rounds), row.budget or M.budget
    repeat
      result.rounds = result.rounds + 1
      for _, subject in ipairs(result.subjects) do
        if subject.command and not subject.failed and result.rounds <= subject.rounds then
          run_once(row, subject)
        end
      end
    until result.rounds >= rounds or process.now() - start > limit
    result.figures = type(row.figures) == "table" and row.figures or discover(result.subjects)
  end
  result.seconds = process.now() - start
  return result
end

return M
