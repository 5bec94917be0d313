/* One Chromium for the whole run. Its contexts keep scenarios apart. */

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

/** A port of which the system says that it is free now. */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
