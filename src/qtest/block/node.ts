// An image as the server's disks use it: opened, given away to another process and opened again, made longer and
// shorter, and failing as the rules of a blkdebug file have it.

import { MediumError, type MediumReason, openImage, overlay, type SyncMedium } from '../../media/index.ts';
import { QtestError } from '../errors.ts';
import type { DebugEvent, DebugOperation, DebugRules } from './blkdebug.ts';
import { nullMedium } from './null.ts';
import type { NodeSpec } from './spec.ts';

const ENOSPC = 28;
const EROFS = 30;
/** What guests are told of a disk is cut to whole sectors of this size. */
const SECTOR = 512;

/** Bytes of a block on a CD. */
export const DISC_BLOCK = 2048;

export class BlockNode implements SyncMedium {
  readonly sync = true;
  readonly name: string;
  readonly spec: NodeSpec;
  readonly #rules: DebugRules | null;
  #inner: SyncMedium;
  #bytes: number;
  /** Something was written since the last flush: only then there is something to flush. */
  #dirty = false;

  private constructor(spec: NodeSpec, inner: SyncMedium) {
    this.spec = spec;
    this.name = spec.filename;
    this.#rules = spec.rules;
    this.#inner = inner;
    this.#bytes = inner.bytes - (inner.bytes % SECTOR);
  }

  /** Throws MediumError where the image cannot be opened. */
  static async open(spec: NodeSpec): Promise<BlockNode> {
    return new BlockNode(spec, await openSpec(spec));
  }

  get bytes(): number {
    return this.#bytes;
  }

  get readOnly(): boolean {
    return this.#inner.readOnly;
  }

  /** Throws MediumError where the image cannot have that size. */
  grow(bytes: number): void {
    if (bytes > this.#inner.bytes) {
      if (this.#inner.grow === undefined)
        throw new MediumError(`${this.name}: it cannot grow`, 'unsupported');
      this.#inner.grow(bytes);
    }
    this.#bytes = bytes;
  }

  /** The bytes behind the new end are no longer there for the guest. */
  shrink(bytes: number): void {
    this.#bytes = bytes;
  }

  /** Cuts the image to whole blocks of `block` bytes. */
  cutTo(block: number): void {
    this.#bytes -= this.#bytes % block;
  }

  /** The first `bytes` bytes, for the host: rules do not count it. Throws MediumError. */
  peek(bytes: number): Uint8Array {
    const found = new Uint8Array(bytes);
    this.#inner.readv(0, [found.subarray(0, Math.min(bytes, this.#bytes))]);
    return found;
  }

  readv(offset: number, buffers: readonly Uint8Array[]): number {
    const bytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    this.#event('read_aio');
    this.#event('preadv');
    this.#strike('read', offset, bytes);
    return this.#inner.readv(offset, buffers);
  }

  writev(offset: number, buffers: readonly Uint8Array[]): number {
    const bytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    this.#event('write_aio');
    this.#event('pwritev');
    this.#strike('write', offset, bytes);
    this.#dirty = true;
    return this.#inner.writev(offset, buffers);
  }

  flush(): void {
    this.#event('flush_to_os');
    if (!this.#dirty) return;
    this.#event('flush_to_disk');
    this.#strike('flush', 0, 0);
    this.#inner.flush();
    this.#dirty = false;
  }

  discard(offset: number, bytes: number): void {
    this.#event('pwritev_zero');
    this.#strike('discard', offset, bytes);
    this.#dirty = true;
    this.#inner.discard(offset, bytes);
  }

  close(): void {
    this.#inner.close();
  }

  /** Another process has the image from now on: everything is written, and nothing of it is kept. */
  giveAway(): void {
    if (!this.readOnly) this.#inner.flush();
    this.#inner.close();
  }

  /** Opens the image anew, because another process has written to it. Throws MediumError. */
  async takeBack(): Promise<void> {
    const { bytes } = this;
    this.#inner.close();
    this.#inner = await openSpec(this.spec);
    if (this.#inner.bytes < bytes)
      throw new MediumError(`${this.name}: it has ${this.#inner.bytes} bytes now, and had ${bytes}`, 'size');
  }

  #event(event: DebugEvent): void {
    this.#rules?.event(event);
  }

  #strike(operation: DebugOperation, offset: number, bytes: number): void {
    const errno = this.#rules?.strike(operation, offset, bytes) ?? 0;
    if (errno !== 0) throw new MediumError(`${this.name}: ${operation} fails as asked for`, reasonOf(errno));
  }
}

function reasonOf(errno: number): MediumReason {
  if (errno === ENOSPC) return 'no-space';
  return errno === EROFS ? 'read-only' : 'failed';
}

async function openSpec(spec: NodeSpec): Promise<SyncMedium> {
  if (spec.nullBytes !== null) return nullMedium(spec.filename, spec.nullBytes);
  const readOnly = spec.readOnly || spec.snapshot;
  const open = (asReadOnly: boolean): Promise<SyncMedium> =>
    openImage(spec.filename, {
      readOnly: asReadOnly,
      roundUp: true,
      ...(spec.format === null ? {} : { format: spec.format }),
    });
  try {
    const medium = await open(readOnly);
    return spec.snapshot ? overlay(medium) : medium;
  } catch (error) {
    const isRefused =
      error instanceof MediumError && (error.reason === 'permission' || error.reason === 'read-only');
    if (!isRefused || !spec.autoReadOnly || readOnly) throw error;
    return open(true);
  }
}

/** Throws QtestError: there is no image of that kind. */
export function checkBytes(node: BlockNode): void {
  if (node.bytes === 0) throw new QtestError(`${node.name}: it is shorter than a sector`);
}
