/* Commands that are answered: those that wait for a connection, and those that wait for their answer. */

import { PresenceError, problem } from './errors.js';
import { quiet } from './promises.js';
import { camel } from './wire.js';

const COMMAND_MS_MAX = 30_000; // a command waits that long for a connection and its answer
const QUEUE_MAX = 100;

export class Requests {
  #link;
  #ref = 0;
  #asked = new Map();
  #queue = [];

  /** `link` has `online`, `after(ms, then)`, and `transmit(command)`, which returns an error where the command cannot be sent. */
  constructor(link) {
    this.#link = link;
  }

  /** A reference that no other command of this connection has. */
  nextRef() {
    return (this.#ref += 1);
  }

  /** Sends `command`, now or when there is a connection. `again` also repeats it when its answer was lost. */
  make(command, again) {
    return quiet(new Promise((resolve, reject) => {
      const request = { command, again, resolve, reject };
      request.cancel = this.#link.after(COMMAND_MS_MAX, () => {
        this.#asked.delete(request.ref);
        this.#queue = this.#queue.filter((other) => other !== request);
        reject(problem('timeout', 'the gateway did not answer in time'));
      });
      if (this.#link.online) return this.#send(request);
      if (this.#queue.length < QUEUE_MAX) return this.#queue.push(request);
      return fail(request, problem('too_many', `more than ${QUEUE_MAX} commands wait for a connection`));
    }));
  }

  /** The gateway's answer. Returns the error that answers no command of ours, if it is one. */
  answer(frame) {
    const request = this.#asked.get(frame.ref);
    this.#asked.delete(frame.ref);
    request?.cancel();
    if (frame.type !== 'presence:error') {
      request?.resolve(frame.result);
      return null;
    }
    const error = new PresenceError(camel(frame));
    if (!request) return error;
    request.reject(error);
    return null;
  }

  /** There is a connection: what waited for one is sent. */
  flush() {
    for (const request of this.#queue.splice(0)) this.#send(request);
  }

  /** The connection was lost: what may be repeated waits for the next one; nothing does when it was `ended`. */
  lost(ended) {
    const error = problem(ended ? 'closed' : 'disconnected', 'the connection was lost before the answer came');
    const asked = [...this.#asked.values()];
    this.#asked.clear();
    for (const request of asked) {
      if (request.again && !ended) this.#queue.push(request);
      else fail(request, error);
    }
  }

  /** No connection will come. */
  refuse(error) {
    for (const request of this.#queue.splice(0)) fail(request, error);
  }

  #send(request) {
    request.ref = this.nextRef();
    this.#asked.set(request.ref, request);
    const error = this.#link.transmit({ ...request.command, ref: request.ref });
    if (!error) return;
    this.#asked.delete(request.ref);
    fail(request, error);
  }
}

function fail(request, error) {
  request.cancel();
  request.reject(error);
}
