/* A gateway with a folder of its own. Whatever happens, it does not outlive the run. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const STARTING_MS_MAX = 20_000;

const gateways = new Set();
process.on('exit', () => {
  for (const gateway of gateways) gateway.destroy();
});

export class Gateway {
  /** Where it listens, as `127.0.0.1:4001`; the same after a restart. */
  address = '127.0.0.1:0';
  #binary;
  #settings;
  #folder = mkdtempSync(join(tmpdir(), 'presence-browser-'));
  #process = null;
  #log = [];

  /** Starts one. `settings` are environment variables. */
  static async start(binary, settings = {}) {
    const gateway = new Gateway(binary, settings);
    gateways.add(gateway);
    await gateway.start();
    return gateway;
  }

  constructor(binary, settings) {
    this.#binary = binary;
    this.#settings = settings;
  }

  get origin() {
    return `http://${this.address}`;
  }

  /** What it said on stderr. */
  get log() {
    return this.#log.join('\n');
  }

  /** Starts it, again on the same port and with the same folder if it ran before. */
  async start() {
    const child = spawn(this.#binary, ['--listen', this.address], {
      cwd: this.#folder, // where no presence.toml lies
      env: { PATH: process.env.PATH, PRESENCE_DATA_DIR: join(this.#folder, 'data'), ...this.#settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    createInterface({ input: child.stderr }).on('line', (line) => this.#log.push(line));
    this.address = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the gateway did not start:\n${this.log}`)), STARTING_MS_MAX);
      createInterface({ input: child.stdout }).on('line', (line) => {
        const [, address] = /^listening on http:\/\/(\S+)$/.exec(line) ?? [];
        if (address) resolve(address);
        clearTimeout(timer);
      });
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`the gateway ended with ${code}:\n${this.log}`)));
    });
  }

  /** Ends the process with `signal`, and waits until it is gone. */
  async end(signal) {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }

  /** Stops the process where it is, as a machine does that hangs. */
  pause() {
    this.#process.kill('SIGSTOP');
  }

  goOn() {
    this.#process.kill('SIGCONT');
  }

  /** Waits until the process has ended by itself. */
  async gone() {
    const child = this.#process;
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  /** Ends it at once, for good, without leaving anything behind. */
  destroy() {
    gateways.delete(this);
    this.#process?.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
