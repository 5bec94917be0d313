/* Whether we are connected, and when we try again. */

import { $ } from './dom.js';

const words = { connecting: 'Connecting', online: 'Online', reconnecting: 'Reconnecting', closed: 'Disconnected' };
const refusals = {
  missing: 'This gateway lets in who has a token: open the page with ?token=…',
  expired: 'Your token has expired.',
  invalid: 'Your token was refused.',
};
const endings = {
  4409: 'You went on in another window.',
  4410: 'You were asked to leave.',
};

export function showConnection(presence) {
  let clock;
  let problem; // what the gateway said last, before it closed
  let refusal; // why it refused the token
  let degraded = false; // the gateway has lost the others
  const show = () => {
    const { status, retryAt, code, reason } = presence.connection;
    clearInterval(clock);
    if (status === 'online') problem = refusal = undefined;
    else degraded = false;
    const seconds = retryAt === null ? 0 : Math.ceil((retryAt - Date.now()) / 1_000);
    if (seconds > 0) clock = setInterval(show, 500);

    $('connection').dataset.state = status;
    set($('connection-text'), seconds > 0 ? `${words[status]} in ${seconds} s` : words[status]);

    // The first moments of a connection are no news.
    const wrong = status === 'closed' || status === 'reconnecting' || retryAt !== null;
    $('notice').hidden = !wrong && !degraded;
    $('notice-action').hidden = !wrong;
    $('notice').dataset.state = status;
    $('notice-action').textContent = status === 'closed' ? 'Connect again' : 'Try now';
    if (status === 'closed') set($('notice-text'), refusals[refusal] ?? endings[code] ?? `The gateway closed the connection: ${problem ?? `${code}${reason ? `, ${reason}` : ''}`}.`);
    else if (wrong) set($('notice-text'), 'The connection is away. What you see may be out of date.');
    else if (degraded) set($('notice-text'), 'This gateway has lost the others. People on them are shown as they last were.');
  };
  presence.on('error', ({ message }) => {
    problem = message;
  });
  presence.on('refused', ({ reason }) => {
    refusal = reason;
    show();
  });
  presence.on('connection', show);
  presence.on('health', (health) => {
    ({ degraded } = health);
    show();
  });
  $('notice-action').onclick = () => presence.reconnect();
  show();
}

/** A live region is read out again at each change, even to the same. */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
