--- Content types by a file's extension.
-- @module sync.http.types

local types = {}

local byExtension = {
  html = "text/html", htm = "text/html", css = "text/css", js = "text/javascript",
  mjs = "text/javascript", cjs = "text/javascript", txt = "text/plain", log = "text/plain",
  md = "text/markdown", csv = "text/csv", vtt = "text/vtt", ics = "text/calendar",

  json = "application/json", map = "application/json", xml = "application/xml",
  webmanifest = "application/manifest+json", xhtml = "application/xhtml+xml",
  atom = "application/atom+xml", rss = "application/rss+xml", yaml = "application/yaml",
  yml = "application/yaml", wasm = "application/wasm", pdf = "application/pdf",
  rtf = "application/rtf", swf = "application/x-shockwave-flash",
  m3u8 = "application/vnd.apple.mpegurl",

  zip = "application/zip", gz = "application/gzip", tgz = "application/gzip",
  tar = "application/x-tar", bz2 = "application/x-bzip2", xz = "application/x-xz",
  zst = "application/zstd", ["7z"] = "application/x-7z-compressed",

  svg = "image/svg+xml", png = "image/png", apng = "image/apng", jpg = "image/jpeg",
  jpeg = "image/jpeg", gif = "image/gif", webp = "image/webp", avif = "image/avif",
  ico = "image/x-icon", bmp = "image/bmp", tif = "image/tiff", tiff = "image/tiff",
  jxl = "image/jxl", heic = "image/heic", ktx2 = "image/ktx2",

  woff = "font/woff", woff2 = "font/woff2", ttf = "font/ttf", otf = "font/otf",
  ttc = "font/collection",

  mp3 = "audio/mpeg", ogg = "audio/ogg", oga = "audio/ogg", opus = "audio/ogg",
  wav = "audio/wav", flac = "audio/flac", aac = "audio/aac", m4a = "audio/mp4",
  weba = "audio/webm", mid = "audio/midi", midi = "audio/midi",

  mp4 = "video/mp4", m4v = "video/mp4", webm = "video/webm", ogv = "video/ogg",
  mov = "video/quicktime", avi = "video/x-msvideo", mpg = "video/mpeg", mpeg = "video/mpeg",
  flv = "video/x-flv",

  glb = "model/gltf-binary", gltf = "model/gltf+json",
}

for extension, kind in pairs(byExtension) do
  if kind:find("^text/") then byExtension[extension] = kind .. "; charset=utf-8" end
end

--- The content type of a file, by its extension. Text is said to be UTF-8; JSON and XML
-- tell their encoding themselves.
-- @tparam string path
-- @treturn string "application/octet-stream" for an unknown one
function types.of(path)
  local extension = path:match("%.([^./]+)$")
  return extension and byExtension[extension:lower()] or "application/octet-stream"
end

return types
