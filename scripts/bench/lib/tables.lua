-- SPDX-License-Identifier: MIT
-- A result as a table: a line for each subject, a column for each figure, beside each figure its
-- ratio to the first subject's.

local statistics = require("scripts.bench.lib.statistics")
local units = require("scripts.bench.lib.units")

local M = {}

-- Columns that some subject has a value for.
local function columns_of(result)
  local columns = {}
  for _, figure in ipairs(result.figures) do
    for _, subject in ipairs(result.subjects) do
      if subject.values[figure[1]] then
        columns[#columns + 1] = figure
        break
      end
    end
  end
  return columns
end

--- A subject's figure relative to the row's first subject; nil for that one.
---@param result bench.result
---@param subject table
---@param key string
---@return number?
function M.ratio(result, subject, key)
  local first = result.subjects[1]
  if subject == first or not subject.values[key] or not first.values[key] then
    return nil
  end
  return statistics.ratio(subject.values[key], first.values[key])
end

local function cell(result, subject, key)
  local median = statistics.median(subject.values[key] or {})
  if not median then
    return ""
  end
  local ratio = M.ratio(result, subject, key)
  return units.format(key, median) .. (ratio and (" (%s)"):format(units.ratio(ratio)) or "")
end

-- Lines of cells, the head first.
local function cells_of(result)
  local columns, lines = columns_of(result), { { "" } }
  for i, figure in ipairs(columns) do
    lines[1][i + 1] = figure[2]
  end
  for _, subject in ipairs(result.subjects) do
    if next(subject.values) then
      local line = { subject.label }
      for i, figure in ipairs(columns) do
        line[i + 1] = cell(result, subject, figure[1])
      end
      lines[#lines + 1] = line
    end
  end
  return lines
end

-- Characters, not bytes.
local function width(text)
  return select(2, text:gsub("[^\128-\191]", ""))
end

--- For a terminal.
---@param result bench.result
---@return string
function M.text(result)
  local lines, widths, out = cells_of(result), {}, {}
  for _, line in ipairs(lines) do
    for i, text in ipairs(line) do
      widths[i] = math.max(widths[i] or 0, width(text))
    end
  end
  for _, line in ipairs(lines) do
    local row = {}
    for i, text in ipairs(line) do
      local pad = (" "):rep(widths[i] - width(text))
      row[i] = i == 1 and text .. pad or pad .. text
    end
    out[#out + 1] = ("  " .. table.concat(row, "  ")):gsub("%s+$", "") .. "\n"
  end
  return table.concat(out)
end

--- For Markdown. `|` in a cell would end it.
---@param lines string[][] the head first
---@return string
function M.markdown_lines(lines)
  local out = {}
  for i, line in ipairs(lines) do
    local escaped = {}
    for j, text in ipairs(line) do
      escaped[j] = text:gsub("|", "\\|")
    end
    out[#out + 1] = "| " .. table.concat(escaped, " | ") .. " |\n"
    if i == 1 then
      out[#out + 1] = "|---" .. ("|---:"):rep(#line - 1) .. "|\n"
    end
  end
  return table.concat(out)
end

---@param result bench.result
---@return string
function M.markdown(result)
  return M.markdown_lines(cells_of(result))
end

return M
