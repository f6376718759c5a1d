-- SPDX-License-Identifier: MIT
-- Goals of a row, and whether they were met. A goal is { key, ... }:
--   at_most, at_least   the limit of the figure; with `of`, of its ratio to the same figure of the
--                       subject with that label; with of_figure, to another one of the same subject
--   plus                with `of`: at most the other's figure and so much more
--   subject             label of the subject (default: the row's first)
--   least               the least figure counts, not the median
--   why                 why it is missed, for the report

local statistics = require("scripts.bench.lib.statistics")
local units = require("scripts.bench.lib.units")

local M = {}

local function find(result, label)
  for _, subject in ipairs(result.subjects) do
    if not label or subject.label == label then
      return subject
    end
  end
end

local function title_of(result, key)
  for _, figure in ipairs(result.figures) do
    if figure[1] == key then
      return figure[2]
    end
  end
  return key
end

-- What is compared with the limit, and whether it is a ratio. nil, and why there is none.
local function reached(result, goal, subject)
  local own = subject and subject.values[goal[1]]
  if not own or #own == 0 then
    return nil, "not measured"
  end
  local base
  if goal.of then
    local other = find(result, goal.of)
    base = other and other.values[goal[1]]
    if not base then
      return nil, goal.of .. " was not measured"
    end
  elseif goal.of_figure then
    base = subject.values[goal.of_figure]
    if not base then
      return nil, goal.of_figure .. " was not measured"
    end
  end
  if goal.plus then
    return statistics.median(own) - statistics.median(base)
  elseif base then
    return statistics.ratio(own, base)
  end
  return goal.least and statistics.range(own) or statistics.median(own)
end

local function limit_text(result, goal)
  local limit = goal.at_most or goal.at_least
  local sign = goal.at_least and "≥" or "≤"
  if goal.plus then
    return ("≤ %s + %s"):format(goal.of, units.format(goal[1], goal.plus))
  elseif goal.of or goal.of_figure then
    return ("%s %s × %s"):format(sign, units.ratio(limit),
      goal.of or title_of(result, goal.of_figure))
  end
  return ("%s %s"):format(sign, units.format(goal[1], limit))
end

-- By how much the limit is missed: percents of it, or the figure where the limit is 0.
local function shortfall(goal, value, text)
  local limit = goal.plus or goal.at_most or goal.at_least
  if limit == 0 then
    return text
  end
  return ("%.0f %%"):format(math.abs(value / limit - 1) * 100)
end

---@class bench.verdict
---@field what string subject and figure
---@field limit string
---@field value string what was reached
---@field ok? boolean nil: not measured, as when the peer is not installed, which is no failure
---@field by? string how much is missing
---@field why? string

--- The verdicts on a result's goals.
---@param result bench.result
---@return bench.verdict[]
function M.judge(result)
  local verdicts = {}
  for i, goal in ipairs(result.row.goals or {}) do
    local subject = find(result, goal.subject)
    local verdict = {
      what = (subject and subject.label or "?") .. ": " .. title_of(result, goal[1]),
      limit = limit_text(result, goal),
    }
    local value, why = reached(result, goal, subject)
    if value then
      local as_ratio = (goal.of or goal.of_figure) and not goal.plus
      verdict.value = as_ratio and units.ratio(value) or units.format(goal[1], value)
      verdict.ok = goal.at_least and value >= goal.at_least or
        not goal.at_least and value <= (goal.plus or goal.at_most)
      if not verdict.ok then
        verdict.by, verdict.why = shortfall(goal, value, verdict.value), goal.why
      end
    else
      verdict.value = why
    end
    verdicts[i] = verdict
  end
  return verdicts
end

--- Whether the result misses a goal, or a subject failed.
---@param result bench.result
---@param verdicts bench.verdict[]
---@return boolean
function M.is_bad(result, verdicts)
  for _, subject in ipairs(result.subjects) do
    if subject.failed then
      return true
    end
  end
  for _, verdict in ipairs(verdicts) do
    if verdict.ok == false then
      return true
    end
  end
  return false
end

return M
