-- SPDX-License-Identifier: MIT
-- For editors: what runtime/bind/lib_dns.c and lib_dnsmsg.c define. Never loaded.

---@meta grun.core.dns
-- luacheck: no unused

local M = {}

---@class grun.resolve.options
---@field family? 4|6|"inet"|"inet6" addresses of that family only
---@field timeout? number seconds for all of it

--- The addresses of a host, best first: { "192.0.2.1", "2001:db8::1" }. Literals, localhost and
--- names in the hosts file are known at once; others are asked for in DNS, with the search list of
--- resolv.conf. Answers are kept as long as they say, at most an hour. Returns nil, message, code
--- on failure: "ENOTFOUND" (no such name), "ENODATA" (no address of that family), "timeout",
--- "ESERVFAIL", "EREFUSED", "EBADNAME" … Parks.
---@param name string
---@param opts? grun.resolve.options
---@return string[]|nil, string?, string?
---@async
function M.resolve(name, opts) end

---@class grun.dns.query.options
---@field servers? string[] whom to ask, such as "127.0.0.1" or "[::1]:5353"; passes by the cache
---@field timeout? number seconds for all of it
---@field tries? integer how often to ask each server (default 2); passes by the cache

---@class grun.dns.record
---@field name string
---@field type string|integer "A", "TYPE65" or a number
---@field class? string|integer default "IN"
---@field ttl integer seconds
---@field address? string A AAAA
---@field target? string CNAME NS PTR SRV DNAME
---@field preference? integer MX
---@field exchange? string MX
---@field priority? integer SRV
---@field weight? integer SRV
---@field port? integer SRV
---@field text? string TXT: the strings joined
---@field strings? string[] TXT; when packing, these count and not `text`
---@field mname? string SOA
---@field rname? string SOA
---@field serial? integer SOA
---@field refresh? integer SOA
---@field retry? integer SOA
---@field expire? integer SOA
---@field minimum? integer SOA
---@field flags? integer|string CAA, NAPTR
---@field tag? string CAA
---@field value? string CAA
---@field data? string all other types: the bytes as they were sent

--- The records of a type that a complete name has (no search list), its aliases followed. Returns
--- nil, message, code on failure, as resolve. Parks.
---@param name string
---@param type string|integer
---@param opts? grun.dns.query.options
---@return grun.dns.record[]|nil, string?, string?
---@async
function M.query(name, type, opts) end

--- The names of an IP address, from the hosts file or DNS. Returns nil, message, code on failure.
--- Parks.
---@param ip string
---@param opts? { timeout: number? }
---@return string[]|nil, string?, string?
---@async
function M.reverse(ip, opts) end

---@class grun.dns.configuration
---@field servers? string[] such as "127.0.0.1" or "[::1]:5353", at most 8
---@field search? string[] domains to try names in, at most 16
---@field ndots? integer names with so many dots are tried as they are first
---@field timeout? number seconds that a try may take, all servers together
---@field tries? integer
---@field rotate? boolean begin with another server each time
---@field resolv_conf? string path of the file to read instead of /etc/resolv.conf
---@field hosts? string path of the file to read instead of /etc/hosts

--- Replaces parts of the system's configuration for this process; without an argument nothing of
--- it is replaced any more. Forgets the cache.
---@param opts? grun.dns.configuration
function M.configure(opts) end

--- Forgets all answers.
function M.cache_flush() end

---@class grun.dns.stats
---@field asked integer questions of this process
---@field hits integer … that the cache answered
---@field joined integer … that an equal question under way answered
---@field sent integer questions sent to servers
---@field forged integer packets dropped since they answer nothing that was asked
---@field active integer questions under way
---@field cached integer answers in the cache (at most 1024)

--- Counters since the start.
---@return grun.dns.stats
function M.stats() end

---@class grun.dns.question
---@field name string
---@field type string|integer
---@field class? string|integer default "IN"

---@class grun.dns.edns
---@field udp_size? integer bytes of an answer that its sender takes by UDP (default 1232)
---@field version? integer
---@field dnssec_ok? boolean
---@field flags? integer the other 15 flags
---@field options? { code: integer, data: string }[]

--- In names, dots and backslashes inside a label are written "\." and "\\", bytes that are not
--- printable "\DDD"; the root is ".".
---@class grun.dns.message
---@field id? integer
---@field qr? boolean an answer
---@field aa? boolean
---@field tc? boolean cut off
---@field rd? boolean
---@field ra? boolean
---@field z? boolean
---@field ad? boolean
---@field cd? boolean
---@field opcode? integer
---@field rcode? integer 0 to 15, with edns to 4095
---@field questions? grun.dns.question[]
---@field answers? grun.dns.record[]
---@field authorities? grun.dns.record[]
---@field additionals? grun.dns.record[]
---@field edns? grun.dns.edns the OPT record, which is not among the additionals

--- A message as a table. Returns nil, "malformed message", "protocol" for what is none. Names
--- inside the data of known types are whole, so that records may be changed and packed again.
---@param bytes string
---@return grun.dns.message|nil, string?, string?
function M.parse(bytes) end

--- The bytes of a message. Records beyond opts.max bytes (default 65535) are left out, and then
--- `tc` is set, unless they are additional ones only. Raises on fields that make no sense, naming
--- them. Returns nil, "too large", "too_large" when not even the questions fit.
---@param message grun.dns.message
---@param opts? { max: integer? }
---@return string|nil, string?, string?
function M.pack(message, opts) end

return M
