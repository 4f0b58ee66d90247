// The page of the example: the token is kept for this tab alone, and shown by sync.js.
import {client} from "/sync.js";

const $ = id => document.getElementById(id);
const SECONDS = 5;
let game, name, points = 0, left = 0;

function say(text, isBad = false) {
  $("say").textContent = text;
  $("say").classList.toggle("bad", isBad);
}

function show(scores) {
  $("none").hidden = scores.length > 0;
  $("scores").replaceChildren(...scores.map(({name: player, points: count}) => {
    const row = document.createElement("li"), who = document.createElement("span");
    const number = document.createElement("b");
    who.textContent = player;
    number.textContent = count;
    row.classList.toggle("mine", player === name);
    row.append(who, number);
    return row;
  }));
}

async function post(path, body) {
  const response = await fetch(path, {method: "POST",
    headers: {"content-type": "application/json"}, body: JSON.stringify(body)});
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.problem ?? `the server says ${response.status}`);
  return answer;
}

function leave(why = "") {
  game?.close();
  game = name = undefined;
  sessionStorage.removeItem("token");
  $("door").hidden = false;
  $("game").hidden = $("who").hidden = true;
  say(why, why !== "");
}

// Another token before the one that is kept ends, so that who plays long isn't sent away.
async function renew(one) {
  const token = await one.server.token();
  sessionStorage.setItem("token", token);
  await one.authenticate(token);
}

function enter() {
  const one = client(undefined, {token: () => sessionStorage.getItem("token")});
  game = one;
  one.on("onScores", show);
  one.onSession(async () => {
    name = await one.server.whoAmI();
    $("name").textContent = name;
    $("door").hidden = true;
    $("game").hidden = $("who").hidden = false;
    show(await one.server.top());
    say("");
  });
  const timer = setInterval(() => renew(one).catch(() => {}), 30 * 60 * 1000);
  one.onState((state, {code}) => {
    if (one !== game) return;
    if (state === "waiting") say("The connection was lost. Trying again…");
    if (state === "open") say("");
    if (state === "closed") leave(code === 4401 || code === 4403 ? "Please log in again." : "");
    if (state === "closed") clearInterval(timer);
  });
}

$("door").addEventListener("submit", async event => {
  event.preventDefault();
  const buttons = [...$("door").querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  say("One moment…");
  try {
    const path = `/${event.submitter?.value ?? "login"}`;
    const {token} = await post(path, {name: $("user").value, password: $("password").value});
    sessionStorage.setItem("token", token);
    $("password").value = "";
    enter();
  } catch (error) {
    say(error.message, true);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
});

$("leave").addEventListener("click", () => leave());

async function finish() {
  $("tap").disabled = true;
  try {
    const {best, better} = await game.server.score(points);
    say(best ? "Nobody has had more!" : better ? "Your best so far." : "You have had more before.");
  } catch (error) {
    say(error.message, true);
  }
  $("hint").textContent = "Tap to try again";
  setTimeout(() => { $("tap").disabled = false; }, 1000);
  left = 0;
}

$("tap").addEventListener("click", () => {
  if (left === 0) {
    points = 0;
    left = SECONDS;
    say("");
    const count = setInterval(() => {
      left--;
      if (left > 0) $("hint").textContent = `${left} s left`;
      else { clearInterval(count); finish(); }
    }, 1000);
    $("hint").textContent = `${left} s left`;
  }
  $("points").textContent = ++points;
});

if (sessionStorage.getItem("token")) {
  enter();
} else {
  leave();
  fetch("/scores").then(response => response.json()).then(({scores}) => show(scores)).catch(() => {});
}
