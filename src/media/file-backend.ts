// A file that grows, as the place of an image format. Only for Node.

import type * as Fs from 'node:fs';
import type { Backend } from './backend.ts';
import { lengthOf, sliceOf } from './buffers.ts';
import { MediumError } from './error.ts';
import { checkKind, codeOf, fileError, nodeModule, openDescriptor } from './node.ts';

export interface FileBackendOptions {
  readonly readOnly?: boolean;
  /** Makes the file, which must not be there yet. */
  readonly create?: boolean;
}

/** Buffers of one system call (IOV_MAX of Linux and the BSDs). */
const VECTOR_MAX = 1024;

/** Opens a file. Throws MediumError, whose message names it and what would be right. */
export async function openFileBackend(path: string, options: FileBackendOptions = {}): Promise<Backend> {
  const fs = await nodeModule('node:fs');
  const { readOnly = false, create = false } = options;
  if (create) createEmpty(fs, path);
  checkKind(fs, path);
  return new FileBackend(fs, openDescriptor(fs, path, readOnly), path, readOnly);
}

function createEmpty(fs: typeof Fs, path: string): void {
  try {
    fs.closeSync(fs.openSync(path, 'wx', 0o666));
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw fileError(path, 'cannot be created', error);
    throw new MediumError(`${path}: it exists; remove it, or open it instead of creating it`, 'exists');
  }
}

class FileBackend implements Backend {
  readonly name: string;
  readonly readOnly: boolean;
  readonly #fs: typeof Fs;
  #fd: number;

  constructor(fs: typeof Fs, fd: number, path: string, readOnly: boolean) {
    this.#fs = fs;
    this.#fd = fd;
    this.name = path;
    this.readOnly = readOnly;
  }

  size(): number {
    return this.#fs.fstatSync(this.#open()).size;
  }

  readv(offset: number, buffers: readonly Uint8Array[]): number {
    return this.#move('read', offset, buffers, (part, at) => this.#fs.readvSync(this.#open(), part, at));
  }

  writev(offset: number, buffers: readonly Uint8Array[]): void {
    const moved = this.#move('write', offset, buffers, (part, at) =>
      this.#fs.writevSync(this.#open(), part, at),
    );
    if (moved === lengthOf(buffers)) return;
    throw new MediumError(`${this.name}: the file takes nothing at byte ${offset + moved}`, 'failed');
  }

  flush(): void {
    const fd = this.#open();
    if (this.readOnly) return;
    try {
      this.#fs.fdatasyncSync(fd);
    } catch (error) {
      throw fileError(this.name, 'cannot be flushed', error);
    }
  }

  close(): void {
    if (this.#fd < 0) return;
    this.#fs.closeSync(this.#fd);
    this.#fd = -1;
  }

  /** Repeats `call` until everything is moved, or it moves nothing. */
  #move(
    verb: 'read' | 'write',
    offset: number,
    buffers: readonly Uint8Array[],
    call: (part: Uint8Array[], at: number) => number,
  ): number {
    const length = lengthOf(buffers);
    let done = 0;
    let rest = buffers;
    while (done < length) {
      const part = rest.slice(0, VECTOR_MAX);
      let n: number;
      try {
        n = call(part, offset + done);
      } catch (error) {
        if (error instanceof MediumError) throw error;
        throw fileError(this.name, `${verb} at byte ${offset + done} failed`, error);
      }
      if (n === 0 && lengthOf(part) > 0) break;
      done += n;
      rest = sliceOf(buffers, done, length - done);
    }
    return done;
  }

  #open(): number {
    if (this.#fd < 0) throw new MediumError(`${this.name}: it is closed`, 'closed');
    return this.#fd;
  }
}
