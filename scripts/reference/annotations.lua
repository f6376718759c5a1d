-- SPDX-License-Identifier: MIT
-- Reads LuaCATS annotations: what the functions and classes of a Lua file are, in words.

local M = {}

-- ---- Types ----

-- Where the type at `at` of a text ends: at a space or comma outside brackets and quotes, except
-- after the colon of fun(): T.
local function type_end(text, at)
  local depth, quoted = 0, nil
  while at <= #text do
    local char = text:sub(at, at)
    if quoted then
      quoted = char ~= quoted and quoted or nil
    elseif char == '"' or char == "'" then
      quoted = char
    elseif char:find("[%(%[{<]") then
      depth = depth + 1
    elseif char:find("[%)%]}>]") then
      depth = depth - 1
    elseif char == ":" and depth == 0 and text:sub(at - 1, at - 1) == ")" then
      at = text:find("%S", at + 1) - 1
    elseif depth == 0 and char:find("[%s,]") then
      return at - 1
    end
    at = at + 1
  end
  return #text
end

-- A type and what comes after it.
local function take_type(text)
  local last = type_end(text, 1)
  return text:sub(1, last), text:sub(last + 1)
end

-- "true|nil, string? message" -> { { type =, name =, text = }, ... }
local function read_returns(text)
  local list = {}
  repeat
    local kind, rest = take_type(text)
    local item = { type = kind }
    list[#list + 1] = item
    text = rest:match("^%s*,%s*(.*)$")
    if not text then
      rest = rest:gsub("^%s+", "")
      if rest ~= "" and rest ~= "..." then
        item.text = rest
      elseif rest == "..." then
        item.type = kind .. " ..."
      end
    end
  until not text
  return list
end

-- ---- Blocks ----

local function append(item, line)
  line = line:gsub("^%s+", "")
  item.text = item.text and item.text .. " " .. line or line
end

local readers = {
  param = function(block, text)
    local name, optional, rest = text:match("^([%w_.]+)(%??)%s+(.*)$")
    assert(name, text)
    local kind, after = take_type(rest)
    local item = { name = name, type = kind, optional = optional == "?" or nil }
    after = after:gsub("^%s+", "")
    item.text = after ~= "" and after or nil
    table.insert(block.params, item)
    return item
  end,
  field = function(block, text)
    local private, rest = text:match("^(private)%s+(.*)$")
    text = rest or text
    local name, optional, after = text:match("^(%b[])(%??)%s+(.*)$")
    if not name then
      name, optional, after = text:match("^([%w_]+)(%??)%s+(.*)$")
    end
    assert(name, text)
    local kind, words = take_type(after)
    words = words:gsub("^%s+", "")
    local item = { name = name, type = kind, optional = optional == "?" or nil }
    item.text = words ~= "" and words or nil
    if not private then
      table.insert(block.fields, item)
    end
    return item
  end,
  ["return"] = function(block, text)
    local list = read_returns(text)
    for _, item in ipairs(list) do
      table.insert(block.returns, item)
    end
    return list[#list]
  end,
  class = function(block, text)
    local name, rest = text:match("^([%w_.]+)%s*:?%s*(.*)$")
    block.class = name
    if rest ~= "" and not rest:find("[^%w_., ]") and rest:find("^grun%.") then
      block.parents = rest
    elseif rest ~= "" then
      append(block, rest)
    end
    return {} -- what follows without a tag belongs to no item
  end,
  alias = function(block, text)
    block.class, block.alias = text:match("^([%w_.]+)%s*(.*)$")
    return {}
  end,
  async = function(block)
    block.async = true
  end,
  private = function(block)
    block.private = true
  end,
}

-- A list of lines that began with "---".
local function read_block(lines)
  local block, item = { params = {}, fields = {}, returns = {} }, nil
  for _, line in ipairs(lines) do
    local tag, text = line:match("^@(%a+)%s*(.*)$")
    local choice, about = line:match("^|%s*(\"[^\"]*\")%s*#?%s*(.*)$")
    if choice then
      table.insert(block.fields, { name = choice, type = "", text = about ~= "" and about or nil })
    elseif tag then
      item = readers[tag] and readers[tag](block, text) or item
      if tag == "type" or tag == "meta" then
        block.other = true
      end
    else
      append(item or block, line)
    end
  end
  return block
end

-- ---- Files ----

-- What the code line after a block says.
local function read_code(line)
  local owner, sep, name, args = line:match("^function ([%w_]+)([.:])([%w_]+)(%b())")
  if not owner then
    name, args = line:match("^local function ([%w_]+)(%b())")
  end
  if not name then
    owner, name = line:match("^([%w_]+)%.([%w_]+) = [%w_.]+$")
    sep = owner and "."
  end
  return name, owner, sep, args and args:sub(2, -2)
end

local function finish_block(file, lines, code)
  local block = read_block(lines)
  if block.class then
    local var = code:match("^local ([%w_]+)[ ,]")
    if var then
      file.class_of[var] = block.class
    end
    table.insert(file.classes, block)
  end
  local name, owner, sep, args = read_code(code)
  if name and not block.class and not block.other and not block.private then
    block.name, block.owner, block.sep, block.args = name, owner, sep, args
    if not args then
      local names = {}
      for i, param in ipairs(block.params) do
        names[i] = param.name
      end
      block.args = table.concat(names, ", ")
    end
    table.insert(file.functions, block)
  end
end

-- "a = native.b" in a list of fields: the function b of another module; "a = a": of this one.
local function read_field_alias(file, text, prefix)
  local name, var, field = text:match("^%s*([%w_]+) = ([%w_]+)%.?([%w_]*),?%s*$")
  if name and (field ~= "" or prefix ~= "") then
    local module = field ~= "" and file.module_of[var] or file.module
    file.aliases[prefix .. name] = { module = module, name = field ~= "" and field or var }
  end
end

-- Functions that a module does not define, in the ways that are used: M.a = native.b, also in the
-- constructor of M and in tables inside it; a = "grun.module" in a list of what loads later.
local function read_aliases(file, line)
  local name, value = line:match("^M%.([%w_]+) = (.*)$")
  if name then
    return read_field_alias(file, name .. " = " .. value, "")
  end
  local later, module = line:match('^%s+([%w_]+) = "(grun[%w_.]*)",$')
  if later then
    file.aliases[later] = { module = module, name = later }
    return
  end
  local fields = line:match("^local M = {(.*)}$") or line:match("^  [%w_]+ = .*,$") or ""
  fields = fields:gsub("([%w_]+) = {(.-)}", function(group, inner)
    for part in inner:gmatch("[^,]+") do
      read_field_alias(file, part, group .. ".")
    end
    return ""
  end)
  for part in fields:gmatch("[^,]+") do
    read_field_alias(file, part, "")
  end
end

-- The comment at the beginning, without the license.
local function read_header(text)
  local lines = {}
  for line in text:gmatch("([^\n]*)\n") do
    local words = line:match("^%-%- ?(.*)$")
    if not words then
      break
    elseif not words:find("^SPDX") then
      lines[#lines + 1] = words
    end
  end
  return table.concat(lines, "\n")
end

--- Reads a text. Returns { module =, header =, requires = list of modules, class_of = var -> class,
--- classes =, functions =, aliases = name -> { module =, name = } }; classes and functions are
--- blocks { text =, params =, fields =, returns =, async = } with class and parents, or name,
--- owner, sep and args.
function M.read(text, module)
  local file = {
    module = text:match("\n%-%-%-@meta ([%w_.]+)") or module, header = read_header(text),
    requires = {}, module_of = {}, class_of = {}, classes = {}, functions = {}, aliases = {},
  }
  local lines = {}
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    local doc = line:match("^%-%-%- ?(.*)$")
    if doc then
      lines[#lines + 1] = doc
    elseif #lines > 0 then
      finish_block(file, lines, line)
      lines = {}
    end
    local var, required = line:match('^local ([%w_]+) = require%("([%w_.]+)"%)')
    if var then
      file.module_of[var] = required
      table.insert(file.requires, required)
    end
    if not doc then
      read_aliases(file, line)
    end
  end
  return file
end

return M
