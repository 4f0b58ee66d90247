--- What pages of other sites may do with answers (CORS): those that `origins` lets in, and what the
-- setting `cors` says besides.
-- @module sync.http.cors

local headers = require "sync.http.headers"

local MAX_AGE = 600 -- seconds that a browser keeps an answer to OPTIONS

local cors = {}

--- Lets a page that `origins` lets in read an answer.
-- @tparam table|boolean setting
-- @tparam string origin
-- @tparam table list the answer's headers
function cors.allow(setting, origin, list)
  list[#list + 1] = {"Access-Control-Allow-Origin", origin}
  headers.vary(list, "Origin")
  if not setting then return end
  if setting.credentials then list[#list + 1] = {"Access-Control-Allow-Credentials", "true"} end
  if setting.expose then
    list[#list + 1] = {"Access-Control-Expose-Headers", table.concat(setting.expose, ", ")}
  end
end

--- Adds what the page may send to the headers of an answer to OPTIONS, of which `Allow` are the
-- methods.
function cors.preflight(setting, given)
  given["Access-Control-Allow-Methods"] = given.Allow
  given["Access-Control-Allow-Headers"] = setting and setting.headers and
    table.concat(setting.headers, ", ") or "content-type"
  given["Access-Control-Max-Age"] = ("%.0f"):format(setting and setting.maxAge or MAX_AGE)
end

local function areNames(list)
  if type(list) ~= "table" or #list == 0 then return false end
  for _, name in ipairs(list) do
    if type(name) ~= "string" or not name:find "^[%w-]+$" then return false end
  end
  return true
end

local CHECKS = {
  credentials = function(value) return type(value) == "boolean" end,
  headers = areNames,
  expose = areNames,
  maxAge = function(value) return type(value) == "number" and value >= 0 and value <= 86400 end,
}

--- Whether a value may stand for `cors`, and what is wanted.
function cors.check(value)
  local wanted = "false, or a table with credentials (true or false), headers and expose (lists " ..
    "of names) and maxAge (seconds up to 86400)"
  if value == false then return true, wanted end
  if type(value) ~= "table" then return false, wanted end
  for name, item in pairs(value) do
    if not CHECKS[name] or not CHECKS[name](item) then return false, wanted end
  end
  return true, wanted
end

--- With credentials each site that may read answers reads what the visitor may: so the sites are
-- named.
-- @tparam table all settings
-- @treturn string|nil what is wrong
function cors.conflict(all)
  if not (all.cors and all.cors.credentials) then return nil end
  local any = all.origins == "*"
  for _, origin in ipairs(type(all.origins) == "table" and all.origins or {}) do
    any = any or origin == "*" or origin == "null" or origin == "file://"
  end
  return any and "cors.credentials needs origins that name each site: any page could read what " ..
    "the visitor may" or nil
end

return cors
