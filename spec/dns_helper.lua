-- SPDX-License-Identifier: MIT
-- The DNS server of the specs (spec/dns_server.py says what its names do), and grun asking only it.

local grun = require("grun")
local helper = require("spec.helper")

local M = {}

--- Starts the server and configures DNS to ask only it; M.port is its port.
function M.start()
  M.process = io.popen("exec python3 spec/dns_server.py")
  M.port, M.control = M.process:read("*n", "*n")
  assert(M.port, "the DNS server does not start")
  M.server = "127.0.0.1:" .. M.port
end

--- What the server is told; returns its reply.
local function command(word)
  local conn = assert(grun.connect("127.0.0.1:" .. M.control))
  conn:write(word .. "\n")
  local reply = conn:read("a")
  conn:close()
  return reply
end

function M.stop()
  command("quit")
  M.process:close()
  grun.dns.configure()
end

--- Configures: opts over one server, no search list, an empty hosts file, 5 s for each of 2 tries.
function M.configure(opts)
  local all = { servers = { M.server }, search = {}, ndots = 1, timeout = 5, tries = 2,
    hosts = "/dev/null", resolv_conf = "/dev/null" }
  for key, value in pairs(opts or {}) do
    all[key] = value
  end
  grun.dns.configure(all)
end

--- The questions since the last call: a list of { proto, port, id, edns, type, name }.
function M.log()
  local list = {}
  for line in command("log"):gmatch("[^\n]+") do
    local proto, port, id, edns, kind, name = line:match("^(%S+) (%d+) (%d+) (%S+) (%d+) (%S*)$")
    list[#list + 1] = { proto = proto, port = tonumber(port), id = tonumber(id),
      edns = edns == "edns", type = tonumber(kind), name = name }
  end
  return list
end

--- The same as words: "A ok.test AAAA ok.test", sorted within one name.
function M.asked()
  local words, kinds = {}, { [1] = "A", [12] = "PTR", [16] = "TXT", [28] = "AAAA" }
  for i, q in ipairs(M.log()) do
    words[i] = (kinds[q.type] or q.type) .. " " .. q.name
  end
  table.sort(words)
  return table.concat(words, ", ")
end

--- Replaces a file's content, and its time stamp for sure.
function M.rewrite(path, content)
  local name = helper.tmpname(content)
  assert(os.rename(name, path))
end

return M
