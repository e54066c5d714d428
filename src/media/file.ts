// A raw image file as a medium. Only for Node: its modules are loaded when a file is opened, so that a browser
// can load the rest.

import type * as Fs from 'node:fs';
import { lengthOf, lengthOn, sliceOf } from './buffers.ts';
import { laterError, MediumError } from './error.ts';
import type { SyncMedium } from './medium.ts';
import { checkKind, codeOf, fileError, nodeModule, openDescriptor } from './node.ts';

export interface FileOptions {
  /** Default false: a file that may only be read is then refused. */
  readonly readOnly?: boolean;
  /** Makes the file, of this many bytes, where there is none; one that exists must have that size. */
  readonly create?: number;
  /** The size must be a multiple of this; default 512. */
  readonly sectorBytes?: 512 | 4096;
  /** Takes a file whose last sector is not whole: what is missing reads as zeroes, and a write there makes the file longer. */
  readonly roundUp?: boolean;
}

/** Buffers of one system call (IOV_MAX of Linux and the BSDs). */
const VECTOR_MAX = 1024;
/** Bytes that discard() looks at, and makes zero, at a time. */
const DISCARD_BYTES = 65536;
/** In a file made here, writes are remembered in regions of this many bytes. */
const REGION_BYTES = 1 << 20;

/**
 * Opens a raw image. Bytes go straight between the file and the machine's RAM. flush() returns when they are
 * on the disk. discard() writes zeroes, because Node cannot punch holes: but only where something else is, so
 * that a sparse file stays sparse. Looking takes as long as reading; in a file that `create` made just now, what was
 * never written is not looked at. Throws MediumError, whose message names the file and what would be right.
 * Nothing keeps two machines from opening one file for writing: don't, put an overlay over it.
 */
