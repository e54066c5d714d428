// `npm run v86-page`: the guests of `npm run guest`, in a browser.

import { parseArgs } from 'node:util';
import { Usage, usageOf } from './options.ts';
import { PAGE, preparePage, servePage } from './page-server.ts';

const HELP = `Example:
  npm run v86-page
  npm run v86-page -- --port 9000

Serves examples/v86.html to this machine, with Debian's i386 kernel for v86 to boot. What is downloaded stays in
.cache/guest/. Ctrl+C ends it.

  --port N          where, default 8086; 0 for any that is free
`;
const PORT_MAX = 65535;

function parse(): { port: number; help: boolean } {
  const options = {
    port: { type: 'string', default: '8086' },
    help: { type: 'boolean', short: 'h', default: false },
  } as const;
  try {
    const { values } = parseArgs({ options });
    return { port: portOf(values.port), help: values.help };
  } catch (error) {
    throw usageOf(error);
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
  const { origin } = await servePage(guest, port).catch((error: unknown) => {
    throw refusedPort(error, port);
  });
  process.stdout.write(`${origin}${PAGE}\n`);
}

/** What the system says of a port that cannot be had. */
function refusedPort(error: unknown, port: number): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : '';
  if (code === 'EADDRINUSE') return new Usage(`port ${port} is taken: --port names another one`);
  if (code === 'EACCES') return new Usage(`port ${port} is not for everybody: --port names one above 1023`);
  return error;
}

try {
  await main();
} catch (error) {
  const { message, stack } = error as Error;
  process.stderr.write(`${error instanceof Usage ? message : stack}\n`);
  process.exitCode = error instanceof Usage ? 2 : 3;
}
