/* Asks the gateway, with the token of the operator. */

import { recall, remember } from '../page/who.js';

const TOKEN = 'presence:operator';
/** A gateway that has not answered by then hangs. */
const PATIENCE_MS = 3_000;
/** What has to ask other nodes and stores may take longer. */
const LONG_MS = 10_000;

/** Why a question was refused: `status` is 0 if there was no answer. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Takes the token out of the address, where it would be copied along. */
function fromAddress() {
  const address = new URL(location.href);
  const token = address.searchParams.get('token');
  if (!token) return;
  remember(() => sessionStorage, TOKEN, token);
  address.searchParams.delete('token');
  history.replaceState(null, '', address);
}
fromAddress();

let token = recall(() => sessionStorage, TOKEN) ?? '';

export const hasToken = () => token !== '';

export function setToken(text) {
  token = text;
  remember(() => sessionStorage, TOKEN, text);
}

/** Asks for `path`, with `query` where it is not undefined. Throws `Refused`. */
export async function ask(path, query = {}, { method = 'GET', patience = method === 'GET' ? PATIENCE_MS : LONG_MS } = {}) {
  const address = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') address.searchParams.set(name, value);
  }
  let answer;
  let text;
  try {
    answer = await fetch(address, {
      method,
      headers: token ? { authorization: `Bearer ${token}` } : {},
      cache: 'no-store',
      credentials: 'omit',
      signal: AbortSignal.timeout(patience),
    });
    text = await answer.text();
  } catch {
    throw new Refused(0, 'This gateway does not answer.');
  }
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    throw new Refused(answer.status, 'The answer is no JSON: something between here and the gateway has made it.');
  }
  if (!answer.ok) throw new Refused(answer.status, body?.error?.message ?? `The gateway answered ${answer.status}.`);
  return body;
}

export const explain = (path, query) => ask(path, query, { patience: LONG_MS });
