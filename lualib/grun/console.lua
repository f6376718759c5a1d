-- SPDX-License-Identifier: MIT
-- What the prompt and the backdoor share: chunks from lines, their values, and errors.

local pretty = require("grun.pretty")

local M = {}

local function is_incomplete(message)
  return message:sub(-7) == "'<eof>'"
end

-- A text may be expressions or statements. The nil keeps a call from being a tail call, which would
-- take the chunk out of error messages. Returns the chunk and how many of its results to skip; or
-- nil, the message and whether more input could complete it.
local function compile(text)
  local chunk, expression, statement
  chunk, expression = loadstring("return nil, " .. text, "=stdin")
  if chunk then
    return chunk, 1
  end
  chunk, statement = loadstring(" " .. text, "=stdin") -- no # line, no bytecode
  if chunk then
    return chunk, 0
  elseif is_incomplete(expression) then
    return nil, expression, true
  end
  return nil, statement, is_incomplete(statement)
end

local function describe(err)
  local mt = debug.getmetatable(err)
  if type(err) == "string" or type(err) == "table" and type(mt) == "table" and mt.__tostring then
    return tostring(err)
  end
  return ("(error object is a %s value)"):format(type(err))
end

-- The message, and the traceback down to the chunk.
local function traced(err)
  local ok, text = pcall(describe, err)
  text = debug.traceback(ok and text or "(error object whose __tostring failed)", 2)
  return (text:gsub("\n%s*%[C%]: in function 'xpcall'.*", ""))
end

local function show(out, ...)
  local values = { ... }
  for i = 1, select("#", ...) do
    values[i] = pretty.show(values[i])
  end
  out.print()(unpack(values, 1, select("#", ...)))
end

local function finish(out, skip, ok, ...)
  local message = ...
  if ok and select("#", ...) > skip then
    ok, message = xpcall(show, traced, out, select(skip + 1, ...))
  end
  if not ok then
    out.report(message)
  end
end

--- Runs a chunk that read made. out: report(text) takes errors, print() gives the function that
--- prints values.
---@async
function M.run(out, chunk, skip)
  finish(out, skip, xpcall(chunk, traced))
end

--- Reads a chunk, over several lines if need be. read(more) returns a line, nil at the end of input
--- or false when the lines so far are to be forgotten; more: the first line was incomplete. Returns
--- the chunk and how many of its results to skip; or nil at the end of input, or false if there is
--- nothing to run.
---@async
function M.read(read, report_error)
  local line, text = read(false), nil
  while line do
    text = text and text .. "\n" .. line or line:gsub("^=", "")
    local chunk, detail, more = compile(text)
    if chunk then
      return chunk, detail
    elseif not more then
      report_error(detail)
      return false
    end
    line = read(true)
    if line == nil then
      report_error(detail)
    end
  end
  return line
end

return M
