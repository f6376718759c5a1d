-- SPDX-License-Identifier: MIT
-- For editors: what runtime/bind/lib_net.c and lib_conn*.c define. Never loaded.

---@meta grun.core.net
-- luacheck: no unused

local M = {}

---@class grun.connect.options: grun.tls.options
---@field tls? grun.tls.context|grun.tls.options for "tls:"; its options may also stand here
---@field hostname? string for "tls:": whom the certificate must be for, instead of the address's
---@field timeout? number seconds for all of it
---@field bind? string local address to connect from, such as "127.0.0.2:0"
---@field nodelay? boolean default true
---@field keepalive? boolean
---@field fastopen? boolean send the first data with the SYN to a server that is known (RFC 7413);
---   connecting to it succeeds at once then, and the first write or read fails if it is not there

---@class grun.listen.options: grun.tls.options
---@field tls? grun.tls.context|grun.tls.options for "tls:"; its options may also stand here
---@field backlog? integer clients that may wait to be accepted (default 1024)
---@field reuse_port? boolean several listeners on one address share its clients
---@field v6only? boolean leave IPv4 out of "tcp://[::]:80" and "tcp://:80"
---@field mode? string|integer permissions of a unix path, such as "0660"
---@field nodelay? boolean of its clients; default true
---@field keepalive? boolean of its clients
---@field fastopen? integer clients that may send data with their SYN and are not accepted yet
---@field max_unsent? integer bytes that the kernel takes from us for a client that reads slowly,
---   beyond what it may send now (TCP_NOTSENT_LOWAT); writes wait then. By default up to 4 MiB

--- Connects to "tcp://host:port", "tls://host:port", "host:port", "unix:/path" or "unix:@name"; or
--- takes over a connected stream socket, "fd:3", from now on ours to close (of the options only
--- nodelay and keepalive count). With "tls:" the certificate is verified and the timeout covers
--- the handshake too. The addresses of a name, IPv6 and IPv4 in turn, are tried 250 ms apart, or
--- as soon as the one before has failed; the first that answers wins. Returns nil, message, code
--- on failure: the first address's, or "timeout"; "tls_verify" for a certificate, "tls" for what
--- else goes wrong with TLS. Parks.
---@param address string
---@param opts? grun.connect.options
---@return grun.conn|nil, string?, string?
---@async
function M.connect(address, opts) end

--- Listens. Clients of "tls:" addresses are accepted before their handshake, which happens in the
--- connection's first read or write. Port 0 is any free one, no host ("tcp://:80") all interfaces.
--- A unix path that nobody listens on any more is replaced. "fd:3" takes over a listening socket,
--- such as one of systemd's; of the options only nodelay, keepalive, fastopen and max_unsent count
--- then. Returns nil, message, code on failure.
---@param address string
---@param opts? grun.listen.options
---@return grun.listener|nil, string?, string?
function M.listen(address, opts) end

--- Two connected ends. Returns nil, message, code on failure.
---@return grun.conn|nil, grun.conn|string, string?
function M.pair() end

--- Waits until a raw descriptor is readable, which files always are. Returns true, or nil,
--- "timeout", "timeout" after `seconds`, or nil, message, code; "EBADF" at most a second after it
--- was closed, unless its number is in use again. Parks.
---@param fd integer
---@param seconds? number
---@return true|nil, string?, string?
---@async
function M.wait_readable(fd, seconds) end

--- Waits until a raw descriptor is writable. As wait_readable. Parks.
---@param fd integer
---@param seconds? number
---@return true|nil, string?, string?
---@async
function M.wait_writable(fd, seconds) end

--- A listening stream socket.
---@class grun.listener
local listener = {}

--- Waits for a client. Returns nil, "timeout", "timeout" after `seconds`, nil, "closed", "closed"
--- when the listener is closed. Only one thread at a time (nil, message, "busy"). Parks.
---@param seconds? number
---@return grun.conn|nil, string?, string?
---@async
function listener:accept(seconds) end

--- The address with the real port, also after close.
---@return string
function listener:address() end

--- Closes it and removes its unix path. Clients in the backlog are reset. A waiting accept returns.
---@return true
function listener:close() end

