/* The token that says who we are, and where the next one comes from. */

const RENEW_MS = 5_000; // a token that lives no longer is not worth connecting with

export class Tokens {
  /** When the token runs out, on the gateway's clock; unknown until a hello says it. */
  expiresAt;
  #source;
  #now;
  #token = null;

  /** `source` is a token, a function that fetches one, or nothing; `now` reads the gateway's clock. */
  constructor(source, now) {
    this.#source = source;
    this.#now = now;
  }

  /** Whether we say with a token who we are. */
  get wanted() {
    return Boolean(this.#source);
  }

  /** Whether a refused token can be replaced. */
  get canRenew() {
    return typeof this.#source === 'function';
  }

  /** The token to go on with: fetched where there is none that will do, `null` where none is wanted. */
  async current() {
    if (!this.canRenew) return this.#source ?? null;
    if (this.expiresAt - this.#now() < RENEW_MS) this.forget();
    if (this.#token === null) {
      this.#token = await this.#source();
      this.expiresAt = undefined; // the next hello says it
    }
    return this.#token;
  }

  /** The app has a new token. */
  keep(token) {
    if (this.canRenew) this.#token = token;
    else this.#source = token;
  }

  /** The token was refused, or will be. */
  forget() {
    this.#token = null;
  }
}
