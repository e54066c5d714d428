// Runs the command line as a user would, in a process of its own.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../run/suite.ts';

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const BINARY = join(root, 'bin/backplane.mjs');
const TIMEOUT_MS = 60_000;

/** `backplane …args` without a terminal and without colour. */
export function backplane(args: readonly string[], env: Readonly<Record<string, string>> = {}): Result {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BINARY, ...args], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', ...env },
    timeout: TIMEOUT_MS,
    maxBuffer: 1 << 26,
  });
  return { status, stdout, stderr };
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