export async function openFile(path: string, options: FileOptions = {}): Promise<SyncMedium> {
  const fs = await nodeModule('node:fs');
  const { readOnly = false, create, sectorBytes = 512, roundUp = false } = options;
  const isNew = create !== undefined && createFile(fs, path, create, sectorBytes);
  checkKind(fs, path);
  const fd = openDescriptor(fs, path, readOnly);
  try {
    const { size } = fs.fstatSync(fd);
    if (size === 0 || !roundUp) checkSize(path, size, sectorBytes, create);
    return new FileMedium(
      fs,
      fd,
      path,
      { size, bytes: Math.ceil(size / sectorBytes) * sectorBytes, isNew },
      readOnly,
    );
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

/** Whether there was none: then it is all holes. */
function createFile(fs: typeof Fs, path: string, bytes: number, sectorBytes: number): boolean {
  if (!(Number.isSafeInteger(bytes) && bytes > 0 && bytes % sectorBytes === 0)) {
    throw new MediumError(`${path}: cannot create it with ${sizeRule(bytes, sectorBytes)}`, 'size');
  }
  let fd: number;
  try {
    fd = fs.openSync(path, 'wx', 0o666);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw fileError(path, 'cannot be created', error);
  }
  try {
    fs.ftruncateSync(fd, bytes);
  } catch (error) {
    fs.unlinkSync(path);
    throw fileError(path, `cannot be made ${bytes} bytes long`, error);
  } finally {
    fs.closeSync(fd);
  }
  return true;
}

function checkSize(path: string, size: number, sectorBytes: number, create: number | undefined): void {
  if (create !== undefined && size !== create) {
    throw new MediumError(
      `${path}: it exists with ${size} bytes, not ${create}; remove it, or open it without a size`,
      'exists',
    );
  }
  if (size === 0) {
    throw new MediumError(
      `${path}: it is empty; an image has at least one sector, ${sectorBytes} bytes`,
      'size',
    );
  }
  if (size % sectorBytes !== 0)
    throw new MediumError(`${path}: it has ${sizeRule(size, sectorBytes)}`, 'size');
}

function sizeRule(size: number, sectorBytes: number): string {
  const below = size - (size % sectorBytes);
  const near = below > 0 ? `${below} or ${below + sectorBytes}` : `${sectorBytes}`;
  const right = size > 0 && Number.isSafeInteger(size) ? `; ${near} would be right` : '';
  return `${size} bytes, which is no multiple of the sector, ${sectorBytes} bytes${right}`;
}

class FileMedium implements SyncMedium {
  readonly sync = true;
  readonly name: string;
  readonly readOnly: boolean;
  readonly #fs: typeof Fs;
  #fd: number;
  #bytes: number;
  /** Where a file without a whole last sector ended when it was opened; 0: it has one. */
  readonly #end: number;
  /** Regions that may hold something other than zeroes; null in a file of which that is not known. */
  readonly #written: Set<number> | null;

  constructor(
    fs: typeof Fs,
    fd: number,
    path: string,
    { size, bytes, isNew }: { readonly size: number; readonly bytes: number; readonly isNew: boolean },
    readOnly: boolean,
  ) {
    this.#fs = fs;
    this.#fd = fd;
    this.name = path;
    this.#bytes = bytes;
    this.#end = size === bytes ? 0 : size;
    this.#written = isNew ? new Set() : null;
    this.readOnly = readOnly;
  }

  get bytes(): number {
    return this.#bytes;
  }

  grow(bytes: number): void {
    this.#checkWritable();
    try {
      this.#fs.ftruncateSync(this.#open(), bytes);
    } catch (error) {
      throw fileError(this.name, `cannot be made ${bytes} bytes long`, error);
    }
    this.#bytes = bytes;
  }

  readv(offset: number, buffers: readonly Uint8Array[]): number {
    const done = this.#move('read', offset, buffers, (part, at) =>
      this.#fs.readvSync(this.#open(), part, at),
    );
    if (this.#end === 0 || offset + done < this.#end) return done;
    const length = lengthOn(this.bytes, offset, lengthOf(buffers));
    for (const rest of sliceOf(buffers, done, length - done)) rest.fill(0);
    return length;
  }

  writev(offset: number, buffers: readonly Uint8Array[]): number {
    this.#checkWritable();
    this.#remember(offset, lengthOf(buffers));
    return this.#move('write', offset, buffers, (part, at) => this.#fs.writevSync(this.#open(), part, at));
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

  discard(offset: number, bytes: number): void {
    this.#checkWritable();
    const end = offset + lengthOn(this.bytes, offset, bytes);
    const found = new Uint8Array(Math.min(end - offset, DISCARD_BYTES));
    const zeroes = new Uint8Array(found.length);
    for (let at = offset; at < end; ) {
      const region = Math.floor(at / REGION_BYTES);
      if (this.#written !== null && !this.#written.has(region)) {
        at = (region + 1) * REGION_BYTES;
        continue;
      }
      const n = Math.min(found.length, end - at);
      try {
        const read = this.readv(at, [found.subarray(0, n)]);
        if (read < n || Buffer.compare(found.subarray(0, n), zeroes.subarray(0, n)) !== 0) {
          this.writev(at, [zeroes.subarray(0, n)]);
        }
      } catch (error) {
        throw laterError(error, at - offset);
      }
      at += n;
    }
  }

  close(): void {
    if (this.#fd < 0) return;
    this.#fs.closeSync(this.#fd);
    this.#fd = -1;
  }

  #remember(offset: number, bytes: number): void {
    const written = this.#written;
    if (written === null) return;
    const last = Math.floor((offset + bytes - 1) / REGION_BYTES);
    for (let region = Math.floor(offset / REGION_BYTES); region <= last; region++) written.add(region);
  }

  /** Repeats `call` until everything is moved, or the file ends, which only another program can have cut off. */
  #move(
    verb: 'read' | 'write',
    offset: number,
    buffers: readonly Uint8Array[],
    call: (part: Uint8Array[], at: number) => number,
  ): number {
    const length = lengthOn(this.bytes, offset, lengthOf(buffers));
    let done = 0;
    let first = 0;
    let rest = length === lengthOf(buffers) ? buffers : sliceOf(buffers, 0, length);
    while (done < length) {
      const part = rest.slice(first, first + VECTOR_MAX);
      const asked = lengthOf(part);
      let n: number;
      try {
        n = call(part, offset + done);
      } catch (error) {
        if (error instanceof MediumError) throw error;
        throw fileError(this.name, `${verb} at byte ${offset + done} failed`, error, done);
      }
      if (n === 0 && asked > 0) break;
      done += n;
      first += part.length;
      if (n < asked) {
        rest = sliceOf(buffers, done, length - done);
        first = 0;
      }
    }
    return done;
  }

  #open(): number {
    if (this.#fd < 0) throw new MediumError(`${this.name}: it is closed`, 'closed');
    return this.#fd;
  }

  #checkWritable(): void {
    if (this.readOnly) throw new MediumError(`${this.name}: it was opened read-only`, 'read-only');
  }
}
