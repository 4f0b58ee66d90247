local date = require "sync.http.date"
local files = require "sync.http.files"
local reason = require "sync.http.status".reason
local types = require "sync.http.types"

-- 2023-11-14 22:13:20, a Tuesday.
local MTIME = 1700000000
local DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
local NOW = MTIME + 1000
local ETAG = '"3e8-6553f100-7b"'

-- What all files of the specs below are, but for what `with` says.
local function fileWith(with)
  local file = {path = "page.html", size = 1000, mtime = MTIME, mtimeNs = 123}
  for name, value in pairs(with or {}) do file[name] = value end
  return file
end

-- An answer as a table, its headers by name.
local function answer(headers, with, method)
  local request = {method = method or "GET", headers = headers or {}}
  local status, list, offset, length = files.answer(request, fileWith(with), NOW)
  local result = {status = status, offset = offset, length = length, headers = {}}
  for _, header in ipairs(list) do
    assert.is_nil(result.headers[header[1]], header[1] .. " came twice")
    assert.is_string(header[2])
    result.headers[header[1]] = header[2]
  end
  return result
end

local function status(headers, with, method)
  return answer(headers, with, method).status
end

describe("reason", function()
  it("names the statuses", function()
    assert.equal("OK", reason(200))
    assert.equal("Partial Content", reason(206))
    assert.equal("Not Modified", reason(304))
    assert.equal("Not Found", reason(404))
    assert.equal("Range Not Satisfiable", reason(416))
    assert.equal("Upgrade Required", reason(426))
    assert.equal("Service Unavailable", reason(503))
  end)

  it("has a word for one without a name", function()
    for _, number in ipairs {299, 418, 599, 0} do
      assert.equal("Status", reason(number))
    end
  end)
end)

