--- The parent's part in a reload: one worker is asked first, and if that fails, none of the others.
-- These get the texts that it has loaded, so that all have the same, whatever happens to the files.
-- @module sync.cluster.reloads

local log = require "sync.log"
local loop = require "sync.loop"

local ANSWER_SECONDS = 30 -- that a worker may take

local reloads = {}

local isUnderWay = false
local version = 1          -- that workers have
local asked, lastAsked = {}, 0 -- {worker, done, timer}, by number

--- The number of the version that workers have.
function reloads.version() return version end

--- The version is that of the program before.
function reloads.goOn(number) version = number end

--- Whether a reload is under way.
function reloads.isUnderWay() return isUnderWay end

--- Tells a worker which that is, when it has begun later than others.
function reloads.tell(slot)
  local link = loop.clients[slot]
  if link and version > 1 then link:askReload {version = version} end
end

--- A worker has answered.
function reloads.answered(number, ok, problem, texts)
  local each = asked[number]
  if not each then return end
  asked[number] = nil
  loop.stopTimer(each.timer)
  each.done(ok, problem, texts)
end

--- A worker has ended.
function reloads.gone(worker)
  for number, each in pairs(asked) do
    if each.worker == worker then reloads.answered(number, nil, "it has ended") end
  end
end

local function ask(worker, back, texts, done)
  local link = worker.slot and loop.clients[worker.slot]
  if not link then return done(nil, "it is being started") end
  lastAsked = lastAsked + 1
  local number = lastAsked
  asked[number] = {worker = worker, done = done, timer = loop.startTimer(ANSWER_SECONDS, 0,
    function() reloads.answered(number, nil, ("it doesn't answer for %d s"):format(ANSWER_SECONDS))
    end)}
  link:askReload {number = number, back = back, version = version + 1, texts = texts or nil,
    wantsTexts = not texts}
end

-- All but the first at once: what that could do they can, too.
local function askOthers(others, back, texts, done)
  local left, problems = #others, {}
  if left == 0 then return done() end
  for _, worker in ipairs(others) do
    ask(worker, back, texts, function(ok, problem)
      left = left - 1
      if not ok then
        problems[#problems + 1] = ("worker %d: %s"):format(worker.number, problem)
      end
      if left == 0 then done(problems[1] and table.concat(problems, "; ")) end
    end)
  end
end

--- Has workers reload.
-- @tparam table list of workers
-- @tparam boolean back
-- @tparam function done called with true, or with nil and what is wrong
function reloads.begin(list, back, done)
  if isUnderWay then return done(nil, "a reload is under way") end
  isUnderWay = true
  local running = {}
  for _, worker in ipairs(list) do
    if worker.process then running[#running + 1] = worker end
  end
  local function finish(ok, problem)
    isUnderWay = false
    done(ok, problem)
  end
  local first = table.remove(running, 1)
  if not first then return finish(nil, "no worker runs") end
  ask(first, back, nil, function(ok, problem, texts)
    if not ok then
      return finish(nil, ("worker %d: %s; the others weren't asked"):format(first.number, problem))
    end
    askOthers(running, back, texts, function(problems)
      version = version + 1
      if not problems then return finish(true) end
      log.error("some workers keep the version before: " .. problems)
      finish(nil, "some workers keep the version before: " .. problems)
    end)
  end)
end

return reloads
