// `npm run v86-page`: the guests of `npm run guest`, in a browser.

import { parseArgs } from 'node:util';
import { PAGE, preparePage, servePage } from './page-server.ts';

const HELP = `Example:
  npm run v86-page
  npm run v86-page -- --port 9000

Serves examples/v86.html to this machine, with Debian's i386 kernel for v86 to boot. What is downloaded stays in
.cache/guest/. Ctrl+C ends it.

  --port N          where, default 8086; 0 for any that is free
`;
const PORT_MAX = 65535;

class Usage extends Error {}

function parse(): { port: number; help: boolean } {
  const options = {
    port: { type: 'string', default: '8086' },
    help: { type: 'boolean', short: 'h', default: false },
  } as const;
  try {
    const { values } = parseArgs({ options });
    return { port: portOf(values.port), help: values.help };
  } catch (error) {
    throw error instanceof Usage ? error : new Usage(error instanceof Error ? error.message : String(error));
  }
}

function portOf(text: string): number {
  const port = Number(text);
  if (text !== '' && Number.isInteger(port) && port >= 0 && port <= PORT_MAX) return port;
  throw new Usage(`port is “${text}”; it must be a whole number from 0 to ${PORT_MAX}`);
}

async function main(): Promise<void> {
  const { port, help } = parse();
  if (help) {
    process.stdout.write(HELP);
    return;
  }
  process.stderr.write('Looking for the kernel\n');
  const guest = preparePage();
  if ('unavailable' in guest) process.stderr.write(`${guest.unavailable}\nThe page will say so, too.\n`);
  const { origin } = await servePage(guest, port);
  process.stdout.write(`${origin}${PAGE}\n`);
}

try {
  await main();
} catch (error) {
  const inUse = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
  if (!(error instanceof Usage || inUse)) throw error;
  process.stderr.write(inUse ? 'That port is taken: --port names another one.\n' : `${error.message}\n`);
  process.exitCode = 2;
}
