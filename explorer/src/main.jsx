// The page begins here: read the model, choose what runs it, restore what the link says, and show it.

import { render } from "preact";
import { load } from "./load.js";
import { makeEngine } from "./engines/engine.js";
import { Session } from "./session.js";
import { viewOf } from "./views/index.js";
import { linkOf, readLink } from "./link.js";
import { App } from "./parts/App.jsx";
import { setTheme, systemTheme } from "./parts/Head.jsx";

const FORMAT = 1;

async function begin() {
  const place = document.getElementById("app");
  try {
    const { model, tensors } = await load();
    if (model.format > FORMAT) throw new Error("This page is older than the model that it was given. Export it anew.");
    const session = new Session(model, tensors, makeEngine(model, tensors));
    const view = viewOf(session);
    setTheme(session, document.documentElement.dataset.theme || systemTheme());
    restore(session);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(session, systemTheme()));
    place.textContent = "";
    render(<App session={session} view={view} />, place);
    keepLink(session);
    window.addEventListener("hashchange", () => location.hash !== session.hash && restore(session));
    document.addEventListener("keydown", (event) => undo(event, session));
    window.explorer = session; // for those who look inside, and for tests
  } catch (e) {
    const said = document.createElement("p");
    said.className = "message error";
    said.setAttribute("role", "alert");
    said.textContent = `This page cannot be shown. ${e.message}`;
    place.replaceChildren(said);
  }
}

function restore(session) {
  const { change, z, row } = readLink(session, location.hash);
  session.set(change);
  if (z && row !== null && same(z, session.codes[row])) session.pin(z, { row });
  else if (z) session.pin(z);
  else if (session.codes.length) session.pinRow(0);
}

const same = (a, b) => a.every((value, i) => value === b[i]);

// The address follows what is pinned, so that it can be copied at any time; the way back of the browser stays free.
function keepLink(session) {
  let timer;
  const keep = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const hash = linkOf(session);
      if (hash === session.hash) return;
      session.hash = hash;
      try {
        history.replaceState(null, "", hash);
      } catch {
        // Some browsers allow only so many changes a minute: the next one is written again.
        session.hash = null;
      }
    }, 150);
  };
  session.listen(keep);
  keep();
}

function undo(event, session) {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || /^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  event.preventDefault();
  session.go(session.state.at + (event.shiftKey ? 1 : -1));
}

begin();
