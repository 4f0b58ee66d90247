-- Fuzzes the calls of remoting: mutated JSON-RPC texts against a class whose functions have
-- declared arguments, by the true data path.
--
--     ./sync-lua spec/fuzz/json.lua [N] [SEED]
--
-- Checked of each of N texts (100,000): no function is reached with arguments that its
-- declaration forbids, and nothing that is no function of `remote` is reached; a request is
-- answered once, with its id; all that is answered is JSON-RPC; nothing else goes wrong,
-- and the client stays. Ends with the count, or with 1 and the text that failed.

local cjson = require "cjson"
local core = require "sync.core"
local log = require "sync.log"
local sync = require "sync"
local testing = require "sync.testing"

local count, seed = tonumber(arg[1] or 100000), tonumber(arg[2] or 1)
if not count or count < 1 or not seed then
  io.stderr:write("usage: sync-lua spec/fuzz/json.lua [N] [SEED]\n")
  os.exit(2)
end

local MOST_BYTES = 60000
local null = sync.null
local random = math.random
math.randomseed(seed)

-- What must not happen, and has. The checks don't raise errors: those are caught.
local violation
local function violated(...) violation = violation or string.format(...) end
log.write = function(line) violated("%s", line) end -- what was read can be written, too

-- The class under test. What a type lets through is written here a second time.

local Target = sync.Remote:extend("Target")
Target.framing = "length32"
Target.maxBatch = 8
Target.maxCalls = 16
Target.maxDepth = 12
Target.callTimeout = 3600

local reached, owed = 0, {}

local function isWhole(value)
  return type(value) == "number" and math.floor(value) == value and value >= -2 ^ 53 and
    value <= 2 ^ 53
end

local function keysAre(value, kind)
  if type(value) ~= "table" then return false end
  local length = 0
  for key in pairs(value) do
    if type(key) ~= kind then return false end
    length = length + 1
  end
  return kind == "string" or length == #value
end

local ALLOWED = {
  number = function(value)
    return type(value) == "number" and value > -math.huge and value < math.huge
  end,
  integer = isWhole,
  string = function(value) return type(value) == "string" and core.isText(value) end,
  boolean = function(value) return value == true or value == false end,
  list = function(value) return keysAre(value, "number") end,
  table = function(value) return keysAre(value, "string") end,
  any = function(value) return value ~= nil and value ~= null end,
}

