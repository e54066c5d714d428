// Runs the command line as a user would, in a process of its own.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Ended, runNode } from '../run/node.ts';
import { root } from '../run/suite.ts';

const BINARY = join(root, 'bin/backplane.mjs');

/** `backplane …args` without a terminal and without colour. */
export function backplane(args: readonly string[], env: Readonly<Record<string, string>> = {}): Ended {
  return runNode([BINARY, ...args], { env: { ...process.env, NO_COLOR: '1', ...env } });
}

/** A new empty folder, removed by `done()`. */
export function keepFolder(): { readonly folder: string; done(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'backplane-'));
  return { folder, done: () => rmSync(folder, { recursive: true, force: true }) };
}

/** A new empty folder, removed when `use` is done with it. */
export function withFolder<T>(use: (folder: string) => T): T {
  const { folder, done } = keepFolder();
  try {
    return use(folder);
  } finally {
    done();
  }
}
