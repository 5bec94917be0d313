/* One Chromium for the whole run. Its contexts keep scenarios apart. */

import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';

const FLAGS = [
  '--no-sandbox', // which a run as root cannot have
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const TRIES_MAX = 5;

export async function openBrowser(chromium, executablePath) {
  const launch = (...more) => chromium.launch({ executablePath, headless: true, args: [...FLAGS, ...more] });
  const browser = await launch();
  return {
    newContext: (options) => browser.newContext(options),
    close: () => browser.close(),

    /** A browser of its own that can be stopped with everything it runs, as a laptop stops that sleeps. */
    async laptop() {
      const server = await chromium.launchServer({ executablePath, headless: true, args: FLAGS });
      const own = await chromium.connect(server.wsEndpoint());
      let asleep = [];
      const wake = () => {
        for (const pid of asleep.splice(0)) signal(pid, 'SIGCONT');
      };
      return {
        context: await own.newContext(),
        sleep() {
          asleep = family(server.process().pid);
          for (const pid of asleep) signal(pid, 'SIGSTOP');
        },
        wake,
        close: async () => {
          wake();
          await server.close();
        },
      };
    },

    /**
     * A context in which a tab behind another one is hidden: everywhere else Playwright lets each page believe that
     * it is in front. That takes a browser of its own, to which we come as a stranger.
     */
    async plainContext() {
      // The system says which port is free; until Chromium has it, somebody else may take it.
      for (let tries = 1; ; tries += 1) {
        const port = await freePort();
        const own = await launch(`--remote-debugging-port=${port}`);
        try {
          const plain = await chromium.connectOverCDP(`http://127.0.0.1:${port}`, { noDefaults: true });
          return {
            context: plain.contexts()[0],
            close: async () => {
              await plain.close();
              await own.close();
            },
          };
        } catch (error) {
          await own.close();
          if (tries === TRIES_MAX) throw error;
        }
      }
    },
  };
}

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}

/** The process `pid` and everything that it has started. */
function family(pid) {
  const children = new Map();
  for (const name of readdirSync('/proc').filter((it) => /^\d+$/.test(it))) {
    try {
      // The name of the program stands in parentheses, and may have any in it.
      const [, parent] = readFileSync(`/proc/${name}/stat`, 'utf8').split(') ').at(-1).split(' ');
      children.set(Number(parent), [...(children.get(Number(parent)) ?? []), Number(name)]);
    } catch {
      // It has ended.
    }
  }
  const all = [pid];
  for (const one of all) all.push(...(children.get(one) ?? []));
  return all;
}

/** A port of which the system says that it is free now. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
