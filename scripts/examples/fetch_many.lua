-- SPDX-License-Identifier: MIT
-- Fetches URLs, some at a time, and prints them in the order in which they are complete: status,
-- bytes, seconds. Shows the HTTP client and results that are used as they come. The exit status is
-- 1 when one could not be fetched.
-- Run:  ./grun scripts/examples/fetch_many.lua [-n AT_ONCE] URL...
-- Try:  ./grun scripts/examples/fetch_many.lua -n 4 https://www.lua.org https://luajit.org

local urls, at_once = { unpack(arg) }, 10
if urls[1] == "-n" then
  at_once = tonumber(urls[2]) or 0
  table.remove(urls, 1)
  table.remove(urls, 1)
end
if #urls == 0 or at_once < 1 then
  io.stderr:write("usage: fetch_many.lua [-n AT_ONCE] URL...\n")
  os.exit(2)
end

local TIMEOUT = 30 -- seconds for one of them
local PIECES = { timeout = TIMEOUT, stream = true } -- a body need not fit into memory

-- The status, or nil and a message; how many bytes came.
local function fetch(url)
  local res, message = grun.http.get(url, PIECES)
  if not res then
    return nil, message, 0
  end
  local bytes = 0
  local function read()
    local piece
    piece, message = res:read()
    return piece
  end
  for piece in read do
    bytes = bytes + #piece
  end
  return not message and res.status, message, bytes
end

local function timed(url)
  local started = grun.now()
  local status, message, bytes = fetch(url)
  return { url = url, status = status, message = message, bytes = bytes,
    seconds = grun.now() - started }
end

io.stdout:setvbuf("line")
local failed = false
for result in grun.pool(at_once):imap_unordered(timed, urls) do
  failed = failed or not result.status
  print(("%s %9d bytes %7.3f s  %s%s"):format(result.status or "---", result.bytes, result.seconds,
    result.url, result.message and ": " .. result.message or ""))
end
os.exit(failed and 1 or 0)
