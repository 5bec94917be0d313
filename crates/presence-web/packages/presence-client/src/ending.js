/* What to do after a connection ended. Pure: chance is an argument. */

/** Close codes after which coming back would not help. 4401 has its own rule: come back with a new token. */
const FINAL_CODES = new Set([1000, 1002, 1003, 1007, 1009, 4400, 4403, 4409, 4410]);

/**
 * How long to wait before attempt `attempt` (from 0): 250 to 500 ms first, twice as long after each failure, up to 30 s. One half is
 * chance, so that a crowd does not come back as one.
 */
export function backoff(attempt, random = Math.random()) {
  return (0.5 + random / 2) * Math.min(30_000, 500 * 2 ** Math.min(attempt, 10));
}

/** What to do after a connection ended: `{ again: false }`, or `again` after `wait` ms, perhaps with a new token. */
export function afterClose({ code, closing, attempt, canRenewToken, random }) {
  const said = closing?.code ?? code;
  if (said === 4401) return canRenewToken ? { again: true, newToken: true, wait: backoff(attempt, random) } : { again: false };
  if (closing ? !closing.reconnect : FINAL_CODES.has(said)) return { again: false };
  // The gateway spreads its clients over time itself, so its word is taken as it is.
  return { again: true, newToken: false, wait: closing?.retry_after ?? backoff(attempt, random) };
}

/** How a connection ended: the gateway's word counts more than the browser's. */
export function ending({ code, reason, closing, wasOnline }) {
  if (closing) return { code: closing.code, reason: closing.reason };
  // A browser does not tell a page which of the two it is.
  const guess = code === 1006 && !wasOnline ? 'not reached, or not allowed from this page' : null;
  return { code, reason: reason || guess };
}

/** Why a gateway that closed with `code` and `reason` refused who we are; `null` if it did not. */
export function refusalOf({ code, reason }) {
  if (code === 4403) return 'forbidden';
  if (code !== 4401) return null;
  return { 'token missing': 'missing', 'token expired': 'expired' }[reason] ?? 'invalid';
}
