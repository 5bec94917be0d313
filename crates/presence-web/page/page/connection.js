/* Whether we are connected, and when we try again. */

import { $ } from './dom.js';

const words = { connecting: 'Connecting', online: 'Online', reconnecting: 'Reconnecting', closed: 'Disconnected' };
const refusals = {
  missing: 'This gateway lets in who has a token.',
  expired: 'Your token has expired.',
  invalid: 'Your token was refused.',
  forbidden: 'Your token does not allow this.',
};
const endings = {
  4409: 'You went on in another window.',
  4410: 'You were asked to leave.',
};

/** `signIn(reason, message)` asks for a token. */
export function showConnection(presence, signIn) {
  let clock;
  let problem; // what was wrong last, with anything but who we are
  let refusal; // why it refused who we are
  let degraded = false; // the gateway has lost the others
  let isClosed = false; // nothing that is said here is heard
  const show = () => {
    const { status, retryAt, code, reason } = presence.connection;
    clearInterval(clock);
    if (status === 'online') problem = refusal = undefined;
    else degraded = false;
    const seconds = retryAt === null ? 0 : Math.ceil((retryAt - Date.now()) / 1_000);
    if (seconds > 0) clock = setInterval(show, 500);

    $('connection').dataset.state = status;
    if (isClosed !== (status === 'closed')) {
      isClosed = status === 'closed';
      for (const control of controls()) control.disabled = isClosed;
    }
    set($('connection-text'), seconds > 0 ? `${words[status]} in ${seconds} s` : words[status]);

    // The first moments of a connection are no news.
    const wrong = status === 'closed' || status === 'reconnecting' || retryAt !== null;
    $('notice').hidden = !wrong && !degraded;
    $('notice-action').hidden = !wrong;
    $('notice').dataset.state = status;
    const needsToken = status === 'closed' && refusal && (refusal.reason !== 'forbidden' || refusal.hadToken);
    $('notice-action').textContent = needsToken ? 'Sign in' : status === 'closed' ? 'Connect again' : 'Try now';
    $('notice-action').onclick = () => (needsToken ? signIn(refusal.reason, refusal.message) : presence.reconnect());
    if (status === 'closed') set($('notice-text'), needsToken ? refusals[refusal.reason] : endings[code] ?? sentence(code, refusal?.message ?? problem ?? reason));
    else if (wrong) set($('notice-text'), 'The connection is away. What you see may be out of date.');
    else if (degraded) set($('notice-text'), 'This gateway has lost the others. People on them are shown as they last were.');
  };
  presence.on('error', ({ message }) => {
    problem = message;
    show();
  });
  presence.on('refused', ({ reason, message, retrying }) => {
    refusal = { reason, message, hadToken: signIn.hasToken };
    show();
    if (!retrying && (reason !== 'forbidden' || signIn.hasToken)) signIn(reason, message);
  });
  presence.on('connection', show);
  presence.on('health', (health) => {
    ({ degraded } = health);
    show();
  });
  show();
}

/** What needs a connection, or one that comes back by itself. */
function controls() {
  return [...$('chat-form').elements, ...$('status-form').elements, $('invisible')];
}

/** Why there is no connection. Without a code no gateway has said anything. */
function sentence(code, why) {
  const who = code === null ? 'This page cannot connect' : 'The gateway closed the connection';
  return `${who}: ${(why || String(code)).replace(/\.+$/, '')}.`;
}

/** A live region is read out again at each change, even to the same. */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
