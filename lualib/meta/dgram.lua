-- SPDX-License-Identifier: MIT
-- For editors: what runtime/bind/lib_dgram.c, lib_dgram_io.c and lib_peer.c define. Never loaded.

---@meta grun.core.dgram
-- luacheck: no unused

local M = {}

---@class grun.udp.options
---@field reuse_port? boolean several sockets of this user on one address share its datagrams
---@field reuse_addr? boolean several sockets on one port, for multicast
---@field v6only? boolean leave IPv4 out of "udp://[::]:53" and "udp://:53"
---@field broadcast? boolean allow sending to broadcast addresses
---@field rcvbuf? integer bytes, at most what the system allows
---@field sndbuf? integer
---@field ttl? integer of what is sent, but not by multicast
---@field multicast_ttl? integer default 1: the local network
---@field multicast_loop? boolean whether this machine gets its own multicasts; default true
---@field multicast_interface? string|integer that they leave by: name, number or IPv4 address
---@field mode? string|integer permissions of a unix path, such as "0660"
---@field max? integer bytes of a datagram that are kept, up to 1048576 (default 65535)

--- Opens a datagram socket: "udp://host:port" or "host:port" bound there (port 0: any free one; no
--- host: all interfaces, IPv4 and IPv6), "unixgram:/path" or "unixgram:@name" bound there,
--- "unixgram:" a unix one without a name, "fd:3" one that this process was given; nil an unbound
--- one for IPv4 and IPv6. A unix path that nobody uses any more is replaced. Returns nil, message,
--- code on failure.
---@param address? string
---@param opts? grun.udp.options
---@return grun.sock|nil, string?, string?
function M.udp(address, opts) end

--- An address that datagrams come from and go to. There is one object for each address as long as
--- somebody has it, so that it can be compared and be the key of a table. tostring gives the
--- address, such as "udp://127.0.0.1:53".
---@class grun.peer
---@field host? string without brackets; IPv4 also of datagrams that come through an IPv6 socket
---@field port? integer
---@field path? string of a unix socket; none if it has no name

--- A socket for datagrams: UDP or unix.
---@class grun.sock
local sock = {}

--- Waits for one datagram, which may be empty. Returns its data and its sender, and its size if it
--- was larger than the option `max` and cut. nil, message, code on failure: "timeout", "closed",
--- "busy" when another thread waits, on connected sockets also "ECONNREFUSED" for a datagram sent
--- before. Parks.
---@param seconds? number instead of the socket's timeout
---@return string|nil data, grun.peer|string, integer|string|nil
---@async
function sock:recv(seconds) end

--- Waits for datagrams and takes those that are there in one system call, at most n and at most 64.
--- Returns a list of {data, peer}; a third entry is the size of one that was cut. A list in place
--- of n is filled again, its tables too. Failures as recv. Parks.
---@param n? integer|table[]
---@param seconds? number instead of the socket's timeout
---@return table[]|nil, string?, string?
---@async
function sock:recv_many(n, seconds) end

--- Sends one datagram to a host and port, a unix path, or, without these, to whom the socket is
--- connected. Names of hosts are looked up each time: keep peer(host, port) for many. Returns true,
--- or nil, message, code: "EMSGSIZE" for more than fits a datagram. A datagram may get lost all the
--- same. Parks.
---@param data string|number
---@param host? string name, address or unix path
---@param port? integer
---@return true|nil, string?, string?
---@async
function sock:send(data, host, port) end

--- Sends one datagram to a peer; as send. Parks.
---@param data string|number
---@param peer grun.peer
---@return true|nil, string?, string?
---@async
function sock:send_to(data, peer) end

--- Sends a list of {data, peer}, or of data alone if the socket is connected, up to 64 in one
--- system call. Returns how many, or nil, message, code and how many went out before the one that
--- failed. Parks.
---@param list (string|table)[]
---@return integer|nil, string?, string?, integer?
---@async
function sock:send_many(list) end

--- The peer of a host and port or a unix path, for send_to. Returns nil, message, code when the
--- host is not found. Parks.
---@param host string name, address or unix path
---@param port? integer
---@return grun.peer|nil, string?, string?
---@async
function sock:peer(host, port) end

--- From now on datagrams come from and go to this address only, except those received already.
--- Returns true, or nil, message, code. Parks.
---@param address string|grun.peer such as "udp://127.0.0.1:53"
---@return true|nil, string?, string?
---@async
function sock:connect(address) end

--- Undoes connect. Returns nil, message, code on failure.
---@return true|nil, string?, string?
function sock:disconnect() end

--- Begins to receive what is sent to a multicast group. Returns nil, message, code on failure.
---@param group string IPv4 or IPv6 address
---@param interface? string|integer name, number or IPv4 address; default: the system's choice
---@return true|nil, string?, string?
function sock:join_group(group, interface) end

--- Undoes join_group. Returns nil, message, code on failure.
---@param group string
---@param interface? string|integer as for join_group
---@return true|nil, string?, string?
function sock:leave_group(group, interface) end

--- Closes it and removes the unix path that this process made; threads that wait in it get nil,
--- "closed", "closed". May be repeated.
---@return true
function sock:close() end

---@return boolean closed on this side
function sock:closed() end

--- Seconds for each later call; nil: no limit, 0: do not wait.
---@param seconds? number
---@return true
function sock:settimeout(seconds) end

--- This side's address, such as "udp://127.0.0.1:41234". nil, message, code on failure.
---@return string|nil, string?, string?
function sock:sockname() end

--- The address that it is connected to. nil, message, code on failure.
---@return string|nil, string?, string?
function sock:peername() end

--- Its descriptor; nil, "closed", "closed" after close.
---@return integer|nil, string?, string?
function sock:fd() end

---@class grun.sock.stats
---@field received integer datagrams
---@field received_bytes integer
---@field sent integer datagrams
---@field sent_bytes integer
---@field truncated integer datagrams that were cut
---@field dropped integer datagrams that the kernel has dropped because its buffer was full

--- Counts since it was opened.
---@return grun.sock.stats
function sock:stats() end

--- Returns nil, message, code for options that such a socket does not have.
---@param name grun.conn.option
---@return boolean|integer|nil, string?, string?
function sock:getoption(name) end

--- Returns true, or nil, message, code on failure.
---@param name grun.conn.option
---@param value boolean|integer
---@return true|nil, string?, string?
function sock:setoption(name, value) end

--- The operation of waiting until there is a datagram, or an error, for grun.select; its results
--- are true, or nil, message, code.
---@return grun.op
function sock:op_readable() end

--- The same for room to send.
---@return grun.op
function sock:op_writable() end

return M
