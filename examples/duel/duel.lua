local sync = require "sync"

local TURN = 15      -- seconds for a move
local OTHER = {X = "O", O = "X"}
local ROWS = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {1, 4, 7}, {2, 5, 8}, {3, 6, 9},
  {1, 5, 9}, {3, 5, 7}}

local Duel = sync.Room:extend("Duel")
Duel.maxMembers = 2
Duel.state = sync.state {         -- what both players see
  board = sync.listOf "string",
  turn = "string",                -- "X", "O", or "" while nobody may move
  winner = "string", why = "string",
  players = sync.map {mark = "string"},
}

function Duel:onCreate(options)
  self.state.board = {"", "", "", "", "", "", "", "", ""}
  if options and options.private then self:makePrivate() end
end

function Duel:onJoin(member)
  local players = self.state.players
  member.mark = players:count() == 0 and "X" or "O"
  players[member.id] = {owner = member, mark = member.mark}
  if players:count() == 2 then
    self:lock() -- nobody comes for who has left
    self:giveTurn("X")
  end
end

function Duel:onLeave(member)
  self.state.players[member.id] = nil
  if self.state.turn ~= "" then self:finish(OTHER[member.mark], "the other one has left") end
end

function Duel:finish(winner, why)
  self.clock:stop()
  self.state.turn, self.state.winner, self.state.why = "", winner, why
end

function Duel:giveTurn(mark)
  self.state.turn = mark
  self.clock = sync.after(TURN, function() self:finish(OTHER[mark], "the time is up") end)
end

local function hasWon(board, mark)
  for _, row in ipairs(ROWS) do
    local a, b, c = board[row[1]], board[row[2]], board[row[3]]
    if a == mark and b == mark and c == mark then return true end
  end
  return false
end

local function isFull(board)
  for _, mark in board:each() do
    if mark == "" then return false end
  end
  return true
end

local function put(room, member, cell)
  local board, mark = room.state.board, member.mark
  if room.state.turn ~= mark then error(sync.fault(1, "it is not your turn")) end
  if board[cell] ~= "" then error(sync.fault(2, "that cell is not free")) end
  room.clock:stop()
  board[cell] = mark
  if hasWon(board, mark) then
    room:finish(mark, "three in a row")
  elseif isFull(board) then
    room:finish("nobody", "the board is full")
  else
    room:giveTurn(OTHER[mark])
  end
end

Duel.remote.put = sync.method("cell: integer", {rate = 5, burst = 10}, put)

local Game = sync.Remote:extend("Game")
Game.rooms = {Duel}
Game.resumeTime = 10 -- seconds in which a player whose connection broke may come back

sync.enable("localhost", 8080, Game, {web = "duel"})
sync.enable("localhost", 8081, Game, {framing = "line"})
sync.start()
