--- The links of the Markdown pages: a file or a heading that they name is there.
--
--     luajit .ci/links.lua        checks this tree; part of `make lint`
--
-- Pages that sources name, as docs/scaling.md, have to be there, too. What other sites have
-- isn't asked.

local links = {}

-- The anchor that a heading gets: lower case, without marks, blanks as hyphens. Further ones
-- of the same text are counted.
local function anchorsOf(page)
  local anchors = {}
  for heading in ("\n" .. page):gmatch("\n#+ +([^\n]+)") do
    local anchor = heading:lower():gsub("%[(.-)%]%(.-%)", "%1")
      :gsub("[^%w%s_\128-\255-]", ""):gsub(" ", "-")
    local unique, count = anchor, 0
    while anchors[unique] do
      count = count + 1
      unique = anchor .. "-" .. count
    end
    anchors[unique] = true
  end
  return anchors
end

local function blank(code)
  return (code:gsub("[^\n]", " "))
end

-- A page without its blocks of code. Lines stay where they are.
local function withoutBlocks(page)
  return (("\n" .. page):gsub("\n```.-\n```", blank):gsub("\n    [^\n]*", blank):sub(2))
end

-- Calls fn(target, line) for each link and picture of a page.
local function eachLink(page, fn)
  local line = 0
  for text in (withoutBlocks(page):gsub("`[^`\n]*`", blank) .. "\n"):gmatch("(.-)\n") do
    line = line + 1
    for target in text:gmatch("%]%(([^%s)]+)") do fn(target, line) end
    for target in text:gmatch("%f[%w]src=\"([^\"]+)\"") do fn(target, line) end
    for target in text:gmatch("%f[%w]href=\"([^\"]+)\"") do fn(target, line) end
  end
end

-- "docs/../README.md" is "README.md".
local function plain(path)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      table.remove(parts)
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return table.concat(parts, "/")
end

-- What is wrong with a page's link; nil when nothing is.
local function objection(path, target, pages, exists)
  if target:find("^%a[%w+.-]*:") then return end
  local file, anchor = target:match("^([^#]*)#?(.*)$")
  file = file == "" and path or plain((path:match("^(.*/)") or "") .. file)
  if not exists(file) then return ("links to %s, which isn't there"):format(file) end
  if anchor ~= "" and not (pages[file] and anchorsOf(withoutBlocks(pages[file]))[anchor]) then
    return ("links to #%s, a heading that %s doesn't have"):format(anchor, file)
  end
end

--- What is wrong with pages and sources.
-- @tparam table pages texts of Markdown by their paths
-- @tparam table sources texts of other files by their paths
-- @tparam function exists whether a file or folder of this path is there
-- @treturn table a list of lines, empty when nothing is
function links.problems(pages, sources, exists)
  local problems = {}
  local function complain(...) problems[#problems + 1] = ("%s:%d: %s"):format(...) end
  for path, page in pairs(pages) do
    eachLink(page, function(target, line)
      local problem = objection(path, target, pages, exists)
      if problem then complain(path, line, problem) end
    end)
  end
  for path, source in pairs(sources) do
    local line = 0
    for text in (source .. "\n"):gmatch("(.-)\n") do
      line = line + 1
      for name in text:gmatch("%f[%w]docs/[%w_-]+%.md") do
        if not exists(name) then complain(path, line, "names " .. name .. ", which isn't there") end
      end
    end
  end
  table.sort(problems)
  return problems
end

-- The texts of the files that find prints, by their paths.
local function read(what)
  local texts = {}
  local list = assert(io.popen("find " .. what))
  for path in list:lines() do
    local file = assert(io.open(path))
    texts[plain(path)] = file:read("*a")
    file:close()
  end
  list:close()
  return texts
end

--- The pages of this tree, its sources, and what tells whether a file is there.
function links.read()
  local function exists(path)
    local file = io.open(path)
    if file then file:close() end
    return file ~= nil
  end
  return read ". \\( -name build -o -name node_modules \\) -prune -o -name '*.md' -print",
    read "lua src protocols examples bench templates Makefile -type f", exists
end

if arg and arg[0] == ".ci/links.lua" then
  local problems = links.problems(links.read())
  for _, problem in ipairs(problems) do io.stderr:write(problem, "\n") end
  os.exit(#problems == 0 and 0 or 1)
end

return links