--- Its descriptor; nil, "closed", "closed" after close.
---@return integer|nil, string?, string?
function listener:fd() end

---@class grun.starttls.options: grun.tls.options
---@field tls? grun.tls.context|grun.tls.options its options may also stand here
---@field server? boolean this side is the server; default: it was accepted by a listener
---@field hostname? string for clients: whom the certificate must be for
---@field timeout? number seconds for the handshake; default: the connection's timeout

---@class grun.conn.tls
---@field version string such as "TLSv1.3"
---@field cipher string
---@field alpn? string the protocol that was agreed on
---@field sni? string the name that the client asked for
---@field verified boolean the peer's certificate was checked and is good
---@field reused boolean an earlier session goes on
---@field peer? grun.tls.cert

---@class grun.tls.cert
---@field subject string
---@field issuer string
---@field not_before number seconds since 1970
---@field not_after number
---@field names string[] alternative names: hosts, addresses, e-mail addresses, URIs
---@field serial string hexadecimal
---@field fingerprint string SHA-256, hexadecimal
---@field pem string

--- A stream connection: TCP, unix, with or without TLS, or our end of a pipe to a process.
---@class grun.conn
local conn = {}

--- Reads like file:read: "l" a line, "L" one with its newline, "n" a number, "a" everything up to
--- the end, a count: so many bytes, fewer only at the end. Without formats a line. A format that
--- cannot be met gives nil, message, code after the results of those before it, and keeps what has
--- come so far: "closed" at the end, "too_large" for a line of more than 64 KiB, "EINVAL" when
--- there is no number, "timeout", "busy" when another thread reads, "truncated" when a TLS
--- connection ended without saying so. Parks.
---@param ... string|integer
---@return string|number|nil ...
---@async
function conn:read(...) end

--- Whatever is there, at least one byte, at most `max` (default 65536). Returns nil, message, code
--- on failure and at the end. Parks.
---@param max? integer
---@param seconds? number instead of the connection's timeout
---@return string|nil, string?, string?
---@async
function conn:recv(max, seconds) end

---@class grun.read_until.options
---@field max? integer bytes that may precede the separator (default 65536)
---@field include? boolean return the separator too
---@field plain? true separators are always plain text

--- What precedes the separator, which is consumed; at the end of the stream what is left. Returns
--- nil, "line too long", "too_large" at the limit, losing nothing. Parks.
---@param separator string
---@param opts? grun.read_until.options
---@return string|nil, string?, string?
---@async
function conn:read_until(separator, opts) end

--- The next n bytes (default 1), fewer only at the end, without consuming them. Returns nil,
--- message, code on failure and at the end. Parks.
---@param n? integer
---@return string|nil, string?, string?
---@async
function conn:peek(n) end

--- Iterates by a format of read (default "l") until the end; raises on other failures. Steps park.
---@param format? string|integer
---@return fun(): string|number|nil
function conn:lines(format) end

--- Writes strings, numbers and tables of them (which may hold such tables once more), all of it
--- within one timeout. A second writer waits for its turn; what two write is never mixed. Returns
--- true, or nil, message, code and how many bytes went out. Parks.
---@param ... string|number|table
---@return true|nil, string?, string?, integer?
---@async
function conn:write(...) end

--- Sends what is collected in a cork. Returns true, or nil, message, code; what could not be sent
--- stays collected. Parks.
---@return true|nil, string?, string?, integer?
---@async
function conn:flush() end

--- Sends a file, or `len` bytes of it from offset `from` (in bytes, 0 = the start) on, within one
--- timeout; the kernel copies where it can. A path is sent from its start. A file of Lua's is sent
--- from its current position, which moves on by what was sent, or from `from`, and then the
--- position stays; of a pipe what comes is sent up to its end. Returns how many bytes went out, or
--- nil, message, code and how many: "ENODATA" if the file ended before `len` or became shorter
--- meanwhile, "ENOENT", "EISDIR", "ESPIPE" (`from` of a pipe). Parks.
---@param source string|file* path or file
---@param from? integer
---@param len? integer
---@return integer|nil, string?, string?, integer?
---@async
function conn:sendfile(source, from, len) end

