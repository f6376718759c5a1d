-- SPDX-License-Identifier: MIT
-- Tables of options: each must be known and of a type it may have.

local M = {}

--- Raises at `level`, counted from the caller, for what is no table of options, naming the function
--- `who`. `types`: name of an option -> its types, with blanks between them.
---@param who string
---@param opts any
---@param types table<string, string>
---@param level integer
function M.check(who, opts, types, level)
  if type(opts) ~= "table" then
    error(("%s: table of options expected, got %s"):format(who, type(opts)), level + 1)
  end
  for name, value in pairs(opts) do
    local wanted = types[name]
    if not wanted then
      error(("%s: unknown option '%s'"):format(who, tostring(name)), level + 1)
    elseif not (" " .. wanted .. " "):find(" " .. type(value) .. " ", 1, true) then
      error(("%s: option '%s': %s expected, got %s"):format(who, name, wanted:gsub(" ", " or "),
        type(value)), level + 1)
    end
  end
end

return M
