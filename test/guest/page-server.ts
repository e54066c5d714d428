// Serves examples/v86.html and what it boots, to this machine only.

import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { DISK_BYTES } from './bench.ts';
import { COMMAND_LINE, MEMORY_BYTES, readGuestFiles } from './guest.ts';
import { GUEST_DISKS } from './guests.ts';
import { makeInitramfs } from './initramfs.ts';
import { GuestUnavailable, unpackedPackages } from './packages.ts';
import { PAGE_INIT } from './page-init.ts';
import { root } from './root.ts';

const HOST = '127.0.0.1';
export const PAGE = '/examples/v86.html';
/** What is served as it is; nothing outside of these folders. */
const FOLDERS = ['/examples/', '/dist/', '/node_modules/v86/build/'];
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.txt': 'text/plain; charset=utf-8',
};
/** The page shows what the kernel says: it takes a while, and nothing else moves. */
const PAGE_COMMAND_LINE = `${COMMAND_LINE} loglevel=7`;
/** In the order in which guest.json lists them. */
const GUEST_FILES = ['kernel', 'initramfs', 'bios', 'vga-bios'];

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: Uint8Array | string;
}

/** What the page boots; or why there is nothing to boot. */
export type PageGuest =
  | { readonly files: ReadonlyMap<string, Uint8Array> }
  | { readonly unavailable: string };

/** Downloads and unpacks what is not there yet, unless `download` is false. */
export function preparePage(options: { readonly download?: boolean } = {}): PageGuest {
  try {
    const folder = unpackedPackages('bookworm', options);
    const { kernel, bios, vgaBios } = readGuestFiles(folder);
    const drivers = [...new Set(GUEST_DISKS.flatMap(({ modules }) => modules))];
    const initramfs = makeInitramfs(folder, { drivers, programs: {}, init: PAGE_INIT });
    const bytes = [kernel, initramfs, bios, vgaBios];
    return {
      files: new Map(GUEST_FILES.map((name, i) => [`/guest/${name}`, bytes[i] ?? new Uint8Array()])),
    };
  } catch (error) {
    if (error instanceof GuestUnavailable) return { unavailable: error.message };
    throw error;
  }
}

export interface PageServer {
  /** Without a slash at the end. */
  readonly origin: string;
  close(): void;
}

/** Serves on `port`, 0 for any that is free; `more` are pages beside those in FOLDERS, by path. */
export function servePage(
  guest: PageGuest,
  port: number,
  more: ReadonlyMap<string, string> = new Map(),
): Promise<PageServer> {
  const server: Server = createServer(({ method, url = '/' }, response) => {
    const { pathname } = new URL(url, `http://${HOST}`);
    if (pathname === '/') {
      response.writeHead(302, { location: PAGE }).end();
      return;
    }
    const { status, type, body } = answer(pathname, guest, more);
    response.writeHead(status, {
      'content-type': TYPES[type] ?? 'application/octet-stream',
      'cache-control': 'no-store',
    });
    response.end(method === 'HEAD' ? undefined : body);
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, HOST, () => {
      const { port: actual } = server.address() as AddressInfo;
      const close = (): void => {
        server.close();
        server.closeAllConnections();
      };
      resolve({ origin: `http://${HOST}:${actual}`, close });
    });
  });
}

function answer(path: string, guest: PageGuest, more: ReadonlyMap<string, string>): Answer {
  const page = more.get(path);
  if (page !== undefined) return { status: 200, type: extname(path), body: page };
  if (path.startsWith('/guest/')) {
    if ('unavailable' in guest) return { status: 503, type: '.txt', body: guest.unavailable };
    if (path === '/guest/guest.json') return { status: 200, type: '.json', body: describeGuest() };
    const body = guest.files.get(path);
    if (body !== undefined) return { status: 200, type: '.bin', body };
  }
  // URL has resolved dots, but for those that are percent signs: no file of ours has one in its name.
  const isOurs = FOLDERS.some((folder) => path.startsWith(folder)) && !path.includes('%');
  try {
    if (isOurs) return { status: 200, type: extname(path), body: readFileSync(join(root, path)) };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
  return { status: 404, type: '.txt', body: `There is no ${path} here.\n` };
}

function describeGuest(): string {
  return JSON.stringify({
    memoryBytes: MEMORY_BYTES,
    diskBytes: DISK_BYTES,
    commandLine: PAGE_COMMAND_LINE,
    files: GUEST_FILES,
    disks: GUEST_DISKS.map(({ controller, driver, modules, disk }) => ({
      controller,
      driver,
      modules,
      disk,
    })),
  });
}
