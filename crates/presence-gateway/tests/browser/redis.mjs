/* A Redis that keeps nothing. Whatever happens, it does not outlive the run. */

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { freePort } from './browser.mjs';

const STARTING_MS_MAX = 20_000;
const TRIES_MAX = 5;

const servers = new Set();
process.on('exit', () => {
  for (const server of servers) server.destroy();
});

export class Redis {
  url;
  #process;

  /** Starts one on a port that was free a moment ago; if somebody else took it since, on another one. */
  static async start() {
    for (let tries = 1; ; tries += 1) {
      const redis = new Redis();
      servers.add(redis);
      try {
        await redis.#begin(await freePort());
        return redis;
      } catch (error) {
        redis.destroy();
        if (tries === TRIES_MAX) throw error;
      }
    }
  }

  pause() {
    this.#process.kill('SIGSTOP');
  }

  goOn() {
    this.#process.kill('SIGCONT');
  }

  destroy() {
    servers.delete(this);
    this.#process?.kill('SIGKILL');
  }

  async #begin(port) {
    const settings = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    const child = spawn('redis-server', settings.map(String), { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#process = child;
    this.url = `redis://127.0.0.1:${port}`;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('Redis did not start')), STARTING_MS_MAX);
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (!line.includes('Ready to accept connections')) return;
        clearTimeout(timer);
        resolve();
      });
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`Redis ended with ${code}`)));
    });
  }
}
