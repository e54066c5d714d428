// A fixed VHD image as a medium that can only be read: the disk's bytes, and behind them a footer.
//
// [1] Microsoft, Virtual Hard Disk Image Format Specification 1.0: "Hard Disk Footer Format", "Appendix:
//     Checksum Calculation".

import type { Backend } from './backend.ts';
import { lengthOf, lengthOn, sliceOf } from './buffers.ts';
import { MediumError, type MediumReason } from './error.ts';
import type { SyncMedium } from './medium.ts';

const FOOTER_BYTES = 512;
const COOKIE = 'conectix';

// Offsets in the footer [1], whose numbers are big-endian.
const AT_VERSION = 12;
const AT_SIZE = 48;
const AT_GEOMETRY = 56;
const AT_TYPE = 60;
const AT_CHECKSUM = 64;

const VERSION_MAJOR = 1;
const FIXED = 2;
/** The largest geometry, 65535/16/255: what a disk has whose size no geometry gives. */
const MOST_SECTORS = 65535 * 16 * 255;
const TYPES: Readonly<Record<number, string>> = { 3: 'dynamic', 4: 'differencing' };

/** Whether a file is a VHD image; dynamic ones have a copy of the footer at the start. */
export function isVhd(backend: Backend): boolean {
  return [0, backend.size() - FOOTER_BYTES].some((at) => at >= 0 && cookieAt(backend, at));
}

/** Opens a fixed VHD image over a backend. Throws MediumError with file, byte and field. Closing it closes both. */
export function vhdMedium(backend: Backend): SyncMedium {
  return new FixedVhd(backend, readFooter(backend));
}

function cookieAt(backend: Backend, at: number): boolean {
  const cookie = new Uint8Array(COOKIE.length);
  return backend.readv(at, [cookie]) === cookie.length && String.fromCharCode(...cookie) === COOKIE;
}

/** Checks the footer; the disk's bytes. */
function readFooter(backend: Backend): number {
  const { name } = backend;
  const start = backend.size() - FOOTER_BYTES;
  const refuse = (at: number, field: string, what: string, reason: MediumReason = 'format'): never => {
    throw new MediumError(`${name}: byte ${start + at} (${field}): ${what}`, reason);
  };
  if (start < 0 || !cookieAt(backend, start)) {
    // A dynamic image that was cut off has its footer's copy still.
    const what = `${name}: its last ${FOOTER_BYTES} bytes are no footer of a VHD image ("${COOKIE}")`;
    throw new MediumError(what, 'format');
  }
  const footer = new Uint8Array(FOOTER_BYTES);
  backend.readv(start, [footer]);
  const view = new DataView(footer.buffer);
  const sum = footer.reduce(
    (total, byte, i) => total + (i >= AT_CHECKSUM && i < AT_CHECKSUM + 4 ? 0 : byte),
    0,
  );
  const checksum = ~sum >>> 0;
  const found = view.getUint32(AT_CHECKSUM);
  if (found !== checksum) {
    refuse(AT_CHECKSUM, 'checksum', `0x${found.toString(16)}; the footer's is 0x${checksum.toString(16)}`);
  }
  const version = view.getUint32(AT_VERSION);
  if (version >>> 16 !== VERSION_MAJOR) {
    refuse(AT_VERSION, 'file format version', `${version >>> 16}; 1 is supported`, 'unsupported');
  }
  const type = view.getUint32(AT_TYPE);
  if (type !== FIXED) {
    const kind = TYPES[type] === undefined ? `of type ${type}` : `${TYPES[type]}`;
    refuse(AT_TYPE, 'disk type', `the image is ${kind}; only fixed ones are supported`, 'unsupported');
  }
  const bytes = view.getUint32(AT_SIZE) * 2 ** 32 + view.getUint32(AT_SIZE + 4);
  if (!(bytes > 0 && bytes % 512 === 0 && bytes <= start)) {
    refuse(
      AT_SIZE,
      'current size',
      `${bytes}; it must be a multiple of 512 up to ${start}, where the footer is`,
    );
  }
  const geometry = [
    view.getUint16(AT_GEOMETRY),
    view.getUint8(AT_GEOMETRY + 2),
    view.getUint8(AT_GEOMETRY + 3),
  ];
  const sectors = geometry.reduce((product, n) => product * n, 1);
  if (sectors === 0 || (sectors * 512 > bytes && sectors !== MOST_SECTORS)) {
    const what = `${geometry.join('/')} cylinders, heads, sectors; a disk of ${bytes} bytes has no more, and at least one`;
    refuse(AT_GEOMETRY, 'disk geometry', what);
  }
  return bytes;
}

class FixedVhd implements SyncMedium {
  readonly sync = true;
  readonly readOnly = true;
  readonly name: string;
  readonly bytes: number;
  readonly #backend: Backend;

  constructor(backend: Backend, bytes: number) {
    this.name = backend.name;
    this.bytes = bytes;
    this.#backend = backend;
  }

  readv(offset: number, buffers: readonly Uint8Array[]): number {
    const length = lengthOn(this.bytes, offset, lengthOf(buffers));
    return this.#backend.readv(offset, sliceOf(buffers, 0, length));
  }

  writev(): never {
    throw new MediumError(`${this.name}: VHD images are only read`, 'read-only');
  }

  flush(): void {}

  discard(): never {
    return this.writev();
  }

  close(): void {
    this.#backend.close();
  }
}
