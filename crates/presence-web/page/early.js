/*
 * Runs inside the document, before the script and the style have come: it opens the socket at once, so that the gateway has said
 * hello when the script is there. `page/handing-over.js` gives the socket to the client.
 */

import { address } from '../packages/presence-client/src/address.js';
import { browserId } from '../packages/presence-client/src/browser.js';
import { ResumeToken } from '../packages/presence-client/src/resume.js';
import { whoAmI } from './page/who.js';

const who = whoAmI();
const { token, userId, name } = who;
const deviceId = browserId();
const resume = new ResumeToken(`presence:resume:/ws:${userId ?? ''}`);
resume.takeOut();

/** What the socket has said so far: `{ type, data, code, reason, at }` each. */
const said = [];
window.early = { who, deviceId, resume, said, socket: null };
try {
  const query = { ...(token ? {} : { user_id: userId, name }), device_id: deviceId, resume: resume.token };
  const socket = new WebSocket(address('/ws', query), ['presence.v1.json', ...(token ? [`presence.bearer.${token}`] : [])]);
  socket.onmessage = socket.onclose = ({ type, data, code, reason }) => {
    if (type === 'message') resume.token = JSON.parse(data).resume ?? resume.token;
    said.push({ type, data, code, reason, at: Date.now() });
  };
  window.early.socket = socket;
} catch {
  // The client says what is wrong.
}
// The next page goes on with the session, even if the script never came.
addEventListener('pagehide', () => window.early.socket && resume.putAway());
