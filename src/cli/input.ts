// The file that a scenario moves: read in pieces, so that it may be of any size.

import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { ScenarioInput } from '../scenario/run.ts';
import { UsageError } from './errors.ts';
import { formatPath } from './style.ts';

const PIECE = 1 << 20;

/** An open input file; close() when the run is over. */
export interface InputFile extends Omit<ScenarioInput, 'sha256'> {
  close(): void;
}

/** Opens a file for reading. Throws UsageError, with the path, where it is missing, empty, forbidden or no file. */
export function openInput(path: string): InputFile {
  const fd = attempt(path, () => openSync(path, 'r'));
  const stat = attempt(path, () => fstatSync(fd));
  const name = formatPath(path);
  if (stat.isDirectory()) throw refuse(fd, `${name} is a folder; --file takes a file`);
  if (!stat.isFile()) throw refuse(fd, `${name} is no regular file; --file takes one`);
  if (stat.size === 0) throw refuse(fd, `${name} is empty; --file takes a file of at least one byte`);
  const read = (offset: number, into: Uint8Array): void => {
    let done = 0;
    while (done < into.length) {
      const n = attempt(path, () => readSync(fd, into, done, into.length - done, offset + done));
      if (n === 0) throw new UsageError(`${name} became shorter while it was read`);
      done += n;
    }
  };
  return { path: name, bytes: stat.size, read, close: () => closeSync(fd) };
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

/** The SHA-256 of a whole input; `step` is told how far it is, 0 to 1, and may throw to stop. */
export async function hashInput(
  input: Pick<ScenarioInput, 'bytes' | 'read'>,
  step: (done: number) => Promise<void>,
): Promise<string> {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(Math.min(PIECE, input.bytes));
  for (let at = 0; at < input.bytes; at += PIECE) {
    const piece = buffer.subarray(0, Math.min(PIECE, input.bytes - at));
    input.read(at, piece);
    hash.update(piece);
    await step((at + piece.length) / input.bytes);
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
    throw new UsageError(`${formatPath(path)}: ${REASONS[code] ?? (error as Error).message}`);
  }
}
