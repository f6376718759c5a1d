-- SPDX-License-Identifier: MIT
-- An echo server that speaks TLS. Without a certificate on the command line it makes one for
-- localhost with the openssl command, which nobody trusts but who is told to.
-- Run:  ./grun scripts/examples/tls_echo.lua [tls://127.0.0.1:7443 [cert.pem key.pem]]
-- Then: openssl s_client -connect 127.0.0.1:7443 -CAfile FILE    with the FILE that it prints

local address, cert, key = arg[1] or "tls://127.0.0.1:7443", arg[2], arg[3]

-- A certificate and its key in one new file.
local function self_signed()
  local name = os.tmpname()
  local command = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes " ..
    "-days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 " ..
    "-keyout %s.key -out %s 2>/dev/null && cat %s.key >>%s && rm %s.key"):gsub("%%s", name)
  assert(os.execute(command) == 0, "the openssl command failed")
  return name
end

local function echo(conn)
  local info = conn:tls()
  print("open", conn:peername(), info.version, info.cipher)
  for line in conn:lines("L") do
    conn:write(line)
  end
  print("closed")
end

io.stdout:setvbuf("line")
cert = cert or self_signed()
local server = assert(grun.server(address, echo, { cert = cert, key = key }))
print("listening on " .. server:address() .. " with " .. cert)
