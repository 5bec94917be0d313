import { useState } from 'react';
import { createRoot } from 'react-dom/client';
import { AvatarStack, Cursors, PresenceProvider, StatusDot, StatusPicker, TypingLine, useConnection, useCount, useStatus } from 'presence-react';
import { Presence, connect } from 'presence-client';

const url = 'ws://127.0.0.1:4001/ws';
const outer = connect({ url, userId: 'outer', deviceId: 'web:outer' });

function Room() {
  const count = useCount();
  const { status } = useConnection();
  const bob = useStatus('bob');
  Object.assign(window, { seen: { count, status, bob: bob.status } });
  return (
    <>
      <AvatarStack />
      <Cursors>{count}</Cursors>
      <TypingLine />
      <StatusPicker />
      <StatusDot userId="bob" />
    </>
  );
}

let show: (what: string) => void;

function App() {
  const [what, setWhat] = useState('');
  show = setWhat;
  if (what === 'client') return <PresenceProvider url={url} userId="ann" deviceId="web:ann" channel="room:42"><Room /></PresenceProvider>;
  if (what === 'room') return <PresenceProvider client={outer} channel="room:42"><Room /></PresenceProvider>;
  return null;
}

Object.assign(window, { Presence, outer, show: (what: string) => show(what) });
createRoot(document.getElementById('root')!).render(<App />);
