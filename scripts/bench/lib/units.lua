-- SPDX-License-Identifier: MIT
-- How figures are written. A figure's key ends in its unit: cpu_ns, p99_us, rss_kib,
-- requests_per_s.

local M = {}

local function time(ns)
  if ns == 0 then
    return "0"
  elseif ns < 999.5 then
    return ("%.1f ns"):format(ns)
  elseif ns < 999.5e3 then
    return ("%.2f µs"):format(ns / 1e3)
  elseif ns < 999.5e6 then
    return ("%.2f ms"):format(ns / 1e6)
  end
  return ("%.2f s"):format(ns / 1e9)
end

-- 1234567 as 1,234,567.
local function count(value)
  local digits = ("%.0f"):format(value)
  return (digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local function plain(value)
  return value == math.floor(value) and count(value) or ("%.2f"):format(value)
end

-- Endings, the longer ones first.
local ENDINGS = {
  { "mb_per_s", function(value) return ("%.0f MB/s"):format(value) end },
  { "_per_s", count },
  { "_ns", time },
  { "_us", function(value) return time(value * 1e3) end },
  { "_ms", function(value) return time(value * 1e6) end },
  { "seconds", function(value) return time(value * 1e9) end },
  { "_s", function(value) return time(value * 1e9) end },
  { "_kib", function(value)
    return (math.abs(value) < 1000 and "%.2f KiB" or "%.0f KiB"):format(value)
  end },
  { "_mib", function(value) return ("%.0f MiB"):format(value) end },
}

local function ends_in(key, ending)
  return key:sub(-#ending) == ending
end

---@param key string
---@param value number
---@return string
function M.format(key, value)
  for _, ending in ipairs(ENDINGS) do
    if ends_in(key, ending[1]) then
      return ending[2](value)
    end
  end
  return plain(value)
end

--- Whether a greater figure is a better one: rates.
---@param key string
---@return boolean
function M.more_is_better(key)
  return ends_in(key, "_per_s") or ends_in(key, "speedup")
end

--- A ratio with three digits that say something.
---@param value number
---@return string
function M.ratio(value)
  return (value < 10 and "%.2f" or value < 100 and "%.1f" or "%.0f"):format(value)
end

return M
