// Puts what is reported while the page is open on top of what it has. Without it, the page shows what was reported before.
"use strict";

const ROWS_MAX = 200;
const RETRY_AFTER_MS = 30000;

const status = document.getElementById("live");
const region = document.getElementById("events");
const rows = region.querySelector("tbody");
const address = new URL(status.dataset.stream, location.href);
let source;
let retry;
let count = 0;

// What is said twice is not announced twice.
const say = (text) => {
  if (status.textContent !== text) status.textContent = text;
};

const sayLive = () => {
  if (count === 0) say("New events appear at the top.");
  else say(count === 1 ? "1 new event" : `${count} new events`);
};

const show = (event) => {
  // A later stream goes on where this one is.
  address.searchParams.set("after", event.lastEventId);
  // A document of its own runs nothing; the server has escaped every text in the row.
  const parsed = new DOMParser().parseFromString(`<table>${event.data}</table>`, "text/html");
  for (const row of parsed.querySelectorAll("tr")) {
    row.className = "new";
    rows.prepend(row);
  }
  while (rows.rows.length > ROWS_MAX) rows.deleteRow(-1);
  region.hidden = false;
  document.getElementById("empty")?.remove();
  count += 1;
  sayLive();
};

const follow = () => {
  source = new EventSource(address);
  source.addEventListener("open", sayLive);
  source.addEventListener("reported", show);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) explain();
    else say("The connection was lost. Trying again.");
  });
};

// The browser does not say why it was refused.
const explain = async () => {
  const asked = new AbortController();
  const answer = await fetch(address, { redirect: "manual", signal: asked.signal }).catch(() => null);
  asked.abort();
  if (answer?.type === "opaqueredirect") {
    say("You are signed out. Load this page again to sign in.");
    return;
  }
  const isFull = answer?.status === 429 || answer?.status === 503;
  say(isFull ? "Too many pages like this one are open. Close one; this one tries again every half minute."
    : "New events cannot be shown now. Trying again every half minute.");
  retry = setTimeout(follow, RETRY_AFTER_MS);
};

// A page that is left, and may come back as it was, holds no connection.
addEventListener("pagehide", () => {
  clearTimeout(retry);
  source.close();
});
addEventListener("pageshow", (event) => {
  if (event.persisted) follow();
});
follow();