describe("files.path", function()
  local function accepts(target, path, query)
    local seen, seenQuery = files.path(target)
    assert.equal(path, seen, target)
    assert.equal(query or "", seenQuery, target)
  end

  local function refuses(target, wanted)
    local path, code, why = files.path(target)
    assert.is_nil(path, target)
    assert.equal(wanted, code, target)
    assert.is_string(why)
  end

  it("is relative, and tells a folder by its slash", function()
    accepts("/", "")
    accepts("/a", "a")
    accepts("/a/", "a/")
    accepts("/a/b.html", "a/b.html")
    accepts("/a/b/", "a/b/")
  end)

  it("leaves the query as it came", function()
    accepts("/a?x=1", "a", "x=1")
    accepts("/a?", "a", "")
    accepts("/?x=/../%00%zz?\\", "", "x=/../%00%zz?\\")
    accepts("/a/?b/c", "a/", "b/c")
  end)

  it("takes the path of an absolute URL", function()
    accepts("http://host/a%20b/c?x=1", "a b/c", "x=1")
    accepts("HTTPS://user@host:8080/a", "a")
    accepts("http://[::1]:80/a", "a")
    accepts("http://host", "")
    accepts("http://host/", "")
    accepts("http://host?x=1", "", "x=1")
    accepts("http://host//a", "a")
    accepts("/http://host/a", "http:/host/a")
  end)

  it("refuses what is no path or URL", function()
    for _, target in ipairs {"", "a", "*", "?", "host:80", "http:/a", "http:", "http://",
        "http:///a", "http://?a", "ftp://host/a", "file:///etc/passwd", "javascript://h/a",
        "://host/a", "\\a"} do
      refuses(target, 400)
    end
  end)

  it("decodes escapes, once", function()
    accepts("/a%20b", "a b")
    accepts("/%61%62%7E%7e", "ab~~")
    accepts("/%C3%a9", "\195\169")
    accepts("/%2561", "%61")
    accepts("/%252e%252e/a", "%2e%2e/a")
    accepts("/a+b", "a+b")
    accepts("/a%3Fb%23c", "a?b#c")
    accepts("/%25", "%")
  end)

  it("refuses bad escapes", function()
    for _, target in ipairs {"/%", "/%a", "/%zz", "/%2", "/a%", "/%%41", "/%4g", "/% 41",
        "/a/%/b", "/%u0041", "/%-1"} do
      refuses(target, 400)
    end
  end)

  it("refuses NUL and control characters", function()
    refuses("/a%00", 400)
    refuses("/%00", 400)
    refuses("/a%00.html", 400)
    refuses("/a\0b", 400)
    for byte = 0, 31 do
      refuses(("/a%%%02xb"):format(byte), 400)
      refuses("/a" .. string.char(byte) .. "b", 400)
    end
    refuses("/%7f", 400)
  end)

  it("refuses what must be escaped in a target", function()
    refuses("/a b", 400)
    refuses("/a#b", 400)
    refuses("/a?b#c", 400)
    refuses("/a?b c", 400)
    refuses("/\195\169", 400)
    refuses("/a\127", 400)
    accepts("/a|b[c]{d}^`\"<>", "a|b[c]{d}^`\"<>") -- browsers send these as they are
  end)

  it("refuses backslashes and escaped slashes", function()
    for _, target in ipairs {"/a\\b", "/\\", "/..\\a", "/a%5Cb", "/%5c..%5ca", "/a%2Fb",
        "/%2f", "/..%2f..%2fetc/passwd", "/%2e%2e%2fa"} do
      refuses(target, 400)
    end
  end)

  it("resolves dots within the folder", function()
    accepts("/.", "")
    accepts("/./", "")
    accepts("/./a", "a")
    accepts("/a/.", "a/")
    accepts("/a/./b", "a/b")
    accepts("/a/..", "")
    accepts("/a/../", "")
    accepts("/a/../b", "b")
    accepts("/a/b/..", "a/")
    accepts("/a/b/../", "a/")
    accepts("/a/b/../../c", "c")
    accepts("/a/%2e%2E/b", "b")
    accepts("/a/%2e/b", "a/b")
    accepts("/a/.%2e/b/.", "b/")
  end)

  it("refuses dots that leave the folder, at any moment", function()
    for _, target in ipairs {"/..", "/../", "/../a", "/a/../..", "/a/../../a", "/./..",
        "/../../../../etc/passwd", "/a/b/../../../c", "/%2e%2e", "/%2e%2e/a", "/.%2E/a",
        "//..", "//../a", "/a//../../b", "http://host/..", "/..?x"} do
      refuses(target, 400)
    end
  end)

  it("takes several slashes for one", function()
    accepts("//", "")
    accepts("//a", "a")
    accepts("//etc//passwd", "etc/passwd")
    accepts("/a//", "a/")
    accepts("/a//b///c", "a/b/c")
  end)

  it("hides what begins with a dot", function()
    for _, target in ipairs {"/.git", "/.git/config", "/a/.env", "/.htaccess", "/...",
        "/..a", "/a/.../b", "/%2egit/config", "/.well-known2", "/.well-known/.x",
        "/.Well-Known/a", "/a/../.git"} do
      refuses(target, 404)
    end
    accepts("/.well-known/acme-challenge/abc", ".well-known/acme-challenge/abc")
    accepts("/%2ewell-known/", ".well-known/")
    accepts("/a.b", "a.b")
    accepts("/a./b", "a./b")
    accepts("/.git/../a", "a")
  end)

  it("refuses what is too long", function()
    accepts("/" .. ("a"):rep(4095), ("a"):rep(4095))
    refuses("/" .. ("a"):rep(4096), 414)
    refuses("/" .. ("%61"):rep(2000), 414)
    accepts("/a?" .. ("x"):rep(8000), "a", ("x"):rep(8000))
    refuses("/" .. ("a/../"):rep(2000), 414)
  end)

  it("gives a safe path or none, whatever the target", function()
    math.randomseed(7)
    local parts = {"/", "/", ".", "..", "%2e", "%2F", "%5c", "%00", "a", "b", "%", "\\", "?",
      "#", "%25", " ", "http://h", "..;", "\255", "%c0%ae"}
    local accepted = 0
    for _ = 1, 50000 do
      local target = math.random(10) == 1 and "" or "/"
      for _ = 1, math.random(8) do target = target .. parts[math.random(#parts)] end
      local path, code = files.path(target)
      if path then
        accepted = accepted + 1
        assert.is_nil(path:find("^/"), target)
        assert.is_nil(path:find("//", 1, true), target)
        assert.is_nil(path:find("[%c\\]"), target)
        for segment in path:gmatch("[^/]+") do assert.is_nil(segment:find("^%."), target) end
      else
        assert.is_true(code == 400 or code == 404, target)
      end
    end
    assert.is_true(accepted > 1000)
  end)
end)

describe("types.of", function()
  it("goes by the extension", function()
    local wanted = {
      html = "text/html; charset=utf-8", css = "text/css; charset=utf-8",
      js = "text/javascript; charset=utf-8", mjs = "text/javascript; charset=utf-8",
      json = "application/json", wasm = "application/wasm", svg = "image/svg+xml",
      png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg", gif = "image/gif",
      webp = "image/webp", avif = "image/avif", ico = "image/x-icon", woff2 = "font/woff2",
      ttf = "font/ttf", otf = "font/otf", mp3 = "audio/mpeg", ogg = "audio/ogg",
      wav = "audio/wav", mp4 = "video/mp4", webm = "video/webm",
      txt = "text/plain; charset=utf-8", md = "text/markdown; charset=utf-8",
      xml = "application/xml", pdf = "application/pdf",
      swf = "application/x-shockwave-flash", map = "application/json",
      zip = "application/zip", gz = "application/gzip",
    }
    for extension, kind in pairs(wanted) do
      assert.equal(kind, types.of("folder.d/a." .. extension))
      assert.equal(kind, types.of("A." .. extension:upper()))
    end
  end)

  it("takes the last extension of the last segment", function()
    assert.equal("application/gzip", types.of("a.tar.gz"))
    assert.equal("application/json", types.of("app.js.map"))
    assert.equal("text/html; charset=utf-8", types.of("a.png/b.html"))
    assert.equal("application/octet-stream", types.of("a.png/b"))
  end)

  it("is octet-stream for what it doesn't know", function()
    for _, path in ipairs {"", "a", "a.", "a.unknown", "html", "a.html/", "a.html ", "a/b.d/c",
        "a.exe", "__index", "a.__index"} do
      assert.equal("application/octet-stream", types.of(path))
    end
  end)
end)

describe("files.etag", function()
  it("is quoted and strong", function()
    assert.equal(ETAG, files.etag(1000, MTIME, 123))
    assert.equal('"0-0-0"', files.etag(0, 0))
  end)

  it("is another when anything has changed", function()
    local seen = {}
    for _, size in ipairs {0, 1, 16, 2 ^ 31, 2 ^ 32, 2 ^ 32 + 1, 2 ^ 53 - 1} do
      for _, mtime in ipairs {-1, 0, 1, MTIME, 2 ^ 31, 2 ^ 32, 2 ^ 40} do
        for _, ns in ipairs {0, 1, 999999999} do
          local etag = files.etag(size, mtime, ns)
          assert.truthy(etag:find('^"[%x-]+"$'))
          assert.is_nil(seen[etag])
          seen[etag] = true
        end
      end
    end
  end)
end)

describe("date.write", function()
  it("is an IMF-fixdate", function()
    assert.equal("Thu, 01 Jan 1970 00:00:00 GMT", date.write(0))
    assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", date.write(784111777))
    assert.equal(DATE, date.write(MTIME))
    assert.equal("Thu, 29 Feb 2024 23:59:59 GMT", date.write(1709251199))
    assert.equal("Tue, 19 Jan 2038 03:14:08 GMT", date.write(2 ^ 31))
  end)

  it("takes fractions off, and times before 1970", function()
    assert.equal(DATE, date.write(MTIME + 0.999))
    assert.equal("Wed, 31 Dec 1969 23:59:59 GMT", date.write(-1))
    assert.equal("Wed, 31 Dec 1969 23:59:59 GMT", date.write(-0.5))
  end)

  it("stays within years of four digits", function()
    assert.equal("Fri, 31 Dec 9999 23:59:59 GMT", date.write(253402300799))
    assert.equal("Fri, 31 Dec 9999 23:59:59 GMT", date.write(2 ^ 60))
    assert.equal("Sat, 01 Jan 0000 00:00:00 GMT", date.write(-2 ^ 60))
  end)

  it("is English whatever the locale", function()
    local before = os.setlocale(nil)
    for _, locale in ipairs {"de_DE.UTF-8", "fr_FR.UTF-8", "ja_JP.UTF-8", "C"} do
      if os.setlocale(locale) then assert.equal(DATE, date.write(MTIME)) end
    end
    os.setlocale(before)
  end)
end)

describe("date.read", function()
  it("reads the three forms", function()
    assert.equal(784111777, date.read("Sun, 06 Nov 1994 08:49:37 GMT"))
    assert.equal(784111777, date.read("Sunday, 06-Nov-94 08:49:37 GMT", NOW))
    assert.equal(784111777, date.read("Sun Nov  6 08:49:37 1994"))
    assert.equal(MTIME, date.read("Tue Nov 14 22:13:20 2023"))
    assert.equal(0, date.read("Thu, 01 Jan 1970 00:00:00 GMT"))
    assert.equal(-1, date.read("Wed, 31 Dec 1969 23:59:59 GMT"))
  end)

  it("takes a year of two digits for one that is at most 50 years ahead", function()
    -- NOW is in 2023.
    assert.equal(date.read("Sat, 01 Jan 2073 00:00:00 GMT"),
      date.read("Sunday, 01-Jan-73 00:00:00 GMT", NOW))
    assert.equal(date.read("Tue, 01 Jan 1974 00:00:00 GMT"),
      date.read("Tuesday, 01-Jan-74 00:00:00 GMT", NOW))
    assert.equal(date.read("Fri, 31 Dec 1999 00:00:00 GMT"),
      date.read("Friday, 31-Dec-99 00:00:00 GMT", NOW))
    assert.equal(date.read("Sat, 01 Jan 2000 00:00:00 GMT"),
      date.read("Saturday, 01-Jan-00 00:00:00 GMT", NOW))
  end)

  it("knows the lengths of months, leap years and leap seconds", function()
    assert.equal(1709164800, date.read("Thu, 29 Feb 2024 00:00:00 GMT"))
    assert.equal(951782400, date.read("Tue, 29 Feb 2000 00:00:00 GMT"))
    assert.is_nil(date.read("Wed, 29 Feb 2023 00:00:00 GMT"))
    assert.is_nil(date.read("Thu, 29 Feb 1900 00:00:00 GMT"))
    assert.is_nil(date.read("Tue, 31 Apr 2024 00:00:00 GMT"))
    assert.equal(1483228800, date.read("Sat, 31 Dec 2016 23:59:60 GMT"))
  end)

  it("is nil for what is no date", function()
    for _, text in ipairs {"", "0", "now", "Sun", "2023-11-14T22:13:20Z", DATE .. " ",
        " " .. DATE, DATE:lower(), DATE:gsub("GMT", "UTC"), DATE:gsub("GMT", "+0000"),
        DATE:gsub("Nov", "Nop"), DATE:gsub("Tue", "Tux"), DATE:gsub("Tue", "Tuesday"),
        DATE:gsub(" 14 ", " 4 "), DATE:gsub("14", "00"), DATE:gsub("14", "32"),
        DATE:gsub("22:", "24:"), DATE:gsub(":13", ":60"), DATE:gsub(":20", ":61"),
        DATE:gsub(":20", ""), DATE:gsub("2023", "23"), DATE .. ", " .. DATE,
        "Tue, 14-Nov-23 22:13:20 GMT", "Tuesday, 14-Nov-2023 22:13:20 GMT",
        "Tue Nov 14 22:13:20 23", "Tue Nov 14 22:13:20 2023 GMT", "Tue Nov    22:13:20 2023",
        "Tue, 14 Nov 2023 2:13:20 GMT", "Tue, 14 Nov 2023 22::20 GMT"} do
      assert.is_nil(date.read(text, NOW), text)
    end
  end)

  it("reads every date that files.date writes", function()
    math.randomseed(11)
    for _ = 1, 20000 do
      local seconds = math.random(-62167219200, 253402300799)
      assert.equal(seconds, date.read(date.write(seconds)))
    end
    for day = -800 * 366, 800 * 366, 7 do -- and each day of the week in some month
      assert.equal(day * 86400, date.read(date.write(day * 86400)))
    end
  end)
end)

describe("files.answer", function()
  it("is the file", function()
    assert.same({status = 200, offset = 0, length = 1000, headers = {
      ["Cache-Control"] = "no-cache", ["X-Content-Type-Options"] = "nosniff",
      ["ETag"] = ETAG, ["Last-Modified"] = DATE, ["Accept-Ranges"] = "bytes",
      ["Content-Type"] = "text/html; charset=utf-8", ["Content-Length"] = "1000",
    }}, answer())
  end)

  it("tells the lengths of empty and huge files", function()
    local empty = answer({}, {size = 0})
    assert.equal(200, empty.status)
    assert.equal("0", empty.headers["Content-Length"])
    assert.equal(0, empty.length)
    local huge = answer({}, {size = 2 ^ 52 + 1})
    assert.equal("4503599627370497", huge.headers["Content-Length"])
    assert.equal(2 ^ 52 + 1, huge.length)
  end)

  it("has the headers of GET for HEAD, and no bytes", function()
    local head = answer({}, {}, "HEAD")
    assert.same(answer().headers, head.headers)
    assert.equal(200, head.status)
    assert.equal(0, head.length)
  end)

  it("refuses other methods", function()
    for _, method in ipairs {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "TRACE"} do
      local refused = answer({["if-none-match"] = "*", ["if-match"] = '"x"'}, {}, method)
      assert.equal(405, refused.status)
      assert.equal("GET, HEAD", refused.headers.Allow)
      assert.equal("0", refused.headers["Content-Length"])
      assert.equal(0, refused.length)
    end
  end)

  it("does not say that a file was changed in the future", function()
    local future = answer({}, {mtime = NOW + 50})
    assert.equal(date.write(NOW), future.headers["Last-Modified"])
    assert.equal(files.etag(1000, NOW + 50, 123), future.headers.ETag)
  end)

  it("takes the clock of the system when it is given none", function()
    local code, headers = files.answer({method = "GET", headers = {}},
      fileWith {mtime = os.time() + 1e6})
    assert.equal(200, code)
    for _, header in ipairs(headers) do
      if header[1] == "Last-Modified" then
        local ahead = date.read(header[2]) - os.time()
        assert.is_true(ahead <= 0 and ahead > -100)
      end
    end
  end)

  it("keeps the headers in an order", function()
    local _, headers = files.answer({method = "GET", headers = {}}, fileWith(), NOW)
    local names = {}
    for i, header in ipairs(headers) do names[i] = header[1] end
    assert.same({"Cache-Control", "X-Content-Type-Options", "ETag", "Accept-Ranges",
      "Last-Modified", "Content-Type", "Content-Length"}, names)
  end)
end)

describe("files.answer to If-None-Match", function()
  local function none(list, with, method)
    return status({["if-none-match"] = list}, with, method)
  end

  it("is 304 for the client that has the file", function()
    for _, method in ipairs {"GET", "HEAD"} do
      local fresh = answer({["if-none-match"] = ETAG}, {}, method)
      assert.same({status = 304, offset = 0, length = 0, headers = {
        ["Cache-Control"] = "no-cache", ["X-Content-Type-Options"] = "nosniff",
        ["ETag"] = ETAG}}, fresh)
    end
  end)

  it("compares weakly", function()
    assert.equal(304, none("W/" .. ETAG))
  end)

  it("is the file for another tag", function()
    assert.equal(200, none '"other"')
    assert.equal(200, none 'W/"other"')
    assert.equal(200, none '""')
    assert.equal(200, none(ETAG, {mtimeNs = 124}))
    assert.equal(200, none(ETAG, {size = 1001}))
    assert.equal(200, none(ETAG, {mtime = MTIME + 1}))
  end)

  it("takes lists", function()
    assert.equal(304, none('"a", ' .. ETAG))
    assert.equal(304, none('"a",W/"b" ,\t' .. ETAG .. ' , "c"'))
    assert.equal(304, none(ETAG .. ',"a"'))
    assert.equal(304, none(",, ," .. ETAG .. ",, "))
    assert.equal(304, none(('"a", '):rep(300) .. ETAG))
    assert.equal(304, none('"a,b", "\195\169", ' .. ETAG))
    assert.equal(200, none '"a", "b", W/"c"')
    assert.equal(200, none('"a,' .. ETAG:sub(2)))
  end)

  it("takes a star", function()
    assert.equal(304, none "*")
    assert.equal(304, none " *\t")
    assert.equal(200, none '"*"')
    assert.equal(200, none '*, "a"')
    assert.equal(200, none "**")
  end)

  it("is the file for what is no list of tags", function()
    local bare = ETAG:sub(2, -2)
    for _, list in ipairs {"", " ", ",", bare, '"' .. bare, bare .. '"', "'" .. bare .. "'",
        "w/" .. ETAG, "W" .. ETAG, "/" .. ETAG, "W/ " .. ETAG, '"a"' .. ETAG, '"a" ' .. ETAG,
        "x" .. ETAG, '"a";' .. ETAG, '"a b", ' .. ETAG} do
      assert.equal(200, none(list), list)
    end
  end)

  it("lets If-Modified-Since have no say", function()
    assert.equal(200, status {["if-none-match"] = '"other"', ["if-modified-since"] = DATE})
    assert.equal(200, status {["if-none-match"] = "", ["if-modified-since"] = DATE})
    assert.equal(304, status {["if-none-match"] = ETAG,
      ["if-modified-since"] = date.write(MTIME - 1)})
  end)

  it("goes before a range", function()
    assert.equal(304, status {["if-none-match"] = ETAG, range = "bytes=0-1"})
    assert.equal(206, status {["if-none-match"] = '"other"', range = "bytes=0-1"})
    assert.equal(304, status {["if-none-match"] = ETAG, range = "bytes=5000-"})
  end)
end)

describe("files.answer to If-Modified-Since", function()
  local function since(time, with)
    return status({["if-modified-since"] = time}, with)
  end

  it("is 304 when the file is as old or older", function()
    assert.equal(304, since(DATE))
    assert.equal(304, since(date.write(MTIME + 1)))
    assert.equal(304, since(date.write(NOW + 1e6)))
    assert.equal(200, since(date.write(MTIME - 1)))
    assert.equal(304, since(DATE, {mtimeNs = 999999999}))
  end)

  it("takes the three forms of dates", function()
    assert.equal(304, since "Tuesday, 14-Nov-23 22:13:20 GMT")
    assert.equal(200, since "Tuesday, 14-Nov-23 22:13:19 GMT")
    assert.equal(304, since "Tue Nov 14 22:13:20 2023")
    assert.equal(200, since "Tue Nov 14 22:13:19 2023")
  end)

  it("is the file for what is no date", function()
    for _, text in ipairs {"", "yesterday", "1700000000", DATE .. ", " .. DATE} do
      assert.equal(200, since(text))
    end
  end)

  it("is asked by HEAD too", function()
    assert.equal(304, status({["if-modified-since"] = DATE}, {}, "HEAD"))
  end)
end)

describe("files.answer to If-Match and If-Unmodified-Since", function()
  it("is 412 for the client that has another file", function()
    assert.same({status = 412, offset = 0, length = 0, headers = {
      ["Cache-Control"] = "no-cache", ["X-Content-Type-Options"] = "nosniff",
      ["Content-Length"] = "0"}}, answer {["if-match"] = '"other"'})
    assert.equal(412, status({["if-match"] = '"other"'}, {}, "HEAD"))
  end)

  it("compares strongly", function()
    assert.equal(200, status {["if-match"] = ETAG})
    assert.equal(200, status {["if-match"] = '"a", W/"b", ' .. ETAG})
    assert.equal(200, status {["if-match"] = "W/" .. ETAG .. ", " .. ETAG})
    assert.equal(412, status {["if-match"] = "W/" .. ETAG})
    assert.equal(200, status {["if-match"] = "*"})
    assert.equal(412, status {["if-match"] = ""})
    assert.equal(412, status {["if-match"] = "nonsense"})
  end)

  it("compares the date", function()
    assert.equal(200, status {["if-unmodified-since"] = DATE})
    assert.equal(200, status {["if-unmodified-since"] = date.write(MTIME + 1)})
    assert.equal(412, status {["if-unmodified-since"] = date.write(MTIME - 1)})
    assert.equal(200, status {["if-unmodified-since"] = "nonsense"})
  end)

  it("lets If-Match have the say over the date", function()
    assert.equal(200, status {["if-match"] = ETAG,
      ["if-unmodified-since"] = date.write(MTIME - 1)})
    assert.equal(412, status {["if-match"] = '"other"', ["if-unmodified-since"] = DATE})
  end)

  it("goes before the other conditions", function()
    assert.equal(412, status {["if-match"] = '"other"', ["if-none-match"] = ETAG})
    assert.equal(304, status {["if-match"] = ETAG, ["if-none-match"] = ETAG})
    assert.equal(412, status {["if-unmodified-since"] = date.write(MTIME - 1),
      ["if-modified-since"] = DATE})
    assert.equal(304, status {["if-unmodified-since"] = DATE, ["if-modified-since"] = DATE})
    assert.equal(206, status {["if-match"] = ETAG, range = "bytes=0-0"})
    assert.equal(412, status {["if-match"] = '"other"', range = "bytes=0-0"})
  end)
end)

describe("files.answer to Range", function()
  local function part(range, with)
    return answer({range = range}, with)
  end

  local function sends(range, first, last, size)
    local seen = part(range, {size = size or 1000})
    assert.equal(206, seen.status, range)
    assert.equal(first, seen.offset, range)
    assert.equal(last - first + 1, seen.length, range)
    assert.equal(("%d"):format(last - first + 1), seen.headers["Content-Length"])
    assert.equal(("bytes %d-%d/%d"):format(first, last, size or 1000),
      seen.headers["Content-Range"])
  end

  it("is a part of the file, with all its headers", function()
    local wanted = answer().headers
    wanted["Content-Length"], wanted["Content-Range"] = "100", "bytes 100-199/1000"
    assert.same({status = 206, offset = 100, length = 100, headers = wanted},
      part "bytes=100-199")
  end)

  it("takes closed, open and suffix ranges", function()
    sends("bytes=0-0", 0, 0)
    sends("bytes=0-999", 0, 999)
    sends("bytes=999-999", 999, 999)
    sends("bytes=0-", 0, 999)
    sends("bytes=999-", 999, 999)
    sends("bytes=-1", 999, 999)
    sends("bytes=-1000", 0, 999)
    sends("bytes=-1001", 0, 999)
    sends("bytes=990-5000", 990, 999)
    sends("bytes=0-99999999999999999999999999", 0, 999)
    sends("bytes=-99999999999999999999999999", 0, 999)
    sends("bytes=0-" .. ("9"):rep(400), 0, 999)
    sends("bytes=007-008", 7, 8)
    sends("bytes=4294967296-4294967297", 4294967296, 4294967297, 2 ^ 40)
    sends("bytes=-1", 2 ^ 52, 2 ^ 52, 2 ^ 52 + 1)
  end)

  it("takes the unit in any case, and empty elements of a list", function()
    sends("Bytes=1-2", 1, 2)
    sends("BYTES=1-2", 1, 2)
    sends("bytes=,1-2", 1, 2)
    sends("bytes= , ,\t1-2 , ", 1, 2)
  end)

  it("is 416 when nothing of it is there", function()
    for _, range in ipairs {"bytes=1000-", "bytes=1000-1000", "bytes=5000-6000", "bytes=-0",
        "bytes=99999999999999999999999-", "bytes=" .. ("9"):rep(400) .. "-"} do
      local refused = part(range)
      assert.equal(416, refused.status, range)
      assert.equal("bytes */1000", refused.headers["Content-Range"])
      assert.equal("0", refused.headers["Content-Length"])
      assert.is_nil(refused.headers["Content-Type"])
      assert.equal(0, refused.length)
    end
  end)

  it("of an empty file is 416, but for its end", function()
    for _, range in ipairs {"bytes=0-", "bytes=0-0", "bytes=1-", "bytes=-0"} do
      local refused = part(range, {size = 0})
      assert.equal(416, refused.status, range)
      assert.equal("bytes */0", refused.headers["Content-Range"])
    end
    local whole = part("bytes=-5", {size = 0})
    assert.equal(200, whole.status)
    assert.equal(0, whole.length)
  end)

  it("is the whole file for several ranges, other units and nonsense", function()
    for _, range in ipairs {"bytes=0-1,3-4", "bytes=0-1, -1", "bytes=0-0,5000-", "lines=0-1",
        "", "bytes", "bytes=", "bytes=-", "bytes=,", "bytes=1", "bytes=a-b", "bytes=1-b",
        "bytes=2-1", "bytes=--1", "bytes=-1-2", "bytes=1-2-3", "bytes=1.5-2", "bytes=0x1-2",
        "bytes=+1-2", "bytes=1 -2", "bytes=1- 2", "bytes =1-2", "bytes:1-2", "0-1",
        "bytes=1e1-20", "bytes=0-1;", "bytes=0-1 x", "bytes=0-1, bytes=0-1", "xbytes=0-1"} do
      local whole = part(range)
      assert.equal(200, whole.status, range)
      assert.equal(0, whole.offset)
      assert.equal(1000, whole.length)
      assert.is_nil(whole.headers["Content-Range"])
    end
  end)

  it("is ignored for HEAD", function()
    local head = answer({range = "bytes=0-1"}, {}, "HEAD")
    assert.equal(200, head.status)
    assert.equal("1000", head.headers["Content-Length"])
    assert.equal(200, status({range = "bytes=5000-"}, {}, "HEAD"))
  end)

  it("sends, of small files, the bytes that a list of them has", function()
    for size = 1, 6 do
      for first = 0, 8 do
        for last = first, 8 do
          local bytes = {}
          for i = first, math.min(last, size - 1) do bytes[#bytes + 1] = i end
          local seen = part(("bytes=%d-%d"):format(first, last), {size = size})
          assert.equal(#bytes > 0 and 206 or 416, seen.status)
          assert.equal(bytes[1] or 0, seen.offset)
          assert.equal(#bytes, seen.length)
        end
        local seen = part(("bytes=-%d"):format(first), {size = size})
        assert.equal(first > 0 and 206 or 416, seen.status)
        assert.equal(math.min(first, size), seen.length)
        assert.equal(first > 0 and size - seen.length or 0, seen.offset)
      end
    end
  end)
end)

describe("files.answer to If-Range", function()
  local function rest(value, with, range)
    return status({["if-range"] = value, range = range or "bytes=100-"}, with)
  end

  it("is the rest of the file that the client has", function()
    assert.equal(206, rest(ETAG))
    assert.equal(206, rest(DATE))
    assert.equal(206, rest "Tuesday, 14-Nov-23 22:13:20 GMT")
    assert.equal(206, rest "Tue Nov 14 22:13:20 2023")
  end)

  it("is the whole of another one", function()
    assert.equal(200, rest '"other"')
    assert.equal(200, rest(ETAG, {mtimeNs = 124}))
    assert.equal(200, rest("W/" .. ETAG))
    assert.equal(200, rest(ETAG .. ", " .. ETAG))
    assert.equal(200, rest "*")
    assert.equal(200, rest "")
    assert.equal(200, rest(date.write(MTIME - 1)))
    assert.equal(200, rest(date.write(MTIME + 1))) -- no date but the same
  end)

  it("sends the whole of another one also where the range isn't there", function()
    assert.equal(200, rest('"other"', {}, "bytes=5000-"))
    assert.equal(416, rest(ETAG, {}, "bytes=5000-"))
  end)

  it("says nothing without a range", function()
    assert.equal(200, status {["if-range"] = ETAG})
    assert.equal(200, status {["if-range"] = '"other"'})
  end)
end)
