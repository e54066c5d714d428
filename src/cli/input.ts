// The file that a scenario moves: read in pieces, so that it may be of any size.

import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { ScenarioInput } from '../scenario/run.ts';
import { UsageError } from './errors.ts';

const PIECE = 1 << 20;

/** An open input file; close() when the run is over. */
export interface InputFile extends ScenarioInput {
  close(): void;
}

/** Opens a file for reading. Throws UsageError, with the path, where it is missing, empty, forbidden or no file. */
export function openInput(path: string): InputFile {
  const fd = attempt(path, () => openSync(path, 'r'));
  const stat = attempt(path, () => fstatSync(fd));
  if (stat.isDirectory()) throw refuse(fd, `${path} is a folder; --file takes a file`);
  if (!stat.isFile()) throw refuse(fd, `${path} is no regular file; --file takes one`);
  if (stat.size === 0) throw refuse(fd, `${path} is empty; --file takes a file of at least one byte`);
  const read = (offset: number, into: Uint8Array): void => {
    let done = 0;
    while (done < into.length) {
      const n = attempt(path, () => readSync(fd, into, done, into.length - done, offset + done));
      if (n === 0) throw new UsageError(`${path} became shorter while it was read`);
      done += n;
    }
  };
  return { path, bytes: stat.size, sha256: hashOf(stat.size, read), read, close: () => closeSync(fd) };
}

/** A running SHA-256. */
export function sha256(): { update(bytes: Uint8Array): void; digest(): string } {
  const hash = createHash('sha256');
  return {
    update: (bytes) => {
      hash.update(bytes);
    },
    digest: () => hash.digest('hex'),
  };
}

function hashOf(bytes: number, read: (offset: number, into: Uint8Array) => void): string {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(Math.min(PIECE, bytes));
  for (let at = 0; at < bytes; at += PIECE) {
    const piece = buffer.subarray(0, Math.min(PIECE, bytes - at));
    read(at, piece);
    hash.update(piece);
  }
  return hash.digest('hex');
}

function refuse(fd: number, message: string): UsageError {
  closeSync(fd);
  return new UsageError(message);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'you may not read it',
  EPERM: 'you may not read it',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of the path is no folder',
  ELOOP: 'too many symbolic links',
  ENAMETOOLONG: 'the name is too long',
  EIO: 'the disk that it is on failed',
};

/** Runs a file operation; its system error becomes a UsageError that says the path and the reason. */
export function attempt<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const code = (error as { code?: string }).code ?? '';
    throw new UsageError(`${path}: ${REASONS[code] ?? (error as Error).message}`);
  }
}
