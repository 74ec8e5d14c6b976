// The page's head: what it is of, and what holds for all of it.

import { useState } from "preact/hooks";
import { usePart } from "../use-part.js";
import { forgetLook } from "../look.js";

const dark = () => window.matchMedia("(prefers-color-scheme: dark)").matches;

export function setTheme(session, theme) {
  document.documentElement.dataset.theme = theme;
  forgetLook();
  session.set({ theme });
}

export const systemTheme = () => (dark() ? "dark" : "light");

export function Head({ session }) {
  const theme = usePart(session, (s) => s.theme);
  const [copied, setCopied] = useState(false);
  const { model } = session;
  const at = usePart(session, (s) => s.at);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    } catch {
      session.say("The link could not be copied. It is what the address bar shows.", "note");
    }
  };
  return (
    <header class="head">
      <div>
        <h1>{model.name}</h1>
        <p class="quiet">{model.noun}, as {model.latent_dim} numbers each</p>
      </div>
      <span class="grow" />
      <span class="buttons">
        <button class="plain" onClick={() => session.go(at - 1)} disabled={at <= 0} aria-label="Undo: back to the pin before" id="undo">↶<b> Undo</b></button>
        <button class="plain" onClick={copy} id="copy-link">{copied ? "Copied" : "Copy link"}</button>
        <button class="plain icon" onClick={() => setTheme(session, theme === "dark" ? "light" : "dark")} aria-label={theme === "dark" ? "Light colours" : "Dark colours"} id="theme">{theme === "dark" ? "☀" : "☾"}</button>
      </span>
    </header>
  );
}
