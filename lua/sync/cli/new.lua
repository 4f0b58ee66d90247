--- `sync-lua new NAME`: makes a project, a folder with all that a first server needs.
--
-- The project's files are copies of templates/new, which is part of the program. {{name}} in them
-- becomes the project's name, so a name may hold nothing that means something in Lua, HTML or a
-- shell.
-- @module sync.cli.new

local new = {}

local HELP = [[
usage: sync-lua new NAME

Makes a project in a new folder NAME: a protocol whose functions a page calls, the page,
specs, a unit for systemd, a Dockerfile, and a README. NAME is of letters, digits, - and _, and
begins with a letter. The folder may be there already if it is empty.

A script that is called new is run by: sync-lua ./new
]]

local LONGEST_NAME = 64
local NO_SUCH_FILE = 2 -- ENOENT

local function fail(code, message)
  io.stderr:write("sync-lua new: ", message, "\n")
  return code
end

-- What a shell command prints, its errors too.
local function shell(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read("*a")
  pipe:close()
  return output
end

local function problemOf(name)
  if #name > LONGEST_NAME then
    return ("a name has at most %d letters"):format(LONGEST_NAME)
  elseif not name:find("^%a[%w_-]*$") then
    return ('"%s" can\'t be a name: it is of letters, digits, - and _, and begins with a letter')
      :format((name:gsub("%c", "?")))
  end
end

-- Whether a project can be made here; or nil and why not.
local function isFree(name)
  local file, _, code = io.open(name)
  if not file then return code == NO_SUCH_FILE or nil, name .. " is there, and can't be read" end
  file:close()
  local inside = io.open(name .. "/.") -- opens only a folder
  if not inside then return nil, name .. " is there, and is no folder" end
  inside:close()
  if shell(("ls -A %s/."):format(name)) ~= "" then
    return nil, name .. " is there, and is not empty"
  end
  return true
end

local function write(path, text)
  local file, message = io.open(path, "w")
  if not file then return nil, message end
  local ok
  ok, message = file:write(text)
  local closed, problem = file:close() -- a full disk may show only now
  if ok and closed then return true end
  return nil, ("%s: %s"):format(path, message or problem)
end

-- Makes the folders and files. Returns true, or nil and why not.
local function make(name)
  local files, folders = require "sync.cli.newfiles", {name}
  for _, entry in ipairs(files) do
    local folder = entry.path:match("^(.*)/")
    if folder then folders[#folders + 1] = name .. "/" .. folder end
  end
  local problem = shell("mkdir -p " .. table.concat(folders, " "))
  if problem ~= "" then return nil, (problem:gsub("\n.*", "")) end
  for _, entry in ipairs(files) do
    local ok, message = write(name .. "/" .. entry.path, (entry.text:gsub("{{name}}", name)))
    if not ok then return nil, message end
  end
  return true
end

--- Does what `sync-lua new` is told.
-- @tparam table arguments those behind `new`
-- @treturn number the exit code: 0, 1 when it can't be made, 2 for wrong arguments
function new.main(arguments)
  local name = arguments[1]
  if name == "--help" or name == "-h" then
    io.write(HELP)
    return 0
  elseif #arguments ~= 1 then
    return fail(2, "it takes one name; see sync-lua new --help")
  end
  local problem = problemOf(name)
  if problem then return fail(2, problem) end
  local ok, message = isFree(name)
  if ok then ok, message = make(name) end
  if not ok then return fail(1, message) end
  print(("made %s; now:\n\n    cd %s\n    sync-lua main.lua\n\nand open http://localhost:8080. " ..
    "README.md says what is where."):format(name, name))
  return 0
end

return new
