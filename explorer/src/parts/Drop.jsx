// A file from outside: dropped anywhere on the page, or chosen.

import { useEffect, useState } from "preact/hooks";

export function Drop({ session, view }) {
  const [over, setOver] = useState(false);
  const { model } = session;

  const receive = (file) => session.attempt(async () => session.receive(await view.read(file)));

  useEffect(() => {
    const holds = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    const drag = (event) => {
      if (!holds(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event) => event.relatedTarget === null && setOver(false);
    const drop = (event) => {
      if (!holds(event)) return;
      event.preventDefault();
      setOver(false);
      receive(event.dataTransfer.files[0]);
    };
    const heard = { dragenter: drag, dragover: drag, dragleave: leave, drop };
    for (const [name, hear] of Object.entries(heard)) window.addEventListener(name, hear);
    return () => {
      for (const [name, hear] of Object.entries(heard)) window.removeEventListener(name, hear);
    };
  }, []);

  const able = session.graphs.has("encoder") && view.accepts;
  return (
    <section class={`card drop ${over ? "over" : ""}`} aria-label="Your own file">
      <h2>Your own {model.row}</h2>
      {able ? (
        <>
          <p class="quiet">Drop {view.accepts} anywhere on this page. It stays on this machine. You see where it lies on the map, what the model makes of it, and what is odd about it.</p>
          <label class="file">
            <input type="file" accept={view.endings} onChange={(e) => { if (e.target.files[0]) receive(e.target.files[0]); e.target.value = ""; }} />
            <span class="button">Choose a file</span>
          </label>
        </>
      ) : <p class="quiet">This page cannot read files of this model. Choose a {model.row} on the map.</p>}
    </section>
  );
}
