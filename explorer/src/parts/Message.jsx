import { usePart } from "../use-part.js";

export function Message({ session }) {
  const message = usePart(session, (s) => s.message);
  return (
    <div class="messages" role="alert">
      {message && <p class={`message ${message.kind}`}><span>{message.text}</span><button class="plain icon" onClick={() => session.say(null)} aria-label="Close">×</button></p>}
    </div>
  );
}
