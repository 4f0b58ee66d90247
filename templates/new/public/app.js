// The page of the lobby: asks for a name, shows what is said, and sends what is typed.

import {client} from "/sync.js"; // the server has it

const MOST_LINES = 200;

const $ = id => document.getElementById(id);
const lobby = client("/"); // connects, and comes back when the connection is lost
let name;                  // undefined until the lobby has taken it

function show(line) {
  const item = document.createElement("li");
  item.textContent = line;
  $("talk").append(item);
  if ($("talk").children.length > MOST_LINES) $("talk").firstChild.remove();
  item.scrollIntoView({block: "nearest"});
}

function showForm() {
  $("text").placeholder = name ? "say something" : "your name";
  $("send").textContent = name ? "Say" : "Join";
}

async function join(wanted) {
  const names = await lobby.server.join(wanted);
  name = wanted;
  showForm();
  show(`You are ${name}. Here: ${names.join(", ")}`);
}

lobby.on("onJoin", who => show(`${who} is here`));
lobby.on("onLeave", who => show(`${who} has left`));
lobby.on("onSay", (who, text) => show(`${who}: ${text}`));

// The server knows nothing of us when a session begins, also after it was started again.
lobby.onSession(async () => {
  const before = name;
  name = undefined;
  showForm();
  if (before) await join(before).catch(error => show(error.message));
});

lobby.onState(state => {
  $("state").textContent = state === "open" ? "connected" : `${state} …`;
  $("send").disabled = state !== "open";
});

$("form").onsubmit = async event => {
  event.preventDefault();
  const text = $("text").value;
  $("text").value = "";
  try {
    await (name ? lobby.server.say(text) : join(text));
  } catch (error) {
    show(error.message); // what the server refuses says why
  }
};
