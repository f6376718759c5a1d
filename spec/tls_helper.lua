-- SPDX-License-Identifier: MIT
-- What the specs about TLS share: certificates, made once with the openssl command, and peers.

local busted = require("busted")
local grun = require("grun")
local helper = require("spec.helper")

local M = {}

local function sh(command)
  assert(os.execute(command) == 0, "failed: " .. command)
end

local function write(name, text)
  local file = assert(io.open(name, "w"))
  file:write(text)
  file:close()
end

function M.read_file(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- ---- Certificates ----

local CONFIG = [[
[ca]
default_ca = one
[one]
dir = .
database = db.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = optional
[req]
distinguished_name = dn
[dn]
]]

local CA_EXTENSIONS = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n"
local LEAF = "basicConstraints=CA:false\n"

local function der_name(name)
  local bytes = { ("82:%02x"):format(#name) }
  for i = 1, #name do
    bytes[#bytes + 1] = ("%02x"):format(name:byte(i))
  end
  return ("subjectAltName=DER:30:%02x:%s\n"):format(#name + 2, table.concat(bytes, ":"))
end

local function names(list)
  return LEAF .. "subjectAltName=" .. list .. "\n"
end

-- Name -> what it is: issuer (default "intermediate"), cn, ext, from and to (dates).
local LEAVES = {
  good = { ext = names("DNS:localhost,DNS:one.example.org,IP:127.0.0.1,IP:::1") },
  other = { ext = names("DNS:other.example,DNS:second.example") },
  wildcard = { ext = names("DNS:*.example.org,DNS:localhost") },
  partial = { ext = names("DNS:loc*,DNS:l*.example.org") },
  cn_only = { cn = "localhost", ext = LEAF },
  nul = { cn = "localhost", ext = LEAF .. der_name("localhost\0.evil.example") },
  expired = { ext = names("DNS:localhost"), from = "20200101000000Z", to = "20200201000000Z" },
  future = { ext = names("DNS:localhost"), from = "20480101000000Z", to = "20490101000000Z" },
  purpose = { ext = names("DNS:localhost") .. "extendedKeyUsage=clientAuth\n" },
  client = { cn = "a client", ext = names("DNS:client.example") .. "extendedKeyUsage=clientAuth\n" },
  unknown_ca = { issuer = "stranger", ext = names("DNS:localhost,IP:127.0.0.1") },
  bad_issuer = { issuer = "good", ext = names("DNS:localhost") },
  one = { ext = names("DNS:one.example.org") },
  two = { ext = names("DNS:two.example.org") },
}

local dir

local function in_dir(command, ...)
  sh(("cd %s && { %s; } >log 2>&1"):format(dir, command:format(...)))
end

-- Signs a certificate for the shared key with that of the issuer.
local function sign(name, leaf)
  local issuer = leaf.issuer or "intermediate"
  write(dir .. "/ext", leaf.ext)
  in_dir("openssl req -new -config cnf -key key.pem -subj '/CN=%s' -out csr && " ..
    "openssl ca -batch -config cnf -notext -cert %s.pem -keyfile key.pem -in csr -out %s.pem " ..
    "-startdate %s -enddate %s -extfile ext", leaf.cn or name, issuer, name,
    leaf.from or "20240101000000Z", leaf.to or "20480101000000Z")
end

-- All keys are the same one, which only saves time.
local function make()
  dir = os.tmpname()
  os.remove(dir)
  sh("mkdir -p " .. dir)
  write(dir .. "/cnf", CONFIG)
  write(dir .. "/db.txt", "")
  write(dir .. "/serial", "1000\n")
  in_dir("openssl ecparam -name prime256v1 -genkey -noout -out key.pem && " ..
    "openssl ecparam -name prime256v1 -genkey -noout -out other.key && " ..
    "openssl ec -in key.pem -aes128 -passout pass:secret -out locked.key")
  write(dir .. "/ext.cnf", CONFIG .. "[v3]\n" .. CA_EXTENSIONS)
  for _, name in ipairs({ "root", "stranger" }) do
    in_dir("openssl req -x509 -config ext.cnf -extensions v3 -key key.pem -subj '/CN=grun %s' " ..
      "-days 3650 -out %s.pem", name, name)
  end
  in_dir("openssl req -x509 -config cnf -key key.pem -subj /CN=localhost -days 3650 " ..
    "-addext subjectAltName=DNS:localhost -out self_signed.pem")
  sign("intermediate", { issuer = "root", ext = CA_EXTENSIONS })
  sign("good", LEAVES.good)
  for name, leaf in pairs(LEAVES) do
    sign(name, leaf)
    in_dir("cat %s.pem intermediate.pem >chain.tmp && mv chain.tmp %s.chain", name, name)
  end
end

busted.subscribe({ "suite", "end" }, function()
  if dir then
    os.execute("rm -rf " .. dir)
  end
  return nil, true
end)

--- Path of a file in the directory of certificates, which is made at the first call: NAME.pem,
--- NAME.chain with the intermediate one, key.pem (everybody's), other.key, locked.key ("secret").
function M.path(name)
  if not dir then
    make()
  end
  return dir .. "/" .. name
end

--- Options of a server with that certificate; more from `opts`.
function M.server(name, opts)
  local all = { cert = M.path((name or "good") .. ".chain"), key = M.path("key.pem") }
  for k, v in pairs(opts or {}) do
    all[k] = v
  end
  return all
end

--- Options of a client that trusts our root and expects "localhost".
function M.client(opts)
  local all = { ca = M.path("root.pem"), hostname = "localhost" }
  for k, v in pairs(opts or {}) do
    all[k] = v
  end
  return all
end

-- ---- Connections ----

--- A listener for "tls:" and its address.
function M.listen(keep, opts)
  local listener = keep(assert(grun.listen("tls://127.0.0.1:0", opts or M.server())))
  return listener, listener:address()
end

--- A client and the server's end, after the handshake; options of both.
function M.connected(keep, server, client)
  local listener, address = M.listen(keep, M.server(nil, server))
  local accepted
  local accepting = grun.spawn(function()
    accepted = keep(assert(listener:accept()))
    assert(require("grun.core.tls").handshake(accepted))
  end)
  local conn = keep(assert(grun.connect(address, M.client(client))))
  accepting:get()
  return conn, accepted
end

-- ---- Other programs ----

--- Starts a shell command whose output goes into a file; finish() waits for its end, kill() ends a
--- command that was started with "exec".
function M.start(command)
  local out, done, pid, input = helper.tmpname(), helper.tmpname(), helper.tmpname(), helper.tmpname()
  -- Some take the end of their input for a command to stop: a pipe that nobody closes has none.
  sh(("rm %s && mkfifo %s"):format(input, input))
  sh(("( timeout 20 sh -c %s >%s 2>&1; echo $? >%s ) 0<>%s &"):format(
    helper.quote(("echo $$ >%s; %s"):format(pid, command)), out, done, input))
  local self = {}
  function self.output()
    return M.read_file(out)
  end
  function self.kill()
    os.execute("kill -9 " .. M.read_file(pid))
  end
  function self.expect(pattern)
    local limit = grun.now() + 15
    while not self.output():find(pattern) do
      assert(grun.now() < limit, ("no %q in:\n%s"):format(pattern, self.output()))
      grun.sleep(0.01)
    end
    return self.output():match(pattern)
  end
  function self.finish()
    local limit = grun.now() + 21
    while M.read_file(done) == "" do
      assert(grun.now() < limit, command .. " does not end")
      grun.sleep(0.01)
    end
    return self.output(), tonumber(M.read_file(done))
  end
  return self
end

--- A port that nobody listens on, for other programs' servers.
function M.free_port()
  local listener = assert(grun.listen("tcp://127.0.0.1:0"))
  local port = listener:address():match(":(%d+)$")
  listener:close()
  return port
end

return M
