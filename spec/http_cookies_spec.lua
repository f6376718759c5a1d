-- SPDX-License-Identifier: MIT
local grun = require("grun")
local cookies = require("grun.http.cookies")
local urls = require("grun.http.url")

local NOW = 1700000000

describe("a cookie jar", function()
  local jar

  before_each(function()
    jar = cookies.new()
  end)

  local function store(url, text, now)
    return jar:store(assert(urls.parse(url)), text, now or NOW)
  end

  local function header(url, now)
    return jar:header(assert(urls.parse(url)), now or NOW)
  end

  it("gives back what it got, longer paths first, then older ones", function()
    assert.is_true(store("http://h.org/x/y", "a=1"))
    assert.is_true(store("http://h.org/x/y", 'b="2"; Path=/'))
    assert.is_true(store("http://h.org/x/y", "c=3=4; Path=/; HttpOnly"))
    assert.equal('a=1; b="2"; c=3=4', header("http://h.org/x/z"))
    assert.equal('b="2"; c=3=4', header("http://h.org/y"))
    store("http://h.org/x/y", "b=new; path=/")
    assert.equal("b=new; c=3=4", header("http://h.org/"))
    assert.is_nil(header("http://other.org/"))
  end)

  it("knows for whom a cookie is", function()
    for _, case in ipairs({
      -- host, attributes, other host, whether it gets the cookie; nil: not accepted
      { "h.org", "", "h.org", true }, { "h.org", "", "a.h.org", false },
      { "h.org", "; Domain=h.org", "a.h.org", true }, { "a.h.org", "; Domain=.h.org", "b.h.org", true },
      { "a.h.org", "; Domain=H.ORG", "h.org", true }, { "a.h.org", "; Domain=h.org", "xh.org", false },
      { "h.org", "; Domain=a.h.org", "a.h.org", nil }, { "h.org", "; Domain=org", "h.org", nil },
      { "h.org", "; Domain=x.org", "x.org", nil }, { "xh.org", "; Domain=h.org", "h.org", nil },
      { "localhost", "; Domain=localhost", "localhost", true }, { "localhost", "", "localhost", true },
      { "localhost", "; Domain=localhost", "a.localhost", false },
      { "h.com.", "; Domain=com.", "i.com.", nil }, { "com.", "; Domain=com.", "i.com.", false },
      { "h.org", "; Domain=", "h.org", true }, { "h.org", "; Domain=a.b; Domain=h.org", "a.h.org", true },
      { "127.0.0.1", "; Domain=0.0.1", "127.0.0.1", nil }, { "127.0.0.1", "; Domain=127.0.0.1", "127.0.0.1", true },
    }) do
      jar = cookies.new()
      local accepted = store("http://" .. case[1] .. "/", "n=v" .. case[2])
      assert.equal(case[4] ~= nil, accepted, table.concat({ case[1], case[2] }))
      if accepted then
        assert.equal(case[4] and "n=v" or nil, header("http://" .. case[3] .. "/"), case[1] .. case[2] .. case[3])
      end
    end
  end)

  it("matches paths by whole segments", function()
    for _, case in ipairs({
      { "/a", "/a", true }, { "/a", "/a/b", true }, { "/a", "/ab", false }, { "/a/", "/a/b", true },
      { "/a/", "/a", false }, { "/", "/x", true }, { "x", "/default/z", true }, { "x", "/other", false },
    }) do
      jar = cookies.new()
      store("http://h.org/default/page", "n=v; Path=" .. case[1])
      assert.equal(case[3] and "n=v" or nil, header("http://h.org" .. case[2]), case[1] .. " " .. case[2])
    end
  end)

  it("keeps secure ones to https", function()
    assert.is_false(store("http://h.org/", "s=1; Secure"))
    assert.is_true(store("https://h.org/", "s=1; Secure; Path=/"))
    assert.is_nil(header("http://h.org/"))
    assert.equal("s=1", header("https://h.org/"))
    assert.is_false(store("http://h.org/", "s=evil; Path=/"))
    assert.is_false(store("http://a.h.org/", "s=evil; Path=/; Domain=h.org"))
    assert.equal("s=1", header("https://h.org/"))
  end)

  it("believes the prefixes __Secure- and __Host- only with what they promise", function()
    assert.is_false(store("https://h.org/", "__Secure-a=1"))
    assert.is_true(store("https://h.org/", "__Secure-a=1; Secure"))
    assert.is_false(store("https://h.org/", "__Host-a=1; Secure; Path=/; Domain=h.org"))
    assert.is_false(store("https://h.org/x/y", "__Host-a=1; Secure"))
    assert.is_true(store("https://h.org/", "__Host-a=1; Secure; Path=/"))
  end)

  it("forgets them in time: Max-Age before Expires", function()
    store("http://h.org/", "a=1; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    store("http://h.org/", "b=2; Expires=Wed, 15 Nov 2023 00:00:00 GMT")
    store("http://h.org/", "c=3; Expires=nonsense; Max-Age=soon")
    assert.equal("a=1; b=2; c=3", header("http://h.org/", NOW + 9))
    assert.equal("b=2; c=3", header("http://h.org/", NOW + 10))
    assert.equal("c=3", header("http://h.org/", NOW + 86400))
    assert.is_true(store("http://h.org/", "c=; Max-Age=0"))
    assert.is_nil(header("http://h.org/"))
  end)

  it("understands dates as browsers do", function()
    for date, stays in pairs({
      ["Wed, 15 Nov 2023 00:00:00 GMT"] = true, ["Wed, 15-Nov-2023 00:00:00 GMT"] = true,
      ["Wednesday, 15-Nov-23 00:00:00 GMT"] = true, ["Wed Nov 15 00:00:00 2023"] = true,
      ["15 nov 23 0:0:0"] = true, ["2023 November 15 00:00:00 UTC"] = true,
      ["Tue, 14 Nov 2023 22:13:19 GMT"] = false, ["Thu, 1 Jan 1970 00:00:00 GMT"] = false,
      ["Thu, 01 Jan 1970 00:00:00 UTC"] = false, ["Thu, 01-Jan-70 00:00:01 GMT"] = false,
      ["thu, 01-jan-1970 0:00:01 -0000"] = false,
      -- None: as if it had not been said.
      [""] = true, ["0"] = true, ["Thu, 01 Jan 1970"] = true, ["01 Xyz 1970 00:00:00"] = true,
      ["31 Feb 1999 00:00:00"] = true, ["01 Jan 1970 24:00:00"] = true, ["00 Jan 1970 00:00:00"] = true,
    }) do
      store("http://h.org/", "a=1; Expires=" .. date)
      assert.equal(stays and "a=1" or nil, header("http://h.org/"), date)
      local expires = stays and jar._list[1].expires
      assert.equal(stays and date:find("23") and NOW + 6400 or nil, expires or nil, date)
      jar:clear()
    end
  end)

  it("takes no long time for anything", function()
    local started = grun.now()
    for _, text in ipairs({ (" "):rep(60000), ("="):rep(60000), (";"):rep(60000), ("a "):rep(30000),
      "a" .. (" "):rep(60000) .. "a" }) do
      store("http://h.org/", "a=b;" .. text .. "; Expires=" .. text .. "; x")
      store("http://h.org/", text .. "x")
    end
    assert.is_true(grun.now() - started < 1)
  end)

  it("has limits", function()
    for i = 1, 60 do
      store("http://h.org/", ("n%d=v"):format(i))
    end
    assert.equal(50, select(2, header("http://h.org/"):gsub("=v", "")))
    assert.is_truthy(header("http://h.org/"):find("^n11=v"))
    for i = 1, 3100 do
      store(("http://h%d.org/"):format(i), "n=v")
    end
    local n = 0
    for i = 1, 3100 do
      n = n + (header(("http://h%d.org/"):format(i)) and 1 or 0)
    end
    assert.equal(3000, n)
    assert.is_false(store("http://h.org/", "n=" .. ("v"):rep(4096)))
  end)

  it("refuses what is no cookie", function()
    for _, text in ipairs({ "=; Path=/", "; a=b", "", "=v", "flag", ";", "; Path=/", "a\1=b", "a=b\127" }) do
      assert.is_false(store("http://h.org/", text), text)
    end
  end)

  it("can be looked at and cleared", function()
    jar:store(urls.parse("https://h.org/"), "a=1; Secure; HttpOnly")
    jar:store(urls.parse("https://i.org/"), "b=2; Domain=i.org")
    local list = jar:list()
    assert.same({ name = "a", value = "1", domain = "h.org", path = "/", secure = true, http_only = true,
      host_only = true }, list[1])
    assert.is_false(list[2].host_only)
    jar:clear("H.org")
    assert.equal(1, #jar:list())
    jar:clear()
    assert.equal(0, #jar:list())
  end)
end)
