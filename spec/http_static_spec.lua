-- SPDX-License-Identifier: MIT
local grun = require("grun")
local lfs = require("lfs")
local helper = require("spec.helper")
local http = require("spec.http_helper")
local net_helper = require("spec.net_helper")

local request = http.request

local function write(name, content)
  local file = assert(io.open(name, "wb"))
  file:write(content)
  file:close()
end

describe("grun.http.static", function()
  local servers, dir = {}, nil
  local text = net_helper.noise(5000)

  local test = http.test(it, function(fn) finally(fn) end, servers, function()
    grun.fs.remove(dir, { recursive = true })
    jit.flush() -- compiled code holds the handler that it calls
    collectgarbage()
    collectgarbage()
  end)

  local function it(name, body)
    test(name, function()
      dir = assert(grun.fs.tempdir())
      grun.fs.mkdir(dir .. "/root")
      grun.fs.mkdir(dir .. "/root/sub")
      write(dir .. "/secret", "secret")
      write(dir .. "/root/file.txt", text)
      write(dir .. "/root/index.html", "<p>index")
      write(dir .. "/root/sub/x.png", "png")
      write(dir .. "/root/.hidden", "hidden")
      write(dir .. "/root/a b&.txt", "odd")
      body()
    end)
  end

  local function serve(opts, server_opts)
    return http.serve(servers, grun.http.static(dir .. "/root", opts), server_opts)
  end

  local function get(port, target, headers, method)
    return request(port, method or "GET", target, headers)
  end

  it("sends files with their type, length, time and tag", function()
    local port = serve({ cache_control = "max-age=60", headers = { ["X-A"] = "b" } })
    local res = get(port, "/file.txt")
    assert.equal(200, res.status)
    assert.equal(text, res.body)
    assert.equal("text/plain; charset=utf-8", res.headers["content-type"])
    assert.equal("5000", res.headers["content-length"])
    assert.equal("bytes", res.headers["accept-ranges"])
    assert.equal("max-age=60", res.headers["cache-control"])
    assert.equal("b", res.headers["x-a"])
    assert.matches('^"%x+%-1388%-%x+"$', res.headers.etag)
    assert.matches("GMT$", res.headers["last-modified"])
    assert.equal("image/png", get(port, "/sub/x.png").headers["content-type"])
    assert.equal("odd", get(port, "/a%20b&.txt").body)
    assert.equal("<p>index", get(port, "/").body)
    local head = get(port, "/file.txt", nil, "HEAD")
    assert.equal(200, head.status)
    assert.equal("5000", head.headers["content-length"])
    assert.is_nil(head.body)
  end)

  it("keeps the connection, in order", function()
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. serve()))
    local get_it = "%s /file.txt HTTP/1.1\r\nHost: a\r\n%s\r\n"
    for _ = 1, 3 do
      conn:write(get_it:format("GET", ""), get_it:format("HEAD", ""),
        get_it:format("GET", "Range: bytes=1-2, 4-5\r\n"), get_it:format("GET", "Range: bytes=-1\r\n"),
        get_it:format("GET", "Accept-Encoding: gzip\r\n"))
      assert.equal(text, http.response(conn).body)
      assert.equal(200, http.response(conn, "HEAD").status)
      assert.equal(206, http.response(conn).status)
      assert.equal(text:sub(-1), http.response(conn).body)
      assert.equal("gzip", http.response(conn).headers["content-encoding"])
    end
    conn:close()
  end)

  it("allows GET and HEAD only", function()
    local port = serve()
    for _, method in ipairs({ "POST", "PUT", "DELETE", "BREW", "TRACE" }) do
      local res = get(port, "/file.txt", nil, method)
      assert.equal(405, res.status)
      assert.equal("GET, HEAD", res.headers.allow)
    end
    assert.equal(204, get(port, "/file.txt", nil, "OPTIONS").status)
  end)

  it("answers conditions", function()
    local port = serve()
    local first = get(port, "/file.txt")
    local etag, modified = first.headers.etag, first.headers["last-modified"]
    local cases = {
      { 304, { ["If-None-Match"] = etag } },
      { 304, { ["If-None-Match"] = '"x", W/' .. etag } },
      { 304, { ["If-None-Match"] = "*" } },
      { 200, { ["If-None-Match"] = '"x"', ["If-Modified-Since"] = modified } },
      { 304, { ["If-Modified-Since"] = modified } },
      { 200, { ["If-Modified-Since"] = "Sun, 06 Nov 1994 08:49:37 GMT" } },
      { 200, { ["If-Modified-Since"] = "junk" } },
      { 200, { ["If-Match"] = '"x", ' .. etag } },
      { 200, { ["If-Match"] = "*", ["If-Unmodified-Since"] = "Sun, 06 Nov 1994 08:49:37 GMT" } },
      { 412, { ["If-Match"] = '"x"' } },
      { 412, { ["If-Match"] = "W/" .. etag, Range = "bytes=0-0" } },
      { 412, { ["If-Match"] = '"x"', ["If-None-Match"] = etag } },
      { 304, { ["If-Match"] = etag, ["If-None-Match"] = etag } },
      { 200, { ["If-Unmodified-Since"] = modified } },
      { 200, { ["If-Unmodified-Since"] = "junk" } },
      { 412, { ["If-Unmodified-Since"] = "Sun, 06 Nov 1994 08:49:37 GMT" } },
    }
    local bodies = { [200] = text, [412] = "412 Precondition Failed\n" }
    for i, case in ipairs(cases) do
      local res = get(port, "/file.txt", case[2])
      assert.equal(case[1], res.status, i)
      assert.equal(etag, res.headers.etag, i)
      assert.equal(bodies[case[1]], res.body, i)
    end
    assert.equal(412, get(port, "/file.txt", { ["If-Match"] = '"x"', ["Accept-Encoding"] = "gzip" }).status)
    write(dir .. "/root/file.txt", text:upper())
    assert.equal(200, get(port, "/file.txt", { ["If-None-Match"] = etag }).status)
  end)

  it("sends ranges", function()
    local port = serve()
    local etag = get(port, "/file.txt").headers.etag
    local function range(value, headers)
      headers = headers or {}
      headers.Range = value
      return get(port, "/file.txt", headers)
    end
    local cases = {
      { "bytes=0-0", 0, 0 }, { "bytes=100-199", 100, 199 }, { "bytes=4990-", 4990, 4999 },
      { "bytes=-10", 4990, 4999 }, { "bytes=4990-9999", 4990, 4999 }, { "bytes=0-", 0, 4999 },
    }
    for _, case in ipairs(cases) do
      local res = range(case[1])
      assert.equal(206, res.status, case[1])
      assert.equal(("bytes %d-%d/5000"):format(case[2], case[3]), res.headers["content-range"])
      assert.equal(text:sub(case[2] + 1, case[3] + 1), res.body)
    end
    for _, bad in ipairs({ "bytes=5000-", "bytes=-0", "bytes=9000-9001" }) do
      local res = range(bad)
      assert.equal(416, res.status, bad)
      assert.equal("bytes */5000", res.headers["content-range"])
    end
    for _, ignored in ipairs({ "lines=1-2", "bytes=2-1", "bytes=a-b", "bytes=" .. ("0-0,"):rep(17) .. "1-1" }) do
      assert.equal(200, range(ignored).status, ignored)
    end
    assert.equal(206, range("bytes=0-1", { ["If-Range"] = etag }).status)
    assert.equal(200, range("bytes=0-1", { ["If-Range"] = '"old"' }).status)
    assert.equal(200, range("bytes=0-1", { ["If-Range"] = "W/" .. etag }).status)
    assert.equal(304, range("bytes=0-1", { ["If-None-Match"] = etag }).status)
    local head = get(port, "/file.txt", { Range = "bytes=0-1" }, "HEAD")
    assert.equal(200, head.status)
  end)

  it("counts further than 32 bits", function()
    local name = dir .. "/root/huge"
    os.execute("truncate -s 4294967296 " .. name)
    local file = assert(io.open(name, "a"))
    file:write("!")
    file:close()
    local port = serve()
    assert.equal("4294967297", get(port, "/huge", nil, "HEAD").headers["content-length"])
    local res = get(port, "/huge", { Range = "bytes=4294967295-" })
    assert.same({ 206, "bytes 4294967295-4294967296/4294967297", "\0!" },
      { res.status, res.headers["content-range"], res.body })
    assert.equal("!", get(port, "/huge", { Range = "bytes=-1" }).body)
    assert.equal(416, get(port, "/huge", { Range = "bytes=4294967297-" }).status)
    local whole = assert(grun.http.get(("http://127.0.0.1:%d/huge"):format(port), { stream = true }))
    assert.equal("4294967297", whole.headers["content-length"])
    assert.equal(100000, #whole:read(100000))
    whole:close()
  end)

  it("sends several ranges in one response", function()
    local res = get(serve(), "/file.txt", { Range = "bytes=10-19, -5,0-0" })
    assert.equal(206, res.status)
    local boundary = res.headers["content-type"]:match("^multipart/byteranges; boundary=(%S+)$")
    local function part(first, last, before)
      return ("%s--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes %d-%d/5000\r\n\r\n%s")
        :format(before, boundary, first, last, text:sub(first + 1, last + 1))
    end
    assert.equal(part(10, 19, "") .. part(4995, 4999, "\r\n") .. part(0, 0, "\r\n") ..
      "\r\n--" .. boundary .. "--\r\n", res.body)
  end)

  it("never leaves its directory", function()
    os.execute(("cd %s/root && ln -s ../secret out && ln -s %s/secret far && ln -s sub/x.png in && " ..
      "ln -s .. up && ln -s /proc/self/root proc && ln -s loop loop"):format(dir, dir))
    local port = serve()
    assert.equal("png", get(port, "/in").body)
    for _, path in ipairs({
      "/out", "/far", "/up/secret", "/proc/etc/passwd", "/loop", "/../secret", "/sub/../../secret",
      "/%2e%2e/secret", "/..%2fsecret", "/sub%2fx.png", "/..%5csecret", "/file.txt%00.png",
      "/%2e%2e%2fsecret", "//../secret", "/.hidden", "/sub/.hidden", "/./.hidden", "/file.txt/",
      "/file.txt/x", "/nothing", "/" .. ("x"):rep(300), "/" .. ("x/"):rep(2100),
    }) do
      local res = get(port, path)
      assert.equal(404, res.status, path)
      assert.not_matches("secret", res.body)
    end
    assert.equal("hidden", get(serve({ hidden = true }), "/.hidden").body)
  end)

  it("refuses what is no regular file, or may not be read", function()
    os.execute(("cd %s/root && mkfifo fifo && cp file.txt locked && chmod 0 locked"):format(dir))
    local port = serve()
    assert.equal(403, get(port, "/fifo").status)
    if os.execute(("test -r %s/root/locked"):format(dir)) ~= 0 then
      assert.equal(403, get(port, "/locked").status)
    end
    local unix = assert(grun.listen("unix:" .. dir .. "/root/sock"))
    assert.equal(403, get(port, "/sock").status)
    unix:close()
  end)

  it("leads to a directory's index, and lists it when told to", function()
    local port = serve()
    local res = get(port, "/sub?a=b")
    assert.equal(301, res.status)
    assert.equal("/sub/?a=b", res.headers.location)
    assert.equal("/sub/", get(port, "//sub").headers.location)
    assert.equal(404, get(port, "/sub/").status)
    port = serve({ listing = true, index = false })
    res = get(port, "/")
    assert.equal("text/html; charset=utf-8", res.headers["content-type"])
    assert.matches('<a href="./a%20b%26.txt">a b&#38;.txt</a>', res.body, 1, true)
    assert.matches('<a href="./sub/">sub/</a>', res.body, 1, true)
    assert.not_matches("hidden", res.body)
    assert.matches('<a href="../">', get(port, "/sub/").body, 1, true)
    port = serve({ index = "file.txt" })
    assert.equal(text, get(port, "/").body)
  end)

  it("serves below a route and behind a prefix", function()
    local router = grun.http.router()
    router:get("/files/*path", grun.http.static(dir .. "/root"))
    local port = http.serve(servers, router)
    assert.equal("png", get(port, "/files/sub/x.png").body)
    assert.equal("odd", get(port, "/files/a%20b&.txt").body)
    assert.equal("/files/", get(port, "/files").headers.location)
    assert.equal(404, get(port, "/files/..%2f..%2fsecret").status)
    assert.equal(404, get(port, "/files/%252e%252e/secret").status)
    assert.equal(304, get(port, "/files/", { ["If-None-Match"] = "*" }).status)
    port = serve({ prefix = "/p/" })
    assert.equal("png", get(port, "/p/sub/x.png").body)
    assert.equal("/p/", get(port, "/p").headers.location)
    assert.equal(404, get(port, "/px").status)
    assert.equal(404, get(port, "/sub/x.png").status)
  end)

  it("sends compressed neighbours to those who like them", function()
    write(dir .. "/root/file.txt.gz", "gzip data")
    write(dir .. "/root/file.txt.br", "br data")
    local port = serve({ gzip = false })
    local function coded(accept)
      local res = get(port, "/file.txt", { ["Accept-Encoding"] = accept })
      assert.equal("Accept-Encoding", res.headers.vary)
      assert.equal("text/plain; charset=utf-8", res.headers["content-type"])
      return res.headers["content-encoding"], res.body
    end
    assert.same({ "gzip", "gzip data" }, { coded("gzip") })
    assert.same({ "br", "br data" }, { coded("gzip, br") })
    assert.same({ nil, text }, { coded("identity") })
    assert.same({ "gzip", "gzip data" }, { coded("br;q=0, gzip;q=0.1") })
    local a, b = get(port, "/file.txt"), get(port, "/file.txt", { ["Accept-Encoding"] = "gzip" })
    assert.not_equal(a.headers.etag, b.headers.etag)
    assert.equal("gz", get(port, "/file.txt", { ["Accept-Encoding"] = "gzip", Range = "bytes=0-0" })
      .body .. "z")
  end)

  it("says that a body is compressed only when it is", function()
    write(dir .. "/root/file.txt.gz", "gzip data")
    local port = serve()
    local function ask(headers)
      headers["Accept-Encoding"] = "gzip"
      local res = get(port, "/file.txt", headers)
      return { res.status, res.headers["content-encoding"] or false, res.body }
    end
    assert.same({ 416, false, "416 Range Not Satisfiable\n" }, ask({ Range = "bytes=9-" }))
    assert.same({ 412, false, "412 Precondition Failed\n" }, ask({ ["If-Match"] = '"x"' }))
    assert.same({ 206, "gzip", "zip" }, ask({ Range = "bytes=1-3" }))
    assert.same({ 200, "gzip", "gzip data" }, ask({ Range = "bytes=0-0,2-2" }))
  end)

  it("gives no time in the future", function()
    assert.equal(0, os.execute(("touch -d 2100-01-01 %s/root/file.txt"):format(dir)))
    local res = get(serve(), "/file.txt")
    assert.is_true(require("grun.core.httptext").parse_date(res.headers["last-modified"]) <= os.time())
  end)

  it("compresses text", function()
    write(dir .. "/root/big.txt", ("x"):rep(300000))
    local port = serve()
    local res = get(port, "/file.txt", { ["Accept-Encoding"] = "gzip" })
    assert.equal("gzip", res.headers["content-encoding"])
    assert.equal(text, require("grun.core.zlib").inflate():push(res.body, "finish"))
    assert.equal(#res.body, tonumber(res.headers["content-length"]))
    assert.matches("^W/", res.headers.etag)
    assert.equal(304, get(port, "/file.txt", {
      ["Accept-Encoding"] = "gzip", ["If-None-Match"] = res.headers.etag }).status)
    assert.equal(res.body, get(port, "/file.txt", { ["Accept-Encoding"] = "gzip" }).body)
    local range = get(port, "/file.txt", { ["Accept-Encoding"] = "gzip", Range = "bytes=0-9" })
    assert.same({ 206, text:sub(1, 10) }, { range.status, range.body })
    for _, path in ipairs({ "/big.txt", "/sub/x.png", "/a%20b&.txt" }) do
      assert.is_nil(get(port, path, { ["Accept-Encoding"] = "gzip" }).headers["content-encoding"])
    end
    write(dir .. "/root/file.txt", text:upper())
    res = get(port, "/file.txt", { ["Accept-Encoding"] = "gzip" })
    assert.equal(text:upper(), require("grun.core.zlib").inflate():push(res.body, "finish"))
  end)

  it("closes the connection when a file becomes shorter meanwhile", function()
    local name = dir .. "/root/long.bin"
    write(name, ("x"):rep(20000000))
    local port = serve()
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:write("GET /long.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /file.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    local head = conn:read_until("\r\n\r\n")
    assert.matches("Content-Length: 20000000", head, 1, true)
    grun.sleep(0.05)
    write(name, "short")
    conn:settimeout(5)
    local body, _, code = conn:read("a")
    assert.is_nil(code)
    assert.is_true(#body < 20000000)
    assert.not_matches("HTTP/1.1", body, 1, true)
    conn:close()
  end)

  it("sends through TLS, too", function()
    local tls = require("spec.tls_helper")
    local big = net_helper.noise(3000000)
    write(dir .. "/root/big.bin", big)
    local server = assert(grun.server("https://127.0.0.1:0", grun.http.static(dir .. "/root"),
      tls.server("good")))
    servers[#servers + 1] = server
    local conn = assert(grun.connect("tls://localhost:" .. server:address():match("%d+$"),
      { ca = tls.path("root.pem") }))
    for _ = 1, 2 do
      conn:write("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.is_true(net_helper.same(big, http.response(conn).body))
    end
    conn:write("GET /big.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=100-199\r\n\r\n")
    assert.equal(big:sub(101, 200), http.response(conn).body)
    conn:close()
  end)

  it("refuses bad options and directories", function()
    helper.misuse(function() grun.http.static(1) end, "static: path expected, got number")
    helper.misuse(function() grun.http.static("/", { prefixes = 1 }) end, "static: unknown option 'prefixes'")
    for message, opts in pairs({
      ["table of options expected, got string"] = "x",
      ["option 'listing': boolean expected, got string"] = { listing = "x" },
      ["option 'index': string or false expected, got true"] = { index = true },
      ["option 'charset': string or false expected, got true"] = { charset = true },
      ["option 'prefix' must begin with \"/\""] = { prefix = "x" },
      ["option 'headers': table of strings expected"] = { headers = { a = 1 } },
      ["option 'types': table of strings expected"] = { types = { "text/plain" } },
    }) do
      helper.misuse(function() grun.http.static("/", opts) end, "static: " .. message)
    end
    assert.matches("static: cannot open /nowhere", select(2, pcall(grun.http.static, "/nowhere")))
  end)

  it("is what curl resumes, and gets ranges and compressed files from", function()
    local port = serve()
    local function curl(words)
      local pipe = io.popen(("curl -s -m 10 %s"):format(words:gsub("@", "http://127.0.0.1:" .. port)))
      local out = pipe:read("*a")
      pipe:close()
      return out
    end
    assert.equal(text:sub(11, 20), curl("-r 10-19 @/file.txt"))
    local part = helper.tmpname(text:sub(1, 1234))
    curl(("-C - -o %s @/file.txt"):format(part))
    assert.equal(text, helper.contents(part))
    assert.equal(text, curl("--compressed @/file.txt"))
    assert.equal(text, curl("-0 @/file.txt"))
    assert.matches("^HTTP/1.1 304 ", curl("-i -z 'Sat, 01 Jan 2050 00:00:00 GMT' @/file.txt"))
  end)

  describe("and res:sendfile()", function()
    local function file_server(...)
      local args = { ... }
      return http.serve(servers, function(_, res)
        return res:sendfile(unpack(args))
      end)
    end

    it("sends one file, with ranges and conditions, or a part", function()
      local port = file_server(dir .. "/root/file.txt", { filename = 'ä"b.txt' })
      local res = get(port, "/")
      assert.equal(text, res.body)
      assert.equal("text/plain; charset=utf-8", res.headers["content-type"])
      assert.equal([[attachment; filename="___b.txt"; filename*=UTF-8''%C3%A4%22b.txt]],
        res.headers["content-disposition"])
      assert.equal("a", get(port, "/", { Range = "bytes=0-0" }).body:gsub(".", "a"))
      assert.equal(304, get(port, "/", { ["If-None-Match"] = res.headers.etag }).status)
      port = file_server(dir .. "/root/file.txt", { from = 10, length = 5, type = "x/y" })
      res = get(port, "/")
      assert.equal(text:sub(11, 15), res.body)
      assert.equal("x/y", res.headers["content-type"])
      local file = assert(io.open(dir .. "/root/file.txt"))
      assert.equal(text, get(file_server(file), "/").body)
      assert.is_nil(get(file_server(file), "/", nil, "HEAD").body)
      file:close()
    end)

    it("refuses bad arguments where it is called", function()
      local wrong
      local port = http.serve(servers, function(_, res)
        local function bad(source, opts, message)
          helper.misuse(function() res:sendfile(source, opts) end, "sendfile: " .. message)
        end
        _, wrong = pcall(function()
          bad(nil, nil, "path or open file expected, got nil")
          bad("x", 1, "table of options expected, got number")
          bad("x", { x = 1 }, "unknown option 'x'")
          bad("x", { from = "1" }, "option 'from': number expected, got string")
          bad("x", { from = -1 }, "option 'from': a number of bytes expected, got -1")
          bad("x", { length = 1.5 }, "option 'length': a number of bytes expected, got 1.5")
        end)
        return "ok"
      end)
      get(port, "/")
      assert.is_nil(wrong)
    end)

    it("tells what cannot be sent", function()
      local seen
      local port = http.serve(servers, function(_, res)
        seen = { res:sendfile(dir .. "/nothing") }
        return 404
      end)
      assert.equal(404, get(port, "/").status)
      assert.equal("ENOENT", seen[3])
      assert.equal(1, #helper.reports(function()
        assert.equal(500, get(file_server(dir), "/").status)
      end))
      assert.equal(1, #helper.reports(function()
        assert.equal(500, get(file_server(dir .. "/secret", { from = 7 }), "/").status)
      end))
    end)

    it("needs little memory, and closes the file when its thread is cancelled", function()
      local name = dir .. "/big"
      os.execute("truncate -s 1G " .. name)
      local thread
      local port = http.serve(servers, function(_, res)
        thread = grun.current()
        return res:sendfile(name)
      end)
      collectgarbage()
      local before = tonumber(helper.contents("/proc/self/status"):match("VmRSS:%s+(%d+)"))
      local pipe = io.popen(("curl -s -m 60 http://127.0.0.1:%d/ | wc -c"):format(port))
      assert.equal(2 ^ 30, tonumber(pipe:read("*l")))
      pipe:close()
      local after = tonumber(helper.contents("/proc/self/status"):match("VmRSS:%s+(%d+)"))
      assert.is_true(after - before < 8192 or helper.grun:find("asan") ~= nil, ("%d KiB more"):format(after - before))
      local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:read(100000)
      thread:cancel("enough")
      thread:join()
      conn:close()
      for fd in lfs.dir("/proc/self/fd") do
        assert.not_equal(name, lfs.symlinkattributes("/proc/self/fd/" .. fd, "target"))
      end
    end)
  end)
end)