-- Declares a function of Target that checks what it is called with.
local function declare(name, ...)
  local declared = {...}
  local options = type(declared[#declared]) == "table" and table.remove(declared) or nil
  local given = {unpack(declared)}
  if options then given[#given + 1] = options end
  given[#given + 1] = function(self, ...)
    reached = reached + 1
    if getmetatable(self) ~= Target then violated("%s: self is no client", name) end
    if select("#", ...) > #declared then violated("%s: too many arguments", name) end
    for i, declaration in ipairs(declared) do
      local kind, optional = declaration:match(": (%a+)(%??)$")
      local value = select(i, ...)
      if not (value == nil and optional == "?") and not ALLOWED[kind](value) then
        violated("%s: argument %d is %s (%s)", name, i, tostring(value), type(value))
      end
    end
    return #declared
  end
  Target.remote[name] = sync.method(unpack(given))
end

declare("number", "a: number")
declare("integer", "a: integer")
declare("string", "a: string")
declare("boolean", "a: boolean")
declare("list", "a: list")
declare("table", "a: table")
declare("any", "a: any")
declare("none")
declare("move", "x: number", "y: number?", "note: string?")
declare("mixed", "flag: boolean?", "n: integer", "items: list?", "more: table?")
declare("rare", "a: any?", {rate = 0.01, burst = 5})

function Target.remote.free(_, ...)
  reached = reached + 1
  if select("#", ...) > 250 then violated("free: %d arguments", select("#", ...)) end
  for i = 1, select("#", ...) do
    if select(i, ...) == null then violated("free: argument %d is null", i) end
  end
  return true
end
function Target.remote.refuse(_, why) error(sync.fault(7, why, {why})) end
function Target.remote:later() owed[#owed + 1] = self:later() end
function Target.remote:give_up()
  self:later()
  error(sync.fault(8, "given up"))
end
function Target.remote:at_once(value) self:later()(value) end

-- None of these is a function of remote.
for _, name in ipairs {"secret", "close", "abort", "join", "leave", "fire"} do
  Target[name] = function() violated("%s was reached", name) end
end

-- Texts to begin with.

local SEEDS = {
  '{"jsonrpc":"2.0","id":1,"method":"move","params":[1,-2.5,"x"]}',
  '{"jsonrpc":"2.0","id":2,"method":"move","params":{"x":1,"y":2,"note":"n"}}',
  '{"jsonrpc":"2.0","method":"mixed","params":[true,7,[1,[2]],{"a":null}]}',
  '{"jsonrpc":"2.0","id":"s","method":"mixed","params":{"n":7,"items":[],"flag":false}}',
  '{"jsonrpc":"2.0","id":null,"method":"free","params":[null,1,{"a":[]}]}',
  '{"jsonrpc":"2.0","id":-3,"method":"free","params":{"a":1,"a":2}}',
  '{"jsonrpc":"2.0","id":9007199254740991,"method":"none"}',
  '{"jsonrpc":"2.0","id":4,"method":"rare"}',
  '{"jsonrpc":"2.0","id":5,"method":"later","params":[]}',
  '{"jsonrpc":"2.0","id":6,"method":"at_once","params":["\\u00e9\\ud83d\\ude00\\u0000"]}',
  '{"jsonrpc":"2.0","id":7,"method":"refuse","params":["é漢🎉"]}',
  '{"jsonrpc":"2.0","id":8,"method":"sync.ping"}',
  '{"jsonrpc":"2.0","id":8,"method":"sync.resume","params":["token",0]}',
  '{"jsonrpc":"2.0","id":9,"method":"secret"}',
  '{"jsonrpc":"2.0","id":1,"result":{"a":1}}',
  '{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"m","data":[1]}}',
  '[{"jsonrpc":"2.0","id":1,"method":"number","params":[1]},' ..
    '{"jsonrpc":"2.0","method":"string","params":["x"]},{"jsonrpc":"2.0","id":1,"result":1}]',
  '{"jsonrpc":"2.0","id":11,"method":"give_up"}',
  '{"jsonrpc":"2.0","id":12,"method":"free","params":[' .. ("0,"):rep(250) .. "0]}",
  "[]", "{}", "[1,2,3]", "null",
}
for name in pairs(ALLOWED) do
  SEEDS[#SEEDS + 1] = ('{"jsonrpc":"2.0","id":10,"method":"%s","params":[%s]}'):format(name,
    ({number = "1.5", integer = "3", string = '"x"', boolean = "true", list = "[1,2]",
      table = '{"k":1}', any = "0"})[name])
end

-- Values, names and pieces that a text may get.
local WORDS = {"0", "-0", "-1", "1.5", "1e400", "-1e400", "1e-400", "9007199254740992",
  "9007199254740993", "123456789012345678901234567890", "01", "1.", "1e5", "NaN", "Infinity",
  "-Infinity", "0x10", "true", "false", "null", '""', '"x"', '"\\u0000"', '"\\ud800"', '"é🎉"',
  "[]", "{}", "[null]", "[1,2]", '{"a":1}', '{"1":1}', '{"x":1,"y":2}', '"2.0"', '"1.0"',
  "[[[[]]]]", '"move"',
  '"mixed"', '"number"', '"integer"', '"string"', '"boolean"', '"list"', '"table"',
  '"any"', '"none"', '"rare"', '"free"', '"later"', '"at_once"', '"refuse"', '"send"', '"onData"',
  '"__index"', '"secret"', '"fire"', '"close"', '"new"', '"sync.ping"', '"sync.resume"', '"id":',
  '"method":', '"params":', '"jsonrpc":', '"result":', '"error":', ",", ":", "[", "]", "{", "}",
  '"', "\\", " ", "\n", "\0", "\255", "\237\160\128", "\239\187\191", "\127"}

local function pick(list) return list[random(#list)] end

local function place(text) return random(0, #text) end

local function replace(text, from, to, by) return text:sub(1, from) .. by .. text:sub(to + 1) end

-- Where a value stands: the first and last byte of a random one that is not nested.
local function findValue(text)
  local starts = random(0, #text)
  return text:find('[%[:,]%s*("?[^%[%]{},:"]+"?)%s*[,%]}]', starts)
end

local MUTATIONS = {
  function(text) -- another value
    local from, to, value = findValue(text)
    if not from then return text end
    local at = text:find(value, from, true)
    return replace(text, at - 1, math.min(at + #value - 1, to), pick(WORDS))
  end,
  function(text) return text:sub(1, place(text)) .. text end, -- its begin twice
  function(text) -- a piece more
    local at = place(text)
    return replace(text, at, at, pick(WORDS))
  end,
  function(text) -- a piece less
    local from = place(text)
    return replace(text, from, math.min(#text, from + random(12)), "")
  end,
  function(text) -- another byte
    local at = place(text)
    return replace(text, at, math.min(#text, at + 1), string.char(random(0, 255)))
  end,
  function(text) -- a piece twice
    local from = place(text)
    local piece = text:sub(from + 1, from + random(30))
    return replace(text, from, from, piece:rep(random(1, 3)))
  end,
  function(text) -- the end of another
    local other = pick(SEEDS)
    return text:sub(1, place(text)) .. other:sub(place(other) + 1)
  end,
  function(text) return "[" .. text .. "," .. pick(SEEDS) .. "]" end,
  function(text) -- many in a batch
    return "[" .. (text .. ","):rep(random(1, 10)):sub(1, -2) .. "]"
  end,
  function(text) -- deep, or many
    local at = place(text)
    local depth = pick {1, 5, 12, 13, 40, 300}
    return replace(text, at, at, pick {("["):rep(depth), ('{"a":'):rep(depth), ("0,"):rep(depth),
      ("["):rep(depth) .. ("]"):rep(depth)})
  end,
}

local function mutated()
  local text = pick(SEEDS)
  for _ = 1, pick {0, 1, 1, 1, 2, 2, 3, 4} do text = pick(MUTATIONS)(text) end
  return #text <= MOST_BYTES and text or text:sub(1, MOST_BYTES)
end

-- What comes back.

local MOST_ID = 128 -- bytes of a string that comes back as an id

local function isIdOf(id)
  return id == null or type(id) == "string" and #id <= MOST_ID or isWhole(id)
end

local function checkAnswer(answer)
  if type(answer) ~= "table" or answer.jsonrpc ~= "2.0" then return violated("no JSON-RPC") end
  if not isIdOf(answer.id) then return violated("an answer's id is %s", tostring(answer.id)) end
  if (answer.result == nil) == (answer.error == nil) then
    return violated("an answer has a result and an error, or neither")
  end
  for key in pairs(answer) do
    if not ({jsonrpc = 1, id = 1, result = 1, error = 1})[key] then violated("key %s", key) end
  end
  local err = answer.error
  if err ~= nil and not (type(err) == "table" and isWhole(err.code) and
    type(err.message) == "string") then
    violated("an error without code and message")
  end
end

local function isRequest(message)
  return type(message) == "table" and type(message.method) == "string"
end

-- Takes the server's frames apart. Returns the answers: single ones, and lists.
local function answers(bytes)
  local list, at = {}, 1
  while at <= #bytes do
    local a, b, c, d = bytes:byte(at, at + 3)
    local length = ((a * 256 + b) * 256 + c) * 256 + d
    local text = bytes:sub(at + 4, at + 3 + length)
    at = at + 4 + length
    local ok, message = pcall(cjson.decode, text)
    if not ok or not core.isText(text) then
      violated("answered %q", text)
    elseif text:sub(1, 1) == "[" then
      if #message == 0 then violated("answered an empty batch") end
      for _, answer in ipairs(message) do checkAnswer(answer) end
      list[#list + 1] = message
    elseif not isRequest(message) then -- a request is a call of ours
      checkAnswer(message)
      list[#list + 1] = message
    end
  end
  return list
end

local strict = cjson.new()
strict.decode_invalid_numbers(false)
strict.decode_max_depth(Target.maxDepth)

-- Whether a number in a text may be too large, in which case the text is no JSON: what is
-- too large exactly is spec/c/core/json_test.c's.
local function mayOverflow(text)
  return text:find("[eE]%+?%d%d%d") or text:find(("%d"):rep(250))
end

-- A request that is fine as such is answered once, with its id.
local function checkOne(text, list, waiting)
  local ok, message = pcall(strict.decode, text)
  if not ok or type(message) ~= "table" or text:find("^%s*%[") or text:find("\0", 1, true) or
    not core.isText(text) or mayOverflow(text) then
    return
  end
  local fine = message.jsonrpc == "2.0" and type(message.method) == "string" and
    (message.params == nil or type(message.params) == "table")
  if not fine then return end
  if message.id == nil then
    if #list > 0 then violated("a notification was answered") end
  elseif isIdOf(message.id) and not waiting then
    if #list ~= 1 then return violated("%d answers", #list) end
    if list[1].id ~= message.id then violated("another id") end
  end
end

-- The run.

local function framed(text)
  local length = #text
  return string.char(0, math.floor(length / 65536), math.floor(length / 256) % 256,
    length % 256) .. text
end

local function checkCall(result, err)
  if result ~= nil and err ~= nil then violated("a call has a result and an error") end
end

local client = testing.serve(Target):connect()

local function try(text)
  local before = #owed
  client:send(framed(text))
  checkOne(text, answers(client:received()), #owed > before)
  if not client:isOpen() then violated("the client was closed") end
  local counted = client.server._owed
  if (counted or 0) ~= #owed then violated("%s answers are owed", counted) end
end

-- Now and then, what comes from the server's side.
local function stir()
  if #owed > 0 and random(2) == 1 then
    local answer = table.remove(owed, random(#owed))
    answer(pick {1, "x", null, {1, 2}}, random(3) == 1 and sync.fault(1, "later") or nil)
    answer("twice")
  end
  if random(4) == 1 then client.server:call("ask", random(), checkCall) end
  testing.settle()
  answers(client:received())
end

local begin = sync.now()
for i = 1, count do
  local text = mutated()
  try(text)
  if i % 16 == 0 then stir() end
  if violation then
    io.stderr:write(("FAILED after %d texts (seed %d): %s\nthe text: %q\n")
      :format(i, seed, violation, text))
    os.exit(1)
  end
end
if reached < count / 100 then
  io.stderr:write(("FAILED: only %d of %d texts reached a function\n"):format(reached, count))
  os.exit(1)
end
print(("%d texts, %d calls reached a function, %.1f s"):format(count, reached, sync.now() - begin))
os.exit(0)
