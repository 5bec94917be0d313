/* The token that says who we are, and where the next one comes from. */

const RENEW_MS = 5_000; // a token that lives no longer is not worth connecting with

export class Tokens {
  /** When the token runs out, on the gateway's clock; unknown until a hello says it. */
  expiresAt;
  #fetch;
  #now;
  #token;

  /** `source` is a token, a function that fetches one, or nothing; `now` reads the gateway's clock. */
  constructor(source, now) {
    if (typeof source === 'function') this.#fetch = source;
    else this.#token = source;
    this.#now = now;
  }

  /** The app has a new token. */
  keep(token) {
    this.#token = token;
  }

  /** The token was refused, or will be. One that cannot be replaced is kept. */
  forget() {
    if (this.#fetch) this.#token = null;
  }

  /** Whether a refused token can be replaced. */
  get canRenew() {
    return Boolean(this.#fetch);
  }

  /** The token to go on with, without the spaces around it: fetched where there is none that will do, nothing where none is wanted. */
  async current() {
    if (this.expiresAt - this.#now() < RENEW_MS) this.forget();
    if (this.#fetch && !this.#token) {
      this.#token = await this.#fetch();
      this.expiresAt = undefined; // the next hello says it
    }
    return this.#token?.trim();
  }
}
