// Sends what was connected to the page that opened or embeds this one. An embedded page that waits for another window looks
// whether it has finished there.
"use strict";

const { message, origins, status, next } = document.getElementById("message").dataset;

if (message) {
  const embedding = window.parent === window ? null : window.parent;
  for (const other of [window.opener, embedding].filter(Boolean)) {
    // The browser delivers it only to a page of that origin.
    for (const origin of origins.split(" ")) other.postMessage(JSON.parse(message), origin);
  }
}

if (status) {
  const look = async () => {
    // Without a connection it looks again.
    const answer = await fetch(status).catch(() => null);
    const found = answer?.ok ? (await answer.json()).status : null;
    if (found === "pending" || !answer || answer.status >= 500) setTimeout(look, 2000);
    else location.replace(next);
  };
  setTimeout(look, 2000);
}
