-- SPDX-License-Identifier: MIT
-- Medians and ratios of figures.

local M = {}

--- The middle value, or the mean of the two in the middle. nil of an empty list.
---@param values number[]
---@return number?
function M.median(values)
  if #values == 0 then
    return nil
  end
  local sorted = { unpack(values) }
  table.sort(sorted)
  local middle = math.floor(#sorted / 2)
  return #sorted % 2 == 1 and sorted[middle + 1] or (sorted[middle] + sorted[middle + 1]) / 2
end

--- The median of the ratios of neighbouring runs: a[1] / b[1], a[2] / b[2] ... Both were measured
--- in turn, so what slows the machine down for a while falls on both. nil when there is none: a
--- side is missing, or b is 0.
---@param a number[]
---@param b number[]
---@return number?
function M.ratio(a, b)
  local ratios = {}
  for i = 1, math.min(#a, #b) do
    if b[i] ~= 0 then
      ratios[#ratios + 1] = a[i] / b[i]
    end
  end
  return M.median(ratios)
end

--- The least and the greatest value.
---@param values number[]
---@return number?, number?
function M.range(values)
  if #values == 0 then
    return nil
  end
  return math.min(unpack(values)), math.max(unpack(values))
end

return M
