import { createRoot } from 'react-dom/client';
import { PresenceProvider, useCount, useCursors } from 'presence-react';

const seen: { renders: { count: number; cursors: number }; count?: number; pointers?: number } = { renders: { count: 0, cursors: 0 } };
Object.assign(window, seen);

function Count() {
  const count = useCount();
  seen.renders.count += 1;
  Object.assign(window, { count });
  return <b>{count}</b>;
}

function Pointers() {
  const { cursors } = useCursors();
  seen.renders.cursors += 1;
  Object.assign(window, { pointers: cursors.length });
  return <i>{cursors.length}</i>;
}

createRoot(document.getElementById('root')!).render(
  <PresenceProvider url="ws://127.0.0.1:4001/ws" channel="room:42">
    <Count />
    <Pointers />
  </PresenceProvider>,
);
