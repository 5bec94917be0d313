/* Why something was refused. */

/** Errors that say "later", not "no". */
const PASSING_ERRORS = new Set(['rate_limited', 'overloaded', 'unavailable', 'timeout']);

/** Why a command was refused. `code` is one of the protocol's, or `timeout`, `disconnected` or `closed`. */
export class PresenceError extends Error {
  constructor({ code, message, field, retryAfter }) {
    super(message);
    this.name = 'PresenceError';
    this.code = code;
    this.field = field;
    this.retryAfter = retryAfter;
  }
}

/** A refusal that this client makes itself. */
export function problem(code, message) {
  return new PresenceError({ code, message });
}

export function isPassing(error) {
  return PASSING_ERRORS.has(error.code);
}
