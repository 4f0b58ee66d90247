local web = {}
local R = {[200]="OK",[204]="No Content",[400]="Bad Request",[403]="Forbidden",[404]="Not Found",[405]="Method Not Allowed",[426]="Upgrade Required",[500]="Internal Server Error",[503]="Service Unavailable"}
function web.reason(s) return R[s] or "Status" end
function web.date(t) return os.date("!%a, %d %b %Y %H:%M:%S GMT", t) end
return web
