-- SPDX-License-Identifier: MIT
local urls = require("grun.http.url")

describe("a URL", function()
  it("is taken apart", function()
    local url = assert(urls.parse("HTTPS://us%40er:pa:ss@Example.ORG:8443/a/b?c=d?e#f"))
    assert.same({
      scheme = "https", user = "us%40er", password = "pa:ss", host = "example.org", port = 8443,
      path = "/a/b", query = "c=d?e", target = "/a/b?c=d?e", authority = "example.org:8443",
      address = "example.org:8443", origin = "https://example.org:8443",
    }, url)
    assert.equal("https://example.org:8443/a/b?c=d?e", urls.format(url))
  end)

  it("has the scheme's port, and a path in any case", function()
    for text, expected in pairs({
      ["http://h"] = { "h", 80, "/" },
      ["https://h"] = { "h", 443, "/" },
      ["http://h:80"] = { "h", 80, "/" },
      ["http://h:443/"] = { "h:443", 443, "/" },
      ["http://h:/x"] = { "h", 80, "/x" },
      ["http://h?q"] = { "h", 80, "/?q" },
      ["http://h#f"] = { "h", 80, "/" },
      ["http://[::1]"] = { "[::1]", 80, "/" },
      ["http://[FE80::1]:8080/x"] = { "[fe80::1]:8080", 8080, "/x" },
      ["http://a@b@h/"] = { "h", 80, "/" },
      ["http://h/?"] = { "h", 80, "/?" },
      [" http://h "] = { "h", 80, "/" },
    }) do
      local url = assert(urls.parse(text))
      assert.same(expected, { url.authority, url.port, url.target }, text)
    end
  end)

  it("gets escapes where they are needed, and only there", function()
    for target, expected in pairs({
      ["/a b"] = "/a%20b", ["/\195\188"] = "/%C3%BC", ["/%41%zz%"] = "/%41%25zz%25", ["/%4"] = "/%254",
      ["/x?a b=\"<>`{}|^\\"] = "/x?a%20b=%22%3C%3E%60%7B%7D%7C%5E%5C",
      ["/!$&'()*+,;=:@-._~[]?/?"] = "/!$&'()*+,;=:@-._~[]?/?",
    }) do
      assert.equal(expected, urls.parse("http://h" .. target).target)
    end
  end)

  it("is refused when it is none", function()
    for text, problem in pairs({
      [""] = "no scheme", ["h/x"] = "no scheme", ["//h/x"] = "no scheme",
      ["ftp://h/"] = "neither http nor https", ["h:80"] = "neither http nor https",
      ["http:///x"] = "no host", ["http:x"] = "no host", ["http://:80"] = "no host",
      ["http://h:x"] = "bad port", ["http://h:0"] = "bad port", ["http://h:65536"] = "bad port",
      ["http://h:1:2"] = "bad port", ["http://a b/"] = "bad host", ["http://h\195\188/"] = "bad host",
      ["http://[::1/"] = "bad host", ["http://[x]/"] = "bad host", ["http://[1]/"] = "bad host",
      ["http://h/\r\nX: y"] = "control character", ["http://h/\0"] = "control character",
      ["http://h\\@i/"] = "bad user", ["http://i\\"] = "bad host", ["http://%41/"] = "bad host",
    }) do
      assert.same({ nil, problem }, { urls.parse(text) }, text)
    end
  end)

  it("is shown without its password, also when it is none", function()
    for text, masked in pairs({
      ["http://me:pw@h:80/x"] = "http://me:***@h:80/x", ["https://me:@h/"] = "https://me:***@h/",
      ["http://:pw@h/"] = "http://:***@h/", ["http://a@b:p@w@h/"] = "http://a@b:***@h/",
      ["http://me:p:w@h/x?y#z"] = "http://me:***@h/x?y#z", ["http://me:p/w?x#y@h/z"] = "http://me:***@h/z",
      ["http://me:/@h/"] = "http://me:***@h/", ["//me:pw@h/"] = "//me:***@h/", ["me:pw@h"] = "me:***@h",
      ["http:/me:pw@h/"] = "http:***@h/", [" http://me:pw@h:x"] = " http://me:***@h:x",
      ["http://me:p\nw@h/\r"] = "http://me:***@h/?", ["http://m\0e:pw@h/"] = "http://m?e:***@h/",
      ["http://me@h/"] = "http://me@h/", ["http://h:80/x"] = "http://h:80/x", ["http://h/?a=b@c"] = "http://h/?a=b@c",
      ["http://h:80"] = "http://h:80", ["://"] = "://", ["@"] = "@", [":@"] = ":***@", [":"] = ":", [""] = "",
    }) do
      assert.equal(masked, urls.mask(text), text)
    end
  end)

  it("is made from references as in RFC 3986 section 5.4", function()
    local base = urls.parse("http://a/b/c/d;p?q")
    for reference, expected in pairs({
      ["g"] = "http://a/b/c/g", ["./g"] = "http://a/b/c/g", ["g/"] = "http://a/b/c/g/",
      ["/g"] = "http://a/g", ["//g"] = "http:" .. "//g", ["?y"] = "http://a/b/c/d;p?y",
      ["g?y"] = "http://a/b/c/g?y", ["#s"] = "http://a/b/c/d;p?q", ["g#s"] = "http://a/b/c/g",
      [";x"] = "http://a/b/c/;x", ["g;x?y#s"] = "http://a/b/c/g;x?y", [""] = "http://a/b/c/d;p?q",
      ["."] = "http://a/b/c/", ["./"] = "http://a/b/c/", [".."] = "http://a/b/", ["../"] = "http://a/b/",
      ["../g"] = "http://a/b/g", ["../.."] = "http://a/", ["../../g"] = "http://a/g",
      ["../../../g"] = "http://a/g", ["/./g"] = "http://a/g", ["/../g"] = "http://a/g",
      ["g."] = "http://a/b/c/g.", ["..g"] = "http://a/b/c/..g", ["./g/."] = "http://a/b/c/g/",
      ["g/../h"] = "http://a/b/c/h", ["g;x=1/../y"] = "http://a/b/c/y", ["g?y/../x"] = "http://a/b/c/g?y/../x",
      ["https://x/y"] = "https://x/y",
    }) do
      assert.equal(expected, urls.resolve(base, reference), reference)
    end
  end)
end)
