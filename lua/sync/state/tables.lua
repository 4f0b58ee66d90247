--- What a state and its replicas have in common: the tables of a schema, as the core knows them.
-- @module sync.state.tables

local core = require "sync.core"

local C = core.C

local tables = {}

local SEES = {all = C.SYNC_SEES_ALL, near = C.SYNC_SEES_NEAR, asked = C.SYNC_SEES_ASKED,
  shown = C.SYNC_SEES_SHOWN}
local KEYS = {integer = 1, string = 2}
local FAR = 1.1 -- of the distance, until which who is near stays

--- What the core returns, if it is no error.
-- @raise the error, of `what`
function tables.checked(code, what)
  if code < 0 then error(("sync: %s: %s"):format(what, (core.problem(code))), 0) end
  return code
end

local checked = tables.checked

local function declare(handle, shape)
  local near = shape.near
  local offset = shape.record.offset
  local index = checked(C.sync_state_table(handle, shape.name, #shape.name, core.table {
    keys = KEYS[shape.keys] or 0, sees = SEES[shape.sees], most = shape.most,
    most_bytes = shape.bytes, near = near and near.distance, far = near and near.distance * FAR,
    x_offset = near and offset(near.x), y_offset = near and offset(near.y),
  }), shape.name)
  for _, field in ipairs(shape.sent) do
    local kind = field.type
    checked(C.sync_state_field(handle, index, field.name, #field.name,
      kind.scope == "owner" and 1 or 0, kind.isNumber and offset(field.name) or 0,
      kind.code, #kind.code), field.path)
  end
end

--- Declares a schema's tables: the root is 0, and maps have the numbers of their places.
function tables.declare(handle, schema)
  declare(handle, schema.root)
  for _, shape in ipairs(schema.maps) do declare(handle, shape) end
end

local FORMS = {binary = C.SYNC_FORM_BINARY, json = C.SYNC_FORM_JSON, amf3 = C.SYNC_FORM_AMF3}

--- The core's number of a form of patches: "binary", "json" or "amf3". For the last, a state is
-- told what is around a patch.
function tables.form(handle, form)
  if form == "amf3" then
    local head, text = require "sync.flash.wire".around("sync.patch")
    checked(C.sync_state_envelope(handle, text, head, #text), "a state")
  end
  return FORMS[form]
end

return tables
