// What needs Node: its modules, and what can be wrong with a file.

import type * as Fs from 'node:fs';
import type * as FsPromises from 'node:fs/promises';
import type * as Net from 'node:net';
import type * as Path from 'node:path';
import type * as Zlib from 'node:zlib';
import { MediumError, type MediumReason } from './error.ts';

interface NodeModules {
  'node:fs': typeof Fs;
  'node:fs/promises': typeof FsPromises;
  'node:net': typeof Net;
  'node:path': typeof Path;
  'node:zlib': typeof Zlib;
}

/**
 * One of Node's modules, loaded when it is needed. A bundler for browsers, which refuses names that it cannot find,
 * must not see this one: hence a variable, and the comments.
 */
export async function nodeModule<N extends keyof NodeModules>(name: N): Promise<NodeModules[N]> {
  return (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as NodeModules[N];
}

/** Before it is opened: opening a pipe would wait for its other end. */
export function checkKind(fs: typeof Fs, path: string): void {
  let stat: Fs.Stats;
  try {
    stat = fs.statSync(path);
  } catch (error) {
    throw fileError(path, 'cannot be opened', error);
  }
  if (stat.isFile()) return;
  const what = stat.isDirectory() ? 'a directory' : 'no regular file';
  throw new MediumError(`${path}: it is ${what}; an image is a regular file`, 'not-a-file');
}

export function openDescriptor(fs: typeof Fs, path: string, readOnly: boolean): number {
  try {
    return fs.openSync(path, readOnly ? 'r' : 'r+');
  } catch (error) {
    const code = codeOf(error);
    const canRead =
      !readOnly && (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') && isReadable(fs, path);
    throw fileError(path, canRead ? 'may only be read; open it read-only' : 'cannot be opened', error);
  }
}

function isReadable(fs: typeof Fs, path: string): boolean {
  try {
    fs.accessSync(path, fs.constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

const REASONS: Readonly<Record<string, MediumReason>> = {
  ENOENT: 'missing',
  ENOTDIR: 'missing',
  EACCES: 'permission',
  EPERM: 'permission',
  EISDIR: 'not-a-file',
  EROFS: 'read-only',
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  EFBIG: 'no-space',
};

const PLAIN: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'a part of the path is no directory',
  EACCES: 'no permission',
  EPERM: 'no permission',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota is used up',
  EFBIG: 'the file system takes no file of that size',
};

export function fileError(path: string, what: string, cause: unknown, transferred = 0): MediumError {
  const code = codeOf(cause);
  const why = PLAIN[code] ?? (cause instanceof Error ? cause.message : String(cause));
  return new MediumError(`${path}: ${what}: ${why}`, REASONS[code] ?? 'failed', { transferred, cause });
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
