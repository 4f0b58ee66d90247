-- A MariaDB server of the spec's own: on a free port of this machine, in a folder of its own,
-- nothing kept. It ends with the spec, see spec/support/process.lua.

local Process = require "spec.support.process"

local MariaDB = {}
MariaDB.__index = MariaDB

function MariaDB:launch()
  self.process = Process.start {"/usr/sbin/mariadbd", "--no-defaults", "--datadir=" .. self.folder,
    "--port=" .. self.port, "--bind-address=127.0.0.1", "--socket=" .. self.folder .. "/socket",
    "--user=" .. (Process.isRoot() and "root" or os.getenv "USER"), "--skip-grant-tables",
    "--skip-networking=0", "--innodb-flush-log-at-trx-commit=0", "--character-set-server=utf8mb4",
    "--innodb-buffer-pool-size=16M", "--performance-schema=off"}
  self.process:expect("stderr", "(ready for connections)")
end

--- Starts one and waits until it answers.
function MariaDB.start()
  local self = setmetatable({folder = os.tmpname(), port = Process.freePort()}, MariaDB)
  os.remove(self.folder)
  os.execute("mkdir -m 700 " .. self.folder)
  local made = Process.start {"mariadb-install-db", "--no-defaults", "--datadir=" .. self.folder,
    "--skip-test-db", "--auth-root-authentication-method=normal",
    "--user=" .. (Process.isRoot() and "root" or os.getenv "USER")}
  assert(made:wait() == 0, made:stdout() .. made:stderr())
  self:launch()
  self.url = ("mysql://root@127.0.0.1:%d/mysql"):format(self.port)
  return self
end

--- Ends it at once, as a power failure would.
function MariaDB:kill()
  self.process:kill("KILL")
  self.process:wait()
end

function MariaDB:stop()
  self:kill()
  os.execute("rm -rf " .. self.folder)
end

return MariaDB
