-- A script in a folder of its own, served by the program, and reloaded: at USR1, and at USR2 to
-- what it was before.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local Folder = {}
Folder.__index = Folder

local HEAD = [[
local sync = require "sync"
sync.signal("USR1", function() sync.reload() end)
sync.signal("USR2", function() sync.reload {back = true} end)
]]

local folders = {}

--- Makes one.
-- @tparam string script the lines of main.lua, behind what every one begins with
-- @tparam[opt] table modules texts by name
function Folder.new(script, modules)
  local pipe = io.popen "mktemp -d"
  local self = setmetatable({path = pipe:read "*l", versions = 0, failures = 0}, Folder)
  pipe:close()
  folders[#folders + 1] = self
  self:script(script)
  for name, text in pairs(modules or {}) do self:write(name .. ".lua", text) end
  return self
end

--- Removes all. For after_each.
function Folder.cleanUp()
  Process.cleanUp()
  for _, folder in ipairs(folders) do os.execute("rm -r " .. folder.path) end
  folders = {}
end

function Folder:write(name, text)
  local file = assert(io.open(self.path .. "/" .. name, "w"))
  file:write(text)
  file:close()
end

--- Writes the script.
function Folder:script(text)
  self:write("main.lua", ("package.path = %q .. package.path\n"):format(self.path .. "/?.lua;") ..
    HEAD .. text)
end

--- Starts it; further arguments are options of the program.
-- @treturn Process
-- @treturn number the first port that it listens on
function Folder:serve(...)
  local arguments = {...}
  arguments[#arguments + 1] = self.path .. "/main.lua"
  self.process = Program.start(unpack(arguments))
  return self.process, tonumber(self.process:expect("stderr", "listens on %S-:(%d+)"))
end

-- Waits for what a reload has come to.
local function outcome(self)
  return Process.eventually("the reload", function()
    local log = self.process:stderr()
    local _, good = log:gsub("reloaded: version", "")
    local _, bad = log:gsub("the reload has failed", "")
    if good > self.versions or bad > self.failures then
      self.versions, self.failures = good, bad
      return log
    end
  end)
end

--- Has another script take the place of the one that runs.
-- @tparam[opt] string script
-- @treturn string|nil what has failed
function Folder:reload(script)
  if script then self:script(script) end
  local failures = self.failures
  self.process:kill "USR1"
  local log = outcome(self)
  return self.failures > failures and log:match ".*the reload has failed(.*)" or nil
end

--- Goes back to what it was before.
function Folder:back()
  local failures = self.failures
  self.process:kill "USR2"
  local log = outcome(self)
  return self.failures > failures and log:match ".*the reload has failed(.*)" or nil
end

return Folder