--- Hands a descriptor to the other side of a unix connection, together with one byte, a zero, that
--- conn:recv_fd consumes. The descriptor stays open here. Returns true, or nil, message, code:
--- "EOPNOTSUPP" on other connections. Parks.
---@param fd integer
---@return true|nil, string?, string?
---@async
function conn:send_fd(fd) end

--- Waits for a descriptor from the other side of a unix connection. It is the caller's to close, or
--- to give to grun.connect or grun.listen ("fd:7"), and is not inherited by child processes. Of
--- several in one message the first counts, the others are closed. It has to be the next thing in
--- the stream: read, recv and the like take all bytes that are there, and a descriptor that comes
--- with one of them is lost. So ask for it before it is sent. Returns nil, message, code:
--- "EBADMSG" when data comes first, which stays to be read. Parks.
---@param seconds? number instead of the connection's timeout
---@return integer|nil, string?, string?
---@async
function conn:recv_fd(seconds) end

--- The process that made the other side of a unix connection, and its user and group at that time.
--- Returns nil, message, code on failure: "EOPNOTSUPP" on other connections.
---@return { pid: integer, uid: integer, gid: integer }|nil, string?, string?
function conn:peercred() end

--- Ends reading, writing or both. With TLS the end of writing is said in TLS and the connection
--- below stays open. Returns nil, message, code on failure.
---@param direction "r"|"w"|"rw"
---@return true|nil, string?, string?
function conn:shutdown(direction) end

--- Closes it; threads that wait in it get nil, "closed", "closed". May be repeated.
---@return true
function conn:close() end

---@return boolean closed on this side
function conn:closed() end

--- Seconds for each later call; nil: no limit, 0: do not wait.
---@param seconds? number
---@return true
function conn:settimeout(seconds) end

--- The other side's address, such as "tcp://127.0.0.1:41234". nil, message, code on failure.
---@return string|nil, string?, string?
function conn:peername() end

--- This side's address. Returns nil, message, code on failure.
---@return string|nil, string?, string?
function conn:sockname() end

--- Its descriptor; nil, "closed", "closed" after close.
---@return integer|nil, string?, string?
function conn:fd() end

---@class grun.conn.stats
---@field received integer bytes from the kernel
---@field sent integer bytes to the kernel
---@field buffered integer bytes received but not read yet
---@field corked integer bytes written in a cork but not sent yet
---@field unsent? integer bytes sent and not acknowledged by the peer's kernel (unix: not read) yet
---@field rtt? number seconds that a round trip takes; this and the following only of tcp
---@field received_ago? number seconds since data came from the peer
---@field sent_ago? number seconds since data was sent to it
---@field retransmits? integer segments that were sent again

--- Counters of the connection. After close only the first four are there.
---@return grun.conn.stats
function conn:stats() end

---@alias grun.conn.option
---| "nodelay" # boolean
---| "keepalive" # boolean
---| "keepidle" # seconds of silence before the first probe
---| "keepintvl" # seconds between probes
---| "keepcnt" # unanswered probes until the connection is given up
---| "user_timeout" # seconds that sent data may stay unacknowledged; 0 = the system's limit
---| "quickack" # boolean: acknowledge at once; the kernel changes it again
---| "tos" # type of service, or traffic class of IPv6
---| "rcvbuf" # bytes
---| "sndbuf" # bytes
---| "max_unsent" # bytes, see grun.listen
---| "linger" # seconds, 0 = close sends a reset, false = off
---| "broadcast" # boolean, of datagrams
---| "fastopen" # boolean, can only be read, like those that follow
---| "reuseaddr" # boolean
---| "type" # "stream"
---| "domain" # "inet", "inet6" or "unix"

--- Returns nil, message, code on failure.
---@param name grun.conn.option
---@return boolean|number|string|nil, string?, string?
function conn:getoption(name) end

--- Returns true, or nil, message, code on failure.
---@param name grun.conn.option
---@param value boolean|number
---@return true|nil, string?, string?
function conn:setoption(name, value) end

return M
