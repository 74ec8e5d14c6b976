import { LatentMap } from "../map/LatentMap.jsx";
import { Between } from "./Between.jsx";
import { Brood } from "./Brood.jsx";
import { Conditions } from "./Conditions.jsx";
import { Directions } from "./Directions.jsx";
import { Drop } from "./Drop.jsx";
import { Head } from "./Head.jsx";
import { History } from "./History.jsx";
import { Message } from "./Message.jsx";
import { Notes } from "./Notes.jsx";
import { Shown } from "./Shown.jsx";

export function App({ session, view }) {
  return (
    <>
      <Head session={session} />
      <Message session={session} />
      <main>
        <div class="column wide">
          <LatentMap session={session} rows={view} />
          <Directions session={session} view={view} />
        </div>
        <div class="column">
          <Shown session={session} view={view} />
          {session.model.map.archive && <Brood session={session} view={view} />}
          <Conditions session={session} />
          <Between session={session} view={view} />
          <History session={session} view={view} />
          <Drop session={session} view={view} />
          <Notes model={session.model} judges={Boolean(session.tensors["calibration.place"])} />
        </div>
      </main>
    </>
  );
}
