// examples/v86.html: puts the files there that it loads, serves the project's folder, and for a test has Chromium open
// it without a window.

import { spawn } from 'node:child_process';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, extname, join, normalize } from 'node:path';
import type { GuestFiles } from './guest.ts';
import { GuestUnavailable } from './packages.ts';
import { root } from './root.ts';

const PAGE = 'examples/v86.html';
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};
const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome'];
const PATIENCE_MS = 600_000;

export interface PageServer {
  readonly url: string;
  /** What the page said when it came to its end: its status in the first line. */
  readonly report: Promise<string>;
  close(): void;
}

/** Serves the page to this machine only; `port` 0: any that is free. */
export async function servePage(files: GuestFiles, port: number): Promise<PageServer> {
  const folder = join(root, '.cache/guest/page');
  mkdirSync(folder, { recursive: true });
  for (const [name, bytes] of [
    ['bios.bin', files.bios],
    ['vgabios.bin', files.vgaBios],
    ['vmlinuz', files.kernel],
    ['initramfs.cpio', files.initramfs],
  ] as const) {
    writeFileSync(join(folder, name), bytes);
  }
  let tell: (text: string) => void = () => {};
  const report = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const server = createServer((request, response) => answer(request, response, tell));
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address();
  const used = typeof address === 'object' && address !== null ? address.port : port;
  return { url: `http://127.0.0.1:${used}/${PAGE}`, report, close: () => void server.close() };
}

function answer(request: IncomingMessage, response: ServerResponse, tell: (text: string) => void): void {
  if (request.method === 'POST') {
    let text = '';
    request.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    request.on('end', () => {
      tell(text);
      response.end();
    });
    return;
  }
  const path = normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname));
  const file = join(root, path);
  if (path.includes('..') || !existsSync(file) || !statSync(file).isFile()) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
  createReadStream(file).pipe(response);
}

/** Opens the page in Chromium, and resolves to what it said. */
export async function checkPage(files: GuestFiles): Promise<string> {
  const browser = BROWSERS.flatMap((name) =>
    (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name)),
  ).find((path) => existsSync(path));
  if (browser === undefined) throw new GuestUnavailable('no Chromium is installed: apt-get install chromium');
  const server = await servePage(files, 0);
  const profile = mkdtempSync(join(tmpdir(), 'backplane-page-'));
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'];
  const child = spawn(
    browser,
    [...flags, `--user-data-dir=${profile}`, '--remote-debugging-port=0', server.url],
    {
      stdio: 'ignore',
    },
  );
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(`failed: ${error.message}`));
    child.on('close', (code) => resolve(`failed: the browser ended with ${code}`));
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, PATIENCE_MS, `failed: the page said nothing in ${PATIENCE_MS} ms`);
  });
  const said = await Promise.race([server.report, ended, late]);
  clearTimeout(timer);
  child.kill();
  await ended;
  server.close();
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  return said;
}
