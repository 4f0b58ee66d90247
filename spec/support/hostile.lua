-- Strings as somebody sends them who wants to break something: the same ones each time. So many as
-- HOSTILE says: `make hostile` takes 100,000, `make test` a slice of them.

local hostile = {COUNT = tonumber(os.getenv "HOSTILE") or 5000}

local PIECES = {
  "\r\n", "\n", "\r", "\0", "\r\n\r\n", "\r\nSet-Cookie: evil=1",
  "\r\nX-Evil: 1\r\n\r\nHTTP/1.1 200 OK", "%0d%0a", "%00", "%", "%zz", "%u000d", "+", "&", "=",
  ";", ",", ":", " ", "\t", "\"", "'", "\\", "' OR '1'='1", "'; DROP TABLE t; --", "/*", "--b",
  "\r\n--b--\r\n", "\r\n--b\r\n", "; filename=\"x", "../", "..\\", "/etc/passwd", "<script>",
  "</script>", "${jndi:x}", "{{7*7}}", "*3\r\n", "$9\r\n", "*1\r\n$8\r\nFLUSHALL\r\n", "+OK\r\n",
  "__index", "__proto__", "constructor", "null", "nil", "{\"a\":", "[[[[", "]]", "}", "\\u0000",
  "\\ud800", "eyJhbGciOiJub25lIn0", ".", "..", "-1", "1e999", "NaN", "0x", "\255\254", "\195\40",
  "\237\160\128", "\226\128\174", "\240\159\146\169", "\127", "\27[2J", "Domain=evil.example",
  "Path=/", "HttpOnly", "x", "ann", "%s%n%p", "$(id)", "`id`", "|id",
}

--- Calls a function with each of them, and its number.
function hostile.each(fn)
  local state = 20261130
  local function random(most) -- math.random is not the same everywhere
    state = (state * 1103515245 + 12345) % 2147483648
    return math.floor(state / 65536) % most + 1
  end
  local parts = {}
  for i = 1, hostile.COUNT do
    local length = random(8) - 1
    for j = 1, length do
      local piece = PIECES[random(#PIECES)]
      local how = random(20)
      if how == 1 then piece = string.char(random(256) - 1) end
      if how == 2 then piece = piece:rep(random(30)) end
      parts[j] = piece
    end
    fn(table.concat(parts, "", 1, length), i)
  end
end

return hostile
