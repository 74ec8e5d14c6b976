import { useLayoutEffect, useState } from "preact/hooks";

// A part of the state that a component shows: it is drawn anew only when that part changes.
export function usePart(session, pick) {
  const [, again] = useState(0);
  const value = pick(session.state);
  useLayoutEffect(() => {
    let before = value;
    const check = () => {
      const now = pick(session.state);
      if (Object.is(now, before)) return;
      before = now;
      again((n) => n + 1);
    };
    check();
    return session.listen(check);
  }, [session, value]);
  return value;
}
