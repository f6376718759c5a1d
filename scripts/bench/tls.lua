-- SPDX-License-Identifier: MIT
-- The TLS echo server of `scripts/bench/run tls`. Arguments: certificate, key.

local server = assert(grun.server("tls://127.0.0.1:0", function(conn)
  for piece in function() return conn:recv() end do
    conn:write(piece)
  end
end, { cert = arg[1], key = arg[2] }))
print("listening on " .. server:address())
io.stdout:flush()
