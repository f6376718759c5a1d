-- SPDX-License-Identifier: MIT
-- A syslog receiver: prints one line per message, of the old format (RFC 3164) and the new one
-- (RFC 5424); what is neither is kept as it came. Shows a server of datagrams.
-- Run:  ./grun scripts/examples/syslog_sink.lua [udp://127.0.0.1:5514 [file to append to]]
-- Then: logger -n 127.0.0.1 -P 5514 -d -t test "hello"        (^C stops the server)

local address, path = arg[1] or "udp://127.0.0.1:5514", arg[2]
local MAX = 8192 -- bytes of a message that are looked at

local FACILITIES = {
  [0] = "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
  "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3",
  "local4", "local5", "local6", "local7",
}
local SEVERITIES = {
  [0] = "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
}

-- Nothing that a sender writes may control the terminal or look like another line.
local function escape(text)
  return (text:gsub("[%c\127]", function(c)
    return ("\\x%02x"):format(c:byte())
  end))
end

-- Skips one element of structured data: [id name="value"...] with \" and \] inside values. Returns
-- the position after it, or nil.
local function skip_element(text, at)
  at = text:match('^%[[^"%]]*()', at)
  while at and text:sub(at, at) == '"' do
    at = at + 1
    while text:find('^[^"\\]*\\', at) do
      at = text:match('^[^"\\]*\\.()', at) or #text + 1
    end
    at = text:match('^[^"]*"[^"%]]*()', at)
  end
  return at and text:match("^%]()", at)
end

-- The text after the structured data, or nil.
local function after_data(text)
  local at = text:match("^%-()") or skip_element(text, 1)
  while at and text:sub(at, at) == "[" do
    at = skip_element(text, at)
  end
  if at == #text + 1 then
    return ""
  end
  return at and text:match("^ \239?\187?\191?(.*)$", at)
end

-- Both return time, host, tag, text, or nothing.
local function parse_5424(text)
  local time, host, app, _, _, rest = text:match("^1 (%S+) (%S+) (%S+) (%S+) (%S+) (.*)$")
  local message = rest and after_data(rest)
  if message then
    return time, host, app, message
  end
end

local function parse_3164(text)
  local time, host, rest = text:match("^(%a%a%a [ %d]%d %d%d:%d%d:%d%d) (%S+) (.*)$")
  if time then
    local tag, message = rest:match("^([%w_./-]+)%[?%d*%]?: ?(.*)$")
    return time, host, tag or "-", message or rest
  end
end

local function parse(data, sender)
  local priority, text = data:match("^<(%d%d?%d?)>(.*)$")
  priority = tonumber(priority)
  if not priority or priority > 191 then
    return nil
  end
  local time, host, tag, message = parse_5424(text)
  if not time then
    time, host, tag, message = parse_3164(text)
  end
  -- A priority alone is enough (RFC 3164, section 4.3.2): who sent it and when is known here.
  return ("%s.%s %s %s %s: %s"):format(FACILITIES[math.floor(priority / 8)],
    SEVERITIES[priority % 8], time or os.date("%b %d %H:%M:%S"), host or sender, tag or "-",
    message or text)
end

local file = path and assert(io.open(path, "a"))
local server = assert(grun.server(address, function(data, peer)
  data = data:gsub("[\r\n%z]+$", "")
  local sender = peer.host or "local"
  local line = escape(parse(data, sender) or ("raw from %s: %s"):format(sender, data)) .. "\n"
  io.stdout:write(line)
  if file then
    file:write(line)
    file:flush()
  end
end, { max = MAX }))
io.stdout:setvbuf("line")
print("listening on " .. server:address())
