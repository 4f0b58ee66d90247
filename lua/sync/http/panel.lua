--- The panel: what a server does, live, for its operators.
--
--     sync.enable("*", 8080, Game, {panel = "a long secret"})
--
-- It serves `/panel` (a page), `/panel.json` and `/metrics` (Prometheus' text format) on that
-- listener. Each wants the token, which is what the script has chosen, as `?token=…` or as
-- `Authorization: Bearer …`. With a panel the handlers are sampled 200 times a second; without one
-- nothing of it costs anything.
-- @module sync.http.panel

local cjson = require "cjson"
local compiler = require "sync.jit"
local bans = require "sync.bans"
local core = require "sync.core"
local drain = require "sync.drain"
local loop = require "sync.loop"

local C, handle = core.C, core.handle

local panel = {}

local SLOWEST = 10
local started = C.sync_now()
local BUCKETS = tonumber(C.SYNC_BUCKETS)

local ends = {} -- of the buckets, in seconds
for i = 0, BUCKETS - 1 do ends[i + 1] = C.sync_bucket_end(i) / 1e6 end

-- Whether two strings are the same, in a time that doesn't tell where they differ.
local function same(a, b)
  if #a ~= #b then return false end
  local difference = 0
  for i = 1, #a do difference = bit.bor(difference, bit.bxor(a:byte(i), b:byte(i))) end
  return difference == 0
end

local function hasToken(listener, request)
  local given = request.params.token
  local bearer = (request.headers.authorization or ""):match("^[Bb]earer%s+(%S+)$")
  local token = listener.settings.panel
  return given ~= nil and same(given, token) or bearer ~= nil and same(bearer, token)
end

-- Counts of a struct sync_times, without the empty end.
local function counts(times)
  local list, last = {}, 0
  for i = 0, BUCKETS - 1 do
    list[i + 1] = times.bucket[i]
    if list[i + 1] > 0 then last = i + 1 end
  end
  for i = BUCKETS, last + 1, -1 do list[i] = nil end
  return list
end

local sources = {} -- by the field of the state that they fill

--- Adds what the panel knows nothing of to its state.
-- @tparam string field of `panel.state()`
-- @tparam function read returns the field's value
function panel.addSource(field, read)
  sources[field] = read
end

local function memory()
  local file = io.open("/proc/self/statm")
  local pages = file and tonumber((file:read("*l") or ""):match("^%d+ (%d+)"))
  if file then file:close() end
  return pages and pages * 4096 or nil
end

-- Goes over the clients once: how many of each class by transport, what is unsent, and those
-- with most of it.
local function survey()
  local classes, slowest, queued = {}, {}, 0
  for slot, client in pairs(loop.clients) do
    local class = getmetatable(client).className
    local counted = classes[class] or {}
    classes[class] = counted
    counted[client.transport] = (counted[client.transport] or 0) + 1
    local unsent = C.sync_queued(handle, slot)
    queued = queued + unsent
    if unsent > 0 and (#slowest < SLOWEST or unsent > slowest[#slowest].queued) then
      slowest[SLOWEST] = nil
      slowest[#slowest + 1] = {id = client.id, class = class, address = client.address,
        transport = client.transport, queued = unsent}
      table.sort(slowest, function(a, b) return a.queued > b.queued end)
    end
  end
  return classes, slowest, queued
end

local function handlers()
  local list = {}
  for i, entry in ipairs(compiler.report()) do
    list[i] = {name = entry.name, state = entry.state, native = entry.native,
      seconds = entry.seconds, where = entry.where}
  end
  return list
end

--- What the panel shows, as a table. Totals are since the start; a reader makes rates of them.
function panel.state()
  local classes, slowest, queued = survey()
  local tickTimes, timersLate = counts(handle.tick_times), counts(handle.timers_late)
  local all = handlers()
  local state = { -- an empty list would be JSON's {}, so it's left out
    time = os.time(), now = C.sync_now(), uptime = C.sync_now() - started,
    clients = loop.count, connections = handle.client_count, classes = classes,
    accepted = handle.clients_accepted, refused = handle.clients_refused,
    messagesIn = handle.messages_in, messagesOut = handle.messages_out,
    messagesDropped = handle.messages_dropped,
    bytesIn = handle.bytes_in, bytesOut = handle.bytes_out,
    queued = queued, slowest = slowest[1] and slowest or nil,
    ticks = handle.ticks, busy = handle.busy, cpu = os.clock(),
    ioThreads = core.ioThreads(),
    longestTick = handle.longest_tick, longestHandler = core.longestHandler(),
    bucketEnds = ends, tickTimes = tickTimes[1] and tickTimes or nil,
    timersLate = timersLate[1] and timersLate or nil,
    handlers = all[1] and all or nil, jit = compiler.isOn(),
    luaMemory = collectgarbage("count") * 1024, memory = memory(),
  }
  for field, read in pairs(sources) do state[field] = read() end
  return state
end

-- Prometheus.

local function escape(text)
  return (tostring(text):gsub("[\\\"\n]", {["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n"}))
end

local function metric(lines, name, kind, help, value)
  lines[#lines + 1] = ("# HELP sync_%s %s\n# TYPE sync_%s %s"):format(name, help, name, kind)
  if value then lines[#lines + 1] = ("sync_%s %.17g"):format(name, value) end
end

-- Prometheus' buckets are cumulative; those of powers of two will do.
local function histogram(lines, name, help, list)
  metric(lines, name, "histogram", help)
  local total, sum = 0, 0
  for i = 1, BUCKETS do
    local count = list[i] or 0
    total = total + count
    sum = sum + count * ends[i]
    if i % 4 == 0 and i >= 24 and i <= 88 then
      lines[#lines + 1] = ('sync_%s_bucket{le="%.6f"} %d'):format(name, ends[i], total)
    end
  end
  lines[#lines + 1] = ('sync_%s_bucket{le="+Inf"} %d'):format(name, total)
  lines[#lines + 1] = ("sync_%s_sum %.6f\nsync_%s_count %d"):format(name, sum, name, total)
end

--- The state in Prometheus' text format.
function panel.metrics()
  local state, lines = panel.state(), {}
  metric(lines, "clients", "gauge", "Clients that are connected.")
  for class, transports in pairs(state.classes) do
    for transport, count in pairs(transports) do
      lines[#lines + 1] = ('sync_clients{class="%s",transport="%s"} %d')
        :format(escape(class), escape(transport), count)
    end
  end
  metric(lines, "connections", "gauge", "Connections, those that are no clients included.",
    state.connections)
  metric(lines, "accepted_total", "counter", "Connections that were accepted.", state.accepted)
  metric(lines, "refused_total", "counter", "Connections that maxPerAddress has refused.",
    state.refused)
  metric(lines, "draining", "gauge", "Whether clients are sent elsewhere, for it is to end.",
    drain.isOn() and 1 or 0)
  metric(lines, "banned_total", "counter", "Connections of who is banned, which were refused.",
    handle.clients_banned)
  metric(lines, "bans", "gauge", "Addresses and networks that are banned.", #bans.list())
  metric(lines, "messages_received_total", "counter", "Messages of clients.", state.messagesIn)
  metric(lines, "messages_sent_total", "counter", "Messages to clients.", state.messagesOut)
  metric(lines, "messages_dropped_total", "counter", "Messages that maxQueue has dropped.",
    state.messagesDropped)
  metric(lines, "bytes_received_total", "counter", "Bytes of clients.", state.bytesIn)
  metric(lines, "bytes_sent_total", "counter", "Bytes to clients.", state.bytesOut)
  metric(lines, "queued_bytes", "gauge", "Bytes that clients have not taken yet.", state.queued)
  metric(lines, "ticks_total", "counter", "Turns of the loop.", state.ticks)
  metric(lines, "busy_seconds_total", "counter", "Seconds that handlers took.", state.busy)
  metric(lines, "cpu_seconds_total", "counter", "Processor time of the process.", state.cpu)
  metric(lines, "io_threads", "gauge", "Threads that send and receive beside Lua's.",
    state.ioThreads)
  metric(lines, "lua_memory_bytes", "gauge", "Memory of Lua's values.", state.luaMemory)
  if state.memory then
    metric(lines, "resident_memory_bytes", "gauge", "Memory of the process.", state.memory)
  end
  histogram(lines, "tick_seconds", "How long handlers took in a tick; the sum is rounded up.",
    state.tickTimes or {})
  metric(lines, "longest_tick_seconds", "gauge", "The longest since the start.")
  lines[#lines + 1] = ('sync_longest_tick_seconds{handler="%s"} %.6f'):format(
    escape(state.longestHandler), state.longestTick)
  histogram(lines, "timer_lateness_seconds", "How late timers were; the sum is rounded up.",
    state.timersLate or {})
  local node = state.cluster
  if node then
    metric(lines, "node", "gauge", "This node's number in its cluster.", node.node)
    metric(lines, "nodes_alive", "gauge", "Other nodes that this one hears.", node.others)
    metric(lines, "engine_up", "gauge", "Whether it has its engine.", node.isUp and 1 or 0)
    metric(lines, "engine_unsent_bytes", "gauge", "Bytes that wait for it.", node.unsent)
    metric(lines, "cluster_messages_lost_total", "counter",
      "Messages of other nodes that did not arrive here.", node.lost)
    metric(lines, "cluster_messages_dropped_total", "counter",
      "Messages to other nodes that could not be sent.", node.dropped)
  end
  metric(lines, "handler_seconds_total", "counter", "Processor time of handlers, sampled.")
  for _, entry in ipairs(state.handlers or {}) do
    lines[#lines + 1] = ('sync_handler_seconds_total{handler="%s",where="%s"} %.3f')
      :format(escape(entry.name), escape(entry.where), entry.seconds)
  end
  return table.concat(lines, "\n") .. "\n"
end

local function page()
  return "text/html; charset=utf-8", require "sync.http.panelpage"
end

local PATHS = {
  ["/panel"] = page,
  ["/panel.json"] = function() return "application/json", cjson.encode(panel.state()) end,
  ["/metrics"] = function() return "text/plain; version=0.0.4; charset=utf-8", panel.metrics() end,
}

-- By method and path: functions of the request, which return a status, a type and a body.
local added = {}

--- Adds a page of another part of the server, for those who have the token.
-- @tparam string method "GET" or "POST"
-- @tparam string path
-- @tparam function answer
function panel.addPath(method, path, answer)
  added[method .. " " .. path] = answer
end

--- Answers a request, if it's one for the panel.
-- @tparam sync.Listener listener with a token as its setting `panel`
-- @tparam table request
-- @treturn number|nil a status, headers and a body
function panel.answer(listener, request)
  local method = request.method == "HEAD" and "GET" or request.method
  local other = added[method .. " " .. request.path]
  local write = method == "GET" and PATHS[request.path]
  if not write and not other then return nil end
  local headers = {["Cache-Control"] = "no-store", ["Referrer-Policy"] = "no-referrer"}
  if not hasToken(listener, request) then
    headers["WWW-Authenticate"] = "Bearer"
    if request.path == "/panel" then -- for people: a field
      headers["Content-Type"] = "text/html; charset=utf-8"
      return 401, headers, require "sync.http.tokenpage"
    end
    headers["Content-Type"] = "text/plain; charset=utf-8"
    return 401, headers, "The panel wants its token: " .. request.path .. "?token=…\n"
  end
  local body
  if other then
    local status
    status, headers["Content-Type"], body = other(request)
    return status, headers, body
  end
  headers["Content-Type"], body = write()
  return 200, headers, body
end

return panel
